"""A server's end of one WebSocket over asyncio streams, which can also misbehave."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping

from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from junetts.testing._listener import reset, vanish

READ_BYTES = 65_536
MAX_MESSAGE_BYTES = 256 * 2**20  # references may be large; it is only a test


class PeerLeftError(Exception):
    """The client closed the socket, politely or not."""


class WebSocket:
    """Sends and receives whole messages; reads only while someone waits for one.

    That makes flow control real: a script that sends without receiving leaves what the client
    sends in the kernel, as a busy server would.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._protocol = ServerProtocol(max_size=MAX_MESSAGE_BYTES)
        self._frames: deque[Frame] = deque()
        self.n_pings = 0
        self.on_ping: Callable[[], None] = lambda: None

    @property
    def is_open(self) -> bool:
        """Whether neither side has closed it, as far as has been read."""
        return self._protocol.state is State.OPEN and not self._writer.is_closing()

    async def accept(self, head: bytes, *, headers: Mapping[str, str]) -> None:
        """Complete the handshake that ``head`` begins, with additional response headers."""
        response = self._protocol.accept(self._request(head))
        response.headers.update(headers)
        self._protocol.send_response(response)
        await self._flush()

    async def refuse(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        """Answer with a plain HTTP response instead of a handshake."""
        fields = {**headers, "Content-Length": str(len(body)), "Connection": "close"}
        response = Response(status, "Refused", Headers(fields), body)
        self._writer.write(response.serialize())
        await self._writer.drain()

    async def receive(self) -> bytes | str:
        """Wait for the next message.

        Raises:
            PeerLeftError: if there will be none.
        """
        frame = await self._next_frame()
        parts = [bytes(frame.data)]
        is_text = frame.opcode is Opcode.TEXT
        while not frame.fin:
            frame = await self._next_frame()
            parts.append(bytes(frame.data))
        message = b"".join(parts)
        return message.decode() if is_text else message

    async def send(self, message: bytes | str) -> None:
        """Send one message, waiting while the client reads slowly.

        Raises:
            PeerLeftError: if the client is gone.
        """
        if not self.is_open:
            raise PeerLeftError
        if isinstance(message, str):
            self._protocol.send_text(message.encode())
        else:
            self._protocol.send_binary(message)
        await self._flush()

    async def send_raw(self, data: bytes) -> None:
        """Write bytes to the TCP connection as they are."""
        self._writer.write(data)
        await self._drain()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close politely: a close frame, then the client's answer."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
            await self._flush()
        try:
            while True:
                await self._read()
        except PeerLeftError:
            self._writer.close()

    async def drop(self) -> None:
        """Close the TCP connection without a close frame, after what was sent."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError as error:
            raise PeerLeftError from error

    def abort(self) -> None:
        """Reset the TCP connection; what was not read is lost."""
        reset(self._writer)

    async def vanish(self) -> None:
        """Neither read nor write any more, nor say so; never returns."""
        await vanish()

    def _request(self, head: bytes) -> Request:
        self._protocol.receive_data(head)
        (request,) = self._protocol.events_received()
        assert isinstance(request, Request)  # what a server's side of the protocol yields first
        return request

    async def _next_frame(self) -> Frame:
        while not self._frames:
            await self._read()
        return self._frames.popleft()

    async def _read(self) -> None:
        try:
            data = await self._reader.read(READ_BYTES)
        except OSError as error:
            raise PeerLeftError from error
        if not data:
            raise PeerLeftError
        self._protocol.receive_data(data)
        for frame in self._protocol.events_received():
            if isinstance(frame, Frame):
                self._take(frame)
        await self._flush()

    def _take(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._frames.append(frame)
        elif frame.opcode is Opcode.PING:
            self.n_pings += 1
            self.on_ping()

    async def _flush(self) -> None:
        """Write what the protocol wants written, pongs and close frames included."""
        for data in self._protocol.data_to_send():
            if data:
                self._writer.write(data)
            else:
                self._writer.close()
        await self._drain()

    async def _drain(self) -> None:
        try:
            await self._writer.drain()
        except OSError as error:
            raise PeerLeftError from error
