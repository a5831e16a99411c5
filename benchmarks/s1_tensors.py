"""The tensors of an S1 checkpoint of any size: their names and shapes, and random values.

Written down from the published files' layout, so that neither junetts nor fish-speech is needed
to make a checkpoint that both can load.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch

Config = Mapping[str, Any]
Shapes = Iterator[tuple[str, tuple[int, ...]]]

_TRANSPOSED = re.compile(r"decoder\.model\.\d+\.block\.1\.conv\.|upsample\.\d+\.0\.conv\.")

_BRANCH_END = re.compile(r"\.block\.\d+\.block\.3\.conv\.")
_LAST = re.compile(r"^decoder\.model\.[1-9]\d*\.conv\.")


def language_model(config: Config) -> Shapes:
    """The dual AR's tensors, in the file's order, without the ``model.`` prefix."""
    dim, fast_dim = config["dim"], config["fast_dim"]
    yield "embeddings.weight", (config["vocab_size"], dim)
    yield "codebook_embeddings.weight", (config["codebook_size"] * config["num_codebooks"], dim)
    for index in range(config["n_layer"]):
        yield from _block(f"layers.{index}", _slow(config))
    yield "norm.weight", (dim,)
    if not config["tie_word_embeddings"]:
        yield "output.weight", (config["vocab_size"], dim)
    if fast_dim != dim:
        yield "fast_project_in.weight", (fast_dim, dim)
        yield "fast_project_in.bias", (fast_dim,)
    yield "fast_embeddings.weight", (config["codebook_size"], fast_dim)
    for index in range(config["n_fast_layer"]):
        yield from _block(f"fast_layers.{index}", _fast(config))
    yield "fast_norm.weight", (fast_dim,)
    yield "fast_output.weight", (config["codebook_size"], fast_dim)


def _slow(config: Config) -> dict[str, Any]:
    names = ("dim", "n_head", "n_local_heads", "head_dim", "intermediate_size")
    flags = ("attention_qkv_bias", "attention_qk_norm", "attention_o_bias")
    return {name: config[name] for name in (*names, *flags)}


def _fast(config: Config) -> dict[str, Any]:
    return {name: config[f"fast_{name}"] for name in _slow(config)}


def _block(prefix: str, sizes: Config) -> Shapes:
    """One layer of the slow or the fast transformer."""
    dim, head_dim, ffn = sizes["dim"], sizes["head_dim"], sizes["intermediate_size"]
    n_qkv = (sizes["n_head"] + 2 * sizes["n_local_heads"]) * head_dim
    yield f"{prefix}.attention.wqkv.weight", (n_qkv, dim)
    if sizes["attention_qkv_bias"]:
        yield f"{prefix}.attention.wqkv.bias", (n_qkv,)
    yield f"{prefix}.attention.wo.weight", (dim, sizes["n_head"] * head_dim)
    if sizes["attention_o_bias"]:
        yield f"{prefix}.attention.wo.bias", (dim,)
    if sizes["attention_qk_norm"]:
        yield f"{prefix}.attention.q_norm.weight", (head_dim,)
        yield f"{prefix}.attention.k_norm.weight", (head_dim,)
    yield from _feed_forward(prefix, dim, ffn)


def _feed_forward(prefix: str, dim: int, ffn: int) -> Shapes:
    yield f"{prefix}.feed_forward.w1.weight", (ffn, dim)
    yield f"{prefix}.feed_forward.w3.weight", (ffn, dim)
    yield f"{prefix}.feed_forward.w2.weight", (dim, ffn)
    yield f"{prefix}.ffn_norm.weight", (dim,)
    yield f"{prefix}.attention_norm.weight", (dim,)


def codec(config: Config) -> Shapes:
    """The codec's tensors, without the ``generator.`` prefix; sizes as in codec_config.json."""
    yield from _encoder(config)
    yield from _quantizer(config)
    yield from _decoder(config)


