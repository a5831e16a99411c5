"""One segment spoken in one session of the Fish Audio cloud."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass

from websockets.exceptions import ConnectionClosed

from junetts._audio import AudioFormat
from junetts._backend import BackendAudio
from junetts._errors import (
    BackendUnavailableError,
    RateLimitedError,
    RemoteProtocolError,
    RequestRejectedError,
)
from junetts._fishwire.cloud_request import MEDIA_TYPES, CloudRequest
from junetts._fishwire.codec import decode, encode
from junetts._fishwire.events import Audio, Error, Event, Finish, Start, Stop, Text
from junetts._fishwire.refusals import cause_to_show, without_secrets
from junetts._fishwire.session import Session, State
from junetts._fishwire.word_times import WordTimeline
from junetts._utterance import Segment
from junetts.backends._cloud_pool import CloudPool, CloudSocket

_ABOUT_THE_REQUEST = re.compile(r"\b(reference|invalid|not found|validation)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How each session of an utterance begins: encoded once, for references weigh megabytes."""

    start: Start
    message: bytes
    format: AudioFormat

    @classmethod
    def of(cls, request: CloudRequest) -> Opening:
        """The opening for a request."""
        start = Start(request=request.to_wire())
        media_type = MEDIA_TYPES[request.format]
        return cls(
            start=start,
            message=encode(start),
            format=AudioFormat(sample_rate=request.effective_sample_rate, media_type=media_type),
        )


class SpokenSegment:
    """Sends one segment's text and receives its audio, side by side.

    Guarantees: success is ``finish: stop`` and nothing else. A session that fails before any
    audio is begun anew if its socket had been idle and the server, having given it up, answered
    nothing at all; or if it was one too many: once for each other key, and once more if that
    was because it began before its turn.
    """

    def __init__(
        self,
        segment: Segment,
        opening: Opening,
        pool: CloudPool,
        *,
        backend: str,
        is_early: bool,
    ) -> None:
        self._segment = segment
        self._opening = opening
        self._pool = pool
        self._backend = backend
        self._messages: tuple[tuple[Event, bytes], ...] = (
            (opening.start, opening.message),
            *((event, encode(event)) for event in (Text(text=segment.text), Stop())),
        )
        n_other_keys = len(pool.keys.in_order()) - 1
        self._n_tries_left = n_other_keys + is_early

    def begin(self, socket: CloudSocket) -> None:
        """Start sending, in a task of its own: the server may answer before it has read."""
        self.socket = socket
        self._session = Session()
        self._words = WordTimeline()
        self._is_answered = self._is_audible = False
        self._sender = asyncio.create_task(self._send(socket, self._session))

    async def next_audio(self) -> BackendAudio:
        """Wait for the next item; the last one has ``end``.

        Raises:
            BackendUnavailableError: of the kind that fits, with the server's own words.
        """
        while True:
            try:
                message = await self.socket.connection.recv()
            except ConnectionClosed as closed:
                await self._recover(closed)
                continue
            if isinstance(message, str):  # a text frame, which means nothing in this protocol
                continue
            self._is_answered = True
            event = self._read(message)
            if isinstance(event, Audio):
                if event.audio or event.alignment is not None:
                    self._is_audible = True
                    return self._audio(event)
            elif isinstance(event, Finish):
                return self._end(event)
            elif isinstance(event, Error):
                await self._fail(event)

    def abort(self) -> asyncio.Task[None]:
        """Close the socket in this very tick; returns the sending task, which is ending."""
        self._pool.discard(self.socket)
        self._sender.cancel()
        return self._sender

    async def _send(self, socket: CloudSocket, session: Session) -> None:
        with suppress(ConnectionClosed):  # the receiving side sees it too, and what came before
            for event, message in self._messages:
                if session.state is State.FAILED:
                    return
                session.advance(event)
                await socket.connection.send(message)

    def _read(self, message: bytes) -> Event:
        try:
            event = decode(message)
            self._session.advance(event)
        except RemoteProtocolError as error:
            self._place(error)
            raise
        return event

    def _audio(self, event: Audio) -> BackendAudio:
        return BackendAudio(
            segment=self._segment.index,
            format=self._opening.format,
            data=event.audio,
            words=None if event.alignment is None else self._words.update(event),
            backend=self._backend,
        )

    def _end(self, finish: Finish) -> BackendAudio:
        if finish.reason != "stop":
            words = self._quoted(finish.message or f"reason {finish.reason!r}")
            raise self._place(BackendUnavailableError(f"the server broke off: {words}"))
        return BackendAudio(
            segment=self._segment.index, format=self._opening.format, end="complete"
        )

    async def _recover(self, closed: ConnectionClosed) -> None:
        is_stale = self.socket.is_reused and not self._is_answered
        if not is_stale:
            shown = cause_to_show(closed, self._pool.keys.in_order())
            raise self._place(self._early_close(closed)) from shown
        await self._begin_anew()

    async def _fail(self, event: Error) -> None:
        words = self._quoted(event.error)
        if event.max_concurrency is None:
            raise self._place(_in_band_error(words, is_audible=self._is_audible))
        self._pool.keys.refuse(self.socket.key)
        if self._is_audible or not self._n_tries_left:
            raise self._place(_too_many_at_once(words, event.max_concurrency))
        self._n_tries_left -= 1
        await self._begin_anew()

    async def _begin_anew(self) -> None:
        """Once more, over a socket that nobody can have given up: so this ends."""
        await asyncio.wait([self.abort()])
        self.begin(await self._pool.acquire(fresh=True))

    def _early_close(self, closed: ConnectionClosed) -> RemoteProtocolError:
        how = "without a close frame"
        frame = closed.rcvd or closed.sent
        if frame is not None:
            by = "" if closed.rcvd is not None else "by us, "
            reason = f": {self._quoted(frame.reason)}" if frame.reason else ""
            how = f"{by}code {frame.code}{reason}"
        return RemoteProtocolError(f"the socket closed before the speech was finished ({how})")

    def _quoted(self, words: str) -> str:
        return without_secrets(words, self._pool.keys.in_order())

    def _place(self, error: BackendUnavailableError) -> BackendUnavailableError:
        error.backend = self._backend
        error.trace_id = self._trace_id()
        return error

    def _trace_id(self) -> str | None:
        trace_id = self.socket.trace_id
        return None if trace_id is None else self._quoted(trace_id)


def _too_many_at_once(words: str, max_concurrency: int) -> RateLimitedError:
    return RateLimitedError(
        f"the server answered: {words} (at most {max_concurrency} at once)",
        hint="lower the number of requests at once, or wait",
    )


def _in_band_error(words: str, *, is_audible: bool) -> BackendUnavailableError:
    """A bad request where the words are about it, else a failure on the way, which may pass."""
    is_rejected = not is_audible and _ABOUT_THE_REQUEST.search(words) is not None
    kind = RequestRejectedError if is_rejected else BackendUnavailableError
    return kind(f"the server answered: {words}")
