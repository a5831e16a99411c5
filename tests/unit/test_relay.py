"""One backend going on for another: what is repeated, what is lost, what the listener learns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from fakes import (
    CHUNK_S,
    RATE_HZ,
    FakeBackend,
    Performance,
    audio,
    breaks,
    client,
    hangs,
    settled,
    speaks,
    tone_pcm,
)
from junetts import TTS
from junetts._backend import BackendAudio
from junetts._errors import (
    AuthenticationError,
    BackendUnavailableError,
    NoBackendAvailableError,
    SynthesisInterruptedError,
)
from junetts._report import Attempt, Handover, SpeechReport, WordTime
from junetts._utterance import Segment
from virtual_time import VIRTUAL_TIME

SENTENCES = ["This is the first one. ", "This is the second one. ", "This is the third one. "]
TEXT = "".join(SENTENCES)
SENTENCE_S = 3 * CHUNK_S
TAIL_S = 0.005


def gone() -> BackendUnavailableError:
    """A new one each time, for it is told whose it is."""
    return BackendUnavailableError("gone")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """No test here waits for real time."""
    return VIRTUAL_TIME


def ends_then_breaks(*, segment: int) -> Performance:
    """Finishes its segments, and fails before any sound of this one."""
    return breaks(gone(), segment=segment, after=0)


async def report_of(tts: TTS, text: str = TEXT) -> SpeechReport:
    """Speak, completely."""
    return (await tts.synthesize(text)).report


@pytest.mark.anyio
async def test_between_two_sentences_nothing_is_repeated_and_nothing_lost() -> None:
    """The next backend is given exactly what the first one has not finished."""
    first = FakeBackend(ends_then_breaks(segment=1), name="first")
    second = FakeBackend(name="second")
    async with client(first, second) as tts:
        report = await report_of(tts)
    assert second.given == SENTENCES[1:]
    assert report.outcome == "complete"
    assert report.spoken_text == TEXT
    assert report.audio_s == pytest.approx(3 * SENTENCE_S)
    assert [segment.backend for segment in report.segments] == ["first", "second", "second"]
    assert report.handovers == (
        Handover(from_backend="first", to_backend="second", segment=1, reason="gone"),
    )
    assert report.attempts == ()


@pytest.mark.anyio
@pytest.mark.parametrize("segment", [0, 1, 2])
async def test_an_interrupted_sentence_is_spoken_again(segment: int) -> None:
    """It begins anew; what was heard of it counts as audio, not as its own."""
    first = FakeBackend(breaks(gone(), segment=segment, after=2), name="first")
    second = FakeBackend(name="second")
    async with client(first, second) as tts:
        report = await report_of(tts)
    assert second.given == SENTENCES[segment:]
    assert (report.outcome, report.spoken_text) == ("complete", TEXT)
    assert report.handovers[0].segment == segment
    assert report.audio_s == pytest.approx(3 * SENTENCE_S + 2 * CHUNK_S + TAIL_S)
    again = report.segments[segment]
    assert (again.backend, again.state) == ("second", "spoken")
    assert again.start_s == pytest.approx(segment * SENTENCE_S + 2 * CHUNK_S + TAIL_S)
    assert again.duration_s == pytest.approx(SENTENCE_S)


@pytest.mark.anyio
@pytest.mark.parametrize("after", [0, 2])
async def test_a_handover_names_the_segment_also_if_one_before_is_unspeakable(after: int) -> None:
    """What nobody has to speak counts in the report, but is handed to no backend."""

    async def writing() -> AsyncIterator[str]:
        for piece in (SENTENCES[0], "... ", SENTENCES[1]):
            yield piece
            stream.flush()

    first = FakeBackend(breaks(gone(), segment=2, after=after), name="first")
    second = FakeBackend(name="second")
    async with client(first, second) as tts:
        stream = tts.stream(writing())
        async for _ in stream:
            pass
    report = stream.report
    assert [segment.text for segment in report.segments] == [SENTENCES[0], "... ", SENTENCES[1]]
    assert second.given == [SENTENCES[1]]
    assert [handover.segment for handover in report.handovers] == [2]


@pytest.mark.anyio
async def test_giving_up_instead_raises_what_broke_it_off() -> None:
    """With ``on_partial = "fail"`` an interrupted sentence ends the utterance."""
    first = FakeBackend(breaks(gone(), segment=1), name="first")
    second = FakeBackend(name="second")
    async with client(first, second, fallback={"on_partial": "fail"}) as tts:
        with pytest.raises(SynthesisInterruptedError, match="first: speech broke off: gone") as e:
            await tts.synthesize(TEXT)
    assert second.utterances == []
    report = e.value.report
    assert report is not None
    assert (report.spoken_text, report.audio_s) == (SENTENCES[0], pytest.approx(0.4))


@pytest.mark.anyio
async def test_between_sentences_giving_up_is_not_needed() -> None:
    """``on_partial`` is about interrupted sentences only."""
    first = FakeBackend(ends_then_breaks(segment=2), name="first")
    second = FakeBackend(name="second")
    async with client(first, second, fallback={"on_partial": "fail"}) as tts:
        assert (await report_of(tts)).outcome == "complete"
    assert second.given == SENTENCES[2:]


@pytest.mark.anyio
async def test_a_sentence_of_which_nothing_was_heard_is_not_interrupted() -> None:
    """Though its words were told: ``on_partial`` is about what was heard."""

    async def tells_words(segment: Segment) -> AsyncIterator[BackendAudio]:
        if segment.index:
            yield audio(segment, words=())
            raise gone()
        async for item in speaks()(segment):
            yield item

    first, second = FakeBackend(tells_words, name="first"), FakeBackend(name="second")
    async with client(first, second, fallback={"on_partial": "fail"}) as tts:
        report = await report_of(tts)
    assert report.spoken_text == TEXT
    assert report.audio_s == pytest.approx(3 * SENTENCE_S)


@pytest.mark.anyio
async def test_a_sentence_that_was_cut_short_is_not_spoken_again() -> None:
    """Its backend ran into its limit; the next one would, too."""

    async def cuts_short(segment: Segment) -> AsyncIterator[BackendAudio]:
        if segment.index:
            raise gone()
        yield audio(segment, tone_pcm())
        yield audio(segment, end="truncated")

    first, second = FakeBackend(cuts_short, name="first"), FakeBackend(name="second")
    async with client(first, second) as tts:
        stream = tts.stream(TEXT)
        async for _ in stream:
            pass
    assert second.given == SENTENCES[1:]
    assert stream.report.outcome == "truncated"
    assert [segment.state for segment in stream.report.segments] == [
        "truncated",
        "spoken",
        "spoken",
    ]


@pytest.mark.anyio
async def test_a_segment_may_be_silent() -> None:
    """A tag need not be heard; what follows it may break off like anything else."""

    async def laughs_in_silence(segment: Segment) -> AsyncIterator[BackendAudio]:
        if "laugh" not in segment.text:
            yield audio(segment, tone_pcm())
        if segment.index == 2:
            raise gone()
        yield audio(segment, end="complete")

    first, second = FakeBackend(laughs_in_silence, name="first"), FakeBackend(name="second")
    async with client(first, second) as tts:
        report = await report_of(tts, f"{SENTENCES[0]}\n\n[laugh]\n\n{SENTENCES[2]}")
    assert first.given[1].strip() == "[laugh]"
    assert second.given == [SENTENCES[2]]
    assert report.outcome == "complete"


@pytest.mark.anyio
async def test_a_stall_is_a_failure_where_another_could_take_over() -> None:
    """The listener waits for the short deadline, not for patience."""
    loop = asyncio.get_running_loop()
    first = FakeBackend(hangs(segment=1, after=1), name="first")
    fallback = {"stall_timeout_s": 2, "patience_s": 60}
    async with client(first, FakeBackend(name="second"), fallback=fallback) as tts:
        report = await report_of(tts)
        assert loop.time() == pytest.approx(2, abs=0.1)
    assert report.outcome == "complete"
    assert report.handovers[0].reason == "sound stopped and nothing came for 2 s"


@pytest.mark.anyio
async def test_a_third_goes_on_where_the_second_fails() -> None:
    """Each backend has its turn, once; who cannot start is an attempt."""
    backends = [
        FakeBackend(ends_then_breaks(segment=1), name="a"),
        FakeBackend(refuses=AuthenticationError("the key was refused"), name="b"),
        FakeBackend(breaks(gone(), segment=2), name="c"),
        FakeBackend(name="d"),
    ]
    async with client(*backends) as tts:
        report = await report_of(tts)
    assert [segment.backend for segment in report.segments] == ["a", "c", "d"]
    assert report.attempts == (Attempt(backend="b", reason="the key was refused"),)
    assert [(h.from_backend, h.to_backend, h.segment) for h in report.handovers] == [
        ("a", "c", 1),
        ("c", "d", 2),
    ]
    assert len(backends[0].utterances) == 1


@pytest.mark.anyio
async def test_when_nobody_is_left_every_failure_is_told() -> None:
    """After sound: an interruption with what was heard, and everyone's own reason."""
    first = FakeBackend(ends_then_breaks(segment=1), name="first")
    second = FakeBackend(breaks(BackendUnavailableError("gone, too"), segment=2), name="second")
    async with client(first, second, fallback={"tries": 1}) as tts:
        with pytest.raises(SynthesisInterruptedError, match="speech broke off") as caught:
            await tts.synthesize(TEXT)
    assert str(caught.value).splitlines()[1:] == ["  first: gone", "  second: gone, too"]
    assert isinstance(caught.value.__cause__, NoBackendAvailableError)
    assert caught.value.speech is not None
    assert caught.value.speech.duration_s == pytest.approx(2 * SENTENCE_S + CHUNK_S)


