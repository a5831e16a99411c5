"""Bad days: everyone down at once, backends that refuse, hang or cancel themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from fakes import (
    RATE_HZ,
    FakeBackend,
    Performance,
    audio,
    breaks,
    client,
    hangs,
    speaks,
    tone_pcm,
)
from junetts import TTS, Event, Finished, VoiceSubstituted
from junetts._backend import BackendAudio, Capabilities
from junetts._errors import (
    BackendUnavailableError,
    NoBackendAvailableError,
    RequestRejectedError,
    SynthesisInterruptedError,
)
from junetts._report import Substitution
from junetts._utterance import Segment
from virtual_time import VIRTUAL_TIME

SENTENCES = ["This is the first one. ", "This is the second one. ", "This is the third one. "]
TEXT = "".join(SENTENCES)
GONE = BackendUnavailableError("gone")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """No test here waits for real time."""
    return VIRTUAL_TIME


async def first_sound_s(tts: TTS) -> float:
    """How long an utterance takes to its first sound; all of it is heard."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    stream = tts.stream(TEXT)
    await anext(stream)
    after_s = loop.time() - began_s
    async for _ in stream:
        pass
    return after_s


@pytest.mark.anyio
@pytest.mark.parametrize(("hedge_after_s", "allowed_s"), [(0, 3.0), (0.4, 0.4)])
async def test_after_a_total_outage_deadlines_are_short_again(
    hedge_after_s: float, allowed_s: float
) -> None:
    """That all breakers are open tells nothing about who is better; one hang costs one deadline."""
    backends = [FakeBackend(name=name, refuses=GONE) for name in ("a", "b")]
    fallback = {"hedge_after_s": hedge_after_s, "tries": 1}
    async with client(*backends, fallback=fallback) as tts:
        with pytest.raises(NoBackendAvailableError):
            await tts.synthesize(TEXT)
        for backend in backends:
            backend.refuses = None
        backends[0]._perform = hangs()
        assert await first_sound_s(tts) == pytest.approx(allowed_s)


@pytest.mark.anyio
async def test_patience_is_given_once() -> None:
    """Two that hang cost one short deadline and one long one, not two long ones."""
    loop = asyncio.get_running_loop()
    async with client(FakeBackend(hangs(), name="a"), FakeBackend(hangs(), name="b")) as tts:
        with pytest.raises(NoBackendAvailableError):
            await tts.synthesize(TEXT)
    assert loop.time() == pytest.approx(33.0)


@pytest.mark.anyio
async def test_who_refused_the_request_is_not_asked_again_for_it() -> None:
    """Neither in dead air after a break, nor at every sentence to which it might return."""
    first = FakeBackend(name="first", refuses=RequestRejectedError("422"))
    second = FakeBackend(breaks(GONE, segment=1), name="second")
    fallback = {"return_at": "segment"}
    async with client(first, second, FakeBackend(name="third"), fallback=fallback) as tts:
        report = (await tts.synthesize(TEXT)).report
    assert [segment.backend for segment in report.segments] == ["second", "third", "third"]
    assert len(first.utterances) == 1
    assert len(second.utterances) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("after", [0, 1])
async def test_a_backend_that_cancels_itself_has_failed(after: int) -> None:
    """It is no barge-in: the next one goes on."""

    async def cancels_itself(segment: Segment) -> AsyncIterator[BackendAudio]:
        for _ in range(after):
            yield audio(segment, tone_pcm())
        doomed = asyncio.get_running_loop().create_future()
        doomed.cancel()
        await doomed

    first, second = FakeBackend(cancels_itself, name="a"), FakeBackend(name="b")
    async with client(first, second) as tts:
        report = (await tts.synthesize(TEXT)).report
    assert (report.outcome, second.given) == ("complete", SENTENCES)
    problems = [one.reason for one in (*report.attempts, *report.handovers)]
    assert problems == ["the backend cancelled itself"]


@pytest.mark.anyio
async def test_a_deadline_during_a_release_leaves_nobody_behind() -> None:
    """The winner of a race is being left for a better one when the time is up."""

    async def takes_its_time() -> None:
        await asyncio.sleep(3)

    async def lingers(segment: Segment) -> AsyncIterator[BackendAudio]:
        yield audio(segment, tone_pcm())
        await asyncio.sleep(1.5)
        yield audio(segment, end="complete")

    first = FakeBackend(breaks(GONE, segment=0), name="first")
    second = FakeBackend(lingers, name="second", leave=takes_its_time)
    fallback = {"return_at": "segment", "hedge_after_s": 0.1}
    third = FakeBackend(name="third")
    async with client(first, second, third, fallback=fallback) as tts:
        stream = tts.stream(TEXT, timeout_s=2.0)
        await anext(stream)
        first._perform = speaks()
        with pytest.raises(SynthesisInterruptedError):
            await stream.collect()
        assert len(first.utterances) == 1  # it was still the second's turn
        await stream.aclose()
        assert second.n_open == 0


@pytest.mark.anyio
async def test_who_goes_down_while_text_is_awaited_does_not_return() -> None:
    """A better one was well at the sentence's end, and is not when there is more to say."""
    coming = asyncio.Event()

    async def writing() -> AsyncIterator[str]:
        yield SENTENCES[0] + SENTENCES[1][:20]
        await coming.wait()
        yield SENTENCES[1][20:]

    first = FakeBackend(breaks(GONE, segment=0), name="first")
    second = FakeBackend(speaks(pause_s=0.5), name="second")
    async with client(first, second, fallback={"return_at": "segment"}) as tts:
        stream = tts.stream(writing())
        reading = asyncio.create_task(stream.collect())
        await asyncio.sleep(3.0)
        with pytest.raises(SynthesisInterruptedError):  # and its breaker opens again
            await tts.synthesize("Hello there.", backend="first")
        coming.set()
        report = (await reading).report
    assert {segment.backend for segment in report.segments} == {"second"}
    assert len(second.utterances) == 1


