"""Small promises of failover, found by breaking them one at a time and seeing nothing fail."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from fakes import RATE_HZ, FakeBackend, audio, breaks, client
from junetts import Voice
from junetts._backend import BackendAudio
from junetts._errors import (
    BackendUnavailableError,
    NoBackendAvailableError,
    SynthesisInterruptedError,
    UnknownVoiceError,
)
from junetts._utterance import Segment, Utterance
from virtual_time import VIRTUAL_TIME

HUM = 60  # an amplitude that is silence, unless it is amplified
TEXT = "This is the first one. This is the second one."
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """No test here waits for real time."""
    return VIRTUAL_TIME


def down() -> BackendUnavailableError:
    """An error that nobody else's name is written on."""
    return BackendUnavailableError("down")


class SlowToLearn(FakeBackend):
    """Knows no voice but its own, and fails the first time with that."""

    @asynccontextmanager
    async def speak(
        self, utterance: Utterance, segments: AsyncIterable[Segment]
    ) -> AsyncIterator[AsyncIterator[BackendAudio]]:
        """Refuse, fail, or speak."""
        if utterance.voice is not None:
            raise UnknownVoiceError("does not know june", field="voice")
        if not self.utterances:
            self.utterances.append(utterance)
            raise down()
        async with super().speak(utterance, segments) as made:
            yield made


async def test_why_it_is_another_voice_is_not_why_it_failed() -> None:
    """A retry in its own voice is still for want of the one that was asked for."""
    fallback = {"on_unknown_voice": "substitute"}
    async with client(SlowToLearn(name="a"), fallback=fallback) as tts:
        report = (await tts.synthesize(TEXT, voice=Voice("june"))).report
    assert [one.reason for one in report.substitutions] == ["does not know june"]


async def test_one_that_broke_off_last_is_the_cause() -> None:
    """Every reason is told, and the traceback leads to the last."""
    gone = BackendUnavailableError("gone")
    backends = [
        FakeBackend(breaks(gone, segment=1), name="a"),
        FakeBackend(name="b", refuses=down()),
    ]
    async with client(*reversed(backends), fallback={"tries": 1}) as tts:
        with pytest.raises(SynthesisInterruptedError) as caught:
            await tts.synthesize(TEXT)
    told = caught.value.__cause__
    assert isinstance(told, NoBackendAvailableError)
    assert str(told).splitlines()[1:] == ["  b: down", "  a: gone"]
    assert told.__cause__ is gone


async def test_one_that_breaks_off_alone_has_one_reason() -> None:
    """Nobody failed before it: the cause is its own error."""
    gone = BackendUnavailableError("gone")
    async with client(FakeBackend(breaks(gone, segment=1), name="a")) as tts:
        with pytest.raises(SynthesisInterruptedError) as caught:
            await tts.synthesize(TEXT)
    assert caught.value.__cause__ is gone


async def test_giving_up_tells_why_it_is_given_up() -> None:
    """Who was passed over before is not the reason: others were there, and not asked."""
    gone = BackendUnavailableError("gone")
    backends = [FakeBackend(name="a", refuses=down()), FakeBackend(breaks(gone), name="b")]
    async with client(*backends, fallback={"on_partial": "fail"}) as tts:
        with pytest.raises(SynthesisInterruptedError) as caught:
            await tts.synthesize(TEXT)
    assert caught.value.__cause__ is gone


def tone(seconds: float, amplitude: int) -> bytes:
    """Sound of one loudness."""
    wave = np.where(np.arange(round(RATE_HZ * seconds)) % 40 < 20, amplitude, -amplitude)
    return bytes(wave.astype("<i2").tobytes())


async def test_a_pause_in_one_sentence_is_none_in_the_next() -> None:
    """What was silent is counted of the sentence that broke off, not of those before."""

    async def pauses_once(segment: Segment) -> AsyncIterator[BackendAudio]:
        if segment.index:
            yield audio(segment, tone(2.5, 8000))
            raise BackendUnavailableError("gone")
        yield audio(segment, tone(5.0, HUM))
        yield audio(segment, tone(2.5, 8000))
        yield audio(segment, end="complete")

    backends = FakeBackend(pauses_once, name="a"), FakeBackend(name="b")
    async with client(*backends, fallback={"on_partial": "continue"}) as tts:
        report = (await tts.synthesize(TEXT)).report
    (handover,) = report.handovers
    assert handover.segment == 1
    assert handover.resumed_at > 0


async def test_a_pause_is_one_however_loud_it_is_made() -> None:
    """Silence is what the backend left silent, before its loudness was matched to another's."""

    async def quiet(segment: Segment) -> AsyncIterator[BackendAudio]:
        yield audio(segment, tone(0.5, 1000))
        yield audio(segment, tone(3.0, HUM))
        raise BackendUnavailableError("gone")

    async def loud(segment: Segment) -> AsyncIterator[BackendAudio]:
        yield audio(segment, tone(0.4, 8000))
        raise BackendUnavailableError("gone")

    backends = [
        FakeBackend(loud, name="a"),
        FakeBackend(quiet, name="b"),
        FakeBackend(name="c"),
    ]
    async with client(*backends, fallback={"on_partial": "continue"}) as tts:
        report = (await tts.synthesize(TEXT)).report
    assert [one.resumed_at for one in report.handovers] == [0, TEXT.index("is the first")]
