"""One HTTP request to the loopback fish-speech server, as a script sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import h11

from junetts._errors import InvalidRequestError
from junetts._fishwire.server_encoding import decode
from junetts._fishwire.server_request import ServerRequest
from junetts.testing._listener import abort, reset, vanish

READ_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAnswer:
    """What the server says to a request.

    Attributes:
        status: of the response.
        headers: of the response.
        chunks: of its body, each of them one HTTP chunk.
        is_cut_off: whether the connection ends before the last chunk, as it does when
            generation fails while streaming.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: tuple[bytes, ...] = ()
    is_cut_off: bool = False


class HttpConnection:
    """A server's end of one HTTP/1.1 connection, for one request after another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER)
        self.is_left_hanging = False

    async def receive(self) -> tuple[h11.Request, bytes] | None:
        """The next request and its body; None if the client has no more."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        if self._http.our_state is not h11.IDLE:
            return None
        request: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                await self._invite_body()
                self._http.receive_data(await self._reader.read(READ_BYTES))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                return request, bytes(body)
            else:
                return None

    async def _invite_body(self) -> None:
        if self._http.they_are_waiting_for_100_continue:
            await self.send(h11.InformationalResponse(status_code=100, headers=[]))

    async def send(self, event: h11.Event) -> None:
        """Write one part of a response, waiting while the client reads slowly."""
        await self.send_raw(self._http.send(event) or b"")

    async def send_raw(self, data: bytes) -> None:
        """Write bytes to the TCP connection as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        """Hang up, after everything that was written."""
        self._writer.close()
        await self._writer.wait_closed()

    def reset(self) -> None:
        """Reset the TCP connection."""
        reset(self._writer)

    def abort(self) -> None:
        """Release the connection, whatever its state."""
        abort(self._writer)

    async def until_left(self) -> None:
        """Wait until the client hangs up."""
        while await self._reader.read(READ_BYTES):
            pass

    async def vanish(self) -> None:
        """Neither read nor write any more, nor say so; never returns."""
        await vanish()


class ServerCall:
    """One request, and what a script can do about it.

    A script is an async function of this; it runs once per request, one request at a time.
    `answer` without an argument behaves as fish-speech does.

    Attributes:
        method: of the request.
        path: without the query.
        headers: names in lower case.
        body: as it came.
        request: the body of ``/v1/tts``, decoded; None if it is none, or breaks the schema.
        state: ``answered`` in full, ``left`` by the client before that, or ``open``.
    """

    def __init__(
        self,
        connection: HttpConnection,
        head: h11.Request,
        body: bytes,
        *,
        respond: Callable[[ServerCall], ServerAnswer],
    ) -> None:
        self.method = head.method.decode()
        self.path = head.target.decode().partition("?")[0]
        self.headers = {name.decode().lower(): value.decode() for name, value in head.headers}
        self.body = body
        self.request = self._decoded()
        self.state: Literal["open", "answered", "left"] = "open"
        self._connection = connection
        self._respond = respond

    def _decoded(self) -> ServerRequest | None:
        if self.path != "/v1/tts":
            return None
        try:
            return decode(self.headers.get("content-type", ""), self.body)
        except InvalidRequestError:
            return None

    def usual_answer(self) -> ServerAnswer:
        """What fish-speech would answer."""
        return self._respond(self)

    async def answer(self, answer: ServerAnswer | None = None) -> None:
        """Answer in full; by default what fish-speech would answer."""
        answer = answer or self.usual_answer()
        await self.begin(answer.status, answer.headers)
        await self.send(*answer.chunks)
        if answer.is_cut_off:
            await self.cut_off()
        else:
            await self.end()

    async def begin(self, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Send the head of a response of unknown length."""
        fields: Iterable[tuple[str, str]] = (headers or {"Content-Type": "audio/wav"}).items()
        fields = [*fields, ("Transfer-Encoding", "chunked")]
        await self._connection.send(h11.Response(status_code=status, headers=fields))

    async def send(self, *chunks: bytes) -> None:
        """Send some of the body; the answer to HEAD has none."""
        for chunk in chunks if self.method != "HEAD" else ():
            await self._connection.send(h11.Data(data=chunk))

    async def send_raw(self, data: bytes) -> None:
        """Write bytes to the TCP connection, HTTP or not."""
        await self._connection.send_raw(data)

    async def end(self) -> None:
        """Send the last chunk."""
        self.state = "answered"  # before the client can know
        await self._connection.send(h11.EndOfMessage())

    async def cut_off(self) -> None:
        """Hang up, with or without a response."""
        await self._connection.close()

    def reset(self) -> None:
        """Reset the TCP connection; the client may lose what it had not read."""
        self._connection.reset()

    def vanish(self) -> None:
        """Have the server neither read nor write any more on this connection, nor say so.

        That begins when the script returns, so that it can serve others.
        """
        self._connection.is_left_hanging = True

    async def until_left(self) -> None:
        """Say nothing more until the client hangs up."""
        try:
            await self._connection.until_left()
        finally:
            self.state = "left"
