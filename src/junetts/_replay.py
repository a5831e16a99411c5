"""Text that another backend can be given again."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable

from junetts._utterance import Segment


class Replay:
    """Keeps the segments that no backend has finished, for as long as ``keep`` is set.

    Backends finish segments in order. Each attempt reads from the first unfinished one on; only
    one attempt reads at a time.
    """

    def __init__(self, segments: AsyncIterable[Segment]) -> None:
        self.keep = True
        self._source = aiter(segments)
        self._kept: deque[Segment] = deque()
        self._n_finished = 0

    def finished(self, index: int) -> None:
        """Say that this segment, and thus every one before it, need not be spoken again."""
        while self._kept and self._kept[0].index <= index:
            self._kept.popleft()
            self._n_finished += 1

    def reader(self) -> Reader:
        """The text from the first unfinished segment on."""
        return Reader(self, self._n_finished)

    async def segment(self, position: int) -> Segment:
        """The segment at a position, counted from the first of all; read if it is new."""
        place = position - self._n_finished
        if 0 <= place < len(self._kept):
            return self._kept[place]
        segment = await anext(self._source)
        if self.keep:
            self._kept.append(segment)
        return segment


class Reader:
    """One attempt's way through the text."""

    def __init__(self, replay: Replay, position: int) -> None:
        self._replay = replay
        self._position = position

    def __aiter__(self) -> Reader:
        return self

    async def __anext__(self) -> Segment:
        segment = await self._replay.segment(self._position)
        self._position += 1
        return segment
