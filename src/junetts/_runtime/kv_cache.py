"""Keys and values of every column that the slow AR has read, in buffers that never move."""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from junetts._runtime.sizes import ModelSizes, TransformerSizes

# Attention looks at so many columns at a time: kernels round alike for all multiples of it, so that
# a longer utterance in the batch does not change the others.
BLOCK_COLUMNS = 16


def whole_blocks(n_columns: int) -> int:
    """Round up to whole blocks."""
    return -(-n_columns // BLOCK_COLUMNS) * BLOCK_COLUMNS


class LayerKv(NamedTuple):
    """One layer's keys and values, ``[slot, kv head, column, head_dim]`` each."""

    keys: Tensor
    values: Tensor


class KvSnapshot(NamedTuple):
    """A copy of a slot's first columns, ``[layer, kv head, column, head_dim]`` each."""

    keys: Tensor
    values: Tensor

    @property
    def n_columns(self) -> int:
        """How many columns it holds."""
        return self.keys.shape[2]

    @property
    def n_bytes(self) -> int:
        """What it takes on its device."""
        return self.keys.nbytes + self.values.nbytes


class KvCache:
    """The slow AR's memory of several utterances, one slot each.

    Guarantees: the buffers keep their addresses; what was never written is zero and, on a
    processor, takes no memory. Behind the last column of the context there is a spare one, which
    nobody reads: slots that have nothing to say in a batch write there.

    Args:
        context: columns per slot.
    """

    def __init__(
        self,
        sizes: ModelSizes,
        *,
        n_slots: int,
        context: int,
        device: torch.device | str,
        dtype: torch.dtype,
    ) -> None:
        slow = sizes.slow
        n_columns = whole_blocks(context + 1)
        shape = (slow.n_layers, n_slots, slow.n_kv_heads, n_columns, slow.head_dim)
        self.n_slots = n_slots
        self.context = context
        self.keys = _zeros(shape, device=torch.device(device), dtype=dtype)
        self.values = _zeros(shape, device=torch.device(device), dtype=dtype)
        self.layers = [LayerKv(*kv) for kv in zip(self.keys, self.values, strict=True)]

    @property
    def spare_column(self) -> int:
        """The column that may be written and is never read."""
        return self.context

    @property
    def n_bytes(self) -> int:
        """What it takes once every column has been written."""
        return self.keys.nbytes + self.values.nbytes

    def snapshot(self, slot: int, n_columns: int) -> KvSnapshot:
        """Copy the first columns of a slot."""
        self._check(slot, 0, n_columns)
        return KvSnapshot(
            self.keys[:, slot, :, :n_columns].clone(), self.values[:, slot, :, :n_columns].clone()
        )

    def restore(self, slot: int, snapshot: KvSnapshot) -> None:
        """Write a snapshot, of this cache or of another one, to the beginning of a slot."""
        n_columns = snapshot.n_columns
        self._check(slot, 0, n_columns)
        self.keys[:, slot, :, :n_columns].copy_(snapshot.keys)
        self.values[:, slot, :, :n_columns].copy_(snapshot.values)

    def wipe(self, slot: int, n_columns: int) -> None:
        """Make the first columns of a slot zero again: no mask hides what is not a number."""
        self._check(slot, 0, n_columns)
        for buffer in (self.keys, self.values):
            buffer[:, slot, :, :n_columns] = 0

    def copy(self, source: int, target: int, *, start: int = 0, stop: int) -> None:
        """Copy columns from one slot to the same place in another."""
        self._check(source, start, stop)
        self._check(target, start, stop)
        for buffer in (self.keys, self.values):
            buffer[:, target, :, start:stop].copy_(buffer[:, source, :, start:stop])

    def _check(self, slot: int, start: int, stop: int) -> None:
        if not 0 <= slot < self.n_slots:
            raise IndexError(f"slot {slot} of {self.n_slots}")
        if not 0 <= start <= stop <= self.context:
            raise IndexError(f"columns {start} to {stop} of {self.context}")


def scratch_layers(
    sizes: TransformerSizes, *, n_slots: int, n_columns: int, like: Tensor
) -> list[LayerKv]:
    """Memory for one frame of the fast AR; nothing in it may be read before it is written."""
    shape = (2, sizes.n_layers, n_slots, sizes.n_kv_heads, n_columns, sizes.head_dim)
    keys, values = like.new_empty(shape)
    return [LayerKv(*kv) for kv in zip(keys, values, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Consecutive columns of a range of slots; they see all columns before and among them."""

    slots: slice
    start: int

    def write(self, buffer: Tensor, new: Tensor) -> Tensor:
        """Write ``new`` ``[n, column, kv head, head_dim]``; return what the columns may see."""
        stop = self.start + new.shape[1]
        buffer[self.slots, :, self.start : stop].copy_(new.transpose(1, 2))
        return buffer[self.slots, :, :stop]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scattered:
    """One column in each of the first slots, at a place of its own, known to the device only.

    Attributes:
        positions: int64 ``[n]``.
        span: columns to look at, in whole blocks; more than every position that matters.
    """

    positions: Tensor
    span: int

    def write(self, buffer: Tensor, new: Tensor) -> Tensor:
        """Write ``new`` ``[n, 1, kv head, head_dim]``; return what the columns may see."""
        n = new.shape[0]
        slots = torch.arange(n, device=new.device)
        buffer[slots, :, self.positions] = new[:, 0]  # scatter_ would copy the whole buffer
        return buffer[:n, :, : self.span]


def _zeros(shape: tuple[int, ...], *, device: torch.device, dtype: torch.dtype) -> Tensor:
    if device.type != "cpu":
        return torch.zeros(shape, device=device, dtype=dtype)
    # Anonymous pages are zero, and are given memory when they are first written; huge ones would
    # be given two megabytes for each kv head's first column.
    n_bytes = math.prod(shape) * dtype.itemsize
    try:
        pages = mmap.mmap(-1, n_bytes, access=mmap.ACCESS_COPY)
    except OSError as error:
        raise MemoryError(f"{n_bytes} bytes of address space for keys and values") from error
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        pages.madvise(mmap.MADV_NOHUGEPAGE)
    return torch.frombuffer(pages, dtype=dtype).view(shape)
