"""Which conversation owns which row of the model's memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from junetts._runtime.kv_cache import KvCache, KvSnapshot

MAX_SAVED_BYTES = 2**30  # of KV that lost its slot: some fifty conversations of ten seconds


@dataclass(slots=True, eq=False)
class Seat:
    """A conversation's claim on a slot: what its KV holds, wherever that is now.

    Attributes:
        columns: ``[1 + codebook, column]`` that the KV was computed from, in host memory.
        slot: the row it has now; None while it has none.
        is_idle: its owner does not need the slot right now, but would like to find it again.
        taken_at: a count that tells who has not needed a slot for longest.
    """

    columns: Tensor
    slot: int | None = None
    is_idle: bool = True
    saved: KvSnapshot | None = None
    taken_at: int = 0


class Slots:
    """Gives out the cache's slots, lowest first, so that those in use stay together.

    Guarantees: a seat that lost its slot to another finds its KV again, bit by bit, when it gets
    the next one; unless too many have, for then those that lost theirs first begin anew. An
    owner that is not idle never loses its slot.

    Args:
        max_saved_bytes: that the KV of seats without a slot may take, beside the cache.
    """

    def __init__(self, cache: KvCache, *, max_saved_bytes: int = MAX_SAVED_BYTES) -> None:
        self._cache = cache
        self._seats: list[Seat | None] = [None] * cache.n_slots
        self._max_saved_bytes = max_saved_bytes
        self._n_taken = 0
        self._waiting: list[Seat] = []  # whose KV is saved, those that lost their slot first

    @property
    def n_saved_bytes(self) -> int:
        """What the KV of seats without a slot takes."""
        return sum(seat.saved.n_bytes for seat in self._waiting if seat.saved is not None)

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
        self._n_taken += 1
        seat.taken_at = self._n_taken
        return True

    def release(self, seat: Seat) -> None:
        """Give the slot back for good."""
        if seat.slot is not None:
            self._seats[seat.slot] = None
            seat.slot = None
        self._drop(seat)

    def _find(self) -> int | None:
        for slot, seat in enumerate(self._seats):
            if seat is None:
                return slot
        idle = [seat for seat in self._seats if seat is not None and seat.is_idle]
        if not idle:
            return None
        return self._vacate(min(idle, key=lambda seat: seat.taken_at))

    def _vacate(self, seat: Seat) -> int:
        slot = seat.slot
        assert slot is not None
        self._save(seat, slot)
        self._seats[slot] = seat.slot = None
        return slot

    def _save(self, seat: Seat, slot: int) -> None:
        try:
            seat.saved = self._cache.snapshot(slot, seat.columns.shape[1])
        except (torch.OutOfMemoryError, MemoryError):
            self._forget(seat)  # its prompt is read again: that costs time, and no utterance
            return
        self._waiting.append(seat)
        while self.n_saved_bytes > self._max_saved_bytes:
            self._forget(self._waiting[0])

    def _restore(self, seat: Seat, slot: int) -> None:
        if seat.saved is not None:
            self._cache.restore(slot, seat.saved)
            self._drop(seat)

    def _forget(self, seat: Seat) -> None:
        seat.columns = seat.columns[:, :0]
        self._drop(seat)

    def _drop(self, seat: Seat) -> None:
        seat.saved = None
        if seat in self._waiting:
            self._waiting.remove(seat)


def n_common_columns(one: Tensor, other: Tensor) -> int:
    """Columns at the beginning that two prompts ``[1 + codebook, column]`` have in common."""
    n_columns = min(one.shape[1], other.shape[1])
    differs = torch.ne(one[:, :n_columns], other[:, :n_columns]).any(dim=0)  # [column]
    return int(differs.nonzero()[0]) if bool(differs.any()) else n_columns
