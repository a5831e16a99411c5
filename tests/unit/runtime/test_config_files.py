"""Sizes are read from the config files of both layouts, with upstream's defaults and with care."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from checkpoint_files import S1, S2, copy_of, edit_json
from junetts._errors import CheckpointError
from junetts._runtime.codec_config import read_codec_sizes
from junetts._runtime.config_files import read_model_config
from junetts._runtime.sizes import CodecSizes, CodecTransformerSizes


def s1(directory: Path, **fields: object) -> Any:
    """The sizes that an S1 config with only these fields gives."""
    text = json.dumps({"model_type": "dual_ar", **fields})
    (directory / "config.json").write_text(text)
    return read_model_config(directory).sizes


def s2(directory: Path, **changes: dict[str, object]) -> Any:
    """The sizes of the tiny S2 config with some fields of its sections changed; `...` removes."""
    config = json.loads((S2 / "config.json").read_text())
    for section, fields in changes.items():
        merged = config[section] | fields
        config[section] = {name: value for name, value in merged.items() if value != ...}
    (directory / "config.json").write_text(json.dumps(config))
    return read_model_config(directory).sizes


def codec(directory: Path, **fields: object) -> CodecSizes:
    """The codec sizes that a config with only these fields gives."""
    (directory / "codec_config.json").write_text(json.dumps(fields))
    return read_codec_sizes(directory)


def test_s1_sizes_are_read() -> None:
    """The tiny S1 config becomes the sizes that its README states."""
    config = read_model_config(S1)
    sizes = config.sizes
    assert (sizes.family, sizes.vocab_size, sizes.context) == ("s1", 1589, 3072)
    assert (sizes.codebook_size, sizes.n_codebooks) == (1280, 10)
    assert sizes.slow.qk_norm
    assert sizes.slow.qkv_bias
    assert not sizes.slow.o_bias
    assert not sizes.fast.qk_norm
    assert sizes.fast.o_bias
    assert sizes.is_head_tied
    assert not sizes.scales_embeddings
    assert not sizes.norms_fast_input
    assert config.semantic_ids is None


def test_s2_sizes_are_read() -> None:
    """The tiny S2 config becomes the sizes of its two sections, and S2's own rules."""
    config = read_model_config(S2)
    sizes = config.sizes
    assert (sizes.family, sizes.vocab_size, sizes.context) == ("s2", 576, 3072)
    assert (sizes.slow.dim, sizes.fast.dim, sizes.fast.n_heads) == (40, 32, 2)
    assert (sizes.codebook_size, sizes.n_codebooks) == (256, 10)
    assert not sizes.is_head_tied
    assert sizes.scales_embeddings
    assert sizes.norms_fast_input
    assert config.semantic_ids == (314, 569)


def test_s1_defaults_are_those_of_the_release(tmp_path: Path) -> None:
    """A config that only says what it is has the default sizes of fish-speech 0.1.0."""
    sizes = s1(tmp_path)
    assert (sizes.vocab_size, sizes.codebook_size, sizes.n_codebooks) == (32_000, 160, 4)
    assert sizes.context == 2048
    assert (sizes.slow.n_layers, sizes.slow.dim, sizes.slow.n_heads) == (32, 4096, 32)
    assert (sizes.slow.n_kv_heads, sizes.slow.head_dim) == (32, 64)
    assert sizes.slow.ffn_dim == 11_008
    assert (sizes.slow.rope_base, sizes.slow.norm_eps) == (10_000.0, 1e-5)
    assert sizes.fast.n_layers == 4
    assert (sizes.fast.dim, sizes.fast.ffn_dim) == (4096, 11_008)
    assert sizes.is_head_tied


@pytest.mark.parametrize(
    ("fields", "head_dim"), [({}, 64), ({"head_dim": None}, 24), ({"head_dim": 10}, 10)]
)
def test_head_dim_absent_null_or_given(
    tmp_path: Path, fields: dict[str, object], head_dim: int
) -> None:
    """Absent it is 64, null it follows from dim, as in the release."""
    sizes = s1(tmp_path, dim=96, n_head=4, **fields)
    assert sizes.slow.head_dim == head_dim
    assert sizes.fast.head_dim == head_dim


