"""What every backend is wrapped in: canonical, audible, on time, errors where they belong."""

from __future__ import annotations

import asyncio
import io
import wave
from array import array
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from fakes import RATE_HZ, FakeBackend, audio, breaks, hangs, speaks, tone_pcm, yields
from junetts._audio import BYTES_PER_SAMPLE
from junetts._backend import BackendAudio, Capabilities
from junetts._errors import (
    BackendTimeoutError,
    BackendUnavailableError,
    InvalidRequestError,
    JuneTtsError,
    NoAudioError,
    RemoteProtocolError,
)
from junetts._guard import MAX_CHUNK_BYTES, MAX_SILENCE_S, GuardedBackend
from junetts._report import WordTime
from junetts._utterance import Prosody, Segment, Utterance
from virtual_time import VIRTUAL_TIME

WORDS = (WordTime(text="Hello", start_s=0.0, end_s=0.1, provenance="native"),)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """No test here waits for real time."""
    return VIRTUAL_TIME


async def texts(*given: str, pause_s: float = 0.0) -> AsyncIterator[Segment]:
    """Segments, the first at once and the others after a pause each."""
    for index, text in enumerate(given):
        if index:
            await asyncio.sleep(pause_s)
        yield Segment(index=index, text=text)


def zeros(duration_s: float) -> bytes:
    """Exact silence."""
    return bytes(round(duration_s * RATE_HZ) * BYTES_PER_SAMPLE)


def wav(pcm: bytes) -> bytes:
    """A whole WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        writer.writeframes(pcm)
    return file.getvalue()


@asynccontextmanager
async def guarded(
    backend: FakeBackend,
    segments: Iterable[str] | AsyncIterator[Segment] = ("Hello there.",),
    utterance: Utterance | None = None,
    *,
    sample_rate: int = RATE_HZ,
) -> AsyncIterator[AsyncIterator[BackendAudio]]:
    """Guarded audio; the backend is released afterwards."""
    if not isinstance(segments, AsyncIterator):
        segments = texts(*segments)
    guard = GuardedBackend(backend, sample_rate=sample_rate)
    try:
        async with guard.speak(utterance or Utterance(), segments) as items:
            yield items
    finally:
        assert backend.n_open == 0


async def all_of(items: AsyncIterator[BackendAudio]) -> list[BackendAudio]:
    """Every item."""
    return [item async for item in items]


def pcm_of(items: Iterable[BackendAudio]) -> bytes:
    """The audio of all items."""
    return b"".join(item.data for item in items)


async def heard_before(items: AsyncIterator[BackendAudio]) -> tuple[bytes, JuneTtsError]:
    """The audio before an error, and the error."""
    pcm = b""
    try:
        async for item in items:
            pcm += item.data
    except JuneTtsError as error:
        return pcm, error
    raise AssertionError("no error came")


@pytest.mark.anyio
async def test_it_is_the_backend_that_it_wraps() -> None:
    """Name, capabilities, health, warm-up and closing are the backend's own."""
    backend = FakeBackend(name="inner")
    guard = GuardedBackend(backend, sample_rate=RATE_HZ)
    assert repr(guard) == "GuardedBackend('inner')"
    assert guard.capabilities is backend.capabilities
    assert await guard.probe() is backend.health
    await guard.warmup()
    await guard.aclose()
    assert (backend.n_warmups, backend.n_closed) == (1, 1)


@pytest.mark.anyio
async def test_audio_passes_unchanged() -> None:
    """Canonical audio comes out byte by byte, tagged with segment and backend."""
    async with guarded(FakeBackend(), ["One one.", "Two two."]) as items:
        got = await all_of(items)
    assert pcm_of(got) == tone_pcm() * 6
    assert {item.backend for item in got} == {"fake"}
    assert [item.segment for item in got if item.end] == [0, 1]
    assert all(item.format.media_type == "audio/pcm" for item in got)


