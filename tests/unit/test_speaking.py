"""One utterance: the bound on what is made ahead, the numbers in the report, and the ending."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import RATE_HZ, FakeBackend, audio, breaks, client, hangs, settled, speaks, tone_pcm
from junetts import _speaking
from junetts._backend import BackendAudio, Capabilities
from junetts._errors import BackendUnavailableError, JuneTtsError, SynthesisInterruptedError
from junetts._events import HandedOver
from junetts._report import Handover, WordTime
from junetts._speaking import Speaking
from junetts._utterance import Segment, Utterance
from virtual_time import VIRTUAL_TIME, VirtualTimeLoop

TEXT = "This is the first sentence. This is the second sentence."


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """No test here waits for real time."""
    return VIRTUAL_TIME


@pytest.mark.anyio
@pytest.mark.parametrize("ahead_s", [0.5, 2.0])
async def test_a_slow_listener_bounds_the_work(ahead_s: float) -> None:
    """No more than ``ahead_s`` seconds of audio, and a chunk or two, are made ahead."""
    backend = FakeBackend(speaks(1000))
    async with client(backend, ahead_s=ahead_s) as tts:
        stream = tts.stream(TEXT)
        for n_heard in range(1, 6):
            await anext(stream)
            await settled(500)
            made_s = backend.n_bytes / RATE_HZ / 2
            assert ahead_s <= made_s - 0.1 * n_heard <= ahead_s + 0.2
        await stream.aclose()


@pytest.mark.anyio
async def test_nothing_is_made_after_leaving() -> None:
    """The backend stops within the chunk that it was making."""
    backend = FakeBackend(speaks(1000, pause_s=0.1))
    async with client(backend) as tts:
        stream = tts.stream(TEXT)
        await anext(stream)
        await stream.aclose()
        made = backend.n_bytes
        await asyncio.sleep(10)
        assert backend.n_bytes == made <= 2 * len(tone_pcm())


@pytest.mark.anyio
async def test_leaving_stops_even_a_backend_that_never_waits() -> None:
    """Which no cancellation reaches: what it makes would fill the time of everybody else."""

    async def perform(segment: Segment) -> AsyncIterator[BackendAudio]:
        for _ in range(1000):
            yield audio(segment, tone_pcm())
        yield audio(segment, end="complete")

    backend = FakeBackend(perform)
    async with client(backend, ahead_s=0.5) as tts:
        stream = tts.stream(TEXT)
        for _ in range(3):
            await anext(stream)
        await settled()
        await anext(stream)  # there is room again, of which the work has not yet been told
        made, report = backend.n_bytes, stream.report
        await stream.aclose()
        assert backend.n_bytes <= made + 2 * len(tone_pcm())
        assert stream.report.rtf == report.rtf


@pytest.mark.anyio
async def test_the_report_prices_what_was_spoken() -> None:
    """Each backend's price counts for the bytes of the segments it began."""
    priced = FakeBackend(
        capabilities=Capabilities(sample_rate=RATE_HZ, price_usd_per_million_bytes=15.0)
    )
    text = "\u4f60\u597d\u4f60\u597d\u3002"
    async with client(priced) as tts:
        report = (await tts.synthesize(text)).report
    assert (report.characters, report.utf8_bytes) == (5, 15)
    assert report.cost_usd == pytest.approx(15 * 15 / 1e6)
    async with client(FakeBackend()) as tts:
        assert (await tts.synthesize(text)).report.cost_usd == 0


@pytest.mark.anyio
async def test_times_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time to first audio and real-time factor come from one clock, started by the request."""
    loop = asyncio.get_running_loop()
    monkeypatch.setattr("junetts._speaking.time.perf_counter", loop.time)
    async with client(FakeBackend(speaks(pause_s=0.5))) as tts:
        stream = tts.stream("Hello there.")
        assert stream.report.ttfa_s is None
        speech = await stream.collect()
    assert speech.report.ttfa_s == pytest.approx(0.5)
    assert speech.report.rtf == pytest.approx(1.5 / 0.3)


@pytest.mark.anyio
async def test_waiting_for_a_listener_is_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is the wait after the last audio, during which the report stays what it is."""
    loop = asyncio.get_running_loop()
    monkeypatch.setattr("junetts._speaking.time.perf_counter", loop.time)
    backend = FakeBackend(speaks(4, pause_s=0.1))
    async with client(backend, ahead_s=0.1) as tts:
        stream = tts.stream("One sentence.")
        async for _ in stream:
            await asyncio.sleep(5)
            assert stream.report.rtf == pytest.approx(1.0)
        assert stream.report.rtf == pytest.approx(1.0)


