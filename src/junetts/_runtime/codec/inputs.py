"""Checks of what the codec is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor

from junetts._errors import InvalidRequestError

if TYPE_CHECKING:
    import numpy.typing as npt

Codes: TypeAlias = "Tensor | npt.NDArray[np.integer]"
Samples: TypeAlias = "Tensor | npt.NDArray[np.floating]"


def as_codes(codes: Codes, *, n_codebooks: int, device: torch.device) -> Tensor:
    """Return codes as int64 ``[codebook, frame]`` on the device.

    Raises:
        InvalidRequestError: wrong shape or type, or a negative code in host memory.
    """
    tensor = _as_tensor("codes", codes, kinds="iu", wanted="whole numbers")
    if tensor.dim() != 2 or tensor.shape[0] != n_codebooks:
        raise InvalidRequestError(
            f"codes must have shape [{n_codebooks}, frames], not {list(tensor.shape)}",
            field="codes",
        )
    if tensor.device.type == "cpu" and tensor.numel() and int(tensor.min()) < 0:
        raise InvalidRequestError(
            f"codes must be 0 or more, not {int(tensor.min())}", field="codes"
        )
    return tensor.to(device=device, dtype=torch.int64)


def as_samples(samples: Samples, *, device: torch.device) -> Tensor:
    """Return samples as float32 ``[n]`` on the device.

    Raises:
        InvalidRequestError: wrong shape or type, no samples, or one that is no finite number.
    """
    tensor = _as_tensor("samples", samples, kinds="f", wanted="floating-point numbers")
    if tensor.dim() != 1 or not tensor.numel():
        raise InvalidRequestError(
            f"samples must have shape [n] with n at least 1, not {list(tensor.shape)}",
            field="samples",
        )
    tensor = tensor.to(device=device, dtype=torch.float32)
    if not bool(tensor.isfinite().all()):
        raise InvalidRequestError("samples must be finite, but hold NaN or inf", field="samples")
    return tensor


def _as_tensor(field: str, values: object, *, kinds: str, wanted: str) -> Tensor:
    """Return a tensor of the numpy kinds ``kinds``; an array is copied, as it may be read-only."""
    if isinstance(values, np.ndarray) and values.dtype.kind in kinds:
        # int64 and float32, because torch does not know all of numpy's types
        return torch.from_numpy(values.astype(np.int64 if "i" in kinds else np.float32))
    if isinstance(values, Tensor) and _kind(values.dtype) in kinds:
        return values
    kind = values.dtype if isinstance(values, (np.ndarray, Tensor)) else type(values).__name__
    raise InvalidRequestError(
        f"{field} must be a numpy array or torch tensor of {wanted}, not {kind}", field=field
    )


def _kind(dtype: torch.dtype) -> str:
    if dtype == torch.bool or dtype.is_complex:
        return "other"
    return "f" if dtype.is_floating_point else "i"
