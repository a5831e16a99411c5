"""How much memory the model needs, how much a device has, and what would fit."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from junetts._errors import OutOfMemoryError
from junetts._runtime.sizes import ModelSizes, TransformerSizes

GIB = 2**30
MIN_COLUMNS = 256  # of a context that is worth suggesting: the least that a setting takes


def weight_bytes(weights: Mapping[str, Tensor], dtype: torch.dtype) -> int:
    """Bytes that these tensors take in ``dtype``."""
    return sum(tensor.numel() for tensor in weights.values()) * dtype.itemsize


def cache_bytes_per_column(sizes: ModelSizes, dtype: torch.dtype) -> int:
    """Bytes of keys and values that the slow AR keeps for one column of one utterance."""
    return _kv_per_position(sizes.slow) * dtype.itemsize


def cache_bytes(
    sizes: ModelSizes, dtype: torch.dtype, *, n_slots: int, n_columns: int | None = None
) -> int:
    """Bytes of all keys and values for ``n_slots`` utterances at once.

    ``n_columns`` is the context of each, the model's own if None. The fast AR's cache, one
    position per codebook, is included.
    """
    columns = sizes.context if n_columns is None else n_columns
    fast = _kv_per_position(sizes.fast) * sizes.n_codebooks * dtype.itemsize
    return n_slots * (cache_bytes_per_column(sizes, dtype) * columns + fast)


def _kv_per_position(sizes: TransformerSizes) -> int:
    return 2 * sizes.n_layers * sizes.n_kv_heads * sizes.head_dim


def available_memory(device: torch.device) -> int | None:
    """Bytes that can still be allocated on ``device``; None where nobody can say."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    if device.type == "cpu":
        return available_on_host()
    return None


def available_on_host(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """What the kernel says could be allocated without swapping, else all physical memory."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found is not None:
        return int(found[1]) * 1024
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not a POSIX system, or it does not tell
        return None


def require_memory(
    n_bytes: Mapping[torch.dtype, int],
    device: torch.device | str,
    dtype: torch.dtype,
    *,
    bytes_per_column: Mapping[torch.dtype, int] | None = None,
    n_columns: int = 0,
    available: Callable[[torch.device], int | None] = available_memory,
) -> None:
    """Check that the model fits before it is loaded.

    Args:
        n_bytes: everything that will be allocated, for each dtype that the caller could use.
        device: where.
        dtype: the one that was chosen.
        bytes_per_column: the part of ``n_bytes`` that each column of context costs, all slots
            together; with it the message can name a context that fits.
        n_columns: the context that ``n_bytes`` are for.
        available: says how many bytes are free on a device, None if unknown.

    Raises:
        OutOfMemoryError: saying how much is needed, how much is free, and what would fit.
    """
    device = torch.device(device)
    free = available(device)
    if free is None or n_bytes[dtype] <= free:
        return
    per_column = (bytes_per_column or {}).get(dtype)
    columns = _columns_that_fit(n_bytes[dtype], per_column, n_columns, free)
    raise OutOfMemoryError(
        f"the model needs {_size(n_bytes[dtype])} on {device} in {_name(dtype)}, "
        f"{_size(free)} are free",
        hint=_what_fits(n_bytes, dtype, columns, free),
    )


def _columns_that_fit(n_bytes: int, per_column: int | None, n_columns: int, free: int) -> int:
    """The largest context that fits; 0 where none would or its cost is not known."""
    if not per_column:
        return 0
    return max(0, n_columns - -(-(n_bytes - free) // per_column))


def _what_fits(
    n_bytes: Mapping[torch.dtype, int], dtype: torch.dtype, columns: int, free: int
) -> str:
    fitting = [d for d in n_bytes if n_bytes[d] <= free]
    ways = []
    if fitting:
        widest = max(fitting, key=lambda d: n_bytes[d])
        ways.append(f"dtype {_name(widest)}, which needs {_size(n_bytes[widest])}")
    if columns >= MIN_COLUMNS:
        ways.append(f"max_context {columns}, in {_name(dtype)}")
    if not ways:
        return "nothing smaller fits either: free memory on the device, or use another one"
    return f"what would fit: {'; '.join(ways)}"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _size(n_bytes: int) -> str:
    if n_bytes >= GIB / 10:
        return f"{n_bytes / GIB:.2f} GiB"
    return f"{n_bytes / 2**20:.2f} MiB"


@contextlib.contextmanager
def translated_out_of_memory(doing: str) -> Iterator[None]:
    """Turn torch's own out-of-memory errors, of any device, into ours."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise _out_of_memory(doing, error) from error
    except RuntimeError as error:
        # The CPU's allocator has no error type of its own.
        if "can't allocate memory" not in str(error):
            raise
        raise _out_of_memory(doing, error) from error


def _out_of_memory(doing: str, error: RuntimeError) -> OutOfMemoryError:
    return OutOfMemoryError(
        f"the device ran out of memory while {doing}",
        hint="choose a narrower dtype or a smaller max_context, or free memory on the device",
    )