@pytest.mark.anyio
async def test_word_times_are_in_the_report() -> None:
    """Each segment's words stand in its record."""
    words = (WordTime(text="Hello", start_s=0, end_s=0.1, provenance="aligned"),)

    async def perform(segment: Segment) -> AsyncIterator[BackendAudio]:
        yield audio(segment, tone_pcm(), words=words)
        yield audio(segment, end="complete")

    async with client(FakeBackend(perform)) as tts:
        report = (await tts.synthesize("Hello there.")).report
    assert report.segments[0].words == words


@pytest.mark.anyio
async def test_a_snapshot_says_speaking() -> None:
    """While it goes on, the report is a snapshot."""
    async with client(FakeBackend(hangs(segment=1))) as tts:
        stream = tts.stream(TEXT)
        for _ in range(3):
            await anext(stream)
        await settled()
        assert (stream.report.outcome, stream.report.segments[0].state) == ("speaking", "spoken")
        await stream.aclose()


@pytest.mark.anyio
async def test_an_error_carries_no_more_than_two_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long stream the error has the report but no audio; who collects it loses nothing."""
    monkeypatch.setattr(_speaking, "KEPT_S", 0.25)
    for after, has_speech in ((2, True), (3, False)):
        backend = FakeBackend(breaks(BackendUnavailableError("gone"), after=after))
        async with client(backend) as tts:
            with pytest.raises(SynthesisInterruptedError) as raised:
                async for _ in tts.stream(TEXT):
                    pass
            with pytest.raises(SynthesisInterruptedError) as collected:
                await tts.synthesize(TEXT)
        assert (raised.value.speech is not None) == has_speech
        assert collected.value.speech is not None
        assert collected.value.speech.duration_s == pytest.approx(0.1 * after)
        assert raised.value.report is not None
        assert raised.value.report.audio_s == pytest.approx(0.1 * after)


@pytest.mark.anyio
async def test_what_broke_off_once_is_not_wrapped_again() -> None:
    """A backend that raises `SynthesisInterruptedError` itself is taken at its word."""
    error = SynthesisInterruptedError("half of it was lost")
    async with client(FakeBackend(breaks(error))) as tts:
        with pytest.raises(SynthesisInterruptedError) as raised:
            await tts.synthesize(TEXT)
    assert raised.value is error


@pytest.mark.anyio
async def test_work_stopped_from_outside_is_not_complete() -> None:
    """Where the task itself is cancelled, the listener hears an end that says so."""
    backend = FakeBackend(hangs(after=1))
    speaking = Speaking(TEXT, Utterance(), sample_rate=RATE_HZ, ahead_s=1)
    task = asyncio.create_task(speaking.run(backend))
    await settled()
    listening = asyncio.create_task(listen_to(speaking))
    await settled()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await listening
    assert (speaking.report.outcome, backend.n_open) == ("cancelled", 0)
    await speaking.wait_finished()


async def listen_to(speaking: Speaking) -> None:
    """Hear everything."""
    while (item := await speaking.take()) is not None:
        speaking.hand_out(item)


@pytest.mark.anyio
async def test_handovers_count_once_they_are_heard() -> None:
    """What a failover tells of is in the report from the new backend's first sound on."""
    speaking = Speaking(TEXT, Utterance(), sample_rate=RATE_HZ, ahead_s=1)
    handover = Handover(from_backend="a", to_backend="b", segment=0, reason="gone")
    observe = speaking._utterance.observe
    assert observe is not None
    observe(HandedOver(utterance=0, handover=handover))
    await anext(speaking._feed)
    speaking.hand_out(replace(audio(0, tone_pcm()), backend="a"))
    assert speaking.report.handovers == ()
    speaking.hand_out(replace(audio(0, tone_pcm()), backend="b"))
    assert speaking.report.handovers == (handover,)


@pytest.mark.anyio
async def test_a_time_limit_in_the_backend_is_not_ours() -> None:
    """A bare TimeoutError of a backend is not mistaken for the utterance's deadline."""
    async with client(FakeBackend(breaks(TimeoutError("mine"), after=0))) as tts:
        with pytest.raises(BackendUnavailableError, match="TimeoutError: mine") as raised:
            await tts.synthesize(TEXT, timeout_s=100)
    assert not isinstance(raised.value, TimeoutError)


