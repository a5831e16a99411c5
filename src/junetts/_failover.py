"""Several backends behaving as one."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from anyio import create_task_group

from junetts._backend import BackendAudio, Capabilities, Health, TtsBackend
from junetts._errors import InvalidRequestError, JuneTtsError, NoBackendAvailableError
from junetts._report import Attempt
from junetts._utterance import Segment, Utterance


class FailoverBackend:
    """Speaks with the first backend that is able to start.

    Guarantees: backends are tried in order of preference; one that fails before any sound costs
    the listener nothing but time, and the next is given the same text from its beginning; a
    backend that has been heard is not replaced, its failure is raised. The last backend is
    given the utterance's own patience for its first sound, the others the shorter deadline;
    once one is heard, patience is all that is left.
    """

    name = "failover"

    def __init__(
        self,
        backends: Sequence[TtsBackend],
        *,
        first_audio_timeout_s: float,
    ) -> None:
        self._backends = tuple(backends)
        self._first_audio_timeout_s = first_audio_timeout_s

    @property
    def capabilities(self) -> Capabilities:
        """Those of the preferred backend."""
        return self._backends[0].capabilities

    async def warmup(self) -> None:
        """Warm up every backend that can be.

        Raises:
            NoBackendAvailableError: if none can.
        """
        reasons: list[tuple[str, JuneTtsError]] = []

        async def warm(backend: TtsBackend) -> None:
            try:
                await backend.warmup()
            except JuneTtsError as error:
                reasons.append((backend.name, error))

        async with create_task_group() as group:
            for backend in self._backends:
                group.start_soon(warm, backend)
        if len(reasons) == len(self._backends):
            raise NoBackendAvailableError(reasons)

    async def probe(self) -> Health:
        """The health of the first backend that is not unavailable, else of the last one."""
        for backend in self._backends:
            health = await backend.probe()
            if health.status != "unavailable":
                break
        return health

    async def aclose(self) -> None:
        """Close every backend, even if closing one fails."""
        async with AsyncExitStack() as stack:
            for backend in self._backends:
                stack.push_async_callback(backend.aclose)

    @asynccontextmanager
    async def speak(
        self, utterance: Utterance, segments: AsyncIterable[Segment]
    ) -> AsyncIterator[AsyncIterator[BackendAudio]]:
        """Speak with the first backend that yields sound.

        Raises:
            NoBackendAvailableError: if none does.
            InvalidRequestError: if what is asked for is beyond every one of them.
        """
        replay = _Replay(segments)
        async with AsyncExitStack() as stack:
            audio = await self._start(stack, utterance, replay)
            replay.keep = False
            yield audio

    async def _start(
        self, stack: AsyncExitStack, utterance: Utterance, replay: _Replay
    ) -> AsyncIterator[BackendAudio]:
        reasons: list[tuple[str, JuneTtsError]] = []
        for backend in self._backends:
            hasty = utterance
            if backend is not self._backends[-1]:
                hasty = replace(utterance, first_audio_timeout_s=self._first_audio_timeout_s)
            try:
                return await stack.enter_async_context(backend.speak(hasty, replay.reader()))
            except JuneTtsError as error:
                reasons.append((backend.name, error))
                if utterance.observe is not None:
                    utterance.observe(Attempt(backend=backend.name, reason=error.message))
        raise _verdict(reasons)


def _verdict(reasons: list[tuple[str, JuneTtsError]]) -> JuneTtsError:
    """What the caller is told; a request that no backend can honour is the caller's to mend."""
    errors = [error for _, error in reasons]
    if all(type(error) is InvalidRequestError for error in errors):
        return errors[0]
    verdict = NoBackendAvailableError(reasons)
    verdict.__cause__ = errors[-1]
    return verdict


class _Replay:
    """Lets every attempt read the text from its beginning, for as long as ``keep`` is set."""

    def __init__(self, segments: AsyncIterable[Segment]) -> None:
        self.keep = True
        self._source = aiter(segments)
        self._kept: list[Segment] = []

    def reader(self) -> _Reader:
        """The text from its beginning; only one reader at a time."""
        return _Reader(self)

    async def segment(self, position: int) -> Segment:
        """The segment at a position, read from the source if it is new."""
        if position < len(self._kept):
            return self._kept[position]
        segment = await anext(self._source)
        if self.keep:
            self._kept.append(segment)
        return segment


class _Reader:
    """One attempt's way through the text."""

    def __init__(self, replay: _Replay) -> None:
        self._replay = replay
        self._position = 0

    def __aiter__(self) -> _Reader:
        return self

    async def __anext__(self) -> Segment:
        segment = await self._replay.segment(self._position)
        self._position += 1
        return segment
