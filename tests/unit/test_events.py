"""What an application is told while text is spoken."""

from __future__ import annotations

import logging

import pytest

import junetts
from fakes import FakeBackend, breaks, client, hangs, settled, speaks
from junetts import (
    TTS,
    Attempt,
    AttemptFailed,
    BackendChosen,
    BreakerOpened,
    BrokeOff,
    Event,
    Finished,
    FirstAudio,
    HandedOver,
    Handover,
    InvalidRequestError,
    Retrying,
)
from junetts._errors import AuthenticationError, BackendUnavailableError
from virtual_time import VIRTUAL_TIME

TEXT = "This is the first one. This is the second one. "
GONE = BackendUnavailableError("gone")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """No test here waits for real time."""
    return VIRTUAL_TIME


@pytest.mark.anyio
async def test_speech_without_trouble() -> None:
    """Who speaks, that it is heard, and how it ended."""
    events: list[Event] = []
    async with client(FakeBackend(name="one"), on_event=events.append) as tts:
        speech = await tts.synthesize(TEXT)
    chosen, first, finished = events
    assert chosen == BackendChosen(utterance=1, backend="one")
    assert isinstance(first, FirstAudio)
    assert (first.utterance, first.backend) == (1, "one")
    assert first.after_s == speech.report.ttfa_s
    assert finished == Finished(utterance=1, report=speech.report)


@pytest.mark.anyio
async def test_trouble_is_told_in_order() -> None:
    """An attempt that failed, the breaker that it opened, the handover, another breaker."""
    events: list[Event] = []
    first = FakeBackend(refuses=AuthenticationError("the key was refused"), name="a")
    second = FakeBackend(breaks(GONE, segment=1, after=0), name="b")
    async with client(first, second, FakeBackend(name="c"), on_event=events.append) as tts:
        report = (await tts.synthesize(TEXT)).report
    told = [event for event in events if not isinstance(event, FirstAudio)]
    handover = Handover(from_backend="b", to_backend="c", segment=1, reason="gone")
    assert told == [
        BreakerOpened(backend="a", reason="the key was refused", probe_in_s=None),
        AttemptFailed(utterance=1, attempt=Attempt(backend="a", reason="the key was refused")),
        BackendChosen(utterance=1, backend="b"),
        BrokeOff(utterance=1, backend="b", reason="gone"),
        told[4],
        BackendChosen(utterance=1, backend="c"),
        HandedOver(utterance=1, handover=handover),
        Finished(utterance=1, report=report),
    ]
    assert isinstance(told[4], BreakerOpened)
    assert told[4].probe_in_s == pytest.approx(0.9, abs=0.11)


@pytest.mark.anyio
async def test_a_retry_is_told_with_its_delay() -> None:
    """So that an application can say that it is trying again."""
    events: list[Event] = []
    flaky = FakeBackend(name="a", refuses=GONE)

    def mend(event: Event) -> None:
        events.append(event)
        flaky.refuses = None

    async with client(flaky, on_event=mend) as tts:
        assert (await tts.synthesize(TEXT)).report.outcome == "complete"
    (retrying,) = [event for event in events if isinstance(event, Retrying)]
    assert (retrying.utterance, retrying.backend) == (1, "a")
    assert 0.125 <= retrying.delay_s <= 0.25


@pytest.mark.anyio
async def test_utterances_are_told_apart() -> None:
    """Events carry the number of their utterance; each is finished once, also by barge-in."""
    events: list[Event] = []
    async with client(FakeBackend(speaks(3, pause_s=1)), on_event=events.append) as tts:
        left, heard = tts.stream(TEXT), tts.stream(TEXT)
        await anext(left)
        await left.aclose()
        async for _ in heard:
            pass
        await heard.aclose()
    finished = [event for event in events if isinstance(event, Finished)]
    assert [(one.utterance, one.report.outcome) for one in finished] == [
        (1, "cancelled"),
        (2, "complete"),
    ]
    assert finished[0].report == left.report


@pytest.mark.anyio
async def test_failure_is_finished_too() -> None:
    """The listener hears of the end that the error tells the caller."""
    events: list[Event] = []
    async with client(
        FakeBackend(hangs()), on_event=events.append, fallback={"patience_s": 1}
    ) as tts:
        with pytest.raises(BackendUnavailableError):
            await tts.synthesize(TEXT)
        await settled()
    assert isinstance(events[-1], Finished)
    assert events[-1].report.outcome == "failed"


@pytest.mark.anyio
async def test_a_listener_that_fails_breaks_no_speech(caplog: pytest.LogCaptureFixture) -> None:
    """Its mistake is logged with its traceback, and that is all."""

    def faulty(event: Event) -> None:
        raise ZeroDivisionError(type(event).__name__)

    async with client(FakeBackend(), on_event=faulty) as tts:
        assert (await tts.synthesize(TEXT)).report.outcome == "complete"
    assert "the on_event listener failed on Finished" in caplog.text
    assert all(record.exc_info for record in caplog.records if record.levelno == logging.ERROR)


def test_a_listener_must_be_a_plain_function() -> None:
    """A coroutine function would never run; it is refused at once."""

    async def listens(event: Event) -> None:
        """Never awaited by anyone."""

    with pytest.raises(InvalidRequestError, match=r"on_event must be .* not a coroutine function"):
        TTS({"backends": [FakeBackend()]}, on_event=listens)  # type: ignore[arg-type]

    class Listener:
        """Its calls would come to nothing, too."""

        async def __call__(self, event: Event) -> None:
            """Never awaited by anyone."""

    with pytest.raises(InvalidRequestError, match="not a coroutine function"):
        TTS({"backends": [FakeBackend()]}, on_event=Listener())  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="not int"):
        TTS({"backends": [FakeBackend()]}, on_event=3)  # type: ignore[arg-type]
    assert junetts.Event is Event


@pytest.mark.anyio
async def test_a_listener_may_stop_the_speech_that_it_is_told_of() -> None:
    """And look at its report; nothing is heard then, and that is how it ends."""
    events: list[Event] = []

    def leave(event: Event) -> None:
        events.append(event)
        if isinstance(event, FirstAudio):
            assert stream.report.outcome == "speaking"
            stream.cancel()

    async with client(FakeBackend(), on_event=leave) as tts:
        stream = tts.stream(TEXT)
        assert [chunk async for chunk in stream] == []
    assert stream.report.outcome == "cancelled"
    assert isinstance(events[-1], Finished)