def test_fast_fields_fall_back_to_the_slow_ones(tmp_path: Path) -> None:
    """Absent, null or zero fast fields are the slow ones; false is a value of its own."""
    sizes = s1(
        tmp_path,
        dim=64,
        n_head=4,
        n_local_heads=2,
        intermediate_size=128,
        rope_base=500,
        norm_eps=1e-6,
        fast_dim=0,
        fast_n_head=None,
        attention_qk_norm=True,
        attention_o_bias=True,
        fast_attention_o_bias=False,
    )
    fast = sizes.fast
    assert (fast.dim, fast.n_heads, fast.n_kv_heads, fast.ffn_dim) == (64, 4, 2, 128)
    assert (fast.rope_base, fast.norm_eps) == (500.0, 1e-6)
    assert fast.qk_norm
    assert not fast.o_bias


def test_s2_head_dim_and_heads_have_defaults(tmp_path: Path) -> None:
    """An S2 config may leave out what follows from its other sizes."""
    sizes = s2(
        tmp_path,
        text_config={"head_dim": ..., "n_local_heads": -1, "dim": 40},
    )
    assert (sizes.slow.n_kv_heads, sizes.slow.head_dim) == (4, 10)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dim", 0),
        ("dim", "32"),
        ("dim", 3.5),
        ("n_layer", True),
        ("n_layer", 1025),  # more would take minutes to build before weights are compared
        ("num_codebooks", 1025),
        ("dim", 2**24 + 1),
        ("vocab_size", -4),
        ("rope_base", "many"),
        ("norm_eps", 0),
        ("norm_eps", False),
        ("tie_word_embeddings", 1),
        ("n_local_heads", -2),
        ("num_codebooks", [1]),
        ("rope_base", float("inf")),
    ],
)
def test_wrong_fields_are_named(tmp_path: Path, field: str, value: object) -> None:
    """A field of another type or out of bounds is an error naming file, field and value."""
    with pytest.raises(CheckpointError) as caught:
        s1(tmp_path, **{field: value})
    assert f"{field} in {tmp_path / 'config.json'}" in str(caught.value)
    assert repr(value) in str(caught.value)
    assert caught.value.path == str(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"text_config": {"dim": ...}}, "text_config.dim .* is missing"),
        ({"audio_decoder_config": {"vocab_size": None}}, "audio_decoder_config.vocab_size"),
        ({"audio_decoder_config": {"text_dim": 41}}, "text_dim .* is 41, but .* is 40"),
        ({"text_config": {"n_local_heads": 3}}, "slow transformer .* 4 heads cannot share 3"),
        ({"text_config": {"n_local_heads": 0}}, "slow transformer .* 4 heads cannot share 0"),
        ({"audio_decoder_config": {"head_dim": 15}}, "fast transformer .* must be even"),
    ],
)
def test_contradictions_in_s2_are_found(
    tmp_path: Path, changes: dict[str, dict[str, object]], problem: str
) -> None:
    """Missing fields, sizes that do not fit together and odd heads are errors that say so."""
    with pytest.raises(CheckpointError, match=problem):
        s2(tmp_path, **changes)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"text_config": ...}, "text_config .* is missing"),
        ({"text_config": [1]}, "text_config .* must be an object"),
        ({"semantic_end_token_id": 3}, "is 3, before semantic_start_token_id, 314"),
        ({"semantic_start_token_id": ...}, "semantic_start_token_id .* is missing"),
        ({"model_type": "llama"}, "'llama', which is not known"),
        ({"model_type": ...}, "model_type .* is missing"),
        ({"model_type": 3}, "model_type .* must be a string"),
    ],
)
def test_top_level_fields_are_checked(
    tmp_path: Path, changes: dict[str, object], problem: str
) -> None:
    """What the config is, and where its semantic tokens are, has to be said."""
    directory = copy_of(S2, tmp_path)
    edit_json(directory / "config.json", **changes)
    with pytest.raises(CheckpointError, match=problem):
        read_model_config(directory)