@pytest.mark.anyio
async def test_a_source_that_was_cancelled_by_somebody_else() -> None:
    """What awaits a cancelled task is no end of the text, and no barge-in."""

    async def source() -> AsyncIterator[str]:
        yield "Hello there, this is the first sentence. And the "
        task = asyncio.create_task(asyncio.sleep(10))
        task.cancel()
        await task

    async with client(FakeBackend()) as tts:
        with pytest.raises(SynthesisInterruptedError, match="text source was cancelled") as raised:
            await tts.synthesize(source())
    assert raised.value.report is not None
    assert raised.value.report.outcome == "failed"
    assert raised.value.report.spoken_text.startswith("Hello there")


@pytest.mark.anyio
@pytest.mark.parametrize("method", ["__aiter__", "__iter__"])
async def test_a_source_that_cannot_be_read_harms_nobody_else(method: str) -> None:
    """An error in asking for the iterator is that utterance's own."""

    def refuse(_: object) -> object:
        raise RuntimeError("already consumed")

    source = type("Source", (), {method: refuse})()
    async with client(FakeBackend()) as tts:
        other = asyncio.create_task(tts.synthesize(TEXT))
        with pytest.raises(RuntimeError, match="already consumed"):
            await tts.synthesize(source)
        assert (await other).report.outcome == "complete"


@pytest.mark.anyio
async def test_a_backend_that_leaves_text_unread() -> None:
    """Ending well before the text does is no success."""

    class Hasty(FakeBackend):
        @asynccontextmanager
        async def speak(
            self, utterance: Utterance, segments: AsyncIterable[Segment]
        ) -> AsyncIterator[AsyncIterator[BackendAudio]]:
            first = await anext(aiter(segments))

            async def only() -> AsyncIterator[Segment]:
                yield first

            async with super().speak(utterance, only()) as audio:
                yield audio

    async with client(Hasty()) as tts:
        with pytest.raises(SynthesisInterruptedError, match="before the text did") as raised:
            await tts.synthesize(TEXT)
    assert raised.value.report is not None
    assert raised.value.report.unspoken_text != ""


@pytest.fixture(scope="module", autouse=True)
def _only_new_garbage() -> Iterator[None]:
    """Collections here need not look through what other tests have imported, such as torch."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


FAULTS = st.sampled_from(["none", "error", "hang", "return", "break", "cancel", "silence"])
PARTS = st.sampled_from(
    ["Hello there. ", "How are you? ", "... ", "\n\n", "  ", "and so on, ", "Yes!", "[laugh] ", "1"]
)


@given(st.lists(PARTS, max_size=8), FAULTS, st.integers(0, 4), st.integers(0, 8), st.booleans())
@settings(max_examples=80, deadline=None)
def test_no_text_is_lost(
    parts: list[str], fault: str, segment: int, n_chunks: int, streamed: bool
) -> None:
    """Whatever happens, wherever: spoken and unspoken text are the text, and nothing is left."""
    text = "".join(parts)

    async def perform(given: Segment) -> AsyncIterator[BackendAudio]:
        if given.index == segment and fault in ("error", "hang", "return", "silence"):
            if fault != "silence":
                yield audio(given, tone_pcm(0.01))
            if fault == "error":
                raise BackendUnavailableError("gone")
            if fault == "hang":
                await asyncio.get_running_loop().create_future()
            return
        async for item in speaks(2)(given):
            yield item

    async def run() -> None:
        backend = FakeBackend(perform)
        async with client(backend, fallback={"patience_s": 5}) as tts:
            stream = tts.stream(list(parts) if streamed else text)
            heard = 0
            try:
                async for _ in stream:
                    heard += 1
                    if fault == "break" and heard > n_chunks:
                        break
                    if fault == "cancel" and heard > n_chunks:
                        stream.cancel()
            except JuneTtsError:
                assert fault in ("error", "hang", "return", "silence")
            await stream.aclose()
        report = stream.report
        given_up = report.spoken_text + report.unspoken_text
        assert given_up == text if not streamed else text.startswith(given_up)
        assert report.outcome in ("complete", "cancelled", "failed")
        if report.outcome == "complete":
            assert (report.spoken_text, report.unspoken_text) == (text, "")
        assert (
            "".join(one.text for one in report.segments)
            == given_up[: sum(len(one.text) for one in report.segments)]
        )
        assert report.audio_s == pytest.approx(sum(one.duration_s for one in report.segments))

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(run())
    gc.collect()
