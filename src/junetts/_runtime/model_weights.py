"""The language model's weights: which files they are in, and by which names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PureWindowsPath

import torch
from torch import Tensor

from junetts._errors import CheckpointError
from junetts._runtime.json_file import Fields, read_object
from junetts._runtime.weight_files import check_weight_file, read_weights

TORCH_WEIGHTS = "model.pth"
INDEX = "model.safetensors.index.json"
SINGLE_WEIGHTS = "model.safetensors"

# Tables that some releases store with the weights; they follow from the sizes.
TABLES = ("freqs_cis", "causal_mask")


def check_shards(index: Path) -> None:
    """Check, without reading weights, that the files named in ``index`` are there and whole.

    Raises:
        CheckpointError: the index is malformed or names another place, or a file is not usable.
    """
    for shard in set(_weight_map(index).values()):
        check_weight_file(shard)


def read_model_weights(path: Path) -> dict[str, Tensor]:
    """Map the weights in ``path``, a file or the index of several, by the names of our modules.

    Raises:
        CheckpointError: a file is missing, damaged, or holds something else than weights.
    """
    stored = _read_shards(path) if path.name == INDEX else read_weights(path)
    has_prefix = any(name.startswith("model.") for name in stored)
    named: dict[str, Tensor] = {}
    for stored_name, tensor in stored.items():
        name = _model_name(stored_name, has_prefix=has_prefix)
        if name is not None:
            _add(named, name, tensor, path)
    check_floating(named, path)
    return _join_projections(named, path)


def _weight_map(index: Path) -> dict[str, Path]:
    """Which file each tensor is in; only files beside the index are accepted."""
    weight_map = read_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise Fields(index, {}).wrong("weight_map", "must be an object of tensor and file names")
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or not _is_plain(shard):
            raise CheckpointError(
                f"{index} says that {name!r} is in {shard!r}, which is not a plain file name",
                path=str(index),
                tensor=name,
            )
    return {name: index.parent / shard for name, shard in weight_map.items()}


def _is_plain(name: str) -> bool:
    """Whether a name stays beside the index; Windows' rules are the stricter ones."""
    is_hidden = name.startswith(".")  # and the parent directory's name is
    return bool(name) and not is_hidden and PureWindowsPath(name).name == name and "\0" not in name


def _read_shards(index: Path) -> dict[str, Tensor]:
    weight_map = _weight_map(index)
    weights: dict[str, Tensor] = {}
    for shard in sorted(set(weight_map.values())):
        for name, tensor in read_weights(shard).items():
            _add(weights, name, tensor, shard)
    for name, shard in weight_map.items():
        if name not in weights:
            raise CheckpointError(
                f"tensor {name!r} is missing in {shard}, where {index.name} says it is",
                path=str(shard),
                tensor=name,
            )
    return weights


def _model_name(name: str, *, has_prefix: bool) -> str | None:
    """Our name of a stored tensor; None if it belongs to no part that speaks."""
    if name.startswith("text_model.model."):
        name = name.removeprefix("text_model.model.")
    elif name.startswith("audio_decoder.codebook_embeddings."):
        name = name.removeprefix("audio_decoder.")
    elif name.startswith("audio_decoder."):
        name = f"fast_{name.removeprefix('audio_decoder.')}"
    elif has_prefix:
        name = name.removeprefix("model.")
    return None if "audio_" in name or is_table(name) else name


def is_table(name: str) -> bool:
    """Whether the tensor only follows from the sizes."""
    return name.rpartition(".")[2].removeprefix("fast_") in TABLES


def _join_projections(weights: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Join separate projections to queries, keys and values into the one that the model has."""
    joined: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        parts = [name.replace(".attention.wq.", f".attention.{p}.") for p in ("wq", "wk", "wv")]
        if ".attention.wq." in name and all(part in weights for part in parts):
            together = name.replace(".wq.", ".wqkv.")
            _add(joined, together, _concatenated(weights, parts, path), path)
        elif not _is_joined(name, weights):
            _add(joined, name, tensor, path)
    return joined


def _is_joined(name: str, weights: Mapping[str, Tensor]) -> bool:
    """Whether the tensor went into the joint projection of its layer."""
    for part in (".attention.wk.", ".attention.wv."):
        if part in name:
            family = (name.replace(part, f".attention.{p}.") for p in ("wq", "wk", "wv"))
            return all(member in weights for member in family)
    return False


def _concatenated(weights: Mapping[str, Tensor], names: list[str], path: Path) -> Tensor:
    tensors = [weights[name] for name in names]
    if len({tensor.shape[1:] for tensor in tensors}) > 1 or not tensors[0].dim():
        shapes = ", ".join(str(list(tensor.shape)) for tensor in tensors)
        raise CheckpointError(
            f"tensors {', '.join(names)} in {path} have shapes {shapes}, which do not fit together",
            path=str(path),
            tensor=names[0],
        )
    return torch.cat(tensors)


def _add(weights: dict[str, Tensor], name: str, tensor: Tensor, path: Path) -> None:
    if name in weights:
        raise CheckpointError(f"tensor {name!r} is twice in {path}", path=str(path), tensor=name)
    weights[name] = tensor


def check_floating(weights: Mapping[str, Tensor], path: Path) -> None:
    """Check that all weights are floating-point numbers.

    Raises:
        CheckpointError: naming the first that is not.
    """
    for name, tensor in weights.items():
        if not tensor.is_floating_point():
            dtype = str(tensor.dtype).removeprefix("torch.")
            raise CheckpointError(
                f"tensor {name!r} in {path} has dtype {dtype}, which no weight has",
                path=str(path),
                tensor=name,
                hint="quantised checkpoints cannot be loaded",
            )
