"""A TCP proxy that keeps, byte for byte, what an HTTP client and a real server said."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import h11

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

READ_SIZE = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and what came back, without the chunked encoding.

    `complete` is false where the connection ended before the message did.
    """

    method: str
    path: str
    request_headers: dict[str, str]
    request_body: bytes
    status: int | None
    headers: dict[str, str]
    body: bytes
    complete: bool


@dataclass(slots=True)
class Recording:
    """The raw bytes of one connection, in both directions, and whether the client keeps it."""

    sent: bytearray = field(default_factory=bytearray)
    received: bytearray = field(default_factory=bytearray)
    is_open: bool = True

    def exchanges(self) -> list[Exchange]:
        """Parse the recording, as far as it goes."""
        server, client = h11.Connection(h11.SERVER), h11.Connection(h11.CLIENT)
        for connection, data in ((server, self.sent), (client, self.received)):
            connection.receive_data(bytes(data))
            connection.receive_data(b"")
        found = []
        while request := _next_message(server):
            for event in request:  # a response can be framed only by who knows its request
                client.send(event)
            found.append(_exchange(request, _next_message(client)))
            if not (found[-1].complete and _next_cycle(server, client)):
                break
        return found


class RecordingProxy:
    """A proxy that is listening: its own `url`, and a recording for each connection, in order."""

    def __init__(self, url: str, target: str, *, cut_after: int | None = None) -> None:
        """Relay `url` to `target`; with `cut_after`, hang up after so many response bytes."""
        parts = urlsplit(target)
        self.url = url
        self.recordings: list[Recording] = []
        self._host, self._port = parts.hostname, parts.port
        self._cut_after = cut_after
        self._changed = asyncio.Event()

    @property
    def exchanges(self) -> list[Exchange]:
        """All requests of all connections, connection by connection."""
        return [exchange for recording in self.recordings for exchange in recording.exchanges()]

    @property
    def n_open(self) -> int:
        """How many connections their clients have not closed."""
        return sum(recording.is_open for recording in self.recordings)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that is said makes a condition true."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of a client."""
        recording = Recording()
        self.recordings.append(recording)
        with closing(writer):  # in any case: also if the rest is cancelled once more
            server_reader, server_writer = await asyncio.open_connection(self._host, self._port)
            with closing(server_writer):
                await self._relay_both(reader, writer, server_reader, server_writer, recording)
            await _wait_closed(server_writer)
        await _wait_closed(writer)

    async def _relay_both(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        server_reader: asyncio.StreamReader,
        server_writer: asyncio.StreamWriter,
        recording: Recording,
    ) -> None:
        requests = asyncio.create_task(self._relay_requests(reader, server_writer, recording))
        try:
            await self._copy(server_reader, writer, recording.received, limit=self._cut_after)
        finally:
            requests.cancel()
            await asyncio.wait([requests])

    async def _relay_requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, recording: Recording
    ) -> None:
        try:
            await self._copy(reader, writer, recording.sent)
        finally:
            recording.is_open = False
            self._changed.set()

    async def _copy(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        record: bytearray,
        *,
        limit: int | None = None,
    ) -> None:
        """Copy until either side is gone, or `limit` bytes have been recorded."""
        with suppress(OSError):  # half a connection that is gone is no ConnectionError
            while limit is None or len(record) < limit:
                size = READ_SIZE if limit is None else min(READ_SIZE, limit - len(record))
                data = await reader.read(size)
                if not data:
                    writer.write_eof()
                    return
                record += data
                self._changed.set()
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def recording_proxy(
    target: str, *, cut_after: int | None = None
) -> AsyncIterator[RecordingProxy]:
    """Listen on a free port of 127.0.0.1 and relay to the http URL `target` until the block ends.

    With `cut_after`, each connection is closed when the server has sent that many bytes, headers
    included: a server that dies while it speaks.
    """
    relays: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay = asyncio.create_task(proxy.relay(reader, writer))
        relays.add(relay)
        relay.add_done_callback(relays.discard)
        relay.add_done_callback(lambda _: writer.close())  # a task that never began did not

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    proxy = RecordingProxy(f"http://127.0.0.1:{port}", target, cut_after=cut_after)
    try:
        yield proxy
    finally:
        listener.close()
        for relay in relays:
            relay.cancel()
        await asyncio.gather(*relays, return_exceptions=True)


async def _wait_closed(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        await writer.wait_closed()


def _next_message(connection: h11.Connection) -> list[h11.Event]:
    """Return the events of one message, without the last one if the message is cut short."""
    events: list[h11.Event] = []
    with suppress(h11.RemoteProtocolError):
        while not (events and isinstance(events[-1], h11.EndOfMessage)):
            event = connection.next_event()
            if not isinstance(event, h11.Event) or isinstance(event, h11.ConnectionClosed):
                break  # no more data, or no more messages
            events.append(event)
    return events


def _next_cycle(server: h11.Connection, client: h11.Connection) -> bool:
    """Get ready for the next exchange; false if the connection was not kept alive."""
    server.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
    server.send(h11.EndOfMessage())
    if any(c.our_state is not h11.DONE for c in (server, client)):
        return False
    server.start_next_cycle()
    client.start_next_cycle()
    return True


def _exchange(request: list[h11.Event], response: list[h11.Event]) -> Exchange:
    head = request[0]
    assert isinstance(head, h11.Request)
    reply = response[0] if response else None
    assert reply is None or isinstance(reply, h11.Response)
    return Exchange(
        method=head.method.decode(),
        path=head.target.decode(),
        request_headers=_headers(head),
        request_body=_body(request),
        status=reply.status_code if reply else None,
        headers=_headers(reply) if reply else {},
        body=_body(response),
        complete=bool(response) and isinstance(response[-1], h11.EndOfMessage),
    )


def _headers(head: h11.Request | h11.Response) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in head.headers}


def _body(events: list[h11.Event]) -> bytes:
    return b"".join(bytes(event.data) for event in events if isinstance(event, h11.Data))
