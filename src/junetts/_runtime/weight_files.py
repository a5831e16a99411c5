"""Tensors in files: mapped, never copied, and never by running code from the file."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import safetensors
import torch
from torch import Tensor

from junetts._errors import CheckpointError
from junetts._runtime.checkpoint_file import DOWNLOAD_AGAIN, check_file

ZIP_MAGIC = b"PK\x03\x04"

# What torch and pickle raise on files that are not what they seem, other than by running them.
UNREADABLE = (
    RuntimeError,
    pickle.UnpicklingError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    AssertionError,
    OverflowError,
    MemoryError,
    zipfile.BadZipFile,
    UserWarning,  # of odd pickles, where warnings are errors
)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Map the tensors of a torch or safetensors file.

    A torch file may wrap its tensors in ``state_dict``. Nothing else than tensors and plain
    containers is ever unpickled.

    Raises:
        CheckpointError: the file is not readable as such, or holds something else.
    """
    head = check_file(path)
    tensors = _safetensors(path) if path.suffix == ".safetensors" else _torch_file(path, head)
    for name, tensor in tensors.items():
        _check_tensor(name, tensor, path)
    return tensors


def check_weight_file(path: Path) -> None:
    """Check, without reading weights, that a torch or safetensors file is one, and whole.

    Raises:
        CheckpointError: it is not.
    """
    head = check_file(path)
    if path.suffix != ".safetensors":
        _check_archive(path, head)
        return
    with _readable(path), safetensors.safe_open(path, framework="pt"):
        pass


def _check_tensor(name: object, tensor: object, path: Path) -> None:
    if not isinstance(name, str):
        raise CheckpointError(f"{path} holds {name!r} where a tensor's name is", path=str(path))
    if not isinstance(tensor, Tensor):
        raise CheckpointError(
            f"{name!r} in {path} is no tensor, but of type {type(tensor).__name__}",
            path=str(path),
            tensor=name,
        )
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        raise CheckpointError(
            f"tensor {name!r} in {path} is not stored densely "
            f"({tensor.dtype}, {tensor.layout}, {tensor.device})",
            path=str(path),
            tensor=name,
        )


def _safetensors(path: Path) -> dict[str, Tensor]:
    with _readable(path), safetensors.safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (safetensors.SafetensorError, *UNREADABLE) as error:
        raise CheckpointError(
            f"{path} is not a complete safetensors file", path=str(path), hint=DOWNLOAD_AGAIN
        ) from error


def _torch_file(path: Path, head: bytes) -> dict[str, Tensor]:
    _check_archive(path, head)
    try:
        content = torch.load(str(path), map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is damaged, or holds other things than tensors; nothing in it was run",
            path=str(path),
            hint="such a file could run any code when it is opened: get the weights again from "
            "their publisher, or have them saved as safetensors",
        ) from error
    except UNREADABLE as error:
        raise CheckpointError(
            f"{path} is not a complete torch file", path=str(path), hint=DOWNLOAD_AGAIN
        ) from error
    return dict(_mapping(_mapping(content, path).get("state_dict", content), path))


def _mapping(content: object, path: Path) -> Mapping[str, Tensor]:
    if isinstance(content, Mapping):
        return content
    raise CheckpointError(
        f"{path} holds no table of tensors, but a {type(content).__name__}", path=str(path)
    )


def _check_archive(path: Path, head: bytes) -> None:
    """Check the archive around the tensors, so that it can be mapped.

    Files from before torch 1.6 are bare pickles or tar archives; they are refused unread. So is an
    archive with compressed parts, which torch does not write and which can be of any size inside.
    """
    if not head.startswith(ZIP_MAGIC):
        raise CheckpointError(
            f"{path} is not a torch file: not a zip archive",
            path=str(path),
            hint="it is damaged, or was saved by torch before 1.6; such files can run code "
            "and are not opened",
        )
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except UNREADABLE as error:
        raise CheckpointError(
            f"{path} is not a complete torch file", path=str(path), hint=DOWNLOAD_AGAIN
        ) from error
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise CheckpointError(f"{path} is a compressed archive, not a torch file", path=str(path))
    if any(part.filename.endswith("/constants.pkl") for part in parts):
        raise CheckpointError(
            f"{path} is a TorchScript program, not a table of weights", path=str(path)
        )
