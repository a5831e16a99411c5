"""The in-process backend: a real checkpoint, a real thread."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from junetts import (
    TTS,
    BackendAudio,
    BackendUnavailableError,
    CheckpointError,
    EngineError,
    InvalidRequestError,
    Sampling,
    Segment,
    UnknownVoiceError,
    Utterance,
    Voice,
)
from junetts._config_sections import LocalSection
from junetts._runtime import runtime
from junetts._wav import wav_header
from junetts.backends.local import LocalBackend

pytestmark = pytest.mark.anyio

CHECKPOINT = Path(__file__).parents[1] / "data" / "s1-tiny"
FRAME_BYTES = 4096
SHORT = Utterance(sampling=Sampling(seed=1, max_new_tokens=12))
ENDLESS = Utterance(sampling=Sampling(seed=1, max_new_tokens=2000))


@asynccontextmanager
async def opened(**settings: object) -> AsyncIterator[LocalBackend]:
    """A backend with the tiny checkpoint, and closed afterwards."""
    section = LocalSection(
        **{"checkpoint": str(CHECKPOINT), "device": "cpu", "voice_cache": "", **settings}
    )
    backend = LocalBackend(section)
    try:
        yield backend
    finally:
        await backend.aclose()


async def given(*texts: str) -> AsyncIterator[Segment]:
    """Segments that are all there."""
    for index, text in enumerate(texts):
        yield Segment(index=index, text=text)


async def heard(
    backend: LocalBackend, *texts: str, utterance: Utterance = SHORT
) -> list[BackendAudio]:
    """Everything that is yielded for those segments."""
    return await heard_from(backend, given(*texts), utterance=utterance)


async def heard_from(
    backend: LocalBackend, segments: AsyncIterator[Segment], *, utterance: Utterance = SHORT
) -> list[BackendAudio]:
    """Everything that is yielded for what that source writes."""
    async with backend.speak(utterance, segments) as audio:
        return [item async for item in audio]


def pcm(items: list[BackendAudio]) -> bytes:
    """All of the sound."""
    return b"".join(item.data for item in items)


def is_same(one: bytes, other: bytes) -> bool:
    """Whether two sounds are equal, but for a step of rounding: chunks depend on the clock."""
    a, b = (np.frombuffer(sound, "<i2").astype(int) for sound in (one, other))
    return a.shape == b.shape and int(np.abs(a - b).max()) <= 1


async def test_the_first_sound_is_one_frame() -> None:
    """Sound begins as soon as there is any."""
    async with opened() as backend:
        items = await heard(backend, "Hello from June.")
    assert len(items[0].data) == FRAME_BYTES
    assert len(pcm(items)) == 12 * FRAME_BYTES
    assert items[-1].end == "truncated"
    assert {item.backend for item in items} == {"local"}


async def test_a_seed_gives_the_same_speech() -> None:
    """Also beside others."""
    async with opened() as backend:
        alone = pcm(await heard(backend, "Hello.", "And more."))
        together = await asyncio.gather(*(heard(backend, "Hello.", "And more.") for _ in range(3)))
    assert all(is_same(pcm(items), alone) for items in together)


async def test_text_without_words_is_not_given_to_the_model() -> None:
    """It would babble."""
    async with opened() as backend:
        items = await heard(backend, "...", "  \n")
    assert [(item.segment, item.end, item.data) for item in items] == [
        (0, "complete", b""),
        (1, "complete", b""),
    ]


async def test_a_named_voice_is_unknown() -> None:
    """A checkpoint knows recordings only, and the error says so."""
    async with opened() as backend:
        with pytest.raises(UnknownVoiceError, match=r"Voice\.clone"):
            async with backend.speak(Utterance(voice=Voice("june")), given("Hello.")):
                pass


async def test_a_recording_changes_the_voice() -> None:
    """A clip is part of the prompt."""
    noise = b"\x00\x10\x00\xf0" * 22_050
    voice = Voice.clone(wav_header(len(noise), sample_rate=44_100) + noise, "The words in it.")
    cloned = Utterance(voice=voice, sampling=SHORT.sampling)
    async with opened() as backend:
        plain = pcm(await heard(backend, "Hello."))
        first = pcm(await heard(backend, "Hello.", utterance=cloned))
        again = pcm(await heard(backend, "Hello.", utterance=cloned))
    assert not is_same(first, plain)
    assert is_same(first, again)


async def test_a_recording_that_is_none_fails_before_any_sound() -> None:
    """The caller is told which field is wrong; the next utterance is spoken."""
    voice = Voice.clone(b"this is not a sound file", "The words in it.")
    async with opened() as backend:
        with pytest.raises(InvalidRequestError, match=r"voice\.audio"):
            await heard(backend, "Hello.", utterance=Utterance(voice=voice))
        assert pcm(await heard(backend, "Hello."))


async def test_leaving_stops_the_model() -> None:
    """After barge-in nothing more is made, and the next utterance has the model to itself."""
    async with opened(max_batch=1) as backend:
        async with backend.speak(ENDLESS, given("Hello.")) as audio:
            await anext(audio)
        assert pcm(await asyncio.wait_for(heard(backend, "Hello."), 10))


async def test_cancelling_while_waiting_for_a_slot_costs_nothing() -> None:
    """Who leaves the queue is not spoken to."""
    async with opened(max_batch=1) as backend:
        async with backend.speak(ENDLESS, given("Hello.")) as audio:
            await anext(audio)
            waiting = asyncio.create_task(heard(backend, "Hello."))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        assert pcm(await heard(backend, "Hello."))


async def test_a_listener_who_does_not_listen_is_not_spoken_to_for_ever() -> None:
    """Two seconds ahead the model rests; taking everything makes it go on."""
    utterance = Utterance(sampling=Sampling(seed=1, max_new_tokens=100))
    async with (
        opened() as backend,
        backend.speak(utterance, given("Say something long enough for this.")) as audio,
    ):
        await anext(audio)
        beside = await heard(backend, "Meanwhile.")
        rest = [item async for item in audio]
    assert pcm(beside)
    assert len(pcm(rest)) == 99 * FRAME_BYTES


async def test_a_source_that_fails_is_not_our_failure() -> None:
    """Its own error comes out, and the model is free again."""

    async def broken() -> AsyncIterator[Segment]:
        yield Segment(index=0, text="Hello.")
        raise KeyError("the caller's own")

    async with opened(max_batch=1) as backend:
        with pytest.raises(KeyError, match="own"):
            await heard_from(backend, broken())
        assert pcm(await heard(backend, "Hello."))


async def test_a_missing_checkpoint_is_named() -> None:
    """By warmup, by the probe and by speaking alike; nothing hangs."""
    async with opened(checkpoint="no/such/place") as backend:
        with pytest.raises(CheckpointError, match="no/such/place"):
            await backend.warmup()
        health = await backend.probe()
        with pytest.raises(CheckpointError, match="no/such/place"):
            await heard(backend, "Hello.")
    assert health.status == "unavailable"
    assert "no/such/place" in health.detail
    assert health.hint


async def test_a_device_that_is_not_there_is_named() -> None:
    """With what to do about it."""
    async with opened(device="cuda:7") as backend:
        with pytest.raises(EngineError, match="cuda:7"):
            await backend.warmup()


async def test_the_probe_looks_at_files_and_then_at_what_is_loaded() -> None:
    """It loads nothing by itself."""
    async with opened() as backend:
        before = await backend.probe()
        assert not engine_threads()
        await backend.warmup()
        after = await backend.probe()
    assert (before.status, after.status) == ("ok", "ok")
    assert "S1" in before.detail
    assert "loaded on cpu in float32" in after.detail


def engine_threads() -> list[threading.Thread]:
    """The threads of models."""
    return [thread for thread in threading.enumerate() if thread.name == "junetts-engine"]


async def test_closing_ends_the_thread_and_what_was_being_said() -> None:
    """An utterance in progress fails, and closing again is harmless."""
    async with opened() as backend, backend.speak(ENDLESS, given("Hello.")) as audio:
        await anext(audio)
        await backend.aclose()
        with pytest.raises(EngineError, match="closed"):
            async for _ in audio:
                pass
        assert not engine_threads()
        await backend.aclose()
        with pytest.raises(EngineError, match="closed"):
            await heard(backend, "Hello.")
        with pytest.raises(EngineError, match="closed"):
            await backend.warmup()


async def test_closing_without_having_spoken() -> None:
    """There is no thread to wait for."""
    async with opened():
        pass
    assert not engine_threads()


async def test_leaving_warmup_does_not_stop_the_loading() -> None:
    """The next one finds the model loaded, or waits for the same loading."""
    async with opened() as backend:
        warming = asyncio.create_task(backend.warmup())
        await asyncio.sleep(0)
        warming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await warming
        await backend.warmup()
        assert len(engine_threads()) == 1


def held_up(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Two events: loading has begun, and it may go on, to fail; it also ends if nobody waits."""
    begun, go = threading.Event(), threading.Event()

    def load(directory: Path, *, check: Callable[[], None], **_: object) -> None:
        begun.set()
        while not go.wait(0.001):
            check()
        raise CheckpointError("damaged", path=str(directory))

    monkeypatch.setattr(runtime, "load_runtime", load)
    return begun, go


