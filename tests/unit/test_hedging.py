"""Two backends race for the first sound: who is heard, and what becomes of the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from fakes import FakeBackend, breaks, client, hangs, settled, speaks
from junetts import TTS, Event, Hedged
from junetts._backend import BackendAudio
from junetts._errors import (
    AuthenticationError,
    BackendUnavailableError,
    NoBackendAvailableError,
)
from junetts._report import Attempt
from junetts._utterance import Segment
from virtual_time import VIRTUAL_TIME

SENTENCES = ["This is the first one. ", "This is the second one. ", "This is the third one. "]
TEXT = "".join(SENTENCES)
GONE = BackendUnavailableError("gone")
HEDGED = {"hedge_after_s": 0.5, "first_audio_timeout_s": 5, "patience_s": 9}


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """No test here waits for real time."""
    return VIRTUAL_TIME


def slow(after_s: float) -> FakeBackend:
    """Speaks well, once it has begun."""

    async def perform(segment: Segment) -> AsyncIterator[BackendAudio]:
        if segment.index == 0:
            await asyncio.sleep(after_s)
        async for item in speaks()(segment):
            yield item

    return FakeBackend(perform, name="slow")


async def spoken(tts: TTS) -> tuple[str | None, float]:
    """Who spoke all of the text, and when the first sound came."""
    started_at = asyncio.get_running_loop().time()
    stream = tts.stream(TEXT)
    await anext(stream)
    after_s = asyncio.get_running_loop().time() - started_at
    async for _ in stream:
        pass
    assert (stream.report.outcome, stream.report.spoken_text) == ("complete", TEXT)
    return stream.report.backend, after_s


@pytest.mark.anyio
async def test_who_is_quick_enough_has_no_rival() -> None:
    """The second backend is not even asked."""
    second = FakeBackend(name="second")
    async with client(slow(0.4), second, fallback=HEDGED) as tts:
        assert await spoken(tts) == ("slow", pytest.approx(0.4))
    assert second.utterances == []


@pytest.mark.anyio
async def test_the_first_sound_wins() -> None:
    """The late one is cancelled at once, its resources are back before the end."""
    events: list[Event] = []
    first, second = slow(3.0), FakeBackend(name="second")
    async with client(first, second, fallback=HEDGED, on_event=events.append) as tts:
        stream = tts.stream(TEXT)
        await anext(stream)
        assert asyncio.get_running_loop().time() == pytest.approx(0.5)
        await settled()
        assert first.n_open == 0
        async for _ in stream:
            pass
    assert stream.report.spoken_text == TEXT
    assert second.given == SENTENCES
    assert stream.report.attempts == (Attempt(backend="slow", reason="second had sound sooner"),)
    assert Hedged(utterance=1, slow_backend="slow", backend="second") in events


@pytest.mark.anyio
async def test_the_slow_one_may_still_win() -> None:
    """If its sound comes before the rival's, the rival is cancelled."""
    second = FakeBackend(hangs(), name="second")
    async with client(slow(2.0), second, fallback=HEDGED) as tts:
        assert await spoken(tts) == ("slow", pytest.approx(2.0))
    assert second.n_open == 0


@pytest.mark.anyio
async def test_the_losers_cleanup_holds_up_no_sound_but_the_end() -> None:
    """A backend that takes its time to leave is waited for at the end of the utterance."""
    left = asyncio.Event()
    first = FakeBackend(hangs(), name="first", leave=left.wait)
    async with client(first, FakeBackend(name="second"), fallback=HEDGED) as tts:
        stream = tts.stream(TEXT)
        async for _ in stream:
            if stream.report.segments[-1].index == 2:
                left.set()
        assert first.n_open == 0
        assert stream.report.outcome == "complete"


@pytest.mark.anyio
@pytest.mark.parametrize("seconds", [0.5, 4.0])
async def test_the_end_waits_for_whoever_lost(seconds: float) -> None:
    """All that the loser held is back before the utterance ends."""
    first = FakeBackend(hangs(), name="first", leave=lambda: asyncio.sleep(seconds))
    async with client(first, FakeBackend(name="second"), fallback=HEDGED) as tts:
        await tts.synthesize(TEXT)
        assert first.n_open == 0
        assert asyncio.get_running_loop().time() == pytest.approx(0.5 + seconds)


