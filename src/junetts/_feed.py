"""The text of one utterance on its way to a backend, as segments, while it is being written."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from contextvars import copy_context
from inspect import GEN_SUSPENDED, getgeneratorstate, isgenerator
from queue import SimpleQueue
from typing import TypeAlias

from anyio import CancelScope, move_on_after

from junetts._errors import InvalidRequestError
from junetts._journal import Journal
from junetts._segmentation import Segmenter, is_speakable
from junetts._utterance import Segment

Text: TypeAlias = str | Iterable[str] | AsyncIterable[str]

CLOSE_TIMEOUT_S = 1.0
_END = object()


def check_text(text: object) -> None:
    """Refuse what cannot be spoken before anything is sent.

    Raises:
        InvalidRequestError: if it is not text, or not an iterable that may yield text.
    """
    if isinstance(text, (str, list, tuple)):
        for piece in [text] if isinstance(text, str) else text:
            _check_piece(piece)
    elif isinstance(text, (bytes, bytearray)) or not isinstance(text, (Iterable, AsyncIterable)):
        raise InvalidRequestError(
            f"text must be a str, or an iterable or async iterable of str, not {_type(text)}",
            field="text",
        )


def _check_piece(piece: object) -> str:
    if not isinstance(piece, str):
        raise InvalidRequestError(
            f"text must consist of str, but the source gave {_type(piece)}", field="text"
        )
    try:
        piece.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            f"text must be valid Unicode, but character {error.start} is an unpaired surrogate",
            field="text",
        ) from None
    return piece


def _type(value: object) -> str:
    return type(value).__name__


class TextFeed:
    """Cuts text into segments as a backend asks for them, and enters them in the journal.

    Guarantees: the source is read in a task of its own (`pump`), so that a backend which stops
    waiting for text does not break it; it is read only as far as text is wanted; if it raises,
    the text before is spoken and the error is kept in ``error``. Unspeakable segments are
    entered in the journal but not handed out. After `stop` no more text is handed out.

    Attributes:
        lock: held while text moves from here into the journal, so that a report made in another
            thread has it once.
        error: what the source raised.
        n_handed_out: how many segments were.
    """

    def __init__(self, text: Text, journal: Journal, *, language: str | None = None) -> None:
        self._segmenter = Segmenter(language=language)
        self._journal = journal
        self._source = None if isinstance(text, str) else text
        self._n_flushes = 0
        self._wanted = asyncio.Event()
        self._arrived = asyncio.Event()
        self._ended = False
        self._stopped = False
        self._first: Segment | None = None
        self.lock = threading.RLock()  # reentrant: a finaliser may run while it is held
        self.n_handed_out = 0
        self.error: Exception | None = None
        self.n_characters = 0
        self.n_utf8_bytes = 0
        if isinstance(text, str):
            self._push(text)
            self._end()

    @property
    def has_ended(self) -> bool:
        """Whether all of the text has arrived."""
        return self._ended

    @property
    def remaining(self) -> str:
        """Text that has arrived but was not asked for."""
        return self._segmenter.remaining

    def flush(self) -> None:
        """End a segment here, sentence end or not."""
        self._segmenter.flush()
        self._arrived.set()

    def stop(self) -> None:
        """Read and hand out no more text, even for those who are cancelled a moment later."""
        self._stopped = True

    async def has_speech(self) -> bool:
        """Whether there is anything to say; waits until that is known."""
        self._first = self._first or await self._next()
        return self._first is not None

    def __aiter__(self) -> TextFeed:
        return self

    async def __anext__(self) -> Segment:
        segment = self._first or await self._next()
        self._first = None
        if segment is None or self._stopped:
            raise StopAsyncIteration
        self.n_handed_out += 1
        return segment

    async def _next(self) -> Segment | None:
        """The next segment with something to say in it; None after the last one."""
        while True:
            while (segment := self._take()) is not None:
                if is_speakable(segment.text):
                    return segment
            if self._ended or self._stopped:
                return None
            self._arrived.clear()
            self._wanted.set()
            await self._arrived.wait()

    def _take(self) -> Segment | None:
        """The next segment, entered in the journal; none after the end, when a report is out."""
        with self.lock:
            segment = None if self._stopped else self._segmenter.take()
            if segment is not None:
                self._journal.add(segment, speakable=is_speakable(segment.text))
            return segment

    async def pump(self) -> None:
        """Read the source until it ends; for text given whole there is nothing to do."""
        if self._source is None:
            return
        try:
            await self._read(self._source)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self.error = InvalidRequestError(  # the source awaited what somebody else cancelled
                "the text source was cancelled before its end", field="text"
            )
        except Exception as error:  # noqa: BLE001  (noqa: reviewed) the caller's own, raised to them
            self.error = error
        finally:
            self._end()

    async def _read(self, text: Iterable[str] | AsyncIterable[str]) -> None:
        source = _pieces(text)
        try:
            await self._pump(source)
        finally:
            self._end()
            await _close(source)

    async def _pump(self, source: AsyncIterator[str]) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            if self._stopped:
                return
            try:
                self._push(_check_piece(await anext(source)))
            except StopAsyncIteration:
                return

    def _push(self, text: str) -> None:
        with self.lock:
            self.n_characters += len(text)
            self.n_utf8_bytes += len(text.encode())
            self._segmenter.push(text)
        self._arrived.set()

    def _end(self) -> None:
        self._ended = True
        self._segmenter.flush()
        self._arrived.set()


def _pieces(source: Iterable[str] | AsyncIterable[str]) -> AsyncIterator[str]:
    if isinstance(source, AsyncIterable):
        return aiter(source)
    return _Threaded(iter(source)) if not isinstance(source, (list, tuple)) else _Inline(source)


class _Inline:
    """A list of pieces, which takes no time to read."""

    def __init__(self, pieces: Iterable[str]) -> None:
        self._pieces = iter(pieces)

    def __aiter__(self) -> _Inline:
        return self

    async def __anext__(self) -> str:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


_Call: TypeAlias = tuple[Callable[[], object], "asyncio.Future[object]"]


class _Threaded:
    """A blocking iterator, read in a thread so that it does not hold up the event loop.

    The thread is its own, for blocked sources must not use up those that others wait for; and a
    daemon, for one that never yields again must not keep the process from ending.
    """

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces = pieces
        self._is_abandoned = False
        self._loop = asyncio.get_running_loop()
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()  # one at a time, then the end
        self._thread: threading.Thread | None = None

    def __aiter__(self) -> _Threaded:
        return self

    async def __anext__(self) -> str:
        piece = await self._in_thread(self._next)
        if piece is _END:
            raise StopAsyncIteration
        return piece  # type: ignore[return-value]  # checked by the feed

    def _next(self) -> object:
        piece: object = next(self._pieces, _END)
        if self._is_abandoned:
            self._close()
        return piece

    async def aclose(self) -> None:
        """Close a generator; one that runs is closed by its thread, when it yields again."""
        self._is_abandoned = True
        try:
            if isgenerator(self._pieces) and getgeneratorstate(self._pieces) == GEN_SUSPENDED:
                await self._in_thread(self._close)
        finally:
            self._calls.put(None)

    def _close(self) -> None:
        if isgenerator(self._pieces):
            self._pieces.close()

    async def _in_thread(self, work: Callable[[], object]) -> object:
        """Have the thread do something; who is cancelled here leaves it at that."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=copy_context().run, args=(self._run,), name="junetts-text", daemon=True
            )
            self._thread.start()
        answer: asyncio.Future[object] = self._loop.create_future()
        self._calls.put((work, answer))
        return await answer

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            work, answer = call
            result: object = None
            failure: BaseException | None = None
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001  (noqa: reviewed) raised to the caller
                failure = error
            with suppress(RuntimeError):  # the event loop has gone, and with it the caller
                self._loop.call_soon_threadsafe(_answer, answer, result, failure)


def _answer(answer: asyncio.Future[object], result: object, failure: BaseException | None) -> None:
    if answer.cancelled():
        return
    if failure is None:
        answer.set_result(result)
    else:
        answer.set_exception(failure)


async def _close(source: AsyncIterator[str]) -> None:
    """Let a generator clean up behind itself, within reason."""
    aclose = getattr(source, "aclose", None)
    if aclose is None:
        return
    with CancelScope(shield=True), move_on_after(CLOSE_TIMEOUT_S):
        await aclose()