@pytest.mark.anyio
async def test_finished_items_are_handed_on_as_they_are() -> None:
    """Canonical audio under the backend's own name costs nothing: it is the same object."""
    items_made = [replace(audio(0, tone_pcm()), backend="fake") for _ in range(3)]
    big = replace(audio(0, tone_pcm(2.0)), backend="fake")
    timed = replace(audio(0, tone_pcm(), words=WORDS), backend="fake")
    end = replace(audio(0, tone_pcm(), end="complete"), backend="fake")
    async with guarded(FakeBackend(yields(*items_made, big, timed, end))) as items:
        got = await all_of(items)
    assert got[1] is items_made[1]
    assert pcm_of(got) == tone_pcm() * 3 + tone_pcm(2.0) + tone_pcm() * 2
    assert max(len(item.data) for item in got) == MAX_CHUNK_BYTES
    assert got[-1].data == b""
    ends = [item.end for item in got if item.end]
    assert (ends, [item.words for item in got if item.words]) == (["complete"], [WORDS])


@pytest.mark.anyio
async def test_items_are_bounded() -> None:
    """What comes in one piece goes out in pieces of at most 16 KiB, nothing lost."""
    pcm = tone_pcm(5.0)
    backend = FakeBackend(yields(audio(0, pcm), audio(0, pcm, end="complete", words=WORDS)))
    async with guarded(backend) as items:
        got = await all_of(items)
    assert max(len(item.data) for item in got) == MAX_CHUNK_BYTES
    assert pcm_of(got) == pcm + pcm
    assert [item.words for item in got if item.words is not None] == [WORDS]


@pytest.mark.anyio
async def test_leading_zeros_are_kept() -> None:
    """Silence before sound is held back only until there is sound, then passed on exactly."""
    pcm = zeros(1.0) + tone_pcm()
    backend = FakeBackend(
        yields(audio(0, pcm[:5000]), audio(0, pcm[5000:]), audio(0, zeros(0.5), end="complete"))
    )
    async with guarded(backend) as items:
        got = await all_of(items)
    assert pcm_of(got) == pcm + zeros(0.5)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("items", "what"),
    [
        ((audio(0, end="complete"),), "segment 0 is no audio"),
        ((audio(0, zeros(1.0)), audio(0, end="complete")), "segment 0 is nothing but zeros"),
        ((audio(0, wav(b""), end="complete"),), "segment 0 is no audio"),
        (tuple(audio(0, zeros(1.0)) for _ in range(11)), "segment 0 is 10 s of zeros"),
    ],
)
async def test_success_without_sound_is_an_error(
    items: tuple[BackendAudio, ...], what: str
) -> None:
    """A backend that claims to have spoken, but made nothing audible, has failed before sound."""
    with pytest.raises(NoAudioError, match=what) as raised:
        async with guarded(FakeBackend(yields(*items))):
            pass
    assert raised.value.backend == "fake"
    assert raised.value.retryable


@pytest.mark.anyio
async def test_a_silent_later_segment_is_an_error_after_sound() -> None:
    """Each segment must be audible; the sound before is handed out first."""
    backend = FakeBackend(
        yields(
            audio(0, tone_pcm(), end="complete"),
            audio(1, zeros(0.2)),
            audio(1, end="complete"),
        )
    )
    async with guarded(backend, ["One one.", "Two two."]) as items:
        pcm, error = await heard_before(items)
    assert pcm == tone_pcm()
    assert isinstance(error, NoAudioError)


@pytest.mark.anyio
async def test_a_tag_alone_may_be_silent() -> None:
    """A segment of nothing but ``[tags]`` may make no sound, or silence, which is kept."""
    silence = zeros(3.0)
    backend = FakeBackend(
        yields(audio(0, silence), audio(0, end="complete"), audio(1, end="complete"))
    )
    async with guarded(backend, ["[pause]", "[breath]"]) as items:
        got = await all_of(items)
    assert pcm_of(got) == silence
    assert max(len(item.data) for item in got) <= MAX_CHUNK_BYTES
    assert [item.segment for item in got if item.end] == [0, 1]


@pytest.mark.anyio
@pytest.mark.parametrize("index", [1, 7, -1])
async def test_audio_that_is_not_owed_is_a_protocol_error(index: int) -> None:
    """Audio of a segment never handed over, finished or out of turn is not passed on."""
    backend = FakeBackend(yields(audio(0, tone_pcm()), audio(index, tone_pcm())))
    async with guarded(backend) as items:
        pcm, error = await heard_before(items)
    assert pcm == tone_pcm()
    assert isinstance(error, RemoteProtocolError)
    assert error.backend == "fake"