@pytest.mark.anyio
async def test_one_that_fails_is_no_race() -> None:
    """A failure before the rival is due lets the next one begin at once."""
    first = FakeBackend(refuses=AuthenticationError("no"), name="first")
    async with client(first, FakeBackend(name="second"), fallback=HEDGED) as tts:
        assert await spoken(tts) == ("second", pytest.approx(0.0))


@pytest.mark.anyio
async def test_a_rival_that_fails_leaves_the_first_its_time() -> None:
    """The slow one goes on being waited for."""
    second = FakeBackend(refuses=AuthenticationError("no"), name="second")
    async with client(slow(2.0), second, fallback=HEDGED) as tts:
        assert await spoken(tts) == ("slow", pytest.approx(2.0))
    assert len(second.utterances) == 1


@pytest.mark.anyio
async def test_if_both_fail_the_third_has_its_turn() -> None:
    """And if nobody is left, every reason is told."""
    names = ("a", "b")
    both = [FakeBackend(hangs(), name=name) for name in names]
    async with client(*both, FakeBackend(name="c"), fallback=HEDGED) as tts:
        assert (await spoken(tts))[0] == "c"
    both = [FakeBackend(hangs(), name=name) for name in names]
    async with client(*both, fallback={**HEDGED, "tries": 1}) as tts:
        with pytest.raises(NoBackendAvailableError) as caught:
            await tts.synthesize(TEXT)
    assert [name for name, _ in caught.value.reasons] == ["a", "b"]


@pytest.mark.anyio
async def test_the_winner_may_break_off_like_any_other() -> None:
    """After a race, handover works as without one, and may be a race itself."""
    first = FakeBackend(breaks(GONE, segment=1), name="first")
    backends = [first, FakeBackend(hangs(segment=1), name="second"), FakeBackend(name="third")]
    async with client(*backends, fallback=HEDGED) as tts:
        report = (await tts.synthesize(TEXT)).report
    assert (report.outcome, report.spoken_text) == ("complete", TEXT)
    assert [segment.backend for segment in report.segments] == ["first", "third", "third"]
    assert backends[2].given == SENTENCES[1:]


@pytest.mark.anyio
@pytest.mark.parametrize("at_s", [0.0, 0.2, 0.7])
async def test_leaving_during_a_race_leaves_nothing_behind(at_s: float) -> None:
    """Barge-in before, while and after the rival begins."""
    backends = [FakeBackend(hangs(), name=name) for name in ("first", "second")]
    async with client(*backends, fallback=HEDGED) as tts:
        stream = tts.stream(TEXT)
        await asyncio.sleep(at_s)
        await settled()
        await stream.aclose()
        assert [one.n_open for one in backends] == [0, 0]
    assert stream.report.outcome == "cancelled"


@pytest.mark.anyio
async def test_text_that_comes_slowly_reaches_the_winner() -> None:
    """Both readers see every sentence; what the loser took is not lost."""

    async def writing() -> AsyncIterator[str]:
        for sentence in SENTENCES:
            yield sentence
            await asyncio.sleep(1.0)

    first, second = slow(0.8), FakeBackend(name="second")
    async with client(first, second, fallback=HEDGED) as tts:
        stream = tts.stream(writing())
        async for _ in stream:
            pass
    assert stream.report.spoken_text == TEXT
    assert second.given == SENTENCES


@pytest.mark.anyio
async def test_a_race_with_a_backend_that_cancels_itself_ends() -> None:
    """Even a stray cancellation inside a backend is its failure, and nobody hangs."""

    async def stray(segment: Segment) -> AsyncIterator[BackendAudio]:
        raise asyncio.CancelledError
        yield

    first = FakeBackend(stray, name="first")
    async with client(first, FakeBackend(name="second"), fallback=HEDGED) as tts:
        assert (await spoken(tts))[0] == "second"
