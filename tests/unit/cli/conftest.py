"""What the tests of the command line share: a clean surrounding and a backend on command."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from anyio.lowlevel import checkpoint

from junetts._audio import AudioFormat
from junetts._backend import BackendAudio, Capabilities, Health

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable
    from pathlib import Path

    from junetts._utterance import Segment, Utterance

RATE = 44_100
LOUD = b"\x00\x20\x00\xe0" * (RATE // 20)  # a tenth of a second


class ScriptedBackend:
    """Speaks a tenth of a second for each segment, and calls a hook before each."""

    def __init__(self, before: Callable[[int], object] = lambda index: None) -> None:
        self.name = "scripted"
        self.capabilities = Capabilities(sample_rate=RATE, speed=True, voice_ids=True)
        self.before = before
        self.patience = 3  # turns of the event loop, in which a cancellation may arrive
        self.utterances: list[Utterance] = []
        self.n_warmups = 0
        self.health = Health(status="ok", detail="ready")

    async def warmup(self) -> None:
        """Count."""
        self.n_warmups += 1

    async def probe(self) -> Health:
        """As scripted."""
        return self.health

    @asynccontextmanager
    async def speak(
        self, utterance: Utterance, segments: AsyncIterable[Segment]
    ) -> AsyncIterator[AsyncIterator[BackendAudio]]:
        """Speak each segment."""
        self.utterances.append(utterance)
        yield self._audio(segments)

    async def _audio(self, segments: AsyncIterable[Segment]) -> AsyncIterator[BackendAudio]:
        form = AudioFormat(sample_rate=RATE)
        async for segment in segments:
            self.before(segment.index)
            for _ in range(self.patience):
                await checkpoint()
            yield BackendAudio(segment=segment.index, format=form, data=LOUD)
            yield BackendAudio(segment=segment.index, format=form, end="complete")

    async def aclose(self) -> None:
        """Nothing to close."""


@pytest.fixture(autouse=True)
def surrounding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder, no settings and no keys; the folder."""
    for name in os.environ:
        if name.startswith(("JUNETTS_", "FISH_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def backend() -> ScriptedBackend:
    """A backend whose ``before`` a test may set."""
    return ScriptedBackend()
