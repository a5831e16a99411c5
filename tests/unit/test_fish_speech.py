"""The ``local`` backend with upstream's engine: what it asks for, hands out and refuses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from threading import Event

import pytest

import junetts
from junetts import BackendAudio, Sampling, Segment, Utterance, Voice
from junetts._config import LocalSection
from junetts.backends._fish_speech import FishSpeechBackend
from junetts.backends._fish_speech_request import SpokenSegment, UpstreamRequest

pytestmark = pytest.mark.anyio

CLONE = Voice.clone(b"a recording", "What was said.")


class FakeEngine:
    """Speaks four bytes per segment, and remembers what it was asked for."""

    description = "a fake engine"

    def __init__(self) -> None:
        self.asked: list[UpstreamRequest] = []
        self.let_go = Event()
        self.let_go.set()
        self.begun = asyncio.Event()
        self.error: Exception | None = None
        self._loop = asyncio.get_running_loop()

    def speak(self, request: UpstreamRequest, *, is_wanted: Callable[[], bool]) -> SpokenSegment:
        """Speak, as soon as it is let."""
        self.asked.append(request)
        self.is_wanted = is_wanted
        self._loop.call_soon_threadsafe(self.begun.set)
        assert self.let_go.wait(10)
        if self.error is not None:
            raise self.error
        end = "truncated" if request.max_new_tokens == 2 else "complete"
        return SpokenSegment(pcm=b"\1\2\3\4", sample_rate=44_100, end=end)


class Bench:
    """A backend, its engine, and how often it was loaded."""

    def __init__(self, **section: object) -> None:
        self.engine = FakeEngine()
        self.n_loads = 0
        self.load_error: Exception | None = None
        self.backend = FishSpeechBackend(
            LocalSection(**section), load=self._load, inspect=lambda _: "a fake package"
        )

    def _load(self, section: LocalSection) -> FakeEngine:
        self.n_loads += 1
        if self.load_error is not None:
            raise self.load_error
        return self.engine

    async def say(self, *texts: str, **utterance: object) -> list[BackendAudio]:
        """What comes for these segments."""
        asked = Utterance(**utterance)  # type: ignore[arg-type]
        async with self.backend.speak(asked, segments(*texts)) as audio:
            return [item async for item in audio]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A backend with default settings, closed at the end."""
    one = Bench()
    yield one
    one.engine.let_go.set()
    await one.backend.aclose()


async def segments(*texts: str) -> AsyncIterator[Segment]:
    """Segments of these texts."""
    for index, text in enumerate(texts):
        yield Segment(index=index, text=text)


async def test_one_item_per_segment(bench: Bench) -> None:
    """All of a segment comes at once, closed; nothing is asked for where nothing is said."""
    items = await bench.say("One. ", "… ", "Two.")
    assert [(item.segment, item.data, item.end) for item in items] == [
        (0, b"\1\2\3\4", "complete"),
        (1, b"", "complete"),
        (2, b"\1\2\3\4", "complete"),
    ]
    assert [request.text for request in bench.engine.asked] == ["One. ", "Two."]
    assert bench.n_loads == 1


async def test_the_request(bench: Bench) -> None:
    """Sampling and recordings go to upstream as they are, with defaults where there are none."""
    sampling = Sampling(temperature=1, top_p=0.5, repetition_penalty=1.5, seed=3, max_new_tokens=9)
    await bench.say("One.", voice=CLONE, sampling=sampling)
    await bench.say("One.")
    assert bench.engine.asked == [
        UpstreamRequest(
            text="One.",
            references=CLONE.clips,
            max_new_tokens=9,
            temperature=1.0,
            top_p=0.5,
            repetition_penalty=1.5,
            seed=3,
        ),
        UpstreamRequest(text="One."),
    ]
    assert isinstance(bench.engine.asked[0].temperature, float)


async def test_the_configured_limit() -> None:
    """The section's token limit holds where the utterance has none; its end is told."""
    bench = Bench(max_new_tokens=2)
    (item,) = await bench.say("One.")
    assert item.end == "truncated"
    await bench.backend.aclose()


@pytest.mark.parametrize(
    ("sampling", "field", "bounds"),
    [
        (Sampling(top_k=3), "sampling.top_k", "left unset"),
        (Sampling(temperature=0), "sampling.temperature", "0.1 to 1"),
        (Sampling(top_p=0.05), "sampling.top_p", "0.1 to 1"),
        (Sampling(repetition_penalty=2), "sampling.repetition_penalty", "less than 2"),
        (Sampling(seed=2**31 + 1), "sampling.seed", "0 to 2147483648"),
        (Sampling(max_new_tokens=1), "sampling.max_new_tokens", "2 to 2048"),
        (Sampling(max_new_tokens=2049), "sampling.max_new_tokens", "2 to 2048"),
    ],
)
async def test_what_upstream_can_not_take(
    bench: Bench, sampling: Sampling, field: str, bounds: str
) -> None:
    """It is refused on entering, by name and with the bounds, before anything is loaded."""
    with pytest.raises(junetts.InvalidRequestError, match=bounds) as caught:
        await bench.say("One.", sampling=sampling)
    assert (caught.value.field, caught.value.backend) == (field, "local")
    assert bench.n_loads == 0


