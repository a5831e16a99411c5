"""One utterance in the Fish Audio cloud: a session per segment, the next one ahead of its turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable

import anyio

from junetts._backend import BackendAudio
from junetts._errors import RateLimitedError
from junetts._utterance import Segment
from junetts.backends._cloud_pool import SOCKETS_PER_UTTERANCE, CloudPool, CloudSocket
from junetts.backends._cloud_segment import Opening, SpokenSegment

CLEANUP_TIMEOUT_S = 1.0


class CloudSpeech:
    """Audio of consecutive segments, each from a session of its own.

    Guarantees: audio is of the segment that it says, for a session never has two; at most one
    segment is synthesised ahead of its turn, its audio waiting in its socket; what goes wrong
    with a segment is raised in its turn, after the audio of those before it.
    """

    def __init__(self, opening: Opening, pool: CloudPool, *, backend: str) -> None:
        self._opening = opening
        self._pool = pool
        self._backend = backend
        # Bounded by the turns: no segment is taken, let alone begun, without one.
        self._turns = asyncio.Semaphore(SOCKETS_PER_UTTERANCE)
        self._begun: asyncio.Queue[Segment | SpokenSegment | None] = asyncio.Queue()
        self._live: set[SpokenSegment] = set()
        self._spare: list[CloudSocket] = []
        self._current: SpokenSegment | None = None
        self._feeder: asyncio.Task[None] | None = None

    async def begin(self, segments: AsyncIterable[Segment]) -> None:
        """Connect, then take segments as they come.

        Raises:
            BackendUnavailableError: if there is no connection.
        """
        self._spare.append(await self._pool.acquire())
        self._feeder = asyncio.create_task(self._feed(segments), name="junetts cloud segments")

    def __aiter__(self) -> CloudSpeech:
        return self

    async def __anext__(self) -> BackendAudio:
        if self._current is None:
            begun = await self._next_begun()
            if isinstance(begun, Segment):
                return self._blank(begun)
            self._current = begun
        item = await self._current.next_audio()
        if item.end is not None:
            self._finish(self._current)
        return item

    async def aclose(self) -> None:
        """Leave, at once where something is still being spoken."""
        ending = {segment.abort() for segment in self._live}
        if self._feeder is not None:
            self._feeder.cancel()
            ending.add(self._feeder)
        for socket in self._spare:
            self._pool.release(socket)
        self._spare.clear()
        if ending:
            with anyio.CancelScope(shield=True):
                await asyncio.wait(ending, timeout=CLEANUP_TIMEOUT_S)
        if self._feeder is not None and self._feeder.done() and not self._feeder.cancelled():
            self._feeder.exception()  # of a segment whose turn never came: seen, and of no matter

    async def _feed(self, segments: AsyncIterable[Segment]) -> None:
        iterator = aiter(segments)
        try:
            while True:
                await self._turns.acquire()
                try:
                    segment = await anext(iterator)
                except StopAsyncIteration:
                    return
                self._begun.put_nowait(await self._begin_segment(segment))
        finally:
            self._begun.put_nowait(None)

    async def _begin_segment(self, segment: Segment) -> Segment | SpokenSegment:
        if not segment.text.strip():  # nothing to say; the model is known to babble on such text
            return segment
        spoken = SpokenSegment(
            segment,
            self._opening,
            self._pool,
            backend=self._backend,
            is_early=bool(self._live),
        )
        spoken.begin(await self._socket())
        self._live.add(spoken)
        return spoken

    async def _socket(self) -> CloudSocket:
        is_early = bool(self._live)
        try:
            return await self._any_socket()
        except RateLimitedError:
            if not is_early:
                raise
        # One too many: wait for the second turn, which the segment before gives back at its end.
        await self._turns.acquire()
        self._turns.release()
        return await self._any_socket()

    async def _any_socket(self) -> CloudSocket:
        while self._spare:
            socket = self._spare.pop()
            if socket.is_open:
                return socket
            self._pool.discard(socket)
        return await self._pool.acquire()

    async def _next_begun(self) -> Segment | SpokenSegment:
        begun = await self._begun.get()
        if begun is not None:
            return begun
        self._begun.put_nowait(None)
        if self._feeder is not None:
            await self._feeder  # raises what ended it, if that was not the end of the segments
        raise StopAsyncIteration

    def _blank(self, segment: Segment) -> BackendAudio:
        self._turns.release()
        return BackendAudio(segment=segment.index, format=self._opening.format, end="complete")

    def _finish(self, spoken: SpokenSegment) -> None:
        self._current = None
        self._live.discard(spoken)
        spoken.socket.is_reused = True
        self._spare.append(spoken.socket)
        self._turns.release()
