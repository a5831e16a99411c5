"""Turns the tiny S1 checkpoint of the tests into one that a real server can serve quickly."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import torch

# The golden weights are nearly greedy and almost never end. With these two factors every token is
# about equally likely and the end token wins once in some thirty frames: a second of noise.
FLATTEN = 0.03
END = 0.12


def make_language_model(source: Path, target: Path) -> None:
    """Write the model with an output matrix of its own, under which speech ends by itself."""
    config = json.loads((source / "config.json").read_text())
    end_token = json.loads((source / "special_tokens.json").read_text())["<|im_end|>"]
    weights = torch.load(source / "model.pth", weights_only=True)
    embeddings = weights["model.embeddings.weight"]  # [token, dim]
    output = embeddings * FLATTEN
    output[end_token] = embeddings[end_token] * END
    weights["model.output.weight"] = output
    torch.save(weights, target / "model.pth")
    (target / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))


def make_codec(source: Path, target: Path) -> None:
    """Write the codec without its rotary tables, which would bound audio to 256 frames."""
    wrapped = torch.load(source / "codec.pth", weights_only=True)
    weights = wrapped["state_dict"]
    kept = {name: value for name, value in weights.items() if not name.endswith("freqs_cis")}
    torch.save({"state_dict": kept}, target / "codec.pth")


def make_checkpoint(source: Path, target: Path) -> None:
    """Write the served checkpoint to `target`, an existing directory."""
    make_language_model(source, target)
    make_codec(source, target)
    for name in ("tokenizer.tiktoken", "special_tokens.json", "codec_config.json"):
        shutil.copyfile(source / name, target / name)


if __name__ == "__main__":
    make_checkpoint(Path(sys.argv[1]), Path(sys.argv[2]))
