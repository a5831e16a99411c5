"""A cloud backend and its loopback server, and proof that nothing of them is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import pytest

from junetts._backend import BackendAudio
from junetts._config import CloudSection
from junetts._errors import BackendUnavailableError, InvalidRequestError
from junetts._utterance import Segment, Utterance
from junetts.backends.cloud import CloudBackend
from junetts.testing import CloudServer


async def segments_of(*texts: str) -> AsyncIterator[Segment]:
    """Segments that are all there at once."""
    for index, text in enumerate(texts):
        yield Segment(index=index, text=text)


@dataclass(slots=True)
class Cloud:
    """A backend and the server that it talks to."""

    server: CloudServer
    backend: CloudBackend

    async def speak(self, *texts: str, utterance: Utterance | None = None) -> list[BackendAudio]:
        """Everything that is yielded for some texts."""
        async with self.backend.speak(utterance or Utterance(), segments_of(*texts)) as audio:
            return [item async for item in audio]


CloudFactory = Callable[..., AbstractAsyncContextManager[Cloud]]


@pytest.fixture
def cloud() -> CloudFactory:
    """Make a server from its arguments and a backend from the remaining settings."""

    @asynccontextmanager
    async def make(server: CloudServer | None = None, **settings: object) -> AsyncIterator[Cloud]:
        tasks_before = asyncio.all_tasks()
        async with server or CloudServer(keys={"k"}) as running:
            values = {"url": running.url, "api_keys": ["k"], **settings}
            backend = CloudBackend(CloudSection.model_validate(values))
            try:
                yield Cloud(server=running, backend=backend)
            finally:
                await backend.aclose()
            await running.until(lambda: running.n_open == 0)
        assert asyncio.all_tasks() == tasks_before, "a task was left behind"

    return make


@pytest.fixture
def failure_of() -> Callable[..., Awaitable[Exception]]:
    """What a sentence spoken through a backend fails with."""

    async def run(backend: CloudBackend, utterance: Utterance | None = None) -> Exception:
        try:
            async with backend.speak(utterance or Utterance(), segments_of("Hello.")) as audio:
                async for _ in audio:
                    pass
        except (BackendUnavailableError, InvalidRequestError) as error:
            return error
        pytest.fail("nothing was raised")

    return run