@pytest.mark.anyio
async def test_two_that_break_off_once_speak_it_to_the_end() -> None:
    """Nobody else is left, and the one that broke off first may be well again."""
    first = FakeBackend(ends_then_breaks(segment=1), name="first")
    second = FakeBackend(breaks(gone(), segment=2), name="second")
    async with client(first, second) as tts:
        report = await report_of(tts)
    assert (report.outcome, report.spoken_text) == ("complete", TEXT)
    assert [segment.backend for segment in report.segments] == ["first", "second", "first"]


@pytest.mark.anyio
async def test_two_that_keep_breaking_off_are_given_up() -> None:
    """As often as there are tries, and no more."""

    async def never_finishes(segment: Segment) -> AsyncIterator[BackendAudio]:
        yield audio(segment, tone_pcm())
        raise BackendUnavailableError("gone")

    backends = [FakeBackend(never_finishes, name=name) for name in ("a", "b")]
    async with client(*backends) as tts:
        with pytest.raises(SynthesisInterruptedError):
            await report_of(tts)
    assert [len(backend.utterances) for backend in backends] == [2, 2]


@pytest.mark.anyio
async def test_when_the_others_cannot_start_every_reason_is_told() -> None:
    """The one that spoke, and those that could not go on."""
    first = FakeBackend(ends_then_breaks(segment=1), name="first")
    second = FakeBackend(refuses=AuthenticationError("the key was refused"), name="second")
    async with client(first, second) as tts:
        with pytest.raises(SynthesisInterruptedError) as caught:
            await tts.synthesize(TEXT)
    error = caught.value
    assert "first: gone" in str(error)
    assert "second: the key was refused" in str(error)
    assert isinstance(error.__cause__, NoBackendAvailableError)
    assert error.speech is not None
    assert error.speech.duration_s == pytest.approx(SENTENCE_S)