@pytest.mark.anyio
async def test_an_event_does_not_follow_the_end() -> None:
    """A backend that gets its sound in the very moment of barge-in is not told of."""
    for n_rounds in range(12):
        events: list[Event] = []
        async with client(FakeBackend(), on_event=events.append) as tts:
            stream = tts.stream(TEXT)
            for _ in range(n_rounds):
                await asyncio.sleep(0)
            stream.cancel()
            await stream.aclose()
        assert isinstance(events[-1], Finished)
        assert sum(isinstance(event, Finished) for event in events) == 1


def named(name: str, *, voice: str | None, perform: object = None) -> FakeBackend:
    """A backend with a configured voice."""
    return FakeBackend(
        perform,  # type: ignore[arg-type]
        name=name,
        capabilities=Capabilities(sample_rate=RATE_HZ, voice_ids=True, voice=voice),
    )


@pytest.mark.anyio
async def test_a_configured_voice_that_does_not_go_along_is_reported() -> None:
    """Never silently: the one who takes over has no voice configured, and says so."""
    events: list[Event] = []
    first = named("a", voice="june", perform=breaks(GONE, segment=1))
    async with client(first, named("b", voice=None), on_event=events.append) as tts:
        report = (await tts.synthesize(TEXT)).report
    reason = "no voice is configured for it; a has 'june'"
    assert report.substitutions == (Substitution(backend="b", reason=reason),)
    assert any(isinstance(event, VoiceSubstituted) for event in events)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("first_voice", "second_voice"), [("june", "juni"), (None, None), (None, "j")]
)
async def test_voices_as_configured_are_no_substitution(
    first_voice: str | None, second_voice: str | None
) -> None:
    """Each backend speaks in the voice that was set for it."""
    first = named("a", voice=first_voice, perform=breaks(GONE, segment=1))
    async with client(first, named("b", voice=second_voice)) as tts:
        report = (await tts.synthesize(TEXT)).report
    assert (len(report.handovers), report.substitutions) == (1, ())


@pytest.mark.anyio
async def test_a_pause_before_speech_is_no_speech() -> None:
    """With ``continue`` and no word times, silence does not count as words that were heard."""

    async def late(segment: Segment) -> AsyncIterator[BackendAudio]:
        hiss = (np.arange(RATE_HZ * 2) % 7 - 3).astype("<i2")  # two seconds below -70 dBFS
        yield audio(segment, hiss.tobytes())
        yield audio(segment, tone_pcm(0.3))
        raise GONE

    second = FakeBackend(name="b")
    fallback = {"on_partial": "continue"}
    async with client(FakeBackend(late, name="a"), second, fallback=fallback) as tts:
        report = (await tts.synthesize("One two three four five six seven eight.")).report
    assert second.given == ["One two three four five six seven eight."]
    assert report.handovers[0].resumed_at == 0


def square(amplitude: int, *, n_chunks: int = 20, breaks_off: bool = False) -> Performance:
    """A tone of one loudness, in every segment."""
    pcm = np.full(RATE_HZ // 10, amplitude, "<i2").tobytes()

    async def perform(segment: Segment) -> AsyncIterator[BackendAudio]:
        for _ in range(n_chunks):
            yield audio(segment, pcm)
        if breaks_off:
            raise BackendUnavailableError("gone")
        yield audio(segment, end="complete")

    return perform


@pytest.mark.anyio
async def test_who_goes_on_after_a_vain_return_stays_as_loud_as_it_was() -> None:
    """There is no seam where nobody else spoke."""
    loudness = iter([16_000, 4_000, 4_000])

    async def softer(segment: Segment) -> AsyncIterator[BackendAudio]:
        await asyncio.sleep(2)
        async for item in square(next(loudness))(segment):
            yield item

    first = FakeBackend(refuses=GONE, name="first")
    fallback = {"return_at": "segment", "tries": 1, "patience_s": 9}
    async with client(first, FakeBackend(softer, name="second"), fallback=fallback) as tts:
        speech = await tts.synthesize(TEXT)
    assert {segment.backend for segment in speech.report.segments} == {"second"}
    assert len(first.utterances) > 1
    last = np.frombuffer(speech.pcm, "<i2")[-RATE_HZ:]
    assert last.tolist() == [4_000] * RATE_HZ


@pytest.mark.anyio
async def test_loudness_after_silence_is_that_of_the_last_that_was_heard() -> None:
    """One that fell silent before it broke off sets no measure, and its gain is not kept."""

    async def fades(segment: Segment) -> AsyncIterator[BackendAudio]:
        yield audio(segment, np.full(RATE_HZ, 2_000, "<i2").tobytes())
        yield audio(segment, np.full(2 * RATE_HZ, 1, "<i2").tobytes())
        raise BackendUnavailableError("gone")

    first = FakeBackend(square(8_000, breaks_off=True), name="first")
    third = FakeBackend(square(16_000, n_chunks=60), name="third")
    async with client(first, FakeBackend(fades, name="second"), third) as tts:
        speech = await tts.synthesize("One sentence.")
    last = np.frombuffer(speech.pcm, "<i2")[-RATE_HZ:].astype(float)
    assert np.abs(last).mean() == pytest.approx(8_000, rel=0.15)
