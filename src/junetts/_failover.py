"""Several backends behaving as one."""

from __future__ import annotations

import random
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

from anyio import create_task_group

from junetts._backend import BackendAudio, Capabilities, Health, TtsBackend
from junetts._config_sections import FallbackSection
from junetts._errors import JuneTtsError, NoBackendAvailableError
from junetts._monitor import HealthMonitor
from junetts._relay import Relay
from junetts._resumption import Pace
from junetts._utterance import Segment, Utterance


class FailoverBackend:
    """Speaks with the first backend that is able to, and goes on with the next if it fails.

    Guarantees: backends are tried in order of preference, those that are known to be down last;
    one that fails before any sound costs the listener nothing but time, and is tried again if
    that can help and nobody else has sound; one that fails after sound is replaced at the first
    segment that it has not finished, so that no finished one is repeated and none is lost. The
    last backend is given the utterance's own patience, the others the shorter deadlines.

    Args:
        backends: in order of preference; one is retried only.
        rules: the ``[fallback]`` settings.
        monitor: knows who is down; it is shared by all who use the same backends, and closed by
            its owner.
        paces: how fast each backend is known to speak; likewise shared.
        random: gives numbers from 0 to 1.
    """

    name = "failover"

    def __init__(
        self,
        backends: Sequence[TtsBackend],
        *,
        rules: FallbackSection,
        monitor: HealthMonitor,
        paces: Mapping[str, Pace] | None = None,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._backends = {backend.name: backend for backend in backends}
        self._rules = rules
        self._monitor = monitor
        self._paces = paces or {name: Pace() for name in self._backends}
        self._random = random

    @property
    def capabilities(self) -> Capabilities:
        """Those of the preferred backend."""
        return next(iter(self._backends.values())).capabilities

    async def warmup(self) -> None:
        """Warm up every backend that can be.

        Raises:
            NoBackendAvailableError: if none of several can.
            JuneTtsError: why the only one can not.
        """
        reasons: list[tuple[str, JuneTtsError]] = []

        async def warm(backend: TtsBackend) -> None:
            try:
                await backend.warmup()
            except JuneTtsError as error:
                reasons.append((backend.name, error))

        async with create_task_group() as group:
            for backend in self._backends.values():
                group.start_soon(warm, backend)
        if len(reasons) == len(self._backends):
            raise NoBackendAvailableError(reasons) if len(reasons) > 1 else reasons[0][1]

    async def probe(self) -> Health:
        """The health of the first backend that is not unavailable, else of the last one."""
        for backend in self._backends.values():
            health = await backend.probe()
            if health.status != "unavailable":
                break
        return health

    async def aclose(self) -> None:
        """Close every backend, even if closing one fails."""
        async with AsyncExitStack() as stack:
            for backend in self._backends.values():
                stack.push_async_callback(backend.aclose)

    @asynccontextmanager
    async def speak(
        self, utterance: Utterance, segments: AsyncIterable[Segment]
    ) -> AsyncIterator[AsyncIterator[BackendAudio]]:
        """Speak with the first backend that has sound.

        Raises:
            NoBackendAvailableError: if none of several has any.
            JuneTtsError: why the only one has none.
            InvalidRequestError: if what is asked for is beyond every one of them.
        """
        relay = Relay(
            self._backends,
            utterance,
            segments,
            rules=self._rules,
            monitor=self._monitor,
            paces=self._paces,
            random=self._random,
        )
        async with aclosing(relay):
            await relay.start()
            yield relay
