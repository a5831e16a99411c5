"""Text on its way to a backend: every kind of source, and every way in which one can fail."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from fakes import FakeBackend, client, settled, speaks
from junetts._errors import InvalidRequestError, SynthesisInterruptedError
from junetts._feed import Text, TextFeed, check_text
from junetts._journal import Journal

SENTENCES = ["This is the first one. ", "This is the second one. ", "This is the third one. "]
TEXT = "".join(SENTENCES)


async def letters(text: str = TEXT, *, done: list[str] | None = None) -> AsyncIterator[str]:
    """The text, a character at a time."""
    try:
        for letter in text:
            await asyncio.sleep(0)
            yield letter
    finally:
        if done is not None:
            done.append("closed")


class Words:
    """An async iterable that is no generator."""

    def __aiter__(self) -> AsyncIterator[str]:
        return letters()


def sources() -> dict[str, Text]:
    """The same text in every form."""
    return {
        "str": TEXT,
        "list": SENTENCES,
        "tuple": tuple(TEXT),
        "generator": (letter for letter in TEXT),
        "iterator": iter(SENTENCES),
        "dict": dict.fromkeys(SENTENCES),
        "async generator": letters(),
        "async iterable": Words(),
        "with empty pieces": ["", *SENTENCES, "", ""],
    }


@pytest.mark.anyio
@pytest.mark.parametrize("kind", list(sources()))
async def test_every_kind_of_source_says_the_same(kind: str) -> None:
    """The segments do not depend on how the text comes."""
    backend = FakeBackend()
    async with client(backend) as tts:
        speech = await tts.synthesize(sources()[kind])
    assert backend.given == SENTENCES
    assert (speech.report.spoken_text, speech.report.unspoken_text) == (TEXT, "")
    assert speech.report.characters == len(TEXT)


@pytest.mark.parametrize("text", [None, 3, b"bytes", bytearray(b"b"), object(), ["a", None]])
def test_what_is_not_text_is_refused(text: object) -> None:
    """The error names the type; nothing is read."""
    with pytest.raises(InvalidRequestError, match="text must") as raised:
        check_text(text)
    assert raised.value.field == "text"


def test_an_unpaired_surrogate_is_refused() -> None:
    """Text that cannot be encoded is refused with the place of the fault."""
    with pytest.raises(InvalidRequestError, match="character 3 is an unpaired surrogate"):
        check_text("abc\udc80")
    check_text("abc\U0001f600")


class BoomError(Exception):
    """The source's own error."""


async def failing(*pieces: object) -> AsyncIterator[str]:
    """Some pieces and an error."""
    for piece in pieces:
        yield piece  # type: ignore[misc]
    raise BoomError


def failing_here(*pieces: str) -> Iterator[str]:
    """The same for the blocking kind."""
    yield from pieces
    raise BoomError


@pytest.mark.anyio
@pytest.mark.parametrize("make", [failing, failing_here])
async def test_a_source_that_raises_at_once(make: type) -> None:
    """The source's error is the caller's own, and raised as it is."""
    backend = FakeBackend()
    async with client(backend) as tts:
        stream = tts.stream(make())
        with pytest.raises(BoomError):
            await anext(stream)
    assert (stream.report.outcome, backend.given) == ("failed", [])


@pytest.mark.anyio
@pytest.mark.parametrize("make", [failing, failing_here])
async def test_a_source_that_raises_later(make: type) -> None:
    """The text before the error is spoken, the rest of a sentence included; then it is raised."""
    backend = FakeBackend()
    async with client(backend) as tts:
        stream = tts.stream(make(*SENTENCES[:2], "And then"))
        with pytest.raises(BoomError):
            await stream.collect()
    assert backend.given == [*SENTENCES[:2], "And then"]
    assert stream.report.outcome == "failed"
    assert stream.report.spoken_text == "".join(backend.given)


@pytest.mark.anyio
async def test_a_piece_that_is_not_text() -> None:
    """A source that yields something else is told so, after the text before it was spoken."""

    async def mixed() -> AsyncIterator[str]:
        yield SENTENCES[0]
        yield 3  # type: ignore[misc]

    async with client(FakeBackend()) as tts:
        with pytest.raises(SynthesisInterruptedError, match="the source gave int") as raised:
            await tts.synthesize(mixed())
        assert isinstance(raised.value.__cause__, InvalidRequestError)
        with pytest.raises(InvalidRequestError, match="the source gave bytes"):
            await tts.synthesize(iter([b"x"]))  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_leaving_closes_an_endless_source() -> None:
    """After barge-in an async generator's ``finally`` has run, and no more text is read."""
    done: list[str] = []
    async with client(FakeBackend()) as tts:
        stream = tts.stream(letters("word. " * 10**6, done=done))
        async for _ in stream:
            break
        await stream.aclose()
        assert done == ["closed"]
        assert stream.report.characters < 1000


@pytest.mark.anyio
async def test_leaving_closes_an_endless_blocking_source() -> None:
    """The same for a generator that runs in a thread, though the caller still holds it."""
    done: list[str] = []

    def endless() -> Iterator[str]:
        try:
            while True:
                yield "Hello there. "
        finally:
            done.append("closed")

    source = endless()
    async with client(FakeBackend()) as tts:
        stream = tts.stream(source)
        async for _ in stream:
            break
        await stream.aclose()
        assert done == ["closed"]