@pytest.mark.anyio
async def test_text_that_comes_later_goes_to_the_new_backend() -> None:
    """Streaming input is not lost, whether or not the first backend had read it."""
    release = asyncio.Event()

    async def writing() -> AsyncIterator[str]:
        yield SENTENCES[0]
        yield SENTENCES[1]
        await release.wait()
        yield SENTENCES[2]

    first = FakeBackend(breaks(gone(), segment=0), name="first")
    second = FakeBackend(name="second")
    async with client(first, second) as tts:
        stream = tts.stream(writing())
        await anext(stream)
        release.set()
        async for _ in stream:
            pass
    assert second.given == SENTENCES
    assert (stream.report.outcome, stream.report.spoken_text) == ("complete", TEXT)


class ReadsAhead(FakeBackend):
    """Takes all the text at once, and fails in the middle of the second segment."""

    async def _made(self, segments: AsyncIterator[Segment]) -> AsyncIterator[BackendAudio]:  # type: ignore[override]
        taken = [segment async for segment in segments]
        self.given += [segment.text for segment in taken]
        yield audio(taken[0], tone_pcm(), end="complete")
        yield audio(taken[1], tone_pcm())
        raise gone()


@pytest.mark.anyio
async def test_text_that_was_read_ahead_is_given_again() -> None:
    """Only finished segments are forgotten."""
    first, second = ReadsAhead(name="first"), FakeBackend(name="second")
    async with client(first, second) as tts:
        assert (await report_of(tts)).spoken_text == TEXT
    assert first.given == SENTENCES
    assert second.given == SENTENCES[1:]


@pytest.mark.anyio
async def test_the_failed_backend_is_released_before_the_next_begins() -> None:
    """Only one of them holds resources at a time."""
    first = FakeBackend(breaks(gone(), segment=1), name="first")
    open_meanwhile: list[int] = []

    async def look() -> None:
        open_meanwhile.append(first.n_open)

    async with client(first, FakeBackend(name="second", enter=look)) as tts:
        await report_of(tts)
    assert open_meanwhile == [0]


