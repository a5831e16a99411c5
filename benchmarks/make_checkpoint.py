"""Writes an S1 checkpoint of random weights, which speaks noise at the speed of a real one.

    python benchmarks/make_checkpoint.py s1-mini checkpoints/random-s1-mini --dtype bfloat16

Both the streaming engine and fish-speech load it. The shape ``s1-mini`` is that of the published
checkpoint (about 1.4 GB in bfloat16, and 1.6 GB of codec), ``small`` is quick to try things with.
"""

from __future__ import annotations

import argparse
import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import s1_tensors

Config = dict[str, Any]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
NAMED_TOKENS = [
    *("begin_of_text", "end_of_text", "pad", "im_start", "im_end"),
    *("phoneme_start", "phoneme_end", "tool_call_start", "tool_call_end"),
    *("text", "voice", "interleave", "audio_start", "audio_end", "audio"),
]
TEXT_LOUDNESS = 0.2  # of the embeddings of tokens that are no speech

LANGUAGE_MODELS: dict[str, Config] = {
    "s1-mini": {
        "vocab_size": 155_776,
        "max_seq_len": 8192,
        "codebook_size": 4096,
        "dim": 1024,
        "n_layer": 28,
        "n_head": 16,
        "n_local_heads": 8,
        "head_dim": 128,
        "intermediate_size": 3072,
        "n_fast_layer": 4,
        "fast_dim": 1024,
        "fast_n_head": 16,
        "fast_n_local_heads": 8,
        "fast_head_dim": 64,
        "fast_intermediate_size": 3072,
    },
    "small": {
        "vocab_size": 4096,
        "max_seq_len": 4096,
        "codebook_size": 1024,
        "dim": 256,
        "n_layer": 6,
        "n_head": 8,
        "n_local_heads": 4,
        "head_dim": 32,
        "intermediate_size": 768,
        "n_fast_layer": 2,
        "fast_dim": 256,
        "fast_n_head": 8,
        "fast_n_local_heads": 4,
        "fast_head_dim": 32,
        "fast_intermediate_size": 768,
    },
}
COMMON_LANGUAGE_MODEL: Config = {
    "model_type": "dual_ar",
    "norm_eps": 1e-6,
    "rope_base": 1_000_000,
    "dropout": 0.0,
    "num_codebooks": 10,
    "initializer_range": 0.02,
    "is_reward_model": False,
    "scale_codebook_embeddings": False,
    "tie_word_embeddings": True,
    "use_gradient_checkpointing": True,
    "attention_qk_norm": True,
    "attention_qkv_bias": False,
    "attention_o_bias": False,
    "fast_attention_qk_norm": False,
    "fast_attention_qkv_bias": False,
    "fast_attention_o_bias": False,
}
CODECS: dict[str, Config] = {
    "s1-mini": {
        "semantic_codebook_size": 4096,
        "codebook_dim": 8,
        "latent_dim": 1024,
        "encoder_dim": 64,
        "n_encoder_layers": 4,
        "decoder_dim": 1536,
        "n_layers": 8,
    },
    "small": {
        "semantic_codebook_size": 1024,
        "codebook_dim": 8,
        "latent_dim": 256,
        "encoder_dim": 16,
        "n_encoder_layers": 1,
        "decoder_dim": 192,
        "n_layers": 2,
    },
}
COMMON_CODEC: Config = {
    "sample_rate": 44_100,
    "hop_length": 512,
    "frame_length": 2048,
    "num_codebooks": 10,
    "residual_codebook_size": 1024,
    "n_residual_codebooks": 9,
    "encoder_rates": [2, 4, 8, 8],
    "decoder_rates": [8, 8, 4, 2],
    "decoder_transformer_layers": [0, 0, 0, 0],
    "downsample_factor": [2, 2],
    "convnext_kernel_size": 7,
    "convnext_mlp_ratio": 4.0,
    "convnext_norm_eps": 1e-6,
    "residual_unit_dilations": [1, 3, 9],
    "residual_unit_kernel_size": 7,
    "causal": True,
}


