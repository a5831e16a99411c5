"""A checkpoint directory: its sizes, its tokenizer, and where its weights are."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from junetts._errors import CheckpointError
from junetts._runtime.checkpoint_file import INCOMPLETE
from junetts._runtime.codec_config import CODEC_CONFIG, read_codec_sizes
from junetts._runtime.config_files import CONFIG, ModelConfig, read_model_config
from junetts._runtime.model_weights import (
    INDEX,
    SINGLE_WEIGHTS,
    TORCH_WEIGHTS,
    check_floating,
    check_shards,
    is_table,
    read_model_weights,
)
from junetts._runtime.sizes import CodecSizes, ModelSizes
from junetts._runtime.tokenizer import Tokenizer, read_tokenizer
from junetts._runtime.weight_files import check_weight_file, read_weights
from junetts._runtime.weight_loading import check_weights, load_into
from junetts._runtime.weight_norm import bake_weight_norm

__all__ = ["Checkpoint", "bake_weight_norm", "check_weights", "load_into", "open_checkpoint"]

WHAT_IT_IS = (
    "a checkpoint is a directory with config.json, weights, tokenizer and codec.pth: "
    "`junetts download s1-mini` fetches one, local.checkpoint says where it is"
)
CODEC_WEIGHTS = ("codec.pth", "codec.safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint that was found, and whose config files make sense; no weights are loaded.

    Attributes:
        model_path: what errors about the language model's weights name: a file, or the index of
            several.
        codec_path: the file of the codec's weights.
    """

    directory: Path
    model: ModelSizes
    codec: CodecSizes
    model_path: Path
    codec_path: Path
    config: ModelConfig

    def load_tokenizer(self) -> Tokenizer:
        """Read the tokenizer, and check its ids against the sizes.

        Raises:
            CheckpointError: it is missing or damaged, or does not belong to this model.
        """
        return read_tokenizer(
            self.directory,
            sizes=self.model,
            semantic_ids=self.config.semantic_ids,
            n_semantic=self.codec.semantic_codebook_size,
        )

    def model_weights(self) -> dict[str, Tensor]:
        """The language model's weights, mapped from the file, by the names of our modules.

        Raises:
            CheckpointError: a file is missing, damaged, or holds something else than weights.
        """
        return read_model_weights(self.model_path)

    def codec_weights(self) -> dict[str, Tensor]:
        """The codec's weights, mapped from the file; weight norm is not baked yet.

        Raises:
            CheckpointError: the file is damaged, or holds something else than weights.
        """
        stored = read_weights(self.codec_path)
        if any(name.startswith("generator.") for name in stored):
            # Saved in the middle of adversarial training: the discriminators are of no use here.
            stored = {
                name.removeprefix("generator."): tensor
                for name, tensor in stored.items()
                if name.startswith("generator.")
            }
        weights = {name: t for name, t in stored.items() if not is_table(name)}
        check_floating(weights, self.codec_path)
        return weights


def open_checkpoint(directory: str | Path) -> Checkpoint:
    """Look at a checkpoint directory of either family, without loading weights.

    Raises:
        CheckpointError: the directory or a file in it is missing, a config file is malformed or
            contradicts itself or another, or a weight file is not whole or not what it should be.
    """
    directory = Path(directory).expanduser()
    _check_directory(directory)
    config = read_model_config(directory)
    codec = read_codec_sizes(directory)
    _check_codebooks(directory, config.sizes, codec)
    return Checkpoint(
        directory=directory,
        model=config.sizes,
        codec=codec,
        model_path=_find_model_weights(directory, config.sizes),
        codec_path=_find(directory, CODEC_WEIGHTS, "codec weights"),
        config=config,
    )


def _check_directory(directory: Path) -> None:
    try:
        names = os.listdir(directory)
    except (OSError, ValueError) as error:  # ValueError: the path holds a null character
        raise CheckpointError(
            _no_directory(directory, error), path=str(directory), hint=WHAT_IT_IS
        ) from error
    if CONFIG not in names:
        raise CheckpointError(f"{directory} has no {CONFIG}", path=str(directory), hint=WHAT_IT_IS)


def _no_directory(directory: Path, error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"there is no directory {directory}"
    reason = error.strerror if isinstance(error, OSError) else error
    return f"{directory} is not a readable directory: {reason}"


def _check_codebooks(directory: Path, model: ModelSizes, codec: CodecSizes) -> None:
    path = directory / CODEC_CONFIG
    place = str(path) if path.exists() else "the published codec"
    largest = max(codec.semantic_codebook_size, codec.residual_codebook_size)
    if codec.n_codebooks != model.n_codebooks:
        problem = f"{codec.n_codebooks} codebooks, but {directory / CONFIG} {model.n_codebooks}"
    elif largest > model.codebook_size:
        problem = (
            f"codebooks of {largest} entries, "
            f"but {directory / CONFIG} has room for {model.codebook_size}"
        )
    else:
        return
    raise CheckpointError(
        f"{place} has {problem}",
        path=str(path if path.exists() else directory / CONFIG),
        hint=f"codec and language model belong together; {CODEC_CONFIG} gives the sizes of a "
        "codec that is not the published one",
    )


def _find_model_weights(directory: Path, sizes: ModelSizes) -> Path:
    names = [INDEX, SINGLE_WEIGHTS]
    names.insert(0 if sizes.family == "s1" else 2, TORCH_WEIGHTS)
    return _find(directory, names, "language model weights")


def _find(directory: Path, names: Iterable[str], what: str) -> Path:
    for name in names:
        if os.path.lexists(directory / name):  # a link into nowhere is reported as such
            _check_whole(directory / name)
            return directory / name
    raise CheckpointError(
        f"{directory} has no {what}: {' or '.join(names)}",
        path=str(directory),
        hint=INCOMPLETE,
    )


def _check_whole(path: Path) -> None:
    if path.name == INDEX:
        check_shards(path)
    else:
        check_weight_file(path)
