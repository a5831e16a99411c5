"""Text sources and listeners that misbehave: bounded memory, no deadlock, the right error."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from functools import partial

import pytest

import junetts
from fakes import FakeBackend, breaks, client, settled, speaks
from junetts._errors import (
    BackendTimeoutError,
    BackendUnavailableError,
    InvalidRequestError,
    SynthesisInterruptedError,
)
from leaving import Endless, both_kinds
from virtual_time import VIRTUAL_TIME

pytestmark = pytest.mark.anyio

SENTENCES = ["This is the first one. ", "This is the second one. ", "This is the third one. "]
TEXT = "".join(SENTENCES)


class BoomError(Exception):
    """The source's own error."""


async def closed(source: Endless) -> None:
    """Wait for the source's ``finally``."""
    assert await asyncio.to_thread(source.closed.wait, 10)


# The source is closed, however the utterance ends.


@both_kinds
@pytest.mark.parametrize(
    "backend",
    [
        partial(FakeBackend, refuses=BackendUnavailableError("down")),
        partial(FakeBackend, breaks(BackendUnavailableError("gone"), segment=1)),
    ],
)
async def test_a_source_is_closed_when_speech_fails(
    backend: Callable[[], FakeBackend], kind: str
) -> None:
    """Before any sound and after."""
    source = Endless()
    async with client(backend()) as tts:
        with pytest.raises(junetts.JuneTtsError):
            await tts.synthesize(source.source(kind))
        await closed(source)


@both_kinds
async def test_a_source_is_closed_by_the_deadline(kind: str) -> None:
    """Its ``finally`` runs, of a generator that is being read as soon as it yields."""
    source = Endless()
    async with client(FakeBackend(speaks(pause_s=0.001))) as tts:
        with pytest.raises(junetts.JuneTtsError, match="not finished within"):
            await tts.synthesize(source.source(kind), timeout_s=0.05)
        await closed(source)


@both_kinds
async def test_a_source_is_closed_with_the_client(kind: str) -> None:
    """Leaving the client's context stops everything."""
    source = Endless()
    async with client(FakeBackend()) as tts:
        stream = tts.stream(source.source(kind))
        await anext(stream)
    await closed(source)
    assert stream.report.outcome == "cancelled"
    arrived = stream.report.spoken_text + stream.report.unspoken_text
    assert source.text.startswith(arrived)
    assert len(source.text) - len(arrived) <= len(source.read[-1])  # what a thread was reading


@both_kinds
async def test_a_source_is_closed_when_its_listener_is_forgotten(kind: str) -> None:
    """A stream that nobody holds any more is left."""
    source, backend = Endless(), FakeBackend()
    async with client(backend) as tts:
        stream = tts.stream(source.source(kind))
        await anext(stream)
        del stream
        gc.collect()
        await closed(source)
        await settled()
        assert backend.n_open == 0


@both_kinds
async def test_a_source_that_was_begun_and_never_wanted_is_closed(kind: str) -> None:
    """A generator of which the caller took the first piece, and a stream left unheard."""
    source = Endless()
    pieces = source.source(kind)
    first = next(pieces) if isinstance(pieces, Iterator) else await anext(pieces)
    async with client(FakeBackend()) as tts:
        stream = tts.stream(pieces)
        await stream.aclose()
        await closed(source)
    assert (source.read, stream.report.unspoken_text) == ([first], "")


# What a source does wrong.


@both_kinds
async def test_an_endless_source_without_a_word_meets_the_deadline(kind: str) -> None:
    """Punctuation for ever: the loop is not held up, no backend is troubled."""
    backend = FakeBackend()

    def dots() -> Iterator[str]:
        while True:
            yield "...\n\n"

    async def awaited_dots() -> AsyncIterator[str]:
        for piece in dots():
            yield piece

    async with client(backend) as tts:
        source = dots() if kind == "blocking" else awaited_dots()
        with pytest.raises(BackendTimeoutError, match="the text source has not ended"):
            await tts.synthesize(source, timeout_s=0.05)
    assert backend.utterances == []


@both_kinds
async def test_a_source_that_ends_in_the_middle_of_a_sentence(kind: str) -> None:
    """What it has written is the text, and is spoken."""
    pieces = [*SENTENCES, "And th"]

    async def awaited() -> AsyncIterator[str]:
        for piece in pieces:
            yield piece

    backend = FakeBackend()
    async with client(backend) as tts:
        speech = await tts.synthesize(awaited() if kind == "awaited" else iter(pieces))
    assert backend.given == pieces
    assert (speech.report.outcome, speech.report.spoken_text) == ("complete", TEXT + "And th")


@pytest.mark.parametrize("anyio_backend", [VIRTUAL_TIME])
async def test_a_slow_source_is_no_stalled_backend() -> None:
    """A model that thinks for an hour between two sentences costs nobody a timeout."""

    async def thinks() -> AsyncIterator[str]:
        for sentence in SENTENCES:
            await asyncio.sleep(3600)
            yield sentence

    second = FakeBackend(name="second")
    async with client(FakeBackend(), second) as tts:
        speech = await tts.synthesize(thinks())
    assert (speech.report.outcome, speech.report.spoken_text) == ("complete", TEXT)
    assert (speech.report.handovers, speech.report.attempts) == ((), ())
    assert second.utterances == []


