"""A backend that speaks words as tones: what it yields, remembers and refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from junetts import TTS, Voice
from junetts._backend import BackendAudio, Health, TtsBackend
from junetts._errors import (
    BackendUnavailableError,
    QuotaError,
    SynthesisInterruptedError,
    UnknownVoiceError,
)
from junetts._utterance import Segment, Utterance
from junetts.testing import VIRTUAL_TIME, ToneBackend, ToneVoice
from junetts.testing.tone_backend import Perform

pytestmark = pytest.mark.anyio

RATE = 8_000
TEXT = "This is the first one. This is the second one. "
GONE = BackendUnavailableError("gone")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """No test here waits for real time."""
    return VIRTUAL_TIME


@pytest.fixture
def voice() -> ToneVoice:
    """A voice at a telephone's rate."""
    return ToneVoice(sample_rate=RATE)


async def segments(*texts: str) -> AsyncIterator[Segment]:
    """Segments that are all there."""
    for index, text in enumerate(texts):
        yield Segment(index=index, text=text)


async def spoken(
    backend: ToneBackend, *texts: str, utterance: Utterance | None = None
) -> list[BackendAudio]:
    """All that it yields."""
    async with backend.speak(utterance or Utterance(), segments(*texts)) as audio:
        return [item async for item in audio]


def breaks_off(*, segment: int, after: int) -> Perform:
    """Speaks, but fails in one segment after some items."""

    async def perform(
        given: Segment, audio: AsyncIterator[BackendAudio]
    ) -> AsyncIterator[BackendAudio]:
        n_left = after
        async for item in audio:
            if given.index == segment and not n_left:
                raise GONE
            n_left -= 1
            yield item

    return perform


async def test_a_client_hears_the_words(voice: ToneVoice) -> None:
    """Through the whole client, at the client's rate, with the words' times."""
    backend: TtsBackend = ToneBackend(voice, name="stand-in")
    async with TTS({"backends": [backend]}) as tts:
        speech = await tts.synthesize(TEXT)
    heard = voice.hear(speech.samples, speech.sample_rate)
    assert [str(word) for word in heard] == list(voice.spoken(TEXT))
    assert speech.report.backend == "stand-in"
    times = [word for segment in speech.report.segments for word in segment.words]
    assert [word.text for word in times] == TEXT.split()


async def test_a_handover_is_heard_word_by_word(voice: ToneVoice) -> None:
    """The interrupted sentence begins anew, after a fragment; nothing finished is repeated."""
    first = ToneBackend(voice, name="first", perform=breaks_off(segment=1, after=3))
    second = ToneBackend(voice, name="second")
    async with TTS({"backends": [first, second], "sample_rate": 24_000}) as tts:
        speech = await tts.synthesize(TEXT)
    heard = [str(word) for word in voice.hear(speech.samples, speech.sample_rate)]
    again = ["this", "is", "the", "second", "one"]
    assert heard == ["this", "is", "the", "first", "one", "this", *again]
    assert [segment.text for segment in second.given] == ["This is the second one. "]
    assert (first.n_open, second.n_open) == (0, 0)