@pytest.mark.anyio
async def test_leaving_while_the_next_one_starts_is_barge_in() -> None:
    """Cancelled between two backends: nothing is spoken, nothing is left open."""
    first, second = FakeBackend(breaks(gone()), name="first"), FakeBackend(hangs(), name="second")
    third = FakeBackend(name="third")
    async with client(first, second, third) as tts:
        stream = tts.stream(TEXT)
        await anext(stream)
        await settled()
        assert (first.n_open, second.n_open) == (0, 1)
        await stream.aclose()
    assert third.utterances == []
    assert stream.report.outcome == "cancelled"
    assert stream.report.handovers == ()


@pytest.mark.anyio
@pytest.mark.parametrize("words", [None, ()])
async def test_there_is_no_click_at_the_seam(words: tuple[WordTime, ...] | None) -> None:
    """The first voice fades out from its last sample, whatever it told after, and the next in."""
    loud = np.full(800, 20_000, "<i2").tobytes()

    async def first(segment: Segment) -> AsyncIterator[BackendAudio]:
        yield audio(segment, loud)
        if words is not None:
            yield audio(segment, words=words)
        raise gone()

    async def second(segment: Segment) -> AsyncIterator[BackendAudio]:
        for start in range(0, len(loud), 30):
            yield audio(segment, loud[start : start + 30])
        yield audio(segment, end="complete")

    backends = FakeBackend(first, name="first"), FakeBackend(second, name="second")
    async with client(*backends) as tts:
        speech = await tts.synthesize("One sentence.")
    samples = np.frombuffer(speech.pcm, "<i2").astype(int)
    assert len(samples) == 800 + int(TAIL_S * RATE_HZ) + 800
    assert np.abs(np.diff(samples)).max() <= 20_000 // int(TAIL_S * RATE_HZ) + 1
    assert samples[:800].tolist() == [20_000] * 800
    assert samples[-560:].tolist() == [20_000] * 560


@pytest.mark.anyio
async def test_between_sentences_only_the_next_voices_beginning_is_faded() -> None:
    """It rises out of silence; what was finished before, and what follows, is as it was made."""
    loud = np.full(800, 20_000, "<i2").tobytes()

    async def plays(segment: Segment) -> AsyncIterator[BackendAudio]:
        yield audio(segment, loud)
        yield audio(segment, end="complete")

    async def ends(segment: Segment) -> AsyncIterator[BackendAudio]:
        if segment.index:
            raise gone()
        async for item in plays(segment):
            yield item

    backends = FakeBackend(ends, name="first"), FakeBackend(plays, name="second")
    async with client(*backends, fallback={"match_loudness": False}) as tts:
        speech = await tts.synthesize(TEXT)
    assert len(speech.report.handovers) == 1
    samples = np.frombuffer(speech.pcm, "<i2").astype(int)
    n_faded = int(TAIL_S * RATE_HZ)
    assert samples[:800].tolist() == [20_000] * 800
    assert (np.diff(samples[800 : 800 + n_faded]) > 0).all()
    assert samples[800 + n_faded :].tolist() == [20_000] * (1600 - n_faded)


@pytest.mark.anyio
async def test_a_fade_after_a_fade_begins_where_sound_is() -> None:
    """A second voice that breaks off while it fades in fades out from what was heard of it."""
    loud = np.full(20, 20_000, "<i2").tobytes()

    async def breaks_off(segment: Segment) -> AsyncIterator[BackendAudio]:
        yield audio(segment, loud)
        raise gone()

    backends = [FakeBackend(breaks_off, name=name) for name in "ab"]
    async with client(*backends, FakeBackend(name="c")) as tts:
        speech = await tts.synthesize("One sentence.")
    samples = np.frombuffer(speech.pcm, "<i2").astype(int)[: 20 + 40 + 20 + 40]
    assert np.abs(np.diff(samples)).max() <= 20_000 // int(TAIL_S * RATE_HZ) + 1


@pytest.mark.anyio
async def test_every_sentence_begun_is_paid_for() -> None:
    """The one that was broken off counts for both who spoke it."""
    from junetts._journal import Journal

    journal = Journal(RATE_HZ)
    journal.add(Segment(index=0, text="12345"), speakable=True)
    journal.heard(0, 100, backend="first")
    journal.heard(0, 100, backend="second")
    journal.ended(0, backend="second")
    assert journal.bytes_begun() == {"first": 5, "second": 5}
    assert journal.n_samples == 200


@pytest.mark.anyio
async def test_a_speaker_that_never_fails_costs_no_memory_for_others() -> None:
    """What is finished is not kept, however long the text."""
    second = FakeBackend(name="second")
    text = "A sentence of some length. " * 500
    async with client(FakeBackend(speaks(1), name="first"), second) as tts:
        report = await report_of(tts, text)
    assert report.outcome == "complete"
    assert second.utterances == []
