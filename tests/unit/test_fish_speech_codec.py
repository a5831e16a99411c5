"""Upstream's configuration of a codec: every size in its place, or a reason why not."""

from __future__ import annotations

from dataclasses import replace

import pytest

import junetts
from junetts._runtime.sizes import CodecSizes
from junetts.backends._fish_speech_codec import codec_settings

OFFICIAL = CodecSizes()


def test_the_published_codec() -> None:
    """The sizes are those of the configuration that fish-speech 0.1.0 ships."""
    settings = codec_settings(OFFICIAL)
    assert settings["encoder_transformer_layers"] == [0, 0, 0, 4]
    assert settings["transformer_general_config"] == {
        "_target_": "fish_speech.models.dac.modded_dac.ModelArgs",
        "_partial_": True,
        "block_size": 16384,
        "head_dim": 64,
        "rope_base": 10_000.0,
        "norm_eps": 1e-5,
    }
    quantizer = settings["quantizer"]
    assert isinstance(quantizer, dict)
    assert (quantizer["n_codebooks"], quantizer["codebook_size"]) == (9, 1024)
    assert quantizer["pre_module"] == quantizer["post_module"]
    assert quantizer["post_module"]["window_size"] == 128
    assert quantizer["post_module"]["config"]["n_layer"] == 8
    assert quantizer["post_module"]["config"]["block_size"] == 4096


def test_an_encoder_without_transformers() -> None:
    """Nothing is said about transformers that there are none of."""
    settings = codec_settings(replace(OFFICIAL, encoder_transformers=(None,) * 4))
    general = settings["transformer_general_config"]
    assert isinstance(general, dict)
    assert "head_dim" not in general


@pytest.mark.parametrize(
    "change", [{"n_heads": 8}, {"ffn_dim": 2048}, {"window": 128}], ids=lambda c: next(iter(c))
)
def test_proportions_that_upstream_lacks(change: dict[str, int]) -> None:
    """An encoder that its code can not build is refused, with the engine that can."""
    last = OFFICIAL.encoder_transformers[-1]
    assert last is not None
    odd = replace(OFFICIAL, encoder_transformers=(None, None, None, replace(last, **change)))
    with pytest.raises(junetts.CheckpointError, match="can not build") as caught:
        codec_settings(odd)
    assert caught.value.hint == 'local.engine = "stream" can'
