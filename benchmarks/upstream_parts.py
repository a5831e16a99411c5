"""fish-speech 0.1.0's own model, codec and engine, loaded from an S1 checkpoint of any size.

Runs in the environment of fish-speech and imports nothing of junetts. The package reads the
sizes of its codec from a configuration file of its own; here they come from the checkpoint.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from fish_speech.inference_engine import TTSInferenceEngine
from fish_speech.models.dac.modded_dac import DAC
from fish_speech.models.text2semantic.inference import launch_thread_safe_queue
from hydra.utils import instantiate
from loguru import logger
from omegaconf import OmegaConf

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_DAC = "fish_speech.models.dac.modded_dac"
_BUFFERS = ("freqs_cis", "causal_mask")


def quieten() -> None:
    """Leave only warnings of upstream's log."""
    logger.remove()
    logger.add(sys.stderr, level="WARNING", filter=lambda record: "set seed" not in str(record))


def codec_settings(sizes: dict[str, Any]) -> dict[str, Any]:
    """Upstream's configuration of a codec with the sizes of a codec_config.json."""
    return {
        "_target_": f"{_DAC}.DAC",
        "sample_rate": sizes["sample_rate"],
        "latent_dim": sizes["latent_dim"],
        "encoder_dim": sizes["encoder_dim"],
        "encoder_rates": sizes["encoder_rates"],
        "encoder_transformer_layers": sizes["encoder_transformer_layers"],
        "decoder_dim": sizes["decoder_dim"],
        "decoder_rates": sizes["decoder_rates"],
        "decoder_transformer_layers": sizes["decoder_transformer_layers"],
        "transformer_general_config": {
            "_target_": f"{_DAC}.ModelArgs",
            "_partial_": True,
            "block_size": 16384,
            "head_dim": sizes["encoder_transformer"]["head_dim"],
            "rope_base": sizes["encoder_transformer"]["rope_base"],
            "norm_eps": sizes["encoder_transformer"]["norm_eps"],
        },
        "quantizer": {
            "_target_": "fish_speech.models.dac.rvq.DownsampleResidualVectorQuantize",
            "input_dim": sizes["latent_dim"],
            "n_codebooks": sizes["n_residual_codebooks"],
            "codebook_size": sizes["residual_codebook_size"],
            "codebook_dim": sizes["codebook_dim"],
            "semantic_codebook_size": sizes["semantic_codebook_size"],
            "downsample_factor": sizes["downsample_factor"],
            "downsample_dims": sizes["downsample_dims"],
            "pre_module": _transformer(sizes, "quantizer_pre_module"),
            "post_module": _transformer(sizes, "quantizer_post_module"),
        },
    }


def _transformer(sizes: dict[str, Any], name: str) -> dict[str, Any]:
    wanted = dict(sizes[name])
    window = wanted.pop("window_size")
    return {
        "_target_": f"{_DAC}.WindowLimitedTransformer",
        "causal": True,
        "window_size": window,
        "input_dim": sizes["latent_dim"],
        "config": {"_target_": f"{_DAC}.ModelArgs", "block_size": 4096} | wanted,
    }


def load_codec(checkpoint: Path) -> DAC:
    """Upstream's codec with the weights of the checkpoint, all of them and no others."""
    sizes = json.loads((checkpoint / "codec_config.json").read_text())
    codec: DAC = instantiate(OmegaConf.create(codec_settings(sizes)))
    weights = torch.load(checkpoint / "codec.pth", map_location="cpu", mmap=True, weights_only=True)
    weights = weights.get("state_dict", weights)
    wanted = {
        name.removeprefix("generator."): value
        for name, value in weights.items()
        if not name.endswith(_BUFFERS)
    }
    result = codec.load_state_dict(wanted, strict=False, assign=True)
    missing = [name for name in result.missing_keys if not name.endswith(_BUFFERS)]
    if missing or result.unexpected_keys:
        raise SystemExit(f"missing {missing}, unexpected {result.unexpected_keys}")
    return codec.eval()


def load_engine(checkpoint: Path, *, dtype: torch.dtype) -> TTSInferenceEngine:
    """Upstream's engine on the CPU, as its server assembles it; its language model has a thread."""
    queue = launch_thread_safe_queue(str(checkpoint), "cpu", dtype)
    return TTSInferenceEngine(queue, load_codec(checkpoint), precision=dtype, compile=False)
