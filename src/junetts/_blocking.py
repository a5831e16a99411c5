"""The blocking API: a thin portal over the async one, for scripts and notebooks."""

from __future__ import annotations

import asyncio
import atexit
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from anyio import CancelScope, to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal

from junetts._audio import AudioChunk
from junetts._backend import BackendAudio
from junetts._client import TTS, ConfigSource, check_timeout
from junetts._config import BACKEND_NAMES
from junetts._errors import UsageError
from junetts._events import Event
from junetts._feed import Text, check_text
from junetts._report import SpeechReport
from junetts._speaking import Speaking, running_loop
from junetts._stream import SpeechStream
from junetts._utterance import Prosody, Sampling, Voice

if TYPE_CHECKING:
    from junetts._speech import Speech


def stream(
    text: Text,
    *,
    config: ConfigSource = None,
    voice: Voice | str | None = None,
    prosody: Prosody | None = None,
    sampling: Sampling | None = None,
    backend: str | None = None,
    language: str | None = None,
    timeout_s: float | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> SpeechStream:
    """Speak; iterate over the result, with ``for`` or ``async for``, to hear it.

    A client of its own, in a thread of its own, lives as long as the stream is iterated.
    Arguments as for `TTS` and `TTS.stream`. Nothing is sent before the first iteration.

    ``on_event`` is told of this call alone, breakers included, for they last as long as its
    client. It is called in the thread that runs the event loop, not in the caller's; every event
    has been told when the stream has ended or is closed.
    """
    check_text(text)
    check_timeout(timeout_s)
    tts = TTS(config, on_event=on_event)
    if backend in BACKEND_NAMES and not tts.config.backends:
        # Named: nothing needs to be found out.
        tts = TTS(config, on_event=on_event, backends=[backend])

    def start() -> Speaking:
        return tts.begin(
            text,
            voice=voice,
            prosody=prosody,
            sampling=sampling,
            backend=backend,
            language=language,
            timeout_s=timeout_s,
        )

    return SpeechStream(ThreadSource(tts, start, text=text))


def synthesize(
    text: Text,
    *,
    config: ConfigSource = None,
    voice: Voice | str | None = None,
    prosody: Prosody | None = None,
    sampling: Sampling | None = None,
    backend: str | None = None,
    language: str | None = None,
    timeout_s: float | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Speech:
    """Speak and return all of the audio; arguments as for `stream`.

    Raises:
        UsageError: if called in a running event loop, which it would block.
        JuneTtsError: as `TTS.synthesize` does.
    """
    _refuse_in_a_loop("synthesize", "await tts.synthesize(text)")
    speaking = stream(
        text,
        config=config,
        voice=voice,
        prosody=prosody,
        sampling=sampling,
        backend=backend,
        language=language,
        timeout_s=timeout_s,
        on_event=on_event,
    )
    with speaking:
        return speaking.collect_blocking()


def _refuse_in_a_loop(what: str, instead: str) -> None:
    """Refuse to block an event loop; a notebook's cell blocks its own loop anyway."""
    if running_loop() is None:
        return
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        return
    raise UsageError(
        f"junetts.{what} would block the event loop that is running here: write "
        f"`async with junetts.TTS() as tts: {instead}`"
    )


def _unstarted_report(text: Text, sample_rate: int) -> SpeechReport:
    known = text if isinstance(text, str) else ""
    return SpeechReport(
        outcome="speaking",
        spoken_text="",
        unspoken_text=known,
        segments=(),
        attempts=(),
        handovers=(),
        backend=None,
        sample_rate=sample_rate,
        ttfa_s=None,
        rtf=None,
        audio_s=0.0,
        characters=len(known),
        utf8_bytes=len(known.encode()),
        cost_usd=0.0,
    )


class ThreadSource:
    """Chunks of an utterance that is spoken in a thread of its own.

    The thread starts with the first chunk asked for. Chunks that have arrived meanwhile cross
    over together, because a crossing costs more than a chunk.
    """

    def __init__(self, tts: TTS, start: Callable[[], Speaking], *, text: Text) -> None:
        self._tts = tts
        self._start = start
        self._items: deque[BackendAudio] = deque()
        self._portal: BlockingPortal | None = None
        self._speaking: Speaking | None = None
        self._stack = ExitStack()
        self._pending: asyncio.Future[list[BackendAudio]] | None = None
        self._turn = threading.Lock()  # of the thread that asks for a chunk
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._unstarted = _unstarted_report(text, tts.config.sample_rate)

    @property
    def number(self) -> int:
        """The utterance's number: the client speaks no other."""
        return 1 if self._speaking is None else self._speaking.number

    @property
    def report(self) -> SpeechReport:
        """The utterance's report."""
        if self._speaking is None:
            return self._unstarted
        return self._speaking.report

    def next_chunk_blocking(self) -> AudioChunk:
        """The next chunk; raises `StopIteration` at the end."""
        _refuse_in_a_loop("stream", "async for chunk in tts.stream(text): ...")
        with self._turn:
            try:
                while (chunk := self._next_ready()) is None:
                    if not (items := self._taken()):
                        raise StopIteration
                    self._items.extend(items)
            except BaseException:
                self.close()
                raise
            return chunk

    def _taken(self) -> list[BackendAudio]:
        """What is ready to cross over; nothing at the end, or once another thread closed."""
        try:
            speaking = self._started()
            return [] if speaking is None else self._running.call(speaking.take_all)
        except RuntimeError:
            if self._closed.is_set():
                return []
            raise

    async def next_chunk(self) -> AudioChunk:
        """The next chunk; raises `StopAsyncIteration` at the end."""
        try:
            while (chunk := self._next_ready()) is None:
                if not await self._fill():
                    raise StopAsyncIteration
        except Exception:
            await self.aclose()
            raise
        return chunk

    def _next_ready(self) -> AudioChunk | None:
        """The first chunk that has crossed over, and what is known to end with it."""
        chunk: AudioChunk | None = None
        while self._items and self._speaking is not None and not self._closed.is_set():
            if chunk is not None and self._items[0].data:
                break
            chunk = self._speaking.hand_out(self._items.popleft()) or chunk
        return chunk

    async def _fill(self) -> bool:
        """Bring over what is ready; being cancelled here loses nothing."""
        speaking = await to_thread.run_sync(self._started)
        if speaking is None or self._closed.is_set():
            return False
        if self._pending is None:
            taking = self._running.start_task_soon(speaking.take_all)
            self._pending = asyncio.wrap_future(taking)
        pending = self._pending
        await asyncio.wait((pending,))
        if self._pending is pending:
            self._pending = None
            self._items.extend(pending.result())
        return bool(pending.result())

    def _started(self) -> Speaking | None:
        """The work, begun if it was not; None once it is closed."""
        with self._lock:
            if self._closed.is_set():
                return None
            if self._speaking is None:
                # Later, when the interpreter has frozen the thread, it could not be ended.
                atexit.register(self.close)
                self._portal = self._stack.enter_context(start_blocking_portal("asyncio"))
                try:
                    self._stack.enter_context(self._portal.wrap_async_context_manager(self._tts))
                    self._portal.call(self._begin)
                except BaseException:
                    self._unstarted = replace(self._unstarted, outcome="failed")
                    self._stack.close()
                    raise
            return self._speaking

    def _begin(self) -> None:
        """Begin the work, in its loop: a listener that is told of it may already cancel it."""
        self._speaking = self._start()

    @property
    def _running(self) -> BlockingPortal:
        assert self._portal is not None
        return self._portal

    def flush(self) -> None:
        """Speak what is buffered."""
        if self._speaking is None or self._closed.is_set():
            return
        if self._speaking.is_in_its_loop():
            self._speaking.flush()
        else:
            self._running.call(self._speaking.flush)

    def cancel(self) -> None:
        """Stop at once and release the thread; a listener in that thread does not wait for it."""
        if self._speaking is not None and self._speaking.is_in_its_loop():
            self.abandon()
        else:
            self.close()

    def abandon(self) -> None:
        """`close`, from wherever the garbage collector runs; no event loop is held up by it."""
        if self._speaking is None or self._closed.is_set():
            return
        if running_loop() is None:
            self.close()
            return
        if self._speaking.is_in_its_loop():
            self._speaking.cancel()
        else:
            self._running.call(self._speaking.cancel if self._items else self._speaking.leave)
        threading.Thread(target=self.close, daemon=True).start()

    async def aclose(self) -> None:
        """`close`, without blocking this event loop."""
        with CancelScope(shield=True):
            await to_thread.run_sync(self.close)

    def close(self) -> None:
        """Stop, and end the client and its thread; may be called more than once."""
        with self._lock:
            if self._closed.is_set():
                return
            self._closed.set()
            atexit.unregister(self.close)
            if self._speaking is None:
                if self._unstarted.outcome == "speaking":
                    self._unstarted = replace(self._unstarted, outcome="cancelled")
                return
            self._running.call(self._speaking.cancel if self._items else self._speaking.leave)
            self._stack.close()
