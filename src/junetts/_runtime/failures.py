"""What goes wrong in torch, in our words."""

from __future__ import annotations

import torch

from junetts._errors import EngineError, JuneTtsError, OutOfMemoryError

_CPU_ALLOCATOR = "DefaultCPUAllocator"


def as_junetts_error(error: Exception) -> JuneTtsError:
    """The error as one of ours, with the original as its cause."""
    if isinstance(error, JuneTtsError):
        return error
    ours: JuneTtsError
    if _is_out_of_memory(error):
        ours = OutOfMemoryError(
            "the device has no memory left for this utterance",
            hint="lower local.max_batch or local.max_context, or shorten the text",
        )
    else:
        ours = EngineError(f"the model failed: {type(error).__name__}: {error}")
    ours.__cause__ = error
    return ours


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and _CPU_ALLOCATOR in str(error)
