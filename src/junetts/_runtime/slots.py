"""Which conversation owns which row of the model's memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from junetts._runtime.kv_cache import KvCache, KvSnapshot


@dataclass(slots=True, eq=False)
class Seat:
    """A conversation's claim on a slot: what its KV holds, wherever that is now.

    Attributes:
        columns: ``[1 + codebook, column]`` that the KV was computed from, in host memory.
        slot: the row it has now; None while it has none.
        is_idle: its owner does not need the slot right now, but would like to find it again.
    """

    columns: Tensor
    slot: int | None = None
    is_idle: bool = True
    saved: KvSnapshot | None = None


class Slots:
    """Gives out the cache's slots, lowest first, so that those in use stay together.

    Guarantees: a seat that lost its slot to another finds its KV again, bit by bit, when it gets
    the next one; an owner that is not idle never loses its slot.
    """

    def __init__(self, cache: KvCache) -> None:
        self._cache = cache
        self._seats: list[Seat | None] = [None] * cache.n_slots

    def take(self, seat: Seat) -> bool:
        """Make the seat busy, in a slot; False if all slots belong to busy ones."""
        if seat.slot is None:
            slot = self._find()
            if slot is None:
                return False
            self._seats[slot] = seat
            seat.slot = slot
            self._restore(seat, slot)
        seat.is_idle = False
        return True

    def release(self, seat: Seat) -> None:
        """Give the slot back for good."""
        if seat.slot is not None:
            self._seats[seat.slot] = None
        seat.slot = seat.saved = None

    def _find(self) -> int | None:
        for slot, seat in enumerate(self._seats):
            if seat is None:
                return slot
        for slot, seat in enumerate(self._seats):
            if seat is not None and seat.is_idle:
                seat.saved = self._cache.snapshot(slot, seat.columns.shape[1])
                seat.slot = None
                return slot
        return None

    def _restore(self, seat: Seat, slot: int) -> None:
        if seat.saved is not None:
            self._cache.restore(slot, seat.saved)
            seat.saved = None


def n_common_columns(one: Tensor, other: Tensor) -> int:
    """Columns at the beginning that two prompts ``[1 + codebook, column]`` have in common."""
    n_columns = min(one.shape[1], other.shape[1])
    differs = torch.ne(one[:, :n_columns], other[:, :n_columns]).any(dim=0)  # [column]
    return int(differs.nonzero()[0]) if bool(differs.any()) else n_columns
