"""Small random codecs, and a plain decode of whole sequences: no state, no tricks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from junetts._runtime.codec import Codec
from junetts._runtime.codec.decoder import DecodingHalf
from junetts._runtime.codec.encoder import EncodingHalf
from junetts._runtime.sizes import CodecSizes, CodecTransformerSizes

SMALL = CodecTransformerSizes(n_layers=2, dim=12, n_heads=2, head_dim=8, ffn_dim=20, window=6)
SIZES = CodecSizes(
    sample_rate=8000,
    n_codebooks=3,
    semantic_codebook_size=32,
    residual_codebook_size=16,
    codebook_dim=3,
    latent_dim=12,
    encoder_dim=4,
    encoder_rates=(2, 3),
    encoder_transformers=(replace(SMALL, dim=8, window=9), replace(SMALL, dim=16)),
    decoder_dim=16,
    decoder_rates=(3, 2),
    downsample_factors=(2, 2),
    downsample_dims=(10, 12),
    pre_transformer=SMALL,
    post_transformer=SMALL,
)
ODD_SIZES = replace(
    SIZES,
    n_codebooks=1,
    encoder_transformers=(None, replace(SMALL, dim=20)),
    decoder_rates=(2, 3, 1),
    downsample_factors=(3,),
    downsample_dims=(12,),
    residual_unit_dilations=(1, 2),
    residual_unit_kernel_size=5,
    convnext_kernel_size=4,
    pre_transformer=replace(SMALL, dim=18, window=3),
    post_transformer=replace(SMALL, dim=18, window=1),
)

GAIN = 0.4  # of random layers: enough to be heard, not so much that rounding errors grow


def random_weights(sizes: CodecSizes, *, seed: int = 0) -> dict[str, Tensor]:
    """Return weights of both halves, weight norm baked, under which sound stays within bounds."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        halves = (DecodingHalf(sizes), EncodingHalf(sizes))
    shapes = {name: p.shape for half in halves for name, p in half.named_parameters()}
    return {name: _random(name, shape, generator) for name, shape in shapes.items()}