def codec_config(
    *,
    semantic_codebook_size: int,
    codebook_dim: int,
    latent_dim: int,
    encoder_dim: int,
    n_encoder_layers: int,
    decoder_dim: int,
    n_layers: int,
) -> Config:
    """All sizes of a codec, proportioned like the published one."""
    inner = codec_transformer(latent_dim, n_layers, window=128)
    return COMMON_CODEC | {
        "semantic_codebook_size": semantic_codebook_size,
        "codebook_dim": codebook_dim,
        "latent_dim": latent_dim,
        "encoder_dim": encoder_dim,
        "encoder_transformer_layers": [0, 0, 0, n_encoder_layers],
        "encoder_transformer": codec_transformer(16 * encoder_dim, n_encoder_layers, window=512),
        "decoder_dim": decoder_dim,
        "downsample_dims": [latent_dim, latent_dim],
        "quantizer_pre_module": inner,
        "quantizer_post_module": inner,
    }


def codec_transformer(dim: int, n_layers: int, *, window: int) -> Config:
    """One of the codec's transformers; fish-speech allows no other proportions in the encoder."""
    return {
        "n_layer": n_layers,
        "n_head": dim // 64,
        "head_dim": 64,
        "dim": dim,
        "intermediate_size": 3 * dim,
        "window_size": window,
        "rope_base": 10_000,
        "norm_eps": 1e-5,
    }


def write_checkpoint(
    directory: Path,
    language_model: Mapping[str, Any],
    codec: Mapping[str, Any],
    *,
    seed: int,
    dtype: torch.dtype = torch.bfloat16,
) -> None:
    """Write a checkpoint of these sizes to `directory`, one file's weights in memory at a time."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(dict(language_model), indent=1))
    (directory / "codec_config.json").write_text(json.dumps(dict(codec), indent=1))
    n_semantic, n_tokens = language_model["codebook_size"], language_model["vocab_size"]
    write_tokenizer(directory, n_semantic=n_semantic, n_tokens=n_tokens)
    shapes = s1_tensors.language_model(language_model)
    weights = s1_tensors.random_tensors(shapes, seed=seed, dtype=dtype)
    for name in ("embeddings.weight", "output.weight"):
        if name in weights:  # so that speech is made of speech, as in a trained model
            weights[name][: n_tokens - n_semantic] *= TEXT_LOUDNESS
    torch.save({f"model.{k}": v for k, v in weights.items()}, directory / "model.pth")
    del weights
    weights = s1_tensors.random_tensors(s1_tensors.codec(codec), seed=seed + 1)
    wrapped = {"state_dict": {f"generator.{k}": v for k, v in weights.items()}}
    torch.save(wrapped, directory / "codec.pth")


def write_tokenizer(directory: Path, *, n_semantic: int, n_tokens: int) -> None:
    """A tokenizer that knows the single bytes, fills up with tokens that no text contains, and
    ends with the special tokens, the semantic ones last: fish-speech fails beyond them.
    """
    names = [f"<|{name}|>" for name in NAMED_TOKENS]
    names += [f"<|semantic:{index}|>" for index in range(n_semantic)]
    n_ranks = n_tokens - len(names)
    tokens = [bytes([byte]) for byte in range(256)]
    tokens += [b"\xff" + index.to_bytes(4, "big") for index in range(256, n_ranks)]
    ranks = [f"{base64.b64encode(token).decode()} {rank}" for rank, token in enumerate(tokens)]
    (directory / "tokenizer.tiktoken").write_text("\n".join(ranks) + "\n")
    special = {name: n_ranks + index for index, name in enumerate(names)}
    (directory / "special_tokens.json").write_text(json.dumps(special))


def main() -> None:
    """Read the command line and write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", choices=LANGUAGE_MODELS)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16", help="of the language model")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    write_checkpoint(
        arguments.directory,
        COMMON_LANGUAGE_MODEL | LANGUAGE_MODELS[arguments.shape],
        codec_config(**CODECS[arguments.shape]),
        seed=arguments.seed,
        dtype=DTYPES[arguments.dtype],
    )


if __name__ == "__main__":
    main()
