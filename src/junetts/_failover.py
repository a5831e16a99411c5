"""Several backends behaving as one."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

from anyio import create_task_group

from junetts._backend import BackendAudio, Capabilities, Health, TtsBackend
from junetts._errors import JuneTtsError, NoBackendAvailableError
from junetts._relay import HandoverRules, Relay
from junetts._replay import Replay
from junetts._utterance import Segment, Utterance


class FailoverBackend:
    """Speaks with the first backend that is able to start.

    Guarantees: backends are tried in order of preference; one that fails before any sound costs
    the listener nothing but time; one that fails after sound is replaced at the first segment
    that it has not finished, so that no finished one is repeated and none is lost. The last
    backend is given the utterance's own patience, the others the shorter deadlines.
    """

    name = "failover"

    def __init__(
        self,
        backends: Sequence[TtsBackend],
        *,
        rules: HandoverRules,
    ) -> None:
        self._backends = tuple(backends)
        self._rules = rules

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
        """Speak with the first backend that yields sound, and go on with the next if it fails.

        Raises:
            NoBackendAvailableError: if none yields any.
            InvalidRequestError: if what is asked for is beyond every one of them.
        """
        relay = Relay(self._backends, utterance, Replay(segments), self._rules)
        async with aclosing(relay):
            await relay.start()
            yield relay