def _random(name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    values = torch.randn(shape, generator=generator)
    if name.endswith(("norm.weight", "alpha")):
        return 1 + 0.2 * values
    if name.endswith(("bias", "gamma")):
        return 0.1 + 0.1 * values
    if "codebook" in name:
        return values
    return GAIN * values / math.sqrt(math.prod(shape[1:]))


def load(
    weights: Mapping[str, Tensor], sizes: CodecSizes, *, dtype: torch.dtype = torch.float32
) -> Codec:
    """Load a codec on the CPU."""
    return Codec.load(weights, sizes, device="cpu", dtype=dtype, path="codec.pth")


def random_codec(sizes: CodecSizes = SIZES, *, dtype: torch.dtype = torch.float32) -> Codec:
    """Return a codec with random weights."""
    return load(random_weights(sizes), sizes, dtype=dtype)


def random_codes(sizes: CodecSizes, n_frames: int, *, seed: int = 0) -> Tensor:
    """Return ``[codebook, frame]``."""
    generator = torch.Generator().manual_seed(seed)
    limits = [sizes.semantic_codebook_size]
    limits += [sizes.residual_codebook_size] * (sizes.n_codebooks - 1)
    return torch.stack([torch.randint(n, (n_frames,), generator=generator) for n in limits])


class WholeDecoder:
    """Decodes a whole sequence at once, from the weights' names alone.

    Every convolution pads its whole input, attention sees a mask over the whole square.
    """

    def __init__(self, weights: Mapping[str, Tensor], sizes: CodecSizes) -> None:
        self.weights = {name: tensor.double() for name, tensor in weights.items()}
        self.sizes = sizes

    def __call__(self, codes: Tensor) -> Tensor:
        """Map ``[codebook, frame]`` to ``[sample]``."""
        x = self.transformer("quantizer.post_module", self.latents(codes)[None])
        for step, factor in enumerate(reversed(self.sizes.downsample_factors)):
            x = self.transposed(f"quantizer.upsample.{step}.0.conv", x, factor)
            x = self.convnext(f"quantizer.upsample.{step}.1", x)
        return self.decoder(x)[0, 0]

    def latents(self, codes: Tensor) -> Tensor:
        """Add up what the codes stand for: ``[latent_dim, frame]``."""
        books = ["quantizer.semantic_quantizer.quantizers.0"]
        books += [f"quantizer.quantizer.quantizers.{i}" for i in range(len(codes) - 1)]
        total = torch.zeros(self.sizes.latent_dim, codes.shape[1], dtype=torch.float64)
        for book, row in zip(books, codes, strict=True):
            found = self.weights[f"{book}.codebook.weight"][row].T
            matrix = self.weights[f"{book}.out_proj.weight"][..., 0]
            total = total + matrix @ found + self.weights[f"{book}.out_proj.bias"][:, None]
        return total

    def decoder(self, x: Tensor) -> Tensor:
        """Turn latents into sound."""
        x = self.conv("decoder.model.0.conv", x)
        for i, rate in enumerate(self.sizes.decoder_rates):
            block = f"decoder.model.{i + 1}.block"
            x = self.transposed(f"{block}.1.conv", self.snake(f"{block}.0", x), rate)
            for j, dilation in enumerate(self.sizes.residual_unit_dilations):
                unit = f"{block}.{j + 2}.block"
                y = self.conv(f"{unit}.1.conv", self.snake(f"{unit}.0", x), dilation)
                x = x + self.conv(f"{unit}.3.conv", self.snake(f"{unit}.2", y))
        last = len(self.sizes.decoder_rates) + 1
        x = self.snake(f"decoder.model.{last}", x)
        return torch.tanh(self.conv(f"decoder.model.{last + 1}.conv", x))

    def conv(self, name: str, x: Tensor, dilation: int = 1, groups: int = 1) -> Tensor:
        """Convolve, padded on the left only."""
        weight = self.weights[f"{name}.weight"]
        x = F.pad(x, ((weight.shape[-1] - 1) * dilation, 0))
        bias = self.weights[f"{name}.bias"]
        return F.conv1d(x, weight, bias, dilation=dilation, groups=groups)

    def transposed(self, name: str, x: Tensor, stride: int) -> Tensor:
        """Convolve upwards, cropped on the right only."""
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return F.conv_transpose1d(x, weight, bias, stride=stride)[..., : x.shape[-1] * stride]

    def snake(self, name: str, x: Tensor) -> Tensor:
        """Apply Snake."""
        alpha = self.weights[f"{name}.alpha"]
        return x + torch.sin(alpha * x) ** 2 / (alpha + 1e-9)

    def linear(self, name: str, x: Tensor) -> Tensor:
        """Apply a linear layer to the last dimension."""
        return F.linear(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"))

    def convnext(self, name: str, x: Tensor) -> Tensor:
        """Apply a ConvNeXt block."""
        y = self.conv(f"{name}.dwconv.conv", x, groups=x.shape[1]).mT
        scale, shift = self.weights[f"{name}.norm.weight"], self.weights[f"{name}.norm.bias"]
        y = F.layer_norm(y, y.shape[-1:], scale, shift, self.sizes.convnext_norm_eps)
        y = self.linear(f"{name}.pwconv2", F.gelu(self.linear(f"{name}.pwconv1", y)))
        return x + (self.weights[f"{name}.gamma"] * y).mT

    def norm(self, name: str, x: Tensor) -> Tensor:
        """Divide by the root mean square."""
        eps = self.sizes.post_transformer.norm_eps
        return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * self.weights[f"{name}.weight"]

    def transformer(self, name: str, x: Tensor) -> Tensor:
        """Run a transformer over all positions."""
        x = x.mT
        is_projected = f"{name}.input_proj.weight" in self.weights
        x = self.linear(f"{name}.input_proj", x) if is_projected else x
        for i in range(self.sizes.post_transformer.n_layers):
            layer = f"{name}.layers.{i}"
            y = self.attention(f"{layer}.attention", self.norm(f"{layer}.attention_norm", x))
            x = x + y * self.weights[f"{layer}.attention_layer_scale.gamma"]
            y, ffn = self.norm(f"{layer}.ffn_norm", x), f"{layer}.feed_forward"
            gate = F.silu(self.linear(f"{ffn}.w1", y)) * self.linear(f"{ffn}.w3", y)
            x = x + self.linear(f"{ffn}.w2", gate) * self.weights[f"{layer}.ffn_layer_scale.gamma"]
        x = self.norm(f"{name}.norm", x)
        return (self.linear(f"{name}.output_proj", x) if is_projected else x).mT

    def attention(self, name: str, x: Tensor) -> Tensor:
        """Attend, under one mask over all pairs of positions."""
        sizes, n = self.sizes.post_transformer, x.shape[1]
        qkv = self.linear(f"{name}.wqkv", x).view(n, 3, sizes.n_heads, sizes.head_dim)
        query, key, value = qkv.permute(1, 2, 0, 3)  # [head, position, head_dim]
        scores = self.turned(query) @ self.turned(key).mT / math.sqrt(sizes.head_dim)
        distance = torch.arange(n)[:, None] - torch.arange(n)
        hidden = (distance < 0) | (distance >= sizes.window)
        y = scores.masked_fill(hidden, -math.inf).softmax(-1) @ value
        return self.linear(f"{name}.wo", y.transpose(0, 1).flatten(1))[None]

    def turned(self, x: Tensor) -> Tensor:
        """Apply RoPE, its table rounded to bfloat16."""
        sizes = self.sizes.post_transformer
        steps = torch.arange(0, sizes.head_dim, 2).float() / sizes.head_dim
        angles = torch.arange(x.shape[1])[:, None] * (1.0 / sizes.rope_base**steps)
        turns = torch.polar(torch.ones_like(angles), angles)
        turns = torch.complex(turns.real.bfloat16().double(), turns.imag.bfloat16().double())
        pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
        return torch.view_as_real(pairs * turns).flatten(-2)
