"""A port of 127.0.0.1 that is listened on, and the tasks that serve its connections."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

MAX_HEAD_BYTES = 65_536

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Listener:
    """Listens until closed; a task serves each connection, and closing ends them all."""

    def __init__(self, serve: Serve, *, tls: ssl.SSLContext | None = None) -> None:
        self._serve = serve
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    async def start(self) -> None:
        """Listen on a free port."""
        if self._server is not None:
            raise RuntimeError("the server is running already; make another one")
        self._server = await asyncio.start_server(
            self._connected, "127.0.0.1", 0, limit=MAX_HEAD_BYTES, ssl=self._tls
        )

    async def aclose(self) -> None:
        """Drop all connections and stop listening."""
        if self._server is None:
            return
        self._server.close()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._server.wait_closed()
        self._server = None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        if self._server is None:
            raise RuntimeError("the server is not running; use it in an `async with`")
        return int(self._server.sockets[0].getsockname()[1])

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

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._run(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Also of a task that was cancelled before it began.
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._serve(reader, writer)
