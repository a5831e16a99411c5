"""Weights of both layouts reach a module under our names: unchanged, strictly, without copies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from checkpoint_files import S1, S2, copy_of, edit_json, edit_torch, shapes, stored
from junetts._errors import CheckpointError
from junetts._runtime.checkpoint import (
    bake_weight_norm,
    check_weights,
    load_into,
    open_checkpoint,
)
from junetts._runtime.sizes import CodecSizes


def rename(path: Path, names: dict[str, str]) -> None:
    """Rename tensors of a torch file."""
    weights = {names.get(name, name): tensor for name, tensor in stored(path).items()}
    path.unlink()
    torch.save(weights, path)


def two_layers() -> nn.Module:
    """A small module as it is before loading: with shapes, but without memory."""
    with torch.device("meta"):
        return nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2, bias=False))


TWO_LAYERS = {
    "0.weight": torch.arange(6.0).reshape(2, 3),
    "0.bias": torch.ones(2),
    "1.weight": torch.eye(2),
}


def test_s1_weights_have_our_names() -> None:
    """The prefix of the training code is stripped; nothing else changes, not even the memory."""
    weights = open_checkpoint(S1).model_weights()
    original = stored(S1 / "model.pth")
    assert {f"model.{name}" for name in weights} == set(original)
    assert all(torch.equal(weights[name], original[f"model.{name}"]) for name in weights)
    assert weights["embeddings.weight"].shape == (1589, 32)
    assert weights["embeddings.weight"].dtype == torch.bfloat16


def test_s2_weights_have_our_names() -> None:
    """The two halves of an S2 checkpoint become one model, from all of its shards."""
    weights = open_checkpoint(S2).model_weights()
    assert weights["codebook_embeddings.weight"].shape == (2560, 40)
    assert weights["fast_embeddings.weight"].shape == (256, 32)
    assert weights["fast_project_in.bias"].shape == (32,)
    assert weights["layers.2.attention.wqkv.weight"].shape == (128, 40)
    assert weights["output.weight"].shape == (576, 40)
    assert len(weights) == 50


def test_wrapped_weights_and_those_of_other_parts(tmp_path: Path) -> None:
    """A state_dict is unwrapped, audio input parts and tables of positions are left out."""
    directory = copy_of(S1, tmp_path)
    weights: dict[str, object] = dict(stored(directory / "model.pth"))
    weights["model.audio_projector.weight"] = torch.zeros(2)
    weights["model.freqs_cis"] = torch.zeros(2)
    weights["model.causal_mask"] = torch.zeros(2, dtype=torch.bool)
    (directory / "model.pth").unlink()
    torch.save({"state_dict": weights, "epoch": 3}, directory / "model.pth")
    assert shapes(open_checkpoint(directory).model_weights()) == shapes(
        open_checkpoint(S1).model_weights()
    )


def test_weights_without_a_prefix(tmp_path: Path) -> None:
    """Names that already are ours stay as they are."""
    directory = copy_of(S1, tmp_path)
    names = {name: name.removeprefix("model.") for name in stored(S1 / "model.pth")}
    rename(directory / "model.pth", names)
    assert shapes(open_checkpoint(directory).model_weights()) == shapes(
        open_checkpoint(S1).model_weights()
    )


def test_separate_projections_are_joined(tmp_path: Path) -> None:
    """wq, wk and wv of older checkpoints become one wqkv, weights and biases."""
    directory = copy_of(S1, tmp_path)
    changes: dict[str, torch.Tensor | None] = {}
    for kind in ("weight", "bias"):
        stem = "model.layers.1.attention"
        q, k, v = stored(S1 / "model.pth")[f"{stem}.wqkv.{kind}"].split([64, 32, 32])
        # Their order in the file does not matter.
        changes |= {f"{stem}.wqkv.{kind}": None, f"{stem}.wv.{kind}": v.clone()}
        changes |= {f"{stem}.wq.{kind}": q.clone(), f"{stem}.wk.{kind}": k.clone()}
    edit_torch(directory / "model.pth", **changes)
    weights = open_checkpoint(directory).model_weights()
    expected = open_checkpoint(S1).model_weights()
    assert shapes(weights) == shapes(expected)
    assert all(torch.equal(weights[name], expected[name]) for name in weights)


def test_half_a_projection_is_not_joined(tmp_path: Path) -> None:
    """Where one of the three is missing, the others are left for the strict check to report."""
    directory = copy_of(S1, tmp_path)
    edit_torch(
        directory / "model.pth",
        model__layers__1__attention__wqkv__weight=None,
        model__layers__1__attention__wq__weight=torch.zeros(64, 32),
        model__layers__1__attention__wv__weight=torch.zeros(32, 32),
    )
    weights = open_checkpoint(directory).model_weights()
    assert "layers.1.attention.wq.weight" in weights
    assert "layers.1.attention.wv.weight" in weights
    assert "layers.1.attention.wqkv.weight" not in weights


def test_projections_that_do_not_fit(tmp_path: Path) -> None:
    """Projections of different widths cannot be joined, and the error shows them."""
    directory = copy_of(S1, tmp_path)
    edit_torch(
        directory / "model.pth",
        model__layers__1__attention__wqkv__weight=None,
        model__layers__1__attention__wq__weight=torch.zeros(64, 32),
        model__layers__1__attention__wk__weight=torch.zeros(32, 31),
        model__layers__1__attention__wv__weight=torch.zeros(32, 32),
    )
    with pytest.raises(CheckpointError, match=r"wk.weight.*\[32, 31\].*do not fit") as caught:
        open_checkpoint(directory).model_weights()
    assert caught.value.tensor == "layers.1.attention.wq.weight"


def test_one_tensor_under_two_names(tmp_path: Path) -> None:
    """Two stored names that mean one weight are an error, not a matter of order."""
    directory = copy_of(S1, tmp_path)
    edit_torch(directory / "model.pth", norm__weight=torch.zeros(32))
    with pytest.raises(CheckpointError, match=r"'norm.weight' is twice in .*model.pth"):
        open_checkpoint(directory).model_weights()


@pytest.mark.parametrize("source", [S1, S2])
def test_one_safetensors_file(tmp_path: Path, source: Path) -> None:
    """Either family may come as a single safetensors file."""
    directory = copy_of(source, tmp_path)
    weights = {}
    for shard in sorted(directory.glob("model-*.safetensors")):
        weights |= load_file(shard)
        shard.unlink()
    (directory / "model.safetensors.index.json").unlink(missing_ok=True)
    if source == S1:
        weights = stored(directory / "model.pth")
        (directory / "model.pth").unlink()
    save_file(weights, directory / "model.safetensors")
    checkpoint = open_checkpoint(directory)
    expected = open_checkpoint(source).model_weights()
    assert checkpoint.model_path.name == "model.safetensors"
    assert shapes(checkpoint.model_weights()) == shapes(expected)


def test_s2_as_a_torch_file(tmp_path: Path) -> None:
    """An S2 model saved with torch is found where there are no safetensors."""
    directory = copy_of(S2, tmp_path)
    weights = {}
    for shard in sorted(directory.glob("model*.safetensors")):
        weights |= load_file(shard)
        shard.unlink()
    (directory / "model.safetensors.index.json").unlink()
    torch.save(weights, directory / "model.pth")
    checkpoint = open_checkpoint(directory)
    assert shapes(checkpoint.model_weights()) == shapes(open_checkpoint(S2).model_weights())


@pytest.mark.parametrize("source", [S1, S2])
def test_codec_weights(source: Path) -> None:
    """Wrapped or plain, codec weights have the codec's names, without the stored tables."""
    weights = open_checkpoint(source).codec_weights()
    assert weights["quantizer.quantizer.quantizers.0.codebook.weight"].shape[0] in (128, 1024)
    assert not any("freqs_cis" in name or name.startswith("generator") for name in weights)
    assert "decoder.model.0.conv.parametrizations.weight.original1" in weights


