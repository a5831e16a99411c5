"""A loopback server that speaks the Fish Audio cloud's protocols over real sockets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import h11
from anyio.from_thread import start_blocking_portal

from junetts.testing._cloud_audio import AudioScript, AudioSource, Pace
from junetts.testing._cloud_faults import faulty_sessions
from junetts.testing._cloud_rest import RestExchange, RestRequest
from junetts.testing._door import Door, DoorLine
from junetts.testing._fault_plan import FaultPlan
from junetts.testing._listener import Listener, abort
from junetts.testing._web_socket import PeerLeftError, WebSocket
from junetts.testing.cloud_session import CloudSession, ReceivedRequest

LIVE_PATH = "/v1/tts/live"
TTS_PATH = "/v1/tts"
CREDIT_PATH = "/wallet/self/api-credit"

Script = Callable[[CloudSession], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An HTTP answer instead of what was asked for."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Knock:
    """A request before it is let in: its method, path and headers, names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


Doorman = Callable[[Knock], Awaitable[Refusal | None]]

_NO_KEY = Refusal(status=401, body=b'{"message":"Invalid Token","status":401}')
_NOT_FOUND = Refusal(status=404, body=b'{"message":"Not Found","status":404}')


class CloudServer:
    """The cloud's sockets and the REST routes that clients use, on one port of 127.0.0.1.

    Use it as an async context manager, or from threads with `in_thread`.

    Args:
        keys: the API keys that are accepted; None accepts any.
        audio: bytes for every text, or a function of the text and the request; by default
            speech-like sound in the format that was asked for.
        frame_bytes: size of one audio event.
        pace: awaited before each audio event; hold it back to hold back audio.
        script: what happens on a socket, an async function of its `CloudSession`; by default
            it behaves as the cloud does.
        faults: what goes wrong and when; all else is as the cloud does it. With a script,
            only those count that strike before it, at the door.
        doorman: asked before each handshake and REST call; may answer with a `Refusal`.
        credit: what the account has left, in USD; None takes the route away.
        tls: serves ``wss`` and ``https``.

    Attributes:
        requests: what clients asked for, sockets and REST alike, in the order of arrival.
        n_connections: how many sockets were opened by a handshake.
        n_open: how many of them are open.
    """

    def __init__(
        self,
        *,
        keys: set[str] | None = None,
        audio: AudioSource | None = None,
        frame_bytes: int = 4096,
        pace: Pace | None = None,
        script: Script | None = None,
        faults: FaultPlan | None = None,
        doorman: Doorman | None = None,
        credit: str | None = "12.50",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.requests: list[ReceivedRequest] = []
        self.n_connections = 0
        self.n_open = 0
        self._keys = keys
        self._audio = AudioScript(source=audio, frame_bytes=frame_bytes, pace=pace)
        self._listener = Listener(self._serve, tls=tls)
        self._door = Door(faults, self._listener)
        self._script: Script = script or (
            CloudSession.answer if faults is None else faulty_sessions(faults, self._door)
        )
        self._doorman = doorman
        self._credit = credit
        self._sockets: set[WebSocket] = set()

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
        """Reset all connections and stop listening."""
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
        """The socket's URL, without word times."""
        return self._listener.url("ws", LIVE_PATH)

    @property
    def http_url(self) -> str:
        """The origin of REST calls."""
        return self._listener.url("http")

    @property
    def n_pings(self) -> int:
        """How many pings came over the open sockets."""
        return sum(socket.n_pings for socket in self._sockets)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that clients do makes a condition true."""
        await self._listener.until(condition)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if not await self._door.admits(DoorLine(reader, writer)):
                pass
            elif b"\r\nupgrade: websocket" in head.lower():
                await self._serve_socket(WebSocket(reader, writer), head)
            else:
                await self._serve_rest(RestExchange(reader, writer), head)
            writer.close()
            await writer.wait_closed()
        except (PeerLeftError, OSError, asyncio.IncompleteReadError, h11.ProtocolError):
            pass  # what a client does to its connection is its own affair
        finally:
            abort(writer)

    async def _serve_socket(self, socket: WebSocket, head: bytes) -> None:
        knock = _knock(head)
        refusal = await self._refusal(knock)
        if refusal is None and not knock.path.startswith(LIVE_PATH):
            refusal = _NOT_FOUND
        if refusal is not None:
            await socket.refuse(refusal.status, refusal.body, refusal.headers)
            return
        session = self._session(socket, knock)
        await socket.accept(head, headers={"x-fish-trace-id": session.trace_id})
        self._sockets.add(socket)
        self.n_open += 1
        self._listener.notify()
        try:
            await self._script(session)
            await socket.close()
        finally:
            self._sockets.discard(socket)
            self.n_open -= 1
            self._listener.notify()

    def _session(self, socket: WebSocket, knock: Knock) -> CloudSession:
        self.n_connections += 1
        socket.on_ping = self._listener.notify
        return CloudSession(
            socket,
            index=self.n_connections - 1,
            path=knock.path,
            headers=knock.headers,
            script=self._audio,
            record=self.requests.append,
            changed=self._listener.notify,
        )

    async def _refusal(self, knock: Knock) -> Refusal | None:
        if self._doorman is not None:
            refusal = await self._doorman(knock)
            if refusal is not None:
                return refusal
        key = knock.headers.get("authorization", "").removeprefix("Bearer ")
        return _NO_KEY if self._keys is not None and key not in self._keys else None

    async def _serve_rest(self, exchange: RestExchange, head: bytes) -> None:
        request = await exchange.receive(head)
        knock = Knock(method=request.method, path=request.path, headers=request.headers)
        refusal = await self._refusal(knock)
        if refusal is not None:
            await exchange.answer(refusal.status, refusal.headers, [refusal.body])
        elif (request.method, request.path) == ("POST", TTS_PATH):
            await self._convert(exchange, request)
        elif (request.method, request.path) == ("GET", CREDIT_PATH) and self._credit is not None:
            await exchange.answer_json(200, {"credit": self._credit})
        else:
            await exchange.answer(_NOT_FOUND.status, {}, [_NOT_FOUND.body])

    async def _convert(self, exchange: RestExchange, request: RestRequest) -> None:
        fields = request.fields()
        text = None if fields is None else fields.get("text")
        if fields is None or not isinstance(text, str):
            message = "the body is no JSON or MessagePack map with a text"
            await exchange.answer_json(400, {"message": message, "status": 400})
            return
        received = ReceivedRequest(
            path=request.path,
            headers=request.headers,
            request=fields,
            messages=[request.body],
            texts=[text],
            is_stopped=True,
        )
        self.requests.append(received)
        self._listener.notify()
        frames = self._audio.frames(self._audio.audio(text, fields))
        await exchange.answer(200, {"Content-Type": "application/octet-stream"}, frames)


def _knock(head: bytes) -> Knock:
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, path, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines)
    return Knock(
        method=method,
        path=path,
        headers={name.lower(): value.strip() for name, _, value in pairs},
    )
