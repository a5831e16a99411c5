"""What goes wrong in the model, in our words; torch itself may be what cannot be loaded."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy

from junetts._errors import (
    BackendUnavailableError,
    EngineError,
    JuneTtsError,
    OutOfMemoryError,
)

# Only CUDA has an error type of its own for this; a processor, Apple's GPU and the libraries of
# matrix products and convolutions say it in words.
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")


def as_junetts_error(error: Exception) -> JuneTtsError:
    """The error as one of ours, with the original as its cause."""
    if isinstance(error, JuneTtsError):
        return error
    ours: JuneTtsError
    if _is_out_of_memory(error):
        traceback.clear_frames(error.__traceback__)  # they hold what filled the memory
        ours = OutOfMemoryError(
            "the device has no memory left",
            hint="lower local.max_batch or local.max_context, or shorten the text",
        )
    elif isinstance(error, ImportError):
        ours = BackendUnavailableError(
            f"a package cannot be loaded: {error}",
            retryable=False,
            hint='pip install "junetts[local]"',
        )
    else:
        ours = EngineError(f"the model failed: {type(error).__name__}: {error}")
    ours.__cause__ = error
    return ours


@contextmanager
def our_errors() -> Iterator[None]:
    """Translate whatever is raised in here."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  (noqa: reviewed) translated, not swallowed
        raise as_junetts_error(error)  # noqa: B904  its cause is in place


def another(error: JuneTtsError) -> JuneTtsError:
    """The same error for one more utterance: what was heard is written into each one's own."""
    twin = copy(error)
    twin.__cause__ = error.__cause__
    return twin


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
