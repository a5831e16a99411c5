"""A server backend and its loopback server, and proof that nothing of them is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from junetts._backend import BackendAudio
from junetts._config import ServerSection
from junetts._utterance import Segment, Utterance
from junetts.backends.server import ServerBackend
from junetts.testing import FishServer


async def segments_of(*texts: str) -> AsyncIterator[Segment]:
    """Segments that are all there at once."""
    for index, text in enumerate(texts):
        yield Segment(index=index, text=text)


@dataclass(slots=True)
class Fish:
    """A backend and the server that it talks to."""

    server: FishServer
    backend: ServerBackend
    items: list[BackendAudio] = field(default_factory=list)

    async def speak(
        self, *texts: str, utterance: Utterance | None = None, **wishes: object
    ) -> list[BackendAudio]:
        """Everything that is yielded for some texts; also in ``items``, as it comes."""
        utterance = utterance or Utterance(**wishes)  # type: ignore[arg-type]
        items: list[BackendAudio] = []
        async with self.backend.speak(utterance, segments_of(*texts)) as audio:
            async for item in audio:
                items.append(item)
                self.items.append(item)
        return items

    def listen(self, *texts: str, **wishes: object) -> AbstractAsyncContextManager[object]:
        """The backend's own context, for listeners who behave differently."""
        return self.backend.speak(Utterance(**wishes), segments_of(*texts))  # type: ignore[arg-type]


FishFactory = Callable[..., AbstractAsyncContextManager[Fish]]


@pytest.fixture
def fish() -> FishFactory:
    """Make a backend from settings, for a server that is given or made."""

    @asynccontextmanager
    async def make(server: FishServer | None = None, **settings: object) -> AsyncIterator[Fish]:
        tasks_before = asyncio.all_tasks()
        async with server or FishServer() as running:
            section = ServerSection.model_validate({"url": running.url, **settings})
            backend = ServerBackend(section, health_timeout_s=0.05)
            try:
                yield Fish(server=running, backend=backend)
            finally:
                await backend.aclose()
            await running.until(lambda: running.n_open == 0)
        assert asyncio.all_tasks() == tasks_before, "a task was left behind"

    return make
