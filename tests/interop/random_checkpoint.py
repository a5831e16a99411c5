"""A tiny S1 checkpoint that no one has seen before: other sizes, other weights for each seed."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import make_checkpoint

N_BYTES = 256


def draw_language_model(draw: random.Random) -> dict[str, Any]:
    """Sizes of a dual AR; upstream wants heads to divide the width, and a context above 2048."""
    dim, fast_dim = draw.choice([32, 48]), draw.choice([24, 32, 48])
    codebook_size = draw.choice([1024, 1100, 1280])
    flags = ("qkv_bias", "o_bias", "qk_norm")
    return make_checkpoint.COMMON_LANGUAGE_MODEL | {
        "vocab_size": N_BYTES + len(make_checkpoint.NAMED_TOKENS) + codebook_size,
        "codebook_size": codebook_size,
        "num_codebooks": draw.choice([6, 10]),
        "max_seq_len": draw.choice([2560, 3072]),
        "norm_eps": draw.choice([1e-5, 1e-6]),
        "rope_base": draw.choice([10_000, 1_000_000]),
        "scale_codebook_embeddings": draw.choice([False, True]),
        "tie_word_embeddings": draw.choice([False, True]),
        "dim": dim,
        "n_layer": draw.randint(1, 3),
        "n_head": 4,
        "n_local_heads": draw.choice([1, 2, 4]),
        "head_dim": draw.choice([8, 12, 16]),
        "intermediate_size": draw.choice([48, 64, 80]),
        "n_fast_layer": draw.randint(1, 2),
        "fast_dim": fast_dim,
        "fast_n_head": 4,
        "fast_n_local_heads": draw.choice([1, 2, 4]),
        "fast_head_dim": draw.choice([8, 16]),
        "fast_intermediate_size": draw.choice([48, 64]),
        **{f"attention_{flag}": draw.choice([False, True]) for flag in flags},
        **{f"fast_attention_{flag}": draw.choice([False, True]) for flag in flags},
    }


def draw_codec(draw: random.Random, language_model: dict[str, Any]) -> dict[str, Any]:
    """Sizes of a codec for that model; upstream wants 64 channels per head in the encoder."""
    latent, encoder_dim = draw.choice([24, 32]), draw.choice([4, 8])
    n_encoder_layers = draw.randint(1, 2)
    encoder_transformer = make_checkpoint.codec_transformer(
        16 * encoder_dim, n_encoder_layers, window=512
    )
    return make_checkpoint.COMMON_CODEC | {
        "num_codebooks": language_model["num_codebooks"],
        "n_residual_codebooks": language_model["num_codebooks"] - 1,
        "semantic_codebook_size": language_model["codebook_size"],
        "residual_codebook_size": draw.choice([256, 1024]),
        "codebook_dim": draw.choice([4, 8]),
        "latent_dim": latent,
        "encoder_dim": encoder_dim,
        "encoder_transformer_layers": [0, 0, 0, n_encoder_layers],
        "encoder_transformer": encoder_transformer | {"head_dim": draw.choice([32, 64])},
        "decoder_dim": draw.choice([32, 48, 64]),
        "downsample_dims": [draw.choice([24, 40]), latent],
        "quantizer_pre_module": draw_transformer(draw, latent),
        "quantizer_post_module": draw_transformer(draw, latent),
    }


def draw_transformer(draw: random.Random, dim: int) -> dict[str, Any]:
    """Sizes of one of the quantizer's transformers."""
    return make_checkpoint.codec_transformer(
        dim, draw.randint(1, 3), window=draw.choice([7, 16, 48])
    ) | {
        "n_head": draw.choice([2, 4]),
        "head_dim": draw.choice([8, 16]),
        "intermediate_size": draw.choice([48, 64]),
    }


def write(directory: Path, *, seed: int) -> None:
    """Write a checkpoint whose sizes and weights follow from the seed."""
    draw = random.Random(seed)
    language_model = draw_language_model(draw)
    codec = draw_codec(draw, language_model)
    make_checkpoint.write_checkpoint(directory, language_model, codec, seed=seed)