async def test_a_configured_limit_out_of_bounds() -> None:
    """More tokens than upstream takes are refused in the settings too, unless they do not count."""
    bench = Bench(max_new_tokens=4096)
    with pytest.raises(junetts.InvalidRequestError, match=r"local.max_new_tokens .* 2 to 2048"):
        await bench.say("One.")
    assert len(await bench.say("One.", sampling=Sampling(max_new_tokens=5))) == 1
    await bench.backend.aclose()


async def test_a_voice_needs_a_recording(bench: Bench) -> None:
    """A named voice is refused, never replaced."""
    with pytest.raises(junetts.UnknownVoiceError, match="imitates recordings"):
        await bench.say("One.", voice=Voice("june"))


async def test_leaving_is_immediate(bench: Bench) -> None:
    """Who leaves does not wait for the segment in hand; the next speaker does."""
    bench.engine.let_go.clear()
    speaking = asyncio.ensure_future(bench.say("One.", "Two."))
    await bench.engine.begun.wait()
    waiting = asyncio.ensure_future(bench.say("Three."))
    speaking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await speaking
    assert not waiting.done()
    assert not bench.engine.is_wanted()
    bench.engine.let_go.set()
    assert len(await waiting) == 1
    assert [request.text for request in bench.engine.asked] == ["One.", "Three."]


async def test_closing_ends_the_segment_in_hand(bench: Bench) -> None:
    """The engine is told that nobody waits any more."""
    bench.engine.let_go.clear()
    speaking = asyncio.ensure_future(bench.say("One."))
    await bench.engine.begun.wait()
    assert bench.engine.is_wanted()
    closing = asyncio.ensure_future(bench.backend.aclose())
    await asyncio.sleep(0)
    assert not bench.engine.is_wanted()
    bench.engine.let_go.set()
    await closing
    await speaking


async def test_a_model_that_is_loaded_too_late_is_not_kept() -> None:
    """The backend has been closed meanwhile."""
    begun, go, engine = asyncio.Event(), Event(), FakeEngine()
    loop = asyncio.get_running_loop()

    def load(section: LocalSection) -> FakeEngine:
        loop.call_soon_threadsafe(begun.set)
        assert go.wait(10)
        return engine

    backend = FishSpeechBackend(LocalSection(), load=load, inspect=lambda _: "files")
    warming = asyncio.ensure_future(backend.warmup())
    await begun.wait()
    closing = asyncio.ensure_future(backend.aclose())
    await asyncio.sleep(0)
    go.set()
    await closing
    await warming
    assert (await backend.probe()).detail.startswith("files")


async def test_failures_carry_the_backends_name(bench: Bench) -> None:
    """A failed segment is told, and the next utterance speaks."""
    bench.engine.error = junetts.EngineError("fish-speech failed: too long")
    with pytest.raises(junetts.EngineError, match=r"^local: fish-speech failed"):
        await bench.say("One.")
    bench.engine.error = None
    assert len(await bench.say("Two.")) == 1


async def test_a_failed_load_is_tried_again(bench: Bench) -> None:
    """What could not be loaded may be there later."""
    bench.load_error = junetts.CheckpointError("there is nothing", path="x")
    with pytest.raises(junetts.CheckpointError, match="there is nothing"):
        await bench.backend.warmup()
    bench.load_error = None
    await bench.backend.warmup()
    assert bench.n_loads == 2


async def test_it_says_that_it_does_not_stream(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Capabilities, probe and one line of the log say so."""
    assert not bench.backend.capabilities.streaming_audio
    before = await bench.backend.probe()
    assert before.detail.startswith("a fake package; it makes each sentence whole")
    with caplog.at_level(logging.INFO, logger="junetts"):
        await bench.backend.warmup()
        await bench.say("One.")
    assert len(caplog.messages) == 1
    after = await bench.backend.probe()
    assert (after.status, after.detail) == ("ok", caplog.messages[0])
    assert after.detail.startswith("a fake engine; it makes each sentence whole")


async def test_probe_tells_what_is_missing() -> None:
    """A package or checkpoint that is not there makes it unavailable, with the hint."""

    def inspect(section: LocalSection) -> str:
        raise junetts.BackendUnavailableError("not installed", hint="install it")

    backend = FishSpeechBackend(LocalSection(), inspect=inspect)
    health = await backend.probe()
    assert (health.status, health.detail, health.hint) == (
        "unavailable",
        "not installed",
        "install it",
    )
    await backend.aclose()


async def test_closing(bench: Bench) -> None:
    """Closing ends the thread, may be repeated, and what comes later is refused."""
    await bench.say("One.")
    await bench.backend.aclose()
    await bench.backend.aclose()
    with pytest.raises(junetts.EngineError, match="closed"):
        await bench.say("Two.")
    assert repr(bench.backend).startswith("FishSpeechBackend(")


async def test_without_the_package() -> None:
    """Where the package is not installed, both the probe and speaking say how to install it."""
    backend = FishSpeechBackend(LocalSection())
    health = await backend.probe()
    assert health.status == "unavailable"
    assert "not installed" in health.detail
    with pytest.raises(junetts.BackendUnavailableError) as caught:
        await backend.warmup()
    assert caught.value.hint is not None
    assert "pip install" in caught.value.hint
    assert not caught.value.retryable
    await backend.aclose()