@pytest.mark.anyio
async def test_a_source_that_blocks_holds_nobody_up() -> None:
    """A generator stuck in its thread blocks neither the loop nor leaving; it ends by itself."""
    blocked, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def blocks() -> Iterator[str]:
        try:
            yield "Hello there. How is it going? "
            blocked.set()
            go_on.wait(10)
            yield "Never heard. "
        finally:
            ended.set()

    async with client(FakeBackend()) as tts:
        stream = tts.stream(blocks())
        async for _ in stream:
            assert await asyncio.to_thread(blocked.wait, 10)
            break
        await stream.aclose()
        assert (await tts.synthesize("Still here.")).report.outcome == "complete"
        assert not ended.is_set()
    go_on.set()
    assert await asyncio.to_thread(ended.wait, 10)


@pytest.mark.anyio
async def test_a_source_that_cannot_be_closed_harms_only_itself() -> None:
    """An error while a source is closed neither ends the client nor other speech."""

    async def nasty() -> AsyncIterator[str]:
        try:
            while True:
                yield "Hello there. "
        finally:
            raise BoomError

    def nasty_here() -> Iterator[str]:
        try:
            while True:
                yield "Hello there. "
        finally:
            raise BoomError

    async with client(FakeBackend()) as tts:
        for source in (nasty(), nasty_here()):
            stream = tts.stream(source)
            async for _ in stream:
                break
            await stream.aclose()
            assert stream.report.outcome == "cancelled"
        assert (await tts.synthesize("Still here.")).report.outcome == "complete"


@pytest.mark.anyio
async def test_text_is_read_only_as_far_as_it_is_wanted() -> None:
    """A listener who does not listen stops the reading, too."""
    n_read = 0

    async def counted() -> AsyncIterator[str]:
        nonlocal n_read
        for _ in range(10_000):
            n_read += 1
            yield "Hello there. "

    async with client(FakeBackend(), ahead_s=1.0) as tts:
        stream = tts.stream(counted())
        await anext(stream)
        await settled(500)
        assert n_read < 20
        await stream.aclose()


@pytest.mark.anyio
async def test_flush_speaks_what_is_there() -> None:
    """Half a sentence is spoken after `flush`, without waiting for more text."""
    more = asyncio.Event()

    async def slow() -> AsyncIterator[str]:
        yield "Let me"
        await more.wait()
        yield " see now."

    backend = FakeBackend()
    async with client(backend) as tts:
        stream = tts.stream(slow())
        await settled()
        assert backend.given == []
        stream.flush()
        await anext(stream)
        assert backend.given == ["Let me"]
        stream.flush()
        more.set()
        speech = [chunk async for chunk in stream]
    assert (len(speech), backend.given) == (5, ["Let me", " see now."])
    assert stream.report.spoken_text == "Let me see now."


@pytest.mark.anyio
async def test_unspeakable_segments_are_not_sent() -> None:
    """Punctuation between sentences is part of the text but not of what a backend is given."""
    backend = FakeBackend()
    text = "Hello there.\n\n***\n\n- - -\n\nGood bye.\n\n***"
    async with client(backend) as tts:
        speech = await tts.synthesize(text)
    assert all(any(map(str.isalnum, one)) for one in backend.given)
    assert speech.report.spoken_text == text


@pytest.mark.anyio
async def test_a_cancelled_reader_loses_no_segment() -> None:
    """A backend that gives up waiting for text leaves it for the next one."""
    text = asyncio.Event()

    async def slow() -> AsyncIterator[str]:
        await text.wait()
        yield "Hello there."

    feed = TextFeed(slow(), Journal(8000))
    pump = asyncio.create_task(feed.pump())
    first = asyncio.ensure_future(anext(feed))
    await settled()
    first.cancel()
    await settled()
    text.set()
    assert (await anext(feed)).text == "Hello there."
    with pytest.raises(StopAsyncIteration):
        await anext(feed)
    await pump


@pytest.mark.anyio
async def test_a_megabyte_of_text() -> None:
    """Length is no obstacle; what is not asked for stays in the report as unspoken."""
    text = "This is a sentence of a long book. " * 30_000
    async with client(FakeBackend(speaks(1)), ahead_s=0.5) as tts:
        stream = tts.stream(text)
        async for _ in stream:
            break
    report = stream.report
    assert report.spoken_text + report.unspoken_text == text
    assert report.utf8_bytes == len(text)
    assert len(report.segments) < 20


@pytest.mark.anyio
async def test_after_the_end_no_text_moves_into_the_journal() -> None:
    """Who waited for text when it was stopped gets none, and the report stays what it was."""
    journal = Journal(8000)
    feed = TextFeed(letters(), journal)
    waiting = asyncio.create_task(feed.has_speech())
    await settled(5)
    feed._push(TEXT)
    feed.stop()
    before = (journal.segments(), feed.remaining)
    assert not await waiting
    assert (journal.segments(), feed.remaining) == before
    with pytest.raises(StopAsyncIteration):
        await anext(aiter(feed))