class Greedy(FakeBackend):
    """Reads all text before it speaks."""

    async def _made(self, segments: object) -> AsyncIterator[BackendAudio]:  # type: ignore[override]
        all_given = [segment async for segment in segments]  # type: ignore[attr-defined]
        async for item in self._perform(all_given[0]):
            yield item


@pytest.mark.anyio
async def test_segments_come_in_order() -> None:
    """A segment that begins before the one before it ended is a protocol error."""
    backend = Greedy(
        yields(audio(0, tone_pcm()), audio(1, tone_pcm()), audio(0, tone_pcm(), end="complete"))
    )
    async with guarded(backend, ["One one.", "Two two."]) as items:
        pcm, error = await heard_before(items)
    assert pcm == tone_pcm()
    assert "audio of segment 1, which is not owed next" in str(error)


@pytest.mark.anyio
async def test_a_segment_ends_once() -> None:
    """A second end, or audio after the end, is a protocol error."""
    backend = FakeBackend(yields(audio(0, tone_pcm(), end="complete"), audio(0, tone_pcm())))
    async with guarded(backend) as items:
        pcm, error = await heard_before(items)
    assert (pcm, type(error)) == (tone_pcm(), RemoteProtocolError)


@pytest.mark.anyio
async def test_returning_early_after_sound_is_an_error() -> None:
    """A backend that stops in the middle of a segment has not succeeded."""
    async with guarded(FakeBackend(yields(audio(0, tone_pcm())))) as items:
        pcm, error = await heard_before(items)
        with pytest.raises(RemoteProtocolError):
            await anext(items)
    assert pcm == tone_pcm()
    assert str(error) == "fake: speech ended before segment 0 was finished"


@pytest.mark.anyio
async def test_returning_early_before_sound_is_an_error_on_entry() -> None:
    """A backend that says nothing at all fails before sound."""
    with pytest.raises(RemoteProtocolError, match="before segment 0 was finished"):
        async with guarded(FakeBackend(yields())):
            pass


@pytest.mark.anyio
async def test_no_text_is_no_sound_and_no_error() -> None:
    """Nothing to say is said at once."""
    async with guarded(FakeBackend(), []) as items:
        assert await all_of(items) == []


@pytest.mark.anyio
@pytest.mark.parametrize("enter", [True, False])
async def test_errors_before_sound_are_raised_on_entry(enter: bool) -> None:
    """Whether it fails on entering or on its first item: there was no sound."""
    error = BackendUnavailableError("down")
    backend = FakeBackend(refuses=error) if enter else FakeBackend(breaks(error, after=0))
    with pytest.raises(BackendUnavailableError) as raised:
        async with guarded(backend):
            pass
    assert raised.value is error
    assert error.backend == "fake"


@pytest.mark.anyio
async def test_errors_after_sound_follow_the_sound() -> None:
    """What was made before the failure is handed out first; the error stays in place."""
    error = BackendUnavailableError("gone", backend="cloud")
    async with guarded(FakeBackend(breaks(error, after=2))) as items:
        pcm, raised = await heard_before(items)
        with pytest.raises(BackendUnavailableError):
            await anext(items)
    assert (pcm, raised, error.backend) == (tone_pcm() * 2, error, "cloud")


@pytest.mark.anyio
async def test_a_container_cut_short_does_not_hide_why() -> None:
    """A WAV that ends before its announced length, because the backend failed, is not the news."""

    async def perform(segment: Segment) -> AsyncIterator[BackendAudio]:
        yield audio(segment, wav(tone_pcm(1.0))[:4044])
        raise BackendUnavailableError("the line went dead")

    async with guarded(FakeBackend(perform)) as items:
        pcm, error = await heard_before(items)
    assert pcm == tone_pcm(1.0)[:4000]
    assert error.message == "the line went dead"


@pytest.mark.anyio
@pytest.mark.parametrize("fails", [True, False])
async def test_the_resamplers_tail_is_heard(fails: bool) -> None:
    """Samples that a resampler held back when speech broke off are handed out."""

    async def perform(segment: Segment) -> AsyncIterator[BackendAudio]:
        yield audio(segment, tone_pcm(1.0))
        if fails:
            raise BackendUnavailableError("gone")

    async with guarded(FakeBackend(perform), sample_rate=2 * RATE_HZ) as items:
        pcm, _ = await heard_before(items)
    assert len(pcm) == 2 * RATE_HZ * BYTES_PER_SAMPLE


