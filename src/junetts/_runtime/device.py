"""Where to compute, and in which precision, if nobody says."""

from __future__ import annotations

import torch

from junetts._errors import EngineError, InvalidRequestError

AUTO = "auto"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_device(name: str | torch.device) -> torch.device:
    """The device of that name; ``auto`` is a CUDA GPU, else Apple's, else the processor.

    Raises:
        InvalidRequestError: if that is no device's name.
        EngineError: if this machine, or this build of torch, has no such device.
    """
    if name == AUTO:
        return torch.device(_best())
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InvalidRequestError(
            f"device must be auto, cpu, cuda, cuda:N or mps, not {str(name)!r}", field="device"
        ) from error
    if not _exists(device):
        raise EngineError(
            f"torch {torch.__version__} finds no device {str(device)!r} on this machine",
            retryable=False,
            hint='use device = "auto", or install a build of torch for this device',
        )
    return device


def resolve_dtype(name: str | torch.dtype, device: torch.device) -> torch.dtype:
    """The precision of that name; ``auto`` is bfloat16 on a CUDA GPU, else float32.

    Raises:
        InvalidRequestError: if it is none of ours.
    """
    if isinstance(name, torch.dtype):
        name = str(name).removeprefix("torch.")
    if name == AUTO:
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise InvalidRequestError(
            f"dtype must be auto, {', '.join(DTYPES)}, not {name!r}", field="dtype"
        )
    return DTYPES[name]


def _best() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _exists(device: torch.device) -> bool:
    if device.type == "cuda":
        return (device.index or 0) < torch.cuda.device_count()
    return device.type == "cpu" or (device.type == "mps" and torch.backends.mps.is_available())
