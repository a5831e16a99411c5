"""What the blocking functions tell a listener, from the thread that does the work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import junetts
from junetts import (
    BackendChosen,
    BreakerOpened,
    Event,
    Finished,
    FirstAudio,
    HandedOver,
    InvalidRequestError,
    SpeechStream,
)
from junetts.testing import CloudServer, FishServer, ServerCall

TEXT = "This is the first one. This is the second one. This is the third one."
COURSE: list[type[Event]] = [BackendChosen, FirstAudio, BackendChosen, HandedOver, Finished]


async def dies_in_the_second(call: ServerCall) -> None:
    """Breaks the connection in the middle of the second sentence's audio."""
    if call.request is None or "second" not in call.request.text:
        await call.answer()
        return
    await call.begin()
    await call.send(b"\1\2" * 22_050)
    await call.cut_off()


@pytest.fixture
def server() -> Iterator[FishServer]:
    """A server that dies in the second sentence."""
    with FishServer(script=dies_in_the_second).in_thread() as server:
        yield server


@pytest.fixture
def config(server: FishServer) -> Iterator[dict[str, object]]:
    """Settings with that server, and a cloud that goes on for it."""
    with CloudServer(keys={"k"}).in_thread() as cloud:
        yield {
            "backends": ["server", "cloud"],
            "server": {"url": server.url},
            "cloud": {"url": cloud.url, "api_keys": ["k"]},
        }


def kinds(events: list[Event]) -> list[type[Event]]:
    """Who spoke and how it ended, without why."""
    return [type(event) for event in events if type(event) in COURSE]


def test_all_is_told_when_synthesize_returns(config: dict[str, object]) -> None:
    """In order, breakers included, and never in the caller's thread."""
    events: list[Event] = []
    threads: set[threading.Thread] = set()

    def listen(event: Event) -> None:
        events.append(event)
        threads.add(threading.current_thread())

    speech = junetts.synthesize(TEXT, config=config, on_event=listen)
    assert kinds(events) == COURSE
    assert events[-1] == Finished(utterance=1, report=speech.report)
    assert [event.backend for event in events if isinstance(event, BreakerOpened)] == ["server"]
    assert len(threads) == 1
    assert threading.current_thread() not in threads


def test_each_call_has_a_listener_of_its_own(config: dict[str, object]) -> None:
    """Calls at the same time with the same settings hear nothing of each other's."""

    def speak(text: str) -> tuple[list[Event], junetts.SpeechReport]:
        events: list[Event] = []
        report = junetts.synthesize(text, config=config, on_event=events.append).report
        return events, report

    texts = [f"Call number {n}. The second one breaks off. And a third." for n in range(4)]
    with ThreadPoolExecutor(len(texts)) as pool:
        for text, (events, report) in zip(texts, pool.map(speak, texts), strict=True):
            assert kinds(events) == COURSE
            assert events[-1] == Finished(utterance=1, report=report)
            assert report.spoken_text == text


def test_a_named_backend(server: FishServer) -> None:
    """A call that names its backend without settings has a listener, too."""
    events: list[Event] = []
    settings = {"server": {"url": server.url}}
    junetts.synthesize("Hello.", config=settings, backend="server", on_event=events.append)
    assert [type(event) for event in events] == [BackendChosen, FirstAudio, Finished]


def test_break_is_told(config: dict[str, object]) -> None:
    """Who leaves the loop has been told of the end by the next statement."""
    events: list[Event] = []
    stream = junetts.stream(TEXT, config=config, on_event=events.append)
    assert events == []
    for _ in stream:
        break
    stream.close()
    assert events[-1] == Finished(utterance=1, report=stream.report)
    assert stream.report.outcome == "cancelled"


@pytest.mark.parametrize("call", [junetts.stream, junetts.synthesize])
def test_a_listener_must_be_a_plain_function(call: Callable[..., object]) -> None:
    """What could not be called is refused before anything is begun."""

    async def listens(event: Event) -> None:
        """Never awaited by anyone."""

    for listener in (3, listens):
        with pytest.raises(InvalidRequestError, match="on_event must be a plain function"):
            call(TEXT, config={"backends": ["demo"]}, on_event=listener)