async def test_pieces_are_as_long_as_asked_and_paced(voice: ToneVoice) -> None:
    """Each item is waited for, and holds ``chunk_s`` of sound, but for the last of a segment."""

    async def pace(item: BackendAudio) -> None:
        await asyncio.sleep(len(item.data) / (2 * RATE))

    backend = ToneBackend(voice, chunk_s=0.05, pace=pace)
    items = await spoken(backend, "Hello there.", "Good bye.")
    assert {len(item.data) for item in items[:10]} == {2 * RATE // 20}
    assert [(item.segment, item.data) for item in items if item.end] == [(0, b""), (1, b"")]
    assert asyncio.get_running_loop().time() == pytest.approx(21 / 15, abs=0.01)
    assert backend.n_bytes == sum(len(item.data) for item in items)


@pytest.mark.parametrize("is_told", [True, False])
async def test_word_times_come_with_the_sound(voice: ToneVoice, is_told: bool) -> None:
    """An item tells the words that have ended by its end; or none does, and it says so."""
    backend = ToneBackend(voice, word_times=is_told, chunk_s=0.4)
    items = await spoken(backend, "Hello there.")
    assert backend.capabilities.word_times == is_told
    told = [None if item.words is None else len(item.words) for item in items]
    assert told == ([1, 2, None] if is_told else [None, None, None])


async def test_it_speaks_at_another_rate(voice: ToneVoice) -> None:
    """Its native rate need not be the voice's."""
    backend = ToneBackend(voice, sample_rate=24_000)
    items = await spoken(backend, "Hello there.")
    assert {item.format.sample_rate for item in items} == {backend.capabilities.sample_rate}
    heard = voice.hear(b"".join(item.data for item in items), 24_000)
    assert [str(word) for word in heard] == ["hello", "there"]


@pytest.mark.parametrize(
    ("known", "asked", "is_taken"),
    [
        (None, None, True),
        (None, Voice("june"), True),
        (None, Voice(cloud_id="june"), True),
        (None, Voice(server_id="june"), True),
        (None, Voice(language="en"), False),
        ({"june"}, None, True),
        ({"june"}, Voice("june"), True),
        ({"june"}, Voice("may", server_id="june"), True),
        ({"june"}, Voice("may"), False),
        ({"june"}, Voice(cloud_id=("may", "june")), False),
        (set(), Voice("june"), False),
    ],
)
async def test_it_takes_the_voices_that_it_knows(
    voice: ToneVoice, known: set[str] | None, asked: Voice | None, is_taken: bool
) -> None:
    """Any with a name, or those that were given; others are refused before any text is read."""
    backend = ToneBackend(voice, voice_ids=known)
    utterance = Utterance(voice=asked)
    if is_taken:
        assert await spoken(backend, "Hello.", utterance=utterance)
        return
    with pytest.raises(UnknownVoiceError, match="none of those known") as refused:
        await spoken(backend, "Hello.", utterance=utterance)
    assert (backend.given, backend.n_open) == ([], 0)
    assert (refused.value.backend, refused.value.field) == ("tone", "voice")


async def test_it_refuses_for_as_long_as_it_is_told(voice: ToneVoice) -> None:
    """What is raised on entering can be changed at any time, and so can its health."""
    backend = ToneBackend(voice, refuses=QuotaError("no credit"))
    backend.health = Health(status="unavailable", detail="no credit")
    for _ in range(2):
        with pytest.raises(QuotaError):
            await spoken(backend, "Hello.")
        with pytest.raises(QuotaError):
            await backend.warmup()
    assert (await backend.probe()).status == "unavailable"
    backend.refuses = None
    await backend.warmup()
    assert await spoken(backend, "Hello.")
    assert (backend.n_probes, backend.n_warmups, len(backend.utterances)) == (1, 3, 3)


async def test_it_counts_who_holds_it(voice: ToneVoice) -> None:
    """Utterances are open from entering to leaving, however they are left."""
    backend = ToneBackend(voice)
    async with backend.speak(Utterance(), segments("One.")) as first:
        await anext(first)
        async with backend.speak(Utterance(), segments("Two.")):
            assert backend.n_open == 2
        assert backend.n_open == 1
    assert backend.n_open == 0
    assert [segment.text for segment in backend.given] == ["One."]


async def test_a_performance_is_closed_when_it_is_left(voice: ToneVoice) -> None:
    """Both the segment's own audio and what was made of it end with the utterance."""
    events: list[str] = []

    async def perform(
        segment: Segment, audio: AsyncIterator[BackendAudio]
    ) -> AsyncIterator[BackendAudio]:
        try:
            async for item in audio:
                yield item
        finally:
            events.append("performance closed")

    backend = ToneBackend(voice, perform=perform)
    async with backend.speak(Utterance(), segments("One.", "Two.")) as audio:
        await anext(audio)
    assert events == ["performance closed"]


async def test_a_performance_may_be_any_iterator(voice: ToneVoice) -> None:
    """It need not be a generator; here, it is the audio itself."""
    backend = ToneBackend(voice, perform=lambda segment, audio: aiter(audio))
    assert await spoken(backend, "One.") == await spoken(ToneBackend(voice), "One.")

    class Silent:
        def __aiter__(self) -> AsyncIterator[BackendAudio]:
            return self

        async def __anext__(self) -> BackendAudio:
            raise StopAsyncIteration

    assert await spoken(ToneBackend(voice, perform=lambda *_: Silent()), "One.") == []


async def test_a_failing_performance_fails_the_speech(voice: ToneVoice) -> None:
    """After sound it is an interruption that carries the words that were heard."""
    backend = ToneBackend(voice, perform=breaks_off(segment=1, after=4))
    async with TTS({"backends": [backend]}) as tts:
        with pytest.raises(SynthesisInterruptedError) as broken:
            await tts.synthesize(TEXT)
    speech = broken.value.speech
    assert speech is not None
    heard = [str(word) for word in voice.hear(speech.samples, speech.sample_rate)]
    assert heard == ["this", "is", "the", "first", "one", "this", "is-"]


async def test_closed_it_speaks_no_more(voice: ToneVoice) -> None:
    """It refuses, and counts how often it was closed."""
    backend = ToneBackend(voice)
    await backend.aclose()
    await backend.aclose()
    assert backend.n_closed == 2
    with pytest.raises(BackendUnavailableError, match="closed") as refused:
        await spoken(backend, "Hello.")
    assert not refused.value.retryable


async def test_a_piece_must_have_a_length(voice: ToneVoice) -> None:
    """No sound at a time would never end."""
    with pytest.raises(ValueError, match="chunk_s"):
        ToneBackend(voice, chunk_s=0)
