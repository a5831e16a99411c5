"""Upstream's configuration of a codec, from the sizes of any checkpoint.

The package reads the sizes from a file of its own, which describes the published codec alone.
"""

from __future__ import annotations

from typing import TypeAlias

from junetts._errors import CheckpointError
from junetts._runtime.sizes import CodecSizes, CodecTransformerSizes

Settings: TypeAlias = dict[str, object]

_CODEC = "fish_speech.models.dac.modded_dac"
_QUANTIZER = "fish_speech.models.dac.rvq.DownsampleResidualVectorQuantize"
# Positions that upstream allocates tables for, as in its own configuration: frames, and
# quarters of a frame in the encoder.
_FRAMES, _ENCODER_STEPS = 4096, 16_384
_ENCODER_WINDOW, _ENCODER_CHANNELS_PER_HEAD = 512, 64  # fixed in its code


def codec_settings(sizes: CodecSizes) -> Settings:
    """What hydra builds the codec from.

    Raises:
        CheckpointError: if upstream's code can not build a codec of these sizes.
    """
    return {
        "_target_": f"{_CODEC}.DAC",
        "sample_rate": sizes.sample_rate,
        "latent_dim": sizes.latent_dim,
        "encoder_dim": sizes.encoder_dim,
        "encoder_rates": list(sizes.encoder_rates),
        "encoder_transformer_layers": [
            0 if transformer is None else transformer.n_layers
            for transformer in sizes.encoder_transformers
        ],
        "transformer_general_config": _general(sizes),
        "decoder_dim": sizes.decoder_dim,
        "decoder_rates": list(sizes.decoder_rates),
        "quantizer": _quantizer(sizes),
    }


def _general(sizes: CodecSizes) -> Settings:
    """What the encoder's transformers have in common; the rest follows from their channels."""
    found = [sizes for sizes in sizes.encoder_transformers if sizes is not None]
    settings: Settings = {
        "_target_": f"{_CODEC}.ModelArgs",
        "_partial_": True,
        "block_size": _ENCODER_STEPS,
    }
    for transformer in found:
        _require_buildable(transformer, like=found[0])
        settings |= _rotary(transformer)
    return settings


def _require_buildable(wanted: CodecTransformerSizes, *, like: CodecTransformerSizes) -> None:
    is_buildable = (
        wanted.n_heads == wanted.dim // _ENCODER_CHANNELS_PER_HEAD
        and wanted.ffn_dim == 3 * wanted.dim
        and wanted.window == _ENCODER_WINDOW
        and _rotary(wanted) == _rotary(like)
    )
    if not is_buildable:
        raise CheckpointError(
            "the codec's encoder has proportions that fish-speech can not build: "
            f"{wanted.n_heads} heads and {wanted.ffn_dim} inner channels for {wanted.dim}, "
            f"and a window of {wanted.window}",
            hint='local.engine = "stream" can',
        )


def _quantizer(sizes: CodecSizes) -> Settings:
    return {
        "_target_": _QUANTIZER,
        "input_dim": sizes.latent_dim,
        "n_codebooks": sizes.n_codebooks - 1,
        "codebook_size": sizes.residual_codebook_size,
        "codebook_dim": sizes.codebook_dim,
        "semantic_codebook_size": sizes.semantic_codebook_size,
        "downsample_factor": list(sizes.downsample_factors),
        "downsample_dims": list(sizes.downsample_dims),
        "pre_module": _transformer(sizes.pre_transformer, sizes.latent_dim),
        "post_module": _transformer(sizes.post_transformer, sizes.latent_dim),
    }


def _transformer(sizes: CodecTransformerSizes, outer_dim: int) -> Settings:
    config: Settings = {
        "_target_": f"{_CODEC}.ModelArgs",
        "block_size": _FRAMES,
        "n_layer": sizes.n_layers,
        "n_head": sizes.n_heads,
        "dim": sizes.dim,
        "intermediate_size": sizes.ffn_dim,
    }
    return {
        "_target_": f"{_CODEC}.WindowLimitedTransformer",
        "causal": True,
        "window_size": sizes.window,
        "input_dim": outer_dim,
        "config": config | _rotary(sizes),
    }


def _rotary(sizes: CodecTransformerSizes) -> Settings:
    return {
        "head_dim": sizes.head_dim,
        "rope_base": sizes.rope_base,
        "norm_eps": sizes.norm_eps,
    }
