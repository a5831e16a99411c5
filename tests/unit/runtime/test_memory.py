"""What the model needs is compared with what the device has before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from checkpoint_files import S1, S2
from junetts._errors import OutOfMemoryError
from junetts._runtime import memory
from junetts._runtime.checkpoint import open_checkpoint

GIB = 2**30
NEEDS = {torch.float32: 8 * GIB, torch.bfloat16: 4 * GIB}


def test_what_fits_passes() -> None:
    """Enough memory, to the byte, and memory that nobody can measure, are no errors."""
    for free in (8 * GIB, 9 * GIB, None):
        memory.require_memory(NEEDS, "cpu", torch.float32, available=lambda _, free=free: free)


def test_a_narrower_dtype_is_suggested() -> None:
    """The error says how much is needed, how much is free, and which dtype would fit."""
    with pytest.raises(OutOfMemoryError) as caught:
        memory.require_memory(NEEDS, "cpu", torch.float32, available=lambda _: 5 * GIB)
    assert str(caught.value) == ("the model needs 8.00 GiB on cpu in float32, 5.00 GiB are free")
    assert caught.value.hint == "what would fit: dtype bfloat16, which needs 4.00 GiB"


def test_a_smaller_context_is_suggested() -> None:
    """Where the context's cost is known, the largest that fits is named."""
    with pytest.raises(OutOfMemoryError) as caught:
        memory.require_memory(
            NEEDS,
            "cuda:0",
            torch.bfloat16,
            bytes_per_column={torch.bfloat16: 2**20},
            n_columns=2048,
            available=lambda _: 3 * GIB + 1,
        )
    assert "on cuda:0 in bfloat16" in str(caught.value)
    assert caught.value.hint == "what would fit: max_context 1024, in bfloat16"


@pytest.mark.parametrize("per_column", [None, {torch.float32: 2**20}])
def test_nothing_fits(per_column: dict[torch.dtype, int] | None) -> None:
    """Where neither would help, the hint does not pretend that they do."""
    with pytest.raises(OutOfMemoryError) as caught:
        memory.require_memory(
            NEEDS,
            "cpu",
            torch.float32,
            bytes_per_column=per_column,
            n_columns=10,
            available=lambda _: 2**20,
        )
    assert "1.00 MiB are free" in str(caught.value)
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("nothing smaller fits")


def test_bytes_of_weights_and_cache() -> None:
    """Weights are counted per number; the cache per layer, head, position and utterance."""
    weights = {"a": torch.zeros(3, 4), "b": torch.zeros(5, dtype=torch.bfloat16)}
    assert memory.weight_bytes(weights, torch.float32) == 17 * 4
    sizes = open_checkpoint(S1).model
    per_column = 2 * 2 * 2 * 16  # keys and values, layers, heads, head_dim
    assert memory.cache_bytes_per_column(sizes, torch.bfloat16) == per_column * 2
    fast = per_column * 10
    assert memory.cache_bytes(sizes, torch.float32, n_slots=3, n_columns=100) == 3 * 4 * (
        per_column * 100 + fast
    )
    assert memory.cache_bytes(open_checkpoint(S2).model, torch.float32, n_slots=1) > 3072 * 4


def test_this_machine_has_memory() -> None:
    """The CPU's memory can be measured; that of a device without memory cannot."""
    free = memory.available_memory(torch.device("cpu"))
    assert free is None or free > 2**20
    assert memory.available_memory(torch.device("meta")) is None


def test_accelerators_are_asked_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA tells what is free; Metal, what it recommends less what is taken."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (7, 9))
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 10)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 4)
    assert memory.available_memory(torch.device("cuda:1")) == 7
    assert memory.available_memory(torch.device("mps")) == 6


def test_the_host_s_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux says what is available; elsewhere it is what is installed, if that can be found out."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9 kB\nMemAvailable:    5 kB\n")
    assert memory.available_on_host(meminfo) == 5120
    installed = memory.available_on_host(tmp_path / "absent")
    assert installed is None or installed > 2**20
    monkeypatch.delattr(memory.os, "sysconf", raising=False)
    assert memory.available_on_host(tmp_path / "absent") is None


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_torch_s_own_errors_are_translated(error: RuntimeError) -> None:
    """Running out of memory is one error, whatever device it happened on."""
    with (
        pytest.raises(OutOfMemoryError, match="ran out of memory while loading x") as caught,
        memory.translated_out_of_memory("loading x"),
    ):
        raise error
    assert caught.value.__cause__ is error


def test_other_errors_pass() -> None:
    """An error that is not about memory is left alone."""
    with pytest.raises(RuntimeError, match="shape"), memory.translated_out_of_memory("loading x"):
        raise RuntimeError("shape mismatch")


def test_a_real_allocation_that_fails() -> None:
    """The words that torch uses on this machine's CPU are recognised."""
    with (
        pytest.raises(OutOfMemoryError),
        memory.translated_out_of_memory("asking for too much"),
    ):
        torch.empty(2**55, dtype=torch.uint8)