def test_a_listener_that_fails_breaks_no_speech(
    config: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    """Its mistake is logged."""

    def faulty(event: Event) -> None:
        raise ZeroDivisionError(type(event).__name__)

    report = junetts.synthesize(TEXT, config=config, on_event=faulty).report
    assert (report.outcome, len(report.handovers)) == ("complete", 1)
    assert "the on_event listener failed on HandedOver" in caplog.text


@pytest.mark.parametrize("kind", [BackendChosen, FirstAudio, HandedOver])
def test_a_listener_may_cancel(config: dict[str, object], kind: type[Event]) -> None:
    """Nothing is handed out afterwards, the loop ends, and the thread goes."""
    threads: set[threading.Thread] = set()
    events: list[Event] = []

    def listen(event: Event) -> None:
        threads.add(threading.current_thread())
        events.append(event)
        if isinstance(event, kind):
            stream.cancel()

    stream = junetts.stream(TEXT, config=config, on_event=listen)
    heard_s = sum(chunk.duration_s for chunk in stream)
    assert stream.report.outcome == "cancelled"
    assert stream.report.audio_s == pytest.approx(heard_s)
    assert isinstance(events[-1], Finished)
    assert events[-1].report == stream.report
    (thread,) = threads
    thread.join(5)
    assert not thread.is_alive()


@pytest.mark.anyio
async def test_what_has_crossed_over_is_dropped_by_a_cancellation(
    config: dict[str, object],
) -> None:
    """Audio that one thread holds when another cancels is not handed out any more."""
    async with junetts.TTS(config) as tts:
        speaking = tts.begin(TEXT)
        first, second, *_ = await speaking.take_all()
        assert speaking.hand_out(first) is not None
        report = speaking.report
        speaking.cancel()
        assert speaking.hand_out(second) is None
        assert speaking.report.audio_s == report.audio_s > 0


def test_a_listener_may_flush_and_look() -> None:
    """Half a sentence is spoken when the first sound of the one before is there."""
    looked: list[tuple[int, str]] = []
    may_end = threading.Event()

    def pieces() -> Iterator[str]:
        yield "This is the first one. Half of a sentence"
        assert may_end.wait(10)

    def listen(event: Event) -> None:
        if isinstance(event, FirstAudio):
            stream.flush()
            looked.append((stream.number, stream.report.outcome))

    with FishServer().in_thread() as server:
        settings = {"backends": ["server"], "server": {"url": server.url}}
        stream = junetts.stream(pieces(), config=settings, on_event=listen)
        for chunk in stream:
            if chunk.segment == 1:
                may_end.set()
        assert server.texts == ["This is the first one. ", "Half of a sentence"]
    assert looked == [(1, "speaking")]


def test_a_blocking_stream_is_number_one(config: dict[str, object]) -> None:
    """Before, while and after it is spoken: its client speaks nothing else."""
    for _ in range(2):
        events: list[Event] = []
        stream = junetts.stream(TEXT, config=config, on_event=events.append)
        numbers = [stream.number, *(stream.number for _ in stream), stream.number]
        assert set(numbers) == {1}
        known = [event for event in events if isinstance(event, HandedOver | Finished)]
        assert [event.utterance for event in known] == [1, 1]


@pytest.mark.anyio
async def test_streams_of_a_client_are_numbered() -> None:
    """Events find their stream by its number, from the first on."""
    finished: dict[int, Finished] = {}

    def listen(event: Event) -> None:
        if isinstance(event, Finished):
            finished[event.utterance] = event

    async with FishServer() as server:
        settings = {"backends": ["server"], "server": {"url": server.url}}
        async with junetts.TTS(settings, on_event=listen) as tts:
            streams: list[SpeechStream] = [tts.stream(f"Number {n}.") for n in (1, 2, 3)]
            assert [stream.number for stream in streams] == [1, 2, 3]
            for stream in reversed(streams):
                await stream.collect()
    assert [finished[stream.number].report for stream in streams] == [
        stream.report for stream in streams
    ]


@pytest.mark.anyio
async def test_a_listener_in_an_event_loop(config: dict[str, object]) -> None:
    """Iterated with ``async for``, a blocking stream tells from its own thread all the same."""
    threads: set[int] = set()
    stream = junetts.stream(
        "Hello.", config=config, on_event=lambda _: threads.add(threading.get_ident())
    )
    async for _ in stream:
        pass
    assert len(threads) == 1
    assert threading.get_ident() not in threads
