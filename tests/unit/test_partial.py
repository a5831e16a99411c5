"""What becomes of the sentence that was broken off, and in whose voice it goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest

from fakes import CHUNK_S, RATE_HZ, FakeBackend, Performance, audio, breaks, client, tone_pcm
from junetts import Event, Substitution, Voice, VoiceSubstituted
from junetts._backend import BackendAudio, Capabilities, SegmentEnd
from junetts._errors import (
    BackendUnavailableError,
    NoBackendAvailableError,
    SynthesisInterruptedError,
    UnknownVoiceError,
)
from junetts._report import SpeechReport, WordTime
from junetts._utterance import Prosody, Segment
from virtual_time import VIRTUAL_TIME

FIRST, SECOND = "One two three four five six. ", "And then the end."
TEXT = FIRST + SECOND
GONE = BackendUnavailableError("gone")
CONTINUE = {"on_partial": "continue", "match_loudness": False}


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """No test here waits for real time."""
    return VIRTUAL_TIME


def words(text: str, *, word_s: float = CHUNK_S) -> tuple[WordTime, ...]:
    """Each word as long as the other."""
    return tuple(
        WordTime(text=word, start_s=i * word_s, end_s=(i + 1) * word_s, provenance="aligned")
        for i, word in enumerate(text.split())
    )


def word_by_word(*, stops_after: int | None = None, in_segment: int = 0) -> Performance:
    """Says a word per chunk, with word times, and may break off."""

    async def perform(segment: Segment) -> AsyncIterator[BackendAudio]:
        times = words(segment.text)
        for n in range(len(times)):
            if segment.index == in_segment and n == stops_after:
                raise GONE
            yield audio(segment, tone_pcm(), words=times)
        if segment.index == in_segment and len(times) == stops_after:
            raise GONE
        yield audio(segment, end="complete")

    return perform


async def report_of(first: FakeBackend, second: FakeBackend, **fallback: object) -> SpeechReport:
    """How two backends spoke the text."""
    async with client(first, second, fallback={**CONTINUE, **fallback}) as tts:
        return (await tts.synthesize(TEXT)).report


@pytest.mark.anyio
async def test_the_next_backend_goes_on_after_the_last_word_that_was_heard() -> None:
    """With word times nothing is repeated and nothing is lost."""
    first = FakeBackend(word_by_word(stops_after=3), name="first")
    second = FakeBackend(word_by_word(), name="second")
    report = await report_of(first, second)
    assert second.given == ["four five six. ", SECOND]
    assert (report.outcome, report.spoken_text) == ("complete", TEXT)
    (handover,) = report.handovers
    assert (handover.resumed_at, handover.resumed_by) == (FIRST.index("four"), "aligned")
    segment = report.segments[0]
    assert (segment.text, segment.state, segment.backend) == (FIRST, "spoken", "second")
    assert segment.start_s == 0
    assert segment.duration_s == pytest.approx(6 * CHUNK_S + 0.005)
    assert [word.text for word in segment.words] == FIRST.split()
    assert [word.start_s for word in segment.words] == pytest.approx(
        [0, 0.1, 0.2, 0.305, 0.405, 0.505]
    )


@pytest.mark.anyio
async def test_a_sentence_that_was_heard_out_is_finished() -> None:
    """It broke off after the last word: the next backend begins with the next sentence."""
    first = FakeBackend(word_by_word(stops_after=6), name="first")
    second = FakeBackend(word_by_word(), name="second")
    report = await report_of(first, second)
    assert second.given == [SECOND]
    assert [segment.backend for segment in report.segments] == ["first", "second"]
    assert report.segments[0].state == "spoken"
    assert (report.handovers[0].segment, report.handovers[0].resumed_at) == (1, 0)


@pytest.mark.anyio
async def test_if_that_was_the_last_one_nobody_else_is_needed() -> None:
    """All was heard: success, although the backend never said so."""
    first = FakeBackend(word_by_word(stops_after=4, in_segment=1), name="first")
    second = FakeBackend(name="second")
    report = await report_of(first, second)
    assert (report.outcome, report.handovers, second.utterances) == ("complete", (), [])


@pytest.mark.anyio
async def test_without_word_times_it_is_estimated_and_says_so() -> None:
    """Never a word is lost: what is uncertain is said again."""
    first = FakeBackend(breaks(GONE, segment=0, after=12), name="first")
    second = FakeBackend(name="second")
    report = await report_of(first, second)
    (handover,) = report.handovers
    assert handover.resumed_by == "estimated"
    assert 0 < handover.resumed_at < len(FIRST)
    assert second.given == [FIRST[handover.resumed_at :], SECOND]
    assert (report.outcome, report.spoken_text) == ("complete", TEXT)


async def estimated(
    *,
    paces_s: tuple[float, ...] = (),
    breaks_at: float = 1.2,
    end: SegmentEnd = "complete",
    prosody: Prosody | None = None,
) -> int:
    """Where the next backend goes on, after whole texts were spoken at some paces."""
    first, second = FakeBackend(name="first"), FakeBackend(name="second")
    first.capabilities = second.capabilities = Capabilities(sample_rate=RATE_HZ, speed=True)
    async with client(first, second, fallback=CONTINUE) as tts:
        for pace_s in paces_s:
            first._perform = lasting(pace_s, end=end)
            async for _ in tts.stream(TEXT, prosody=prosody):
                pass
        first._perform = breaks(GONE, segment=0, after=round(breaks_at / CHUNK_S))
        report = (await tts.synthesize(TEXT, prosody=prosody)).report
    (handover,) = report.handovers
    assert handover.resumed_by == "estimated"
    return handover.resumed_at


def lasting(pace_s: float, *, end: SegmentEnd) -> Performance:
    """Takes so long for a character."""

    async def perform(segment: Segment) -> AsyncIterator[BackendAudio]:
        yield audio(segment, tone_pcm(pace_s * len(segment.text)))
        yield audio(segment, end=end)

    return perform


@pytest.mark.anyio
async def test_what_is_learned_of_a_pace_is_remembered() -> None:
    """By later utterances: who is known to speak fast has said more in the same time."""
    unknown = await estimated()
    assert await estimated(paces_s=(0.05,) * 5) > unknown
    assert await estimated(paces_s=(0.2,) * 5) < unknown
    assert await estimated(paces_s=(0.05,) * 5, end="truncated") == unknown


@pytest.mark.anyio
async def test_who_is_told_to_hurry_has_said_more() -> None:
    """The pace that is learned is the one at normal speed."""
    fast = Prosody(speed=2.0)
    assert await estimated(prosody=fast) > await estimated()
    learned_fast = await estimated(paces_s=(0.04,) * 5, breaks_at=0.8, prosody=fast)
    assert learned_fast == FIRST.index("three")  # as if 1.1 s were heard at 0.08 s a character


@pytest.mark.anyio
async def test_two_may_break_off_in_the_same_sentence() -> None:
    """Each goes on where the one before was."""
    first = FakeBackend(word_by_word(stops_after=2), name="first")
    second = FakeBackend(word_by_word(stops_after=2), name="second")
    third = FakeBackend(word_by_word(), name="third")
    async with client(first, second, third, fallback=CONTINUE) as tts:
        report = (await tts.synthesize(TEXT)).report
    assert third.given == ["five six. ", SECOND]
    assert [handover.resumed_at for handover in report.handovers] == [
        FIRST.index("three"),
        FIRST.index("five"),
    ]
    assert [word.text for word in report.segments[0].words] == FIRST.split()


@pytest.mark.anyio
async def test_words_of_one_sentence_say_nothing_about_the_next() -> None:
    """Not even if it is the same sentence."""

    async def tells_once(segment: Segment) -> AsyncIterator[BackendAudio]:
        times = words(segment.text) if segment.index == 0 else None
        for n in range(4):
            if (segment.index, n) == (1, 2):
                raise GONE
            yield audio(segment, tone_pcm(), words=times)
        yield audio(segment, end="complete")

    first, second = FakeBackend(tells_once, name="first"), FakeBackend(name="second")
    async with client(first, second, fallback=CONTINUE) as tts:
        report = (await tts.synthesize("One two three four. One two three four.")).report
    (handover,) = report.handovers
    assert (handover.segment, handover.resumed_by) == (1, "estimated")
    assert second.given == ["One two three four."]


@pytest.mark.anyio
async def test_how_one_handover_was_known_says_nothing_about_the_next() -> None:
    """Between two sentences nothing has to be known."""
    first = FakeBackend(word_by_word(stops_after=3), name="first")
    second = FakeBackend(word_by_word(stops_after=0, in_segment=1), name="second")
    third = FakeBackend(word_by_word(), name="third")
    async with client(first, second, third, fallback=CONTINUE) as tts:
        report = (await tts.synthesize(TEXT)).report
    known = [(one.segment, one.resumed_by) for one in report.handovers]
    assert known == [(0, "aligned"), (1, None)]


@pytest.mark.anyio
@pytest.mark.parametrize("on_partial", ["continue", "respeak"])
async def test_the_speaker_of_the_dialogue_goes_along(on_partial: str) -> None:
    """A new backend is told who speaks, also if the tag stood in an earlier sentence."""
    text = "<|speaker:1|>Hello there. How are you today?"
    first = FakeBackend(word_by_word(stops_after=2, in_segment=1), name="first")
    second = FakeBackend(word_by_word(), name="second")
    fallback = {**CONTINUE, "on_partial": on_partial}
    async with client(first, second, fallback=fallback) as tts:
        report = (await tts.synthesize(text)).report
    rest = "you today?" if on_partial == "continue" else "How are you today?"
    assert second.given == ["<|speaker:1|>" + rest]
    assert report.spoken_text == text


@pytest.mark.anyio
async def test_a_continued_sentence_that_is_never_finished_is_unspoken() -> None:
    """Honest about the whole sentence, also if most of it was heard."""
    first = FakeBackend(word_by_word(stops_after=3), name="first")
    second = FakeBackend(word_by_word(stops_after=1), name="second")
    with pytest.raises(SynthesisInterruptedError) as caught:
        await report_of(first, second, tries=1)
    report = caught.value.report
    assert report is not None
    assert (report.spoken_text, report.unspoken_text) == ("", TEXT)
    assert report.segments[0].duration_s == pytest.approx(4 * CHUNK_S + 0.005)


def loud(amplitude: int, *, n_chunks: int, breaks_off: bool) -> Performance:
    """A tone of this loudness."""
    wave = np.sin(2 * np.pi * 200 * np.arange(int(CHUNK_S * RATE_HZ)) / RATE_HZ)
    pcm = (wave * amplitude).astype("<i2").tobytes()

    async def perform(segment: Segment) -> AsyncIterator[BackendAudio]:
        for _ in range(n_chunks):
            yield audio(segment, pcm)
        if breaks_off:
            raise GONE
        yield audio(segment, end="complete")

    return perform


@pytest.mark.anyio
@pytest.mark.parametrize("matches", [True, False])
async def test_the_next_backend_is_as_loud(matches: bool) -> None:
    """Unless that is not wanted."""
    first = FakeBackend(loud(4000, n_chunks=10, breaks_off=True), name="first")
    second = FakeBackend(loud(8000, n_chunks=40, breaks_off=False), name="second")
    async with client(first, second, fallback={"match_loudness": matches}) as tts:
        speech = await tts.synthesize("One sentence.")
    before, after = speech.samples[: RATE_HZ // 2], speech.samples[-RATE_HZ // 2 :]
    ratio = np.sqrt(np.mean(after**2) / np.mean(before**2))
    assert ratio == pytest.approx(1.0 if matches else 2.0, rel=0.06)


def stranger(name: str = "second") -> FakeBackend:
    """Does not know the voice."""

    class Stranger(FakeBackend):
        def speak(self, utterance, segments):  # type: ignore[no-untyped-def, override]
            if utterance.voice is not None:
                self.utterances.append(utterance)
                raise UnknownVoiceError("does not know june", field="voice")
            return super().speak(utterance, segments)

    return Stranger(name=name)


@pytest.mark.anyio
async def test_another_voice_is_never_silent() -> None:
    """By default it is an error that names everyone's reason."""
    first = FakeBackend(breaks(GONE, segment=1, after=0), name="first")
    async with client(first, stranger()) as tts:
        with pytest.raises(SynthesisInterruptedError, match="second: does not know june") as caught:
            await tts.synthesize(TEXT, voice=Voice("june"))
    assert isinstance(caught.value.__cause__, NoBackendAvailableError)


@pytest.mark.anyio
async def test_another_voice_may_be_allowed_and_is_reported() -> None:
    """The backend speaks in its own; report and events say so."""
    events: list[Event] = []
    first = FakeBackend(breaks(GONE, segment=1, after=0), name="first")
    second = stranger()
    fallback = {"on_unknown_voice": "substitute"}
    async with client(first, second, fallback=fallback, on_event=events.append) as tts:
        report = (await tts.synthesize(TEXT, voice=Voice("june"))).report
    assert [one.voice for one in second.utterances] == [Voice("june"), None]
    substitution = Substitution(backend="second", reason="does not know june")
    assert report.substitutions == (substitution,)
    assert VoiceSubstituted(utterance=1, substitution=substitution) in events
    assert report.outcome == "complete"


@pytest.mark.anyio
async def test_who_knows_the_voice_comes_first() -> None:
    """Also if it stands behind, or needs a second try."""
    knows = FakeBackend(name="knows")
    async with client(
        stranger("stranger"), knows, fallback={"on_unknown_voice": "substitute"}
    ) as tts:
        report = (await tts.synthesize(TEXT, voice=Voice("june"))).report
    assert (report.backend, report.substitutions) == ("knows", ())