@pytest.mark.anyio
async def test_no_first_audio_in_time() -> None:
    """A backend that makes no sound in time is late, and cancelled."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(BackendTimeoutError, match="fake: no sound came for 2 s") as raised:
        async with guarded(
            FakeBackend(hangs()), utterance=Utterance(first_audio_timeout_s=2, stall_timeout_s=50)
        ):
            pass
    assert loop.time() - began == pytest.approx(2, abs=0.01)
    assert raised.value.retryable


@pytest.mark.anyio
async def test_zeros_are_not_sound_in_time() -> None:
    """Exact silence does not stop the clock for the first sound."""

    async def perform(segment: Segment) -> AsyncIterator[BackendAudio]:
        while True:
            await asyncio.sleep(0.5)
            yield audio(segment, zeros(0.1))

    with pytest.raises(BackendTimeoutError, match="no sound came for 2 s"):
        async with guarded(FakeBackend(perform), utterance=Utterance(first_audio_timeout_s=2)):
            pass


@pytest.mark.anyio
async def test_a_slow_entrance_counts_once_there_is_text() -> None:
    """The clock runs while a backend connects, if it has taken text by then."""

    class Eager(FakeBackend):
        @asynccontextmanager
        async def speak(  # type: ignore[override]
            self, utterance: Utterance, segments: AsyncIterator[Segment]
        ) -> AsyncIterator[AsyncIterator[BackendAudio]]:
            await anext(segments)
            await asyncio.get_running_loop().create_future()
            yield segments  # type: ignore[misc]

    with pytest.raises(BackendTimeoutError, match="no sound came for 2 s"):
        async with guarded(Eager(), utterance=Utterance(first_audio_timeout_s=2)):
            pass


@pytest.mark.anyio
async def test_waiting_for_text_does_not_count() -> None:
    """However late text arrives, the first time and in between, the backend is not to blame."""

    async def late() -> AsyncIterator[Segment]:
        await asyncio.sleep(1000)
        for index in range(3):
            yield Segment(index=index, text="Hello there.")
            await asyncio.sleep(1000)

    utterance = Utterance(first_audio_timeout_s=1, stall_timeout_s=1)
    async with guarded(FakeBackend(speaks(pause_s=0.5)), late(), utterance) as items:
        assert pcm_of(await all_of(items)) == tone_pcm() * 9


@pytest.mark.anyio
async def test_waiting_for_text_after_a_silent_tag_does_not_count() -> None:
    """A tag that was answered with silence does not start the clock of the text after it."""

    async def perform(segment: Segment) -> AsyncIterator[BackendAudio]:
        if segment.index:
            await asyncio.sleep(0.5)
            yield audio(segment, tone_pcm())
        yield audio(segment, end="complete")

    utterance = Utterance(first_audio_timeout_s=1, stall_timeout_s=1)
    given = texts("[pause]", "Hello there.", pause_s=1000)
    async with guarded(FakeBackend(perform), given, utterance) as items:
        assert pcm_of(await all_of(items)) == tone_pcm()


@pytest.mark.anyio
async def test_text_that_comes_late_starts_the_clock() -> None:
    """Once text has come, even while a step is awaited, the backend is on the clock."""

    async def late() -> AsyncIterator[Segment]:
        await asyncio.sleep(10)
        yield Segment(index=0, text="Hello there.")

    loop = asyncio.get_running_loop()
    with pytest.raises(BackendTimeoutError, match="no sound came"):
        async with guarded(FakeBackend(hangs()), late(), Utterance(first_audio_timeout_s=2)):
            pass
    assert loop.time() == pytest.approx(12, abs=0.1)


@pytest.mark.anyio
async def test_a_stall_is_late() -> None:
    """Sound that stops while text is owed is late; what was made is heard first."""
    utterance = Utterance(first_audio_timeout_s=50, stall_timeout_s=2)
    loop = asyncio.get_running_loop()
    async with guarded(FakeBackend(hangs(after=2)), utterance=utterance) as items:
        began = loop.time()
        pcm, error = await heard_before(items)
        assert loop.time() - began == pytest.approx(2, abs=0.01)
    assert pcm == tone_pcm() * 2
    assert isinstance(error, BackendTimeoutError)
    assert str(error) == "fake: sound stopped and nothing came for 2 s"


@pytest.mark.anyio
async def test_zeros_do_not_end_a_stall() -> None:
    """A later segment that trickles in without a sound is late when its first sound would be."""
    later = speaks(2)

    async def perform(segment: Segment) -> AsyncIterator[BackendAudio]:
        for _ in range(8 * segment.index):
            await asyncio.sleep(0.5)
            yield audio(segment, zeros(0.01))
        async for item in later(segment):
            yield item

    loop = asyncio.get_running_loop()
    utterance = Utterance(stall_timeout_s=2)
    async with guarded(FakeBackend(perform), ("One two.", "Three."), utterance) as items:
        began = loop.time()
        pcm, error = await heard_before(items)
        assert loop.time() - began == pytest.approx(2, abs=0.01)
    assert pcm == tone_pcm() * 2
    assert isinstance(error, BackendTimeoutError)


@pytest.mark.anyio
async def test_word_times_do_not_end_a_stall() -> None:
    """Nor is it one if the listener takes long to come back for more."""

    async def perform(segment: Segment) -> AsyncIterator[BackendAudio]:
        yield audio(segment, tone_pcm(), words=WORDS)
        for _ in range(5):
            await asyncio.sleep(0.5)
            yield audio(segment, words=WORDS)

    waited_s = 0.0

    async def listen(items: AsyncIterator[BackendAudio]) -> None:
        nonlocal waited_s
        while True:
            began = loop.time()
            try:
                await anext(items)
            finally:
                waited_s += loop.time() - began
            await asyncio.sleep(10)

    loop = asyncio.get_running_loop()
    async with guarded(FakeBackend(perform), utterance=Utterance(stall_timeout_s=2)) as items:
        with pytest.raises(BackendTimeoutError):
            await listen(items)
    assert waited_s == pytest.approx(2, abs=0.01)


@pytest.mark.anyio
async def test_slow_but_steady_is_not_a_stall() -> None:
    """Each step has the whole of the time."""
    utterance = Utterance(stall_timeout_s=2)
    async with guarded(FakeBackend(speaks(10, pause_s=1.9)), utterance=utterance) as items:
        assert pcm_of(await all_of(items)) == tone_pcm() * 10


@pytest.mark.anyio
async def test_a_slow_listener_is_not_a_stall() -> None:
    """Time in which nobody asked for audio does not count."""
    utterance = Utterance(first_audio_timeout_s=1, stall_timeout_s=1)
    n_bytes = 0
    async with guarded(FakeBackend(speaks(pause_s=0.5)), utterance=utterance) as items:
        async for item in items:
            n_bytes += len(item.data)
            await asyncio.sleep(1000)
    assert n_bytes == len(tone_pcm()) * 3


@pytest.mark.anyio
async def test_a_late_backend_that_turns_its_cancellation_into_an_error_is_late() -> None:
    """Whatever a backend makes of being cancelled, it was late, and later deadlines work."""

    class Stubborn(FakeBackend):
        @asynccontextmanager
        async def speak(  # type: ignore[override]
            self, utterance: Utterance, segments: AsyncIterator[Segment]
        ) -> AsyncIterator[AsyncIterator[BackendAudio]]:
            await anext(segments)
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                raise BackendUnavailableError("cancelled, was I") from None
            yield segments  # type: ignore[misc]

    with pytest.raises(BackendTimeoutError):
        async with guarded(Stubborn(), utterance=Utterance(first_audio_timeout_s=2)):
            pass
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.anyio
async def test_being_cancelled_is_not_being_late() -> None:
    """Cancellation from outside passes through, even in the moment of the deadline."""
    loop = asyncio.get_running_loop()
    for at_s in (1, 2):

        async def use() -> None:
            async with guarded(FakeBackend(hangs()), utterance=Utterance(first_audio_timeout_s=2)):
                pass

        task = asyncio.create_task(use())
        loop.call_later(at_s, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.anyio
async def test_gain_is_applied_where_the_backend_cannot() -> None:
    """A change of loudness is made here, unless the backend makes it itself."""
    utterance = Utterance(prosody=Prosody(volume_db=-20))
    async with guarded(FakeBackend(), utterance=utterance) as items:
        quiet = array("h", pcm_of(await all_of(items)))
    loud = array("h", tone_pcm() * 3)
    assert max(abs(a - b / 10) for a, b in zip(quiet, loud, strict=True)) <= 0.51
    able = FakeBackend(capabilities=Capabilities(sample_rate=RATE_HZ, volume=True))
    async with guarded(able, utterance=utterance) as items:
        assert pcm_of(await all_of(items)) == tone_pcm() * 3


@pytest.mark.anyio
async def test_pace_is_refused_where_the_backend_cannot() -> None:
    """A speed that would be ignored is an error before anything is sent."""
    backend = FakeBackend()
    with pytest.raises(InvalidRequestError, match=r"fake: .*cannot change the pace") as raised:
        async with guarded(backend, utterance=Utterance(prosody=Prosody(speed=1.5))):
            pass
    assert (raised.value.field, backend.utterances) == ("prosody.speed", [])
    able = FakeBackend(capabilities=Capabilities(sample_rate=RATE_HZ, speed=True))
    async with guarded(able, utterance=Utterance(prosody=Prosody(speed=1.5))) as items:
        assert await all_of(items)


@pytest.mark.anyio
async def test_a_header_per_segment() -> None:
    """Each segment may be a WAV file of its own; only the samples come out."""

    async def perform(segment: Segment) -> AsyncIterator[BackendAudio]:
        file = wav(tone_pcm())
        yield audio(segment, file[:3], media_type="audio/wav")
        yield audio(segment, file[3:50], media_type="audio/wav")
        yield audio(segment, file[50:], media_type="audio/wav", end="complete")

    async with guarded(FakeBackend(perform), ["One one.", "Two two."]) as items:
        assert pcm_of(await all_of(items)) == tone_pcm() * 2


@pytest.mark.anyio
async def test_word_times_and_truncation_pass_through() -> None:
    """Word times come with their segment, and its end says whether it was truncated."""
    backend = FakeBackend(
        yields(audio(0, tone_pcm(), words=WORDS), audio(0, words=WORDS), audio(0, end="truncated"))
    )
    async with guarded(backend) as items:
        got = await all_of(items)
    assert [item.words for item in got if item.words] == [WORDS, WORDS]
    assert [item.end for item in got if item.end] == ["truncated"]


def compressed(pcm: bytes) -> bytes:
    """A FLAC file."""
    import numpy as np
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, np.frombuffer(pcm, "<i2"), RATE_HZ, format="FLAC")
    return file.getvalue()


@pytest.mark.anyio
async def test_word_times_follow_the_first_sound() -> None:
    """A report begins a segment with its sound, and would forget what came before."""
    segment = Segment(index=0, text="Hello there.")
    given = [
        audio(segment, words=WORDS[:0]),
        audio(segment, words=WORDS),
        audio(segment, zeros(0.1)),
        audio(segment, tone_pcm()),
        audio(segment, end="complete"),
    ]
    async with guarded(FakeBackend(yields(*given))) as items:
        got = await all_of(items)
    assert [(bool(item.data), item.words, item.end) for item in got] == [
        (True, None, None),
        (False, WORDS, None),
        (False, None, "complete"),
    ]


@pytest.mark.anyio
async def test_a_compressed_segment_is_decoded_at_its_end() -> None:
    """A whole file becomes samples; one that broke off is dropped, its backend's error raised."""
    file = compressed(tone_pcm(0.5))
    backend = FakeBackend(yields(audio(0, file[:99]), audio(0, file[99:], end="complete")))
    utterance = Utterance(first_audio_timeout_s=1e9)
    async with guarded(backend, utterance=utterance) as items:
        assert pcm_of(await all_of(items)) == tone_pcm(0.5)

    async def perform(segment: Segment) -> AsyncIterator[BackendAudio]:
        if segment.index == 0:
            yield audio(segment, tone_pcm(), end="complete")
            return
        yield audio(segment, file[:99])
        raise BackendUnavailableError("the line went dead")

    async with guarded(FakeBackend(perform), ["One one.", "Two two."]) as items:
        pcm, error = await heard_before(items)
    assert (pcm, error.message) == (tone_pcm(), "the line went dead")


def test_the_bounds_are_as_documented() -> None:
    """What other tests and the documentation rely on."""
    assert (MAX_CHUNK_BYTES, MAX_SILENCE_S) == (16_384, 10.0)
