"""Text that another backend can be given again."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable
from dataclasses import replace

from junetts._resumption import carried_tags
from junetts._utterance import Segment

_SPEAKER_TAG = "<|speaker:"


class Replay:
    """Keeps the segments that no backend has finished.

    Backends finish segments in order. Each reader begins with the first unfinished one; several
    may read side by side, and each gets every segment. A reader that has been overtaken gets
    nothing more.
    """

    def __init__(self, segments: AsyncIterable[Segment]) -> None:
        self._source = aiter(segments)
        self._reading = asyncio.Lock()
        self._kept: deque[Segment] = deque()
        self._n_finished = 0
        self._tags = ""  # in force where the first unfinished segment begins
        self._offset = 0  # where in that segment the next reader goes on

    @property
    def offset(self) -> int:
        """How many characters of the first unfinished segment need not be said again."""
        return self._offset

    @property
    def index(self) -> int:
        """The first unfinished segment's, once `has_more` has found one.

        Unspeakable segments are not handed out, so that it need not follow the last one's.
        """
        return self._kept[0].index

    @property
    def unfinished(self) -> str:
        """The text of the first unfinished segment from ``offset`` on, as far as it was read."""
        return self._kept[0].text[self._offset :] if self._kept else ""

    def resume_after(self, n_characters: int) -> None:
        """Let readers from now on begin so much further on in the first unfinished segment."""
        self._offset += n_characters

    def finished(self, index: int) -> None:
        """Say that this segment, and thus every one before it, need not be spoken again."""
        while self._kept and self._kept[0].index <= index:
            self._tags = carried_tags(self._tags + self._kept.popleft().text)
            self._n_finished += 1
            self._offset = 0

    async def has_more(self) -> bool:
        """Whether there is an unfinished segment, once that is known."""
        try:
            await self.segment(self._n_finished)
        except StopAsyncIteration:
            return False
        return True

    def reader(self) -> Reader:
        """The text from the first unfinished segment on."""
        return Reader(self, self._n_finished)

    async def segment(self, position: int) -> Segment:
        """The segment at a position, counted from the first of all; read if it is new."""
        async with self._reading:
            if position < self._n_finished:
                raise StopAsyncIteration
            while position - self._n_finished >= len(self._kept):
                self._kept.append(await anext(self._source))
        return self._kept[position - self._n_finished]

    def opening(self, segment: Segment) -> Segment:
        """The first segment as its reader gets it: from where it goes on, its tags in front."""
        rest = segment.text[self._offset :]
        tags = carried_tags(self._tags + segment.text[: self._offset])
        if rest.lstrip().startswith(_SPEAKER_TAG):
            tags = ""
        return replace(segment, text=tags + rest) if tags or self._offset else segment


class Reader:
    """One attempt's way through the text."""

    def __init__(self, replay: Replay, position: int) -> None:
        self._replay = replay
        self._first = self._position = position

    def __aiter__(self) -> Reader:
        return self

    async def __anext__(self) -> Segment:
        segment = await self._replay.segment(self._position)
        if self._position == self._first:
            segment = self._replay.opening(segment)
        self._position += 1
        return segment
