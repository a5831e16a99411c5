"""A prompt on its way into the model's memory."""

from __future__ import annotations

from torch import Tensor

from junetts._runtime.kv_cache import KvCache
from junetts._runtime.prefixes import PrefixStore
from junetts._runtime.slots import Seat, n_common_columns

PIECE_COLUMNS = 256  # read at once, between two frames of those who already speak


class Reading:
    """Reads a prompt in pieces, except for what the memory holds already.

    Guarantees: the pieces are the same whether or not the voice was known, so that the numbers
    are, too; at least the last column is read, because its output is what speech begins from.

    Args:
        prompt: ``[1 + codebook, column]``, in host memory.
        n_voice: its first columns, which hold the reference voice and nothing else.
        seat: must have a slot.
    """

    def __init__(
        self, prompt: Tensor, *, n_voice: int, seat: Seat, prefixes: PrefixStore, cache: KvCache
    ) -> None:
        self.prompt = prompt
        self._n_voice = n_voice
        self._seat = seat
        self._prefixes = prefixes
        self._cache = cache
        self._reuse()

    def _reuse(self) -> None:
        """Find what need not be read: the conversation so far, or the voice."""
        n_known = min(n_common_columns(self._seat.columns, self.prompt), self.prompt.shape[1] - 1)
        if n_known < self._n_voice:
            voice = self._prefixes.find(self.prompt[:, : self._n_voice])
            if voice is not None:
                self._cache.restore(self._slot, voice)
                n_known = self._n_voice
        self._seat.columns = self.prompt[:, :n_known]

    @property
    def _slot(self) -> int:
        assert self._seat.slot is not None
        return self._seat.slot

    @property
    def is_complete(self) -> bool:
        """Whether all of the prompt has been read."""
        return self._seat.columns.shape[1] == self.prompt.shape[1]

    def next_piece(self) -> Tensor:
        """The columns to read next; they follow those that the seat has."""
        start = self._seat.columns.shape[1]
        end = self._n_voice if start < self._n_voice else self.prompt.shape[1]
        return self.prompt[:, start : min(end, start + PIECE_COLUMNS)]

    def was_read(self, piece: Tensor) -> None:
        """Say that the piece is in the memory now."""
        n_read = self._seat.columns.shape[1] + piece.shape[1]
        self._seat.columns = self.prompt[:, :n_read]
        if n_read == self._n_voice and self._prefixes.wants(self._seat.columns):
            self._prefixes.keep(self._seat.columns, self._cache.snapshot(self._slot, n_read))
