"""A backend whose packages are not installed."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager

from junetts._backend import BackendAudio, Capabilities, Health
from junetts._errors import BackendUnavailableError
from junetts._utterance import Segment, Utterance


class AbsentBackend:
    """Stands for a backend that cannot run here, and says how to install it.

    As with one that is down, the error comes when it is asked to speak, so that another backend
    can take over.
    """

    capabilities = Capabilities(
        sample_rate=44_100, voice_ids=True, cloning=True, speed=True, volume=True, seed=True
    )  # the most there can be: that it is absent is to be its only complaint

    def __init__(self, name: str, problem: str, *, extra: str) -> None:
        self.name = name
        self._problem = problem
        self._hint = f'pip install "junetts[{extra}]"'

    def _refuse(self) -> AsyncIterator[BackendAudio]:
        raise BackendUnavailableError(
            self._problem, backend=self.name, retryable=False, hint=self._hint
        )

    async def warmup(self) -> None:
        """Refuse.

        Raises:
            BackendUnavailableError: always.
        """
        self._refuse()

    async def probe(self) -> Health:
        """It cannot speak, and what to install."""
        return Health(status="unavailable", detail=self._problem, hint=self._hint)

    @asynccontextmanager
    async def speak(
        self, utterance: Utterance, segments: AsyncIterable[Segment]
    ) -> AsyncIterator[AsyncIterator[BackendAudio]]:
        """Refuse.

        Raises:
            BackendUnavailableError: always.
        """
        yield self._refuse()

    async def aclose(self) -> None:
        """Nothing to release."""