@both_kinds
@pytest.mark.parametrize("piece", [None, 3, b"bytes", ["list"], "\udc80"])
async def test_a_piece_that_is_no_text(kind: str, piece: object) -> None:
    """The text before it is spoken; the error is the caller's to mend; the source is closed."""
    ended = threading.Event()

    def blocking() -> Iterator[str]:
        try:
            yield SENTENCES[0]
            yield piece  # type: ignore[misc]
            yield SENTENCES[1]
        finally:
            ended.set()

    async def awaited() -> AsyncIterator[str]:
        try:
            yield SENTENCES[0]
            yield piece  # type: ignore[misc]
            yield SENTENCES[1]
        finally:
            ended.set()

    backend = FakeBackend()
    async with client(backend) as tts:
        stream = tts.stream(awaited() if kind == "awaited" else blocking())
        with pytest.raises(SynthesisInterruptedError, match="text must") as raised:
            await stream.collect()
        assert isinstance(raised.value.__cause__, InvalidRequestError)
        assert not raised.value.retryable
        assert ended.is_set()
    assert backend.given == SENTENCES[:1]
    assert (stream.report.outcome, stream.report.spoken_text) == ("failed", SENTENCES[0])


async def test_a_source_that_raises_after_its_listener_left() -> None:
    """Nobody is told, nothing is left."""

    async def nasty() -> AsyncIterator[str]:
        yield TEXT
        try:
            await asyncio.Event().wait()
        finally:
            raise BoomError

    async with client(FakeBackend()) as tts:
        stream = tts.stream(nasty())
        async with stream:
            await anext(stream)
            await settled()
        assert stream.report.outcome == "cancelled"
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def test_a_failing_source_and_a_failing_backend() -> None:
    """The backend's failure is told: what the text did is of no matter then."""

    async def nasty() -> AsyncIterator[str]:
        yield TEXT
        raise BoomError

    async with client(FakeBackend(breaks(BackendUnavailableError("gone"), segment=2))) as tts:
        with pytest.raises(SynthesisInterruptedError, match="gone"):
            await tts.synthesize(nasty())


async def test_a_blocking_source_sees_the_callers_context() -> None:
    """Context variables, such as a trace id, are those of who speaks."""
    trace: ContextVar[str] = ContextVar("trace", default="none")
    seen: list[str] = []

    def pieces() -> Iterator[str]:
        seen.append(trace.get())
        yield TEXT

    async with client(FakeBackend()) as tts:
        trace.set("mine")
        await tts.synthesize(pieces())
    assert seen == ["mine"]


@pytest.mark.parametrize("leave", [False, True])
async def test_a_blocking_sources_thread_ends_with_it(*, leave: bool) -> None:
    """Heard to the end or left, it leaves no thread behind."""
    before = set(threading.enumerate())
    async with client(FakeBackend()) as tts:
        stream = tts.stream(iter(SENTENCES))
        await anext(stream)
        new = set(threading.enumerate()) - before
        (thread,) = [thread for thread in new if thread.name == "junetts-text"]
        if leave:
            await stream.aclose()
        else:
            assert len([chunk async for chunk in stream]) == 8
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()


async def test_a_hundred_sources_that_block() -> None:
    """They take nobody's thread, and leaving them takes no time."""
    go_on = threading.Event()

    def blocks() -> Iterator[str]:
        yield "Hello there. How is it going? "
        go_on.wait(15)

    async with client(FakeBackend()) as tts:
        streams = [tts.stream(blocks()) for _ in range(100)]
        await asyncio.gather(*(anext(stream) for stream in streams))
        assert (await tts.synthesize(iter(SENTENCES))).report.outcome == "complete"
        await asyncio.gather(*(stream.aclose() for stream in streams))
    go_on.set()
    assert {stream.report.outcome for stream in streams} == {"cancelled"}


SCRIPT = """
import asyncio, sys, threading
import junetts

def blocks():
    yield "Hello there. How is it going? "
    blocked.set()
    threading.Event().wait()

blocked = threading.Event()

async def main():
    async with junetts.TTS(backends=["demo"]) as tts:
        async for _ in tts.stream(blocks()):
            await asyncio.to_thread(blocked.wait, 10)
            break

def plain():
    for _ in junetts.stream(blocks(), backend="demo"):
        blocked.wait(10)
        break

asyncio.run(main()) if sys.argv[1] == "async" else plain()
print("ended")
"""


@pytest.mark.parametrize("how", ["async", "plain"])
def test_a_source_that_blocks_for_ever_does_not_keep_the_process(how: str) -> None:
    """A generator that waits on a socket or a person when the script is over is left behind."""
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, how], capture_output=True, timeout=15, check=False
    )
    assert (ended.returncode, ended.stdout.strip()) == (0, b"ended"), ended.stderr.decode()