def test_codec_as_safetensors_beside_discriminators(tmp_path: Path) -> None:
    """The codec may be a safetensors file; what is not the generator's is left out."""
    directory = copy_of(S1, tmp_path)
    weights = {n: t.clone() for n, t in stored(directory / "codec.pth").items()}
    weights["discriminator.weight"] = torch.zeros(3)
    (directory / "codec.pth").unlink()
    save_file(weights, directory / "codec.safetensors")
    assert shapes(open_checkpoint(directory).codec_weights()) == shapes(
        open_checkpoint(S1).codec_weights()
    )


def test_official_codec_sizes_are_checked_against_the_model(tmp_path: Path) -> None:
    """Without codec_config.json the codec is the published one, with which the model must agree."""
    directory = copy_of(S1, tmp_path)
    (directory / "codec_config.json").unlink()
    with pytest.raises(CheckpointError, match="the published codec has codebooks of 4096"):
        open_checkpoint(directory)
    edit_json(directory / "config.json", codebook_size=4096)
    assert open_checkpoint(directory).codec == CodecSizes()


def test_weights_that_fit_pass() -> None:
    """Exactly the expected tensors are accepted."""
    check_weights(shapes(TWO_LAYERS), TWO_LAYERS, path="model.pth")


@pytest.mark.parametrize(
    ("weights", "tensor", "message"),
    [
        ({"1.weight": None}, "1.weight", r"'1.weight' of shape \[2, 2\] is missing in w.pth"),
        ({"2.bias": torch.zeros(7)}, "2.bias", r"'2.bias' of shape \[7\] in w.pth is not part"),
        (
            {"0.bias": torch.zeros(1, 2)},
            "0.bias",
            r"'0.bias' in w.pth has shape \[1, 2\], expected \[2\]",
        ),
        (
            {"0.bias": torch.zeros(1), "1.weight": None, "9": torch.zeros(1), "8": torch.zeros(1)},
            "0.bias",
            r"4 tensors do not fit: 1 misshapen, 1 missing, 2 surplus",
        ),
    ],
)
def test_weights_that_do_not_fit(
    weights: dict[str, torch.Tensor | None], tensor: str, message: str
) -> None:
    """A missing, surplus or misshapen tensor is named with its shapes, and others are counted."""
    found = {name: t for name, t in (TWO_LAYERS | weights).items() if t is not None}
    with pytest.raises(CheckpointError, match=message) as caught:
        check_weights(shapes(TWO_LAYERS), found, path="w.pth")
    assert caught.value.tensor == tensor
    assert caught.value.path == "w.pth"
    assert not caught.value.retryable