def _encoder(config: Config) -> Shapes:
    dim = config["encoder_dim"]
    yield from _conv("encoder.block.0", dim, 1, 7)
    rates = config["encoder_rates"]
    for index, rate in enumerate(rates):
        prefix = f"encoder.block.{index + 1}.block"
        for unit in range(3):
            yield from _residual_unit(f"{prefix}.{unit}", dim)
        yield f"{prefix}.3.alpha", (1, dim, 1)
        yield from _conv(f"{prefix}.4", 2 * dim, dim, 2 * rate)
        dim *= 2
        n_layers = config["encoder_transformer_layers"][index]
        if n_layers:
            sizes = config["encoder_transformer"] | {"n_layer": n_layers}
            yield from _codec_transformer(f"{prefix}.5", sizes, dim)
    yield f"encoder.block.{len(rates) + 1}.alpha", (1, dim, 1)
    yield from _conv(f"encoder.block.{len(rates) + 2}", config["latent_dim"], dim, 3)


def _decoder(config: Config) -> Shapes:
    dim, rates = config["decoder_dim"], config["decoder_rates"]
    yield from _conv("decoder.model.0", dim, config["latent_dim"], 7)
    for index, rate in enumerate(rates):
        prefix = f"decoder.model.{index + 1}.block"
        yield f"{prefix}.0.alpha", (1, dim, 1)
        yield from _transposed(f"{prefix}.1", dim, dim // 2, 2 * rate)
        dim //= 2
        for unit in range(3):
            yield from _residual_unit(f"{prefix}.{unit + 2}", dim)
    yield f"decoder.model.{len(rates) + 1}.alpha", (1, dim, 1)
    yield from _conv(f"decoder.model.{len(rates) + 2}", 1, dim, 7)


def _quantizer(config: Config) -> Shapes:
    latent, codebook_dim = config["latent_dim"], config["codebook_dim"]
    books = [("semantic_quantizer.quantizers.0", config["semantic_codebook_size"])]
    books += [
        (f"quantizer.quantizers.{index}", config["residual_codebook_size"])
        for index in range(config["n_residual_codebooks"])
    ]
    for name, size in books:
        yield from _projection(f"quantizer.{name}.in_proj", codebook_dim, latent)
        yield from _projection(f"quantizer.{name}.out_proj", latent, codebook_dim)
        yield f"quantizer.{name}.codebook.weight", (size, codebook_dim)
    dims = [latent, *config["downsample_dims"]]
    factors = config["downsample_factor"]
    for index, factor in enumerate(factors):
        prefix = f"quantizer.downsample.{index}"
        yield f"{prefix}.0.conv.weight", (dims[index + 1], dims[index], factor)
        yield f"{prefix}.0.conv.bias", (dims[index + 1],)
        yield from _conv_next(f"{prefix}.1", dims[index + 1], config)
    for position, index in enumerate(reversed(range(len(factors)))):
        prefix = f"quantizer.upsample.{position}"
        yield f"{prefix}.0.conv.weight", (dims[index + 1], dims[index], factors[index])
        yield f"{prefix}.0.conv.bias", (dims[index],)
        yield from _conv_next(f"{prefix}.1", dims[index], config)
    for side in ("pre", "post"):
        sizes = config[f"quantizer_{side}_module"]
        yield from _codec_transformer(f"quantizer.{side}_module", sizes, latent)


def _conv_next(prefix: str, dim: int, config: Config) -> Shapes:
    wide = int(config["convnext_mlp_ratio"] * dim)
    yield f"{prefix}.gamma", (dim,)
    yield f"{prefix}.dwconv.conv.weight", (dim, 1, config["convnext_kernel_size"])
    yield f"{prefix}.dwconv.conv.bias", (dim,)
    for name, shape in (("norm", (dim,)), ("pwconv1", (wide, dim)), ("pwconv2", (dim, wide))):
        yield f"{prefix}.{name}.weight", shape
        yield f"{prefix}.{name}.bias", shape[:1]


def _codec_transformer(prefix: str, sizes: Config, outer_dim: int) -> Shapes:
    dim = sizes["dim"]
    for index in range(sizes["n_layer"]):
        layer = f"{prefix}.layers.{index}"
        width = sizes["n_head"] * sizes["head_dim"]
        yield f"{layer}.attention.wqkv.weight", (3 * width, dim)
        yield f"{layer}.attention.wo.weight", (dim, width)
        yield from _feed_forward(layer, dim, sizes["intermediate_size"])
        yield f"{layer}.attention_layer_scale.gamma", (dim,)
        yield f"{layer}.ffn_layer_scale.gamma", (dim,)
    yield f"{prefix}.norm.weight", (dim,)
    if dim != outer_dim:
        yield f"{prefix}.input_proj.weight", (dim, outer_dim)
        yield f"{prefix}.input_proj.bias", (dim,)
        yield f"{prefix}.output_proj.weight", (outer_dim, dim)
        yield f"{prefix}.output_proj.bias", (outer_dim,)


def _residual_unit(prefix: str, dim: int) -> Shapes:
    yield f"{prefix}.block.0.alpha", (1, dim, 1)
    yield from _conv(f"{prefix}.block.1", dim, dim, 7)
    yield f"{prefix}.block.2.alpha", (1, dim, 1)
    yield from _conv(f"{prefix}.block.3", dim, dim, 1)


def _conv(prefix: str, n_out: int, n_in: int, kernel: int) -> Shapes:
    yield f"{prefix}.conv.bias", (n_out,)
    yield f"{prefix}.conv.parametrizations.weight.original0", (n_out, 1, 1)
    yield f"{prefix}.conv.parametrizations.weight.original1", (n_out, n_in, kernel)


def _transposed(prefix: str, n_in: int, n_out: int, kernel: int) -> Shapes:
    yield f"{prefix}.conv.bias", (n_out,)
    yield f"{prefix}.conv.parametrizations.weight.original0", (n_in, 1, 1)
    yield f"{prefix}.conv.parametrizations.weight.original1", (n_in, n_out, kernel)


def _projection(prefix: str, n_out: int, n_in: int) -> Shapes:
    yield f"{prefix}.bias", (n_out,)
    yield f"{prefix}.weight_g", (n_out, 1, 1)
    yield f"{prefix}.weight_v", (n_out, n_in, 1)


def random_tensors(
    shapes: Shapes, *, seed: int, dtype: torch.dtype = torch.float32
) -> dict[str, torch.Tensor]:
    """A value for each tensor, such that signals keep their size from layer to layer.

    None of them is what a fresh network starts with: a loader that forgets one is noticed.
    """
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    gains: list[str] = []
    for name, shape in shapes:
        if name.endswith(("original0", "weight_g")):
            gains.append(name)
            tensors[name] = torch.empty(shape)  # keeps the order of the file
        else:
            tensors[name] = _random(name, shape, generator).to(dtype)
    for name in gains:
        direction = name.replace("original0", "original1").replace("weight_g", "weight_v")
        rows = tensors[direction].float().flatten(1).norm(dim=1)
        gain = _gain(name) * _around_one(tensors[name].shape, generator)
        tensors[name] = (gain * rows.view(gain.shape)).to(dtype)
    return tensors


def _gain(name: str) -> float:
    """How much of its input a convolution passes on: branches add up, and the last is heard."""
    if _BRANCH_END.search(name):
        return 0.3
    return 0.02 if _LAST.search(name) else 1.0


def _random(name: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    if name.endswith((".alpha", "norm.weight")):
        return _around_one(shape, generator)
    if name.endswith(".gamma"):
        return 0.3 * _around_one(shape, generator)
    if name.endswith(".bias"):
        return 0.1 * torch.randn(shape, generator=generator)
    return torch.empty(shape).normal_(0, _spread(name, shape), generator=generator)


def _spread(name: str, shape: tuple[int, ...]) -> float:
    """Standard deviation at which outputs are about as large as inputs."""
    if "codebook.weight" in name:
        return 1.0
    if "embeddings.weight" in name:
        return 0.15  # tied: logits spread by this times the square root of the width
    if _TRANSPOSED.search(name):  # each output sample is made of this many inputs
        return 1 / math.sqrt(shape[0] * (2 if name.startswith("decoder") else 1))
    return 1 / math.sqrt(math.prod(shape[1:]))


def _around_one(shape: tuple[int, ...] | torch.Size, generator: torch.Generator) -> torch.Tensor:
    return 0.7 + 0.6 * torch.rand(shape, generator=generator)
