"""A loopback server that speaks fish-speech's HTTP protocol over real sockets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import h11
from anyio.from_thread import start_blocking_portal

from junetts._utterance import ReferenceClip
from junetts.testing._server_routes import Arrival, Audio, FishRoutes, References
from junetts.testing.server_call import HttpConnection, ServerAnswer, ServerCall

Script = Callable[[ServerCall], Awaitable[None]]


class FishServer:
    """A fish-speech server on a port of 127.0.0.1, down to its faults.

    It answers one request at a time, health included; streams raw PCM that it calls WAV; and
    speaks in its default voice for an id that it does not know, which it then makes an empty
    directory for. Use it as an async context manager, or from threads with `in_thread`.

    Args:
        api_key: what clients must present; empty lets everyone in.
        voices: ids of voices that it knows.
        audio: signed 16 bit mono PCM at 44.1 kHz for every text, or a function of the
            request; by default speech-like sound, as long as the text.
        chunk_bytes: size of one HTTP chunk of audio; by default all in one, as fish-speech does.
        script: what happens to a request, an async function of its `ServerCall`; by default
            it is answered as fish-speech does.
        tls: serves ``https``.

    Attributes:
        calls: all requests, in the order of arrival.
        references: directories of voices, by id; an empty one is not listed as a voice.
        n_open: how many connections are open.
        most_at_once: the most requests that were ever under way together.
    """

    def __init__(
        self,
        *,
        api_key: str = "",
        voices: Iterable[str] = (),
        audio: Audio | None = None,
        chunk_bytes: int | None = None,
        script: Script | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        clip = ReferenceClip(audio=b"a recording", text="its words")
        self.calls: list[ServerCall] = []
        self.references: References = dict.fromkeys(voices, (clip,))
        self.n_open = 0
        self.most_at_once = 0
        self._routes = FishRoutes(
            api_key=api_key, audio=audio, chunk_bytes=chunk_bytes, references=self.references
        )
        self._script: Script = ServerCall.answer if script is None else script
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._n_under_way = 0

    async def __aenter__(self) -> Self:
        if self._server is not None:
            raise RuntimeError("the server is running already; make another one")
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

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

    @contextmanager
    def in_thread(self) -> Iterator[Self]:
        """Serve from an event loop in a thread of its own, for blocking clients."""
        with (
            start_blocking_portal("asyncio") as portal,
            portal.wrap_async_context_manager(self),
        ):
            yield self

    @property
    def port(self) -> int:
        """The port that it listens on."""
        if self._server is None:
            raise RuntimeError("the server is not running; use it in an `async with`")
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """What to write as ``server.url``."""
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    @property
    def texts(self) -> list[str]:
        """The texts that it was asked to speak."""
        return [call.request.text for call in self.calls if call.request is not None]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that clients do makes a condition true."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(HttpConnection(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: HttpConnection) -> None:
        self.n_open += 1
        try:
            while (received := await connection.receive()) is not None:
                await self._handle(connection, *received)
            await connection.close()
        except (OSError, h11.ProtocolError):
            pass  # what a client does to its connection is its own affair
        finally:
            connection.abort()
            self.n_open -= 1
            self._changed.set()

    async def _handle(self, connection: HttpConnection, head: h11.Request, body: bytes) -> None:
        call = ServerCall(connection, head, body, respond=self._respond)
        self.calls.append(call)
        self._n_under_way += 1
        self.most_at_once = max(self.most_at_once, self._n_under_way)
        self._changed.set()
        try:
            async with self._one_at_a_time:
                await self._script(call)
        finally:
            self._n_under_way -= 1
            self._changed.set()

    def _respond(self, call: ServerCall) -> ServerAnswer:
        arrival = Arrival(method=call.method, path=call.path, headers=call.headers, body=call.body)
        return self._routes.answer(arrival)
