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
from junetts.testing._door import Door, DoorLine
from junetts.testing._fault_plan import FaultPlan
from junetts.testing._listener import Listener
from junetts.testing._server_faults import faulty_calls
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
        faults: what goes wrong and when; all else is as fish-speech does it. With a script,
            only those count that strike before it, at the door.
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
        faults: FaultPlan | None = None,
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
        self._listener = Listener(self._serve, tls=tls)
        self._door = Door(faults, self._listener)
        self._script: Script = script or (
            ServerCall.answer if faults is None else faulty_calls(faults, self._door)
        )
        self._one_at_a_time = asyncio.Lock()
        self._n_under_way = 0

    async def __aenter__(self) -> Self:
        await self._listener.start()
        self._door.begin()
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
        await self._listener.aclose()

    async def mend(self) -> None:
        """Let clients in again, if a fault of the plan keeps them out."""
        await self._door.open()

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
        return self._listener.port

    @property
    def url(self) -> str:
        """What to write as ``server.url``."""
        return self._listener.url("http")

    @property
    def texts(self) -> list[str]:
        """The texts that it was asked to speak."""
        return [call.request.text for call in self.calls if call.request is not None]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that clients do makes a condition true."""
        await self._listener.until(condition)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = HttpConnection(reader, writer)
        self.n_open += 1
        try:
            while (received := await connection.receive()) is not None:
                call = ServerCall(connection, *received, respond=self._respond)
                await self._handle(call, DoorLine(reader, writer))
                if connection.is_left_hanging:
                    await connection.vanish()
            await connection.close()
        except (OSError, h11.ProtocolError):
            pass  # what a client does to its connection is its own affair
        finally:
            connection.abort()
            self.n_open -= 1
            self._listener.notify()

    async def _handle(self, call: ServerCall, line: DoorLine) -> None:
        self.calls.append(call)
        self._n_under_way += 1
        self.most_at_once = max(self.most_at_once, self._n_under_way)
        self._listener.notify()
        try:
            if await self._door.admits(line):
                async with self._one_at_a_time:
                    await self._script(call)
        finally:
            self._n_under_way -= 1
            self._listener.notify()

    def _respond(self, call: ServerCall) -> ServerAnswer:
        arrival = Arrival(method=call.method, path=call.path, headers=call.headers, body=call.body)
        return self._routes.answer(arrival)
