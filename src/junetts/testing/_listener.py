"""A port of 127.0.0.1 that is listened on, and the tasks that serve its connections."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Coroutine

HOST = "127.0.0.1"
MAX_HEAD_BYTES = 65_536
N_FILLERS = 3  # connections that fill a queue of none: systems count it as one or two
_LINGER_NOT = struct.pack("ii", 1, 0)  # close with a reset instead of a farewell

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Listener:
    """Listens until closed; a task serves each connection, and closing ends them all."""

    def __init__(self, serve: Serve, *, tls: ssl.SSLContext | None = None) -> None:
        self._serve = serve
        self._tls = tls
        self._port: int | None = None
        self._server: asyncio.Server | None = None
        self._reserved: socket.socket | None = None  # holds the port while nobody is let in
        self._fillers: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    async def start(self) -> None:
        """Listen on a free port."""
        if self._port is not None:
            raise RuntimeError("the server is running already; make another one")
        self._reserved = _bound(0)
        self._port = int(self._reserved.getsockname()[1])
        await self.listen()

    async def listen(self) -> None:
        """Take connections, again if it had stopped."""
        if self._reserved is None:
            return
        reserved, self._reserved = self._reserved, None
        self._drop_fillers()
        self._server = await asyncio.start_server(
            self._connected, sock=reserved, limit=MAX_HEAD_BYTES, ssl=self._tls
        )

    def refuse(self) -> None:
        """Take no more connections: they are refused. Those that are open stay."""
        if self._server is not None:
            self._stop()
            self._reserved = _bound(self.port)

    def ignore(self) -> None:
        """Take no more connections: they are neither refused nor accepted."""
        self.refuse()
        if self._reserved is None or self._fillers:
            return
        self._reserved.listen(0)
        for _ in range(N_FILLERS):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex((HOST, self.port))
            self._fillers.append(filler)

    async def aclose(self) -> None:
        """Drop all connections and stop listening."""
        if self._port is None:
            return
        self._stop()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._port = None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        if self._port is None:
            raise RuntimeError("the server is not running; use it in an `async with`")
        return self._port

    def url(self, scheme: str, path: str = "") -> str:
        """A URL on this port; ``scheme`` without the letter that says TLS."""
        return f"{scheme}{'' if self._tls is None else 's'}://127.0.0.1:{self.port}{path}"

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that clients do makes a condition true."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def notify(self) -> None:
        """Have those who wait look at their conditions again."""
        self._changed.set()

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Run something until it is done, or the listener is closed."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._port is None:  # it was accepted just before the end
            writer.transport.abort()
            return
        task = asyncio.ensure_future(self._run(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Also of a task that was cancelled before it began.
        task.add_done_callback(lambda _: abort(writer))

    async def _run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._serve(reader, writer)

    def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None
        self._drop_fillers()

    def _drop_fillers(self) -> None:
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()


def reset(writer: asyncio.StreamWriter) -> None:
    """Reset the TCP connection; what was not read is lost."""
    peer = writer.get_extra_info("socket")
    if peer is not None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    abort(writer)


def abort(writer: asyncio.StreamWriter) -> None:
    """Release the connection, whatever its state."""
    transport = writer.transport
    is_plain = writer.get_extra_info("ssl_object") is None
    # One that has sent its last bytes while it closed is gone; asyncio would release it twice.
    if not (is_plain and transport.is_closing() and not transport.get_write_buffer_size()):
        transport.abort()


async def vanish() -> None:
    """Neither read nor write any more, nor say so, until the listener is closed."""
    await asyncio.get_running_loop().create_future()


def _bound(port: int) -> socket.socket:
    """A socket that has a port, but refuses connections."""
    # Of this protocol by name: only then does the event loop switch Nagle's delays off.
    bound = socket.socket(proto=socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setblocking(False)
    bound.bind((HOST, port))
    return bound