def test_loading_keeps_the_file_s_memory() -> None:
    """On the CPU and in the same dtype a parameter is the tensor that was given, not a copy."""
    module = two_layers()
    load_into(module, TWO_LAYERS, device="cpu", dtype=torch.float32, path="w.pth")
    for name, parameter in module.named_parameters():
        assert parameter.data_ptr() == TWO_LAYERS[name].data_ptr()
        assert not parameter.requires_grad
    assert torch.equal(module(torch.ones(3)), torch.tensor([4.0, 13.0]))


def test_loading_converts() -> None:
    """Another dtype is converted to, and a tensor that is not contiguous is laid out anew."""
    module = two_layers()
    weights = TWO_LAYERS | {"0.weight": torch.arange(6.0).reshape(3, 2).T}
    load_into(module, weights, device="cpu", dtype=torch.bfloat16, path="w.pth")
    loaded = module.get_parameter("0.weight")
    assert loaded.dtype == torch.bfloat16
    assert loaded.is_contiguous()
    assert torch.equal(loaded.float(), weights["0.weight"])


def test_loading_is_strict() -> None:
    """Weights of another module are refused before any of them is taken."""
    module = two_layers()
    with pytest.raises(CheckpointError, match=r"'0.bias'"):
        load_into(
            module,
            TWO_LAYERS | {"0.bias": torch.zeros(3)},
            device="cpu",
            dtype=torch.float32,
            path="w.pth",
        )
    assert all(parameter.is_meta for parameter in module.parameters())


