"""Errors of torch and of others, in our words."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import pytest
import torch

from junetts import (
    BackendUnavailableError,
    CheckpointError,
    EngineError,
    InvalidRequestError,
    JuneTtsError,
    OutOfMemoryError,
)
from junetts._runtime.failures import another, as_junetts_error, our_errors


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.00 GB, max allowed: 9.07 GB)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_too_little_memory_is_told_as_such(error: Exception) -> None:
    """Whichever device says so, in whichever words; with what to do about it."""
    ours = as_junetts_error(error)
    assert isinstance(ours, OutOfMemoryError)
    assert "local.max_batch" in str(ours.hint)
    assert ours.__cause__ is error


def test_other_errors_keep_their_words() -> None:
    """And ours are left as they are."""
    assert (
        "RuntimeError: a kernel failed" in as_junetts_error(RuntimeError("a kernel failed")).message
    )
    assert isinstance(as_junetts_error(RuntimeError("x")), EngineError)
    mine = InvalidRequestError("no", field="text")
    assert as_junetts_error(mine) is mine


def test_a_package_that_cannot_be_loaded_is_no_failure_of_the_model() -> None:
    """It says what to install, and is not tried again."""
    ours = as_junetts_error(ImportError("no module named torch"))
    assert type(ours) is BackendUnavailableError
    assert not ours.retryable
    assert "pip install" in str(ours.hint)


class Large:
    """Stands for a tensor."""


def test_an_error_for_want_of_memory_does_not_hold_it() -> None:
    """The frames in which it arose are emptied, for it may be kept for a while."""
    kept: list[weakref.ref[Large]] = []

    def compute() -> None:
        large = Large()
        kept.append(weakref.ref(large))
        raise MemoryError

    try:
        compute()
    except MemoryError as error:
        ours = as_junetts_error(error)
    gc.collect()
    assert isinstance(ours, OutOfMemoryError)
    assert kept[0]() is None


def test_translating() -> None:
    """What is raised inside comes out as ours, with its cause."""
    with pytest.raises(EngineError, match="KeyError") as caught, our_errors():
        raise KeyError("slot")
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(CheckpointError) as told, our_errors():
        raise CheckpointError("damaged", path="x")
    assert told.value.__cause__ is None


@pytest.mark.parametrize(
    "error",
    [
        CheckpointError("damaged", path="a/b", tensor="w", hint="download it"),
        InvalidRequestError("no", field="text", backend="local"),
        OutOfMemoryError("too small", retryable=False),
    ],
)
def test_another_one_says_the_same(error: JuneTtsError) -> None:
    """But has room for its own report."""
    error.__cause__ = KeyError("x")
    twin = another(error)
    assert twin is not error
    assert type(twin) is type(error)
    assert (str(twin), twin.__dict__) == (str(error), error.__dict__)
    assert twin.__cause__ is error.__cause__


def test_it_needs_no_torch() -> None:
    """Which may be what cannot be loaded."""
    code = "import sys; import junetts._runtime.failures; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