def test_official_codec_without_a_config(tmp_path: Path) -> None:
    """Where there is no codec_config.json, and where it is empty, sizes are the published ones."""
    assert read_codec_sizes(tmp_path) == CodecSizes()
    assert codec(tmp_path) == CodecSizes()


def test_codec_sizes_are_read() -> None:
    """The tiny codec's config becomes its sizes; unknown and unused fields do not matter."""
    sizes = read_codec_sizes(S1)
    assert sizes.frame_length == 2048
    assert (sizes.latent_dim, sizes.decoder_dim, sizes.codebook_dim) == (24, 32, 4)
    assert sizes.encoder_transformers[:3] == (None, None, None)
    assert sizes.encoder_transformers[3] == CodecTransformerSizes(
        n_layers=1, dim=64, n_heads=1, head_dim=32, ffn_dim=192, window=512
    )
    assert (sizes.pre_transformer.n_layers, sizes.post_transformer.n_layers) == (1, 2)
    assert sizes.post_transformer.window == 48


def test_encoder_transformers_of_other_blocks_follow_the_rule(tmp_path: Path) -> None:
    """The config's heads are those of the block that it describes; others have dim // 64."""
    sizes = codec(
        tmp_path,
        encoder_transformer_layers=[0, 2, 0, 1],
        encoder_transformer={"dim": 1024, "n_head": 8, "head_dim": 32, "intermediate_size": 100},
    )
    first, last = sizes.encoder_transformers[1], sizes.encoder_transformers[3]
    assert first is not None
    assert last is not None
    assert (first.n_layers, first.dim, first.n_heads, first.ffn_dim) == (2, 256, 4, 768)
    assert (last.n_layers, last.dim, last.n_heads, last.ffn_dim) == (1, 1024, 8, 100)
    assert first.head_dim == last.head_dim == 32


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"encoder_rates": []}, "encoder_rates .* list of whole numbers"),
        ({"encoder_rates": [2, 0]}, "encoder_rates"),
        ({"encoder_rates": 2}, "encoder_rates"),
        ({"encoder_rates": [1] * 33}, "encoder_rates .* 1 to 32 of them, not .*[.]{3}$"),
        ({"num_codebooks": 1025}, "num_codebooks .* to 1024"),
        ({"encoder_transformer_layers": [0, 0, 0, 1025]}, "encoder_transformer_layers .* to 1024"),
        ({"quantizer_post_module": {"n_layer": 1025}}, "quantizer_post_module.n_layer .* to 1024"),
        ({"encoder_rates": [2, 4, 8, 4]}, "decoder_rates .* must multiply to 256"),
        ({"hop_length": 256}, "hop_length .* must be 512"),
        ({"frame_length": 2049}, "frame_length .* must be 2048"),
        ({"n_residual_codebooks": 8}, "n_residual_codebooks .* must be 9"),
        ({"encoder_transformer_layers": [0, 0]}, "2 entries, but encoder_rates has 4"),
        ({"decoder_dim": 24}, "decoder_dim .* halved"),
        ({"downsample_dims": [4]}, "downsample_dims .* as many entries"),
        ({"causal": False}, "only causal codecs"),
        ({"downsample_dims": [1024, 7]}, "downsample_dims .* must end with latent_dim, 1024"),
        ({"quantizer_post_module": 8}, "quantizer_post_module .* must be an object"),
        ({"quantizer_post_module": {"head_dim": 9}}, "quantizer_post_module.head_dim .* even"),
        ({"quantizer_post_module": {"n_local_heads": 2}}, "n_local_heads .* must be 16"),
        ({"sample_rate": "44.1k"}, "sample_rate"),
        ({"convnext_mlp_ratio": -1}, "convnext_mlp_ratio .* positive"),
    ],
)
def test_codec_config_is_checked(tmp_path: Path, fields: dict[str, object], problem: str) -> None:
    """Wrong types, bounds and contradictions in the codec's config are errors that say so."""
    with pytest.raises(CheckpointError, match=problem) as caught:
        codec(tmp_path, **fields)
    assert str(tmp_path / "codec_config.json") in str(caught.value)