@pytest.mark.parametrize(
    ("gain", "direction"),
    [
        ("c.parametrizations.weight.original0", "c.parametrizations.weight.original1"),
        ("c.weight_g", "c.weight_v"),
    ],
)
@pytest.mark.parametrize("shape", [(4, 3, 5), (4, 1), (2, 2, 1, 1)])
def test_weight_norm_is_that_of_torch(gain: str, direction: str, shape: tuple[int, ...]) -> None:
    """Both spellings give the weight that torch's own weight norm computes."""
    generator = torch.Generator().manual_seed(7)
    v = torch.randn(shape, generator=generator)
    g = torch.randn([shape[0], *[1] * (len(shape) - 1)], generator=generator)
    bias = torch.ones(2)
    baked = bake_weight_norm({gain: g, "c.bias": bias, direction: v})
    assert list(baked) == ["c.bias", "c.weight"]
    assert baked["c.bias"] is bias
    torch.testing.assert_close(baked["c.weight"], torch._weight_norm(v, g, 0))


def test_weight_norm_is_computed_in_float32() -> None:
    """Pairs in a narrow dtype are widened before they are multiplied."""
    v, g = torch.rand(3, 4).bfloat16(), torch.rand(3, 1).bfloat16()
    baked = bake_weight_norm({"weight_g": g, "x.weight_g": g, "x.weight_v": v})
    assert baked["x.weight"].dtype == torch.float32
    expected = torch._weight_norm(v.float(), g.float(), 0)
    torch.testing.assert_close(baked["x.weight"], expected)
    assert baked["weight_g"] is g  # half a pair is left for the strict check


@pytest.mark.parametrize("shape", [(3,), (3, 4), (4, 1)])
def test_gains_that_do_not_fit(shape: tuple[int, ...]) -> None:
    """A gain of another shape than its direction needs is an error with both shapes."""
    pair = {"x.weight_g": torch.ones(shape), "x.weight_v": torch.ones(3, 4)}
    with pytest.raises(CheckpointError, match=r"'x.weight_g' in codec.pth.*\[3, 4\]") as caught:
        bake_weight_norm(pair, path="codec.pth")
    assert caught.value.tensor == "x.weight_g"
    with pytest.raises(CheckpointError, match=r"'x.weight_g' has shape"):
        bake_weight_norm(pair)


def test_baked_codec_has_no_pairs_left() -> None:
    """All weight norms of a codec are folded away."""
    baked = bake_weight_norm(open_checkpoint(S1).codec_weights())
    assert not [name for name in baked if "original" in name or name.endswith(("_g", "_v"))]
    assert baked["decoder.model.1.block.1.conv.weight"].shape == (32, 16, 16)


def test_shards_are_those_of_the_index(tmp_path: Path) -> None:
    """A tensor that the index promises has to be in the shard, and none may be in two."""
    directory = copy_of(S2, tmp_path)
    index = directory / "model.safetensors.index.json"
    weight_map = json.loads(index.read_text())["weight_map"]
    promised = {"text_model.model.extra": "model-00002-of-00002.safetensors"}
    edit_json(index, weight_map=weight_map | promised)
    with pytest.raises(CheckpointError, match=r"'text_model.model.extra' is missing in .*00002"):
        open_checkpoint(directory).model_weights()
    edit_json(index, weight_map=weight_map)
    shard = directory / "model-00002-of-00002.safetensors"
    save_file(load_file(shard) | {"audio_decoder.norm.weight": torch.zeros(32)}, shard)
    with pytest.raises(CheckpointError, match=r"'audio_decoder.norm.weight' is twice in .*00002"):
        open_checkpoint(directory).model_weights()