async def test_closing_stops_the_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for it is told, and the thread is gone."""
    begun, _ = held_up(monkeypatch)
    async with opened() as backend:
        speaking = asyncio.create_task(heard(backend, "Hello."))
        warming = asyncio.create_task(backend.warmup())
        await asyncio.to_thread(begun.wait)
        await backend.aclose()
        assert not engine_threads()
        for waiting in (speaking, warming):
            with pytest.raises(EngineError, match="closed"):
                await waiting


def test_an_event_loop_that_has_gone_misses_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Loading ends when nobody is there any more: there is nothing to complain about."""
    begun, go = held_up(monkeypatch)
    backend = LocalBackend(LocalSection(checkpoint=str(CHECKPOINT), device="cpu"))
    loop = asyncio.new_event_loop()

    async def leave() -> None:
        warming = asyncio.create_task(backend.warmup())
        await asyncio.to_thread(begun.wait)
        warming.cancel()
        await asyncio.wait([warming])

    try:
        loop.run_until_complete(leave())
    finally:
        loop.close()
    (thread,) = engine_threads()
    go.set()
    thread.join()
    assert not caplog.records
    asyncio.run(backend.aclose())


async def test_two_who_wait_for_a_model_get_an_error_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them is given what was heard of its own utterance: nothing may be shared."""
    begun, go = held_up(monkeypatch)
    async with opened() as backend:
        both = [asyncio.create_task(heard(backend, "Hello.")) for _ in range(2)]
        await asyncio.to_thread(begun.wait)
        go.set()
        first, second = await asyncio.gather(*both, return_exceptions=True)
    assert isinstance(first, CheckpointError)
    assert isinstance(second, CheckpointError)
    assert first is not second


async def test_a_package_that_cannot_be_loaded_makes_it_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Installed is not yet usable; the probe and speaking both say so."""
    monkeypatch.setitem(sys.modules, "junetts._runtime.runtime", None)
    monkeypatch.setitem(sys.modules, "junetts._runtime.device", None)
    async with opened() as backend:
        health = await backend.probe()
        with pytest.raises(BackendUnavailableError, match="a package cannot be loaded") as caught:
            await heard(backend, "Hello.")
    assert (health.status, health.hint) == ("unavailable", caught.value.hint)
    assert not caught.value.retryable


async def test_through_the_client() -> None:
    """The facade reports what was cut off, and how early the first sound came."""
    settings = {"checkpoint": str(CHECKPOINT), "device": "cpu", "voice_cache": ""}
    async with TTS({"backends": ["local"], "local": settings}) as tts:
        await tts.warmup()
        stream = tts.stream("Hello from June.", sampling=Sampling(seed=1, max_new_tokens=20))
        chunks = [chunk async for chunk in stream]
    assert sum(len(chunk.pcm) for chunk in chunks) == 20 * FRAME_BYTES
    assert stream.report.outcome == "truncated"
    assert stream.report.backend == "local"


def test_it_can_be_made_without_loading_torch() -> None:
    """Building a client must not block the event loop for seconds."""
    code = (
        "import sys; from junetts.backends.local import LocalBackend; "
        "from junetts._config_sections import LocalSection; LocalBackend(LocalSection()); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
