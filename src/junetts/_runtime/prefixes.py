"""The KV of voices, kept so that a reference is read once and not with every utterance."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor

from junetts._runtime.kv_cache import KvSnapshot


class PrefixStore:
    """KV by the prompt columns that it was computed from; the least recently used go first.

    Args:
        max_bytes: that all snapshots together may take on the device; 0 keeps none.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._n_bytes = 0
        self._kept: OrderedDict[bytes, KvSnapshot] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def n_bytes(self) -> int:
        """What the snapshots take."""
        return self._n_bytes

    def find(self, columns: Tensor) -> KvSnapshot | None:
        """The KV of exactly these columns ``[1 + codebook, column]``, if it is kept."""
        key = _key(columns)
        snapshot = self._kept.get(key)
        if snapshot is not None:
            self._kept.move_to_end(key)
        return snapshot

    def wants(self, columns: Tensor) -> bool:
        """Whether a copy of these columns' KV would be worth making."""
        return self._max_bytes > 0 and _key(columns) not in self._kept

    def keep(self, columns: Tensor, snapshot: KvSnapshot) -> None:
        """Keep the KV of these columns, if there is room for it at all."""
        if snapshot.n_bytes > self._max_bytes or _key(columns) in self._kept:
            return
        self._kept[_key(columns)] = snapshot
        self._n_bytes += snapshot.n_bytes
        while self._n_bytes > self._max_bytes:
            self._n_bytes -= self._kept.popitem(last=False)[1].n_bytes


def _key(columns: Tensor) -> bytes:
    return columns.contiguous().numpy().tobytes()
