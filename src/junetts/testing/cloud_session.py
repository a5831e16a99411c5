"""One client's socket on the loopback cloud server, as a script sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from junetts._fishwire.codec import decode, encode
from junetts._fishwire.events import (
    Audio,
    Error,
    Event,
    Finish,
    Flush,
    Start,
    Stop,
    Text,
)
from junetts.testing._cloud_audio import AudioScript
from junetts.testing._web_socket import WebSocket

AfterFinish = Literal["reuse", "close", "drop"]

WITH_TIMESTAMP = "/with-timestamp"


@dataclass(slots=True, kw_only=True)
class ReceivedRequest:
    """What a client asked for, as far as it has arrived.

    Attributes:
        path: of the URL.
        headers: of the handshake or request, names in lower case.
        request: the start event's request, or the REST body.
        messages: the socket's binary frames or the REST body, byte for byte.
        texts: the text events' fragments, as they came.
        n_flushes: how often it asked to speak at once.
        is_stopped: whether it said that no more text comes.
    """

    path: str
    headers: Mapping[str, str]
    request: Mapping[str, object]
    messages: list[bytes] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    n_flushes: int = 0
    is_stopped: bool = False

    @property
    def text(self) -> str:
        """All text so far."""
        return "".join(self.texts)


class CloudSession:
    """What a script can do with one connection.

    A script is an async function of this; it runs once per connection, after the handshake,
    and the socket is closed when it returns. `answer` behaves as the cloud does.

    Attributes:
        index: how many connections came before.
        path: of the URL.
        headers: of the handshake, names in lower case.
    """

    def __init__(
        self,
        socket: WebSocket,
        *,
        index: int,
        path: str,
        headers: Mapping[str, str],
        script: AudioScript,
        record: Callable[[ReceivedRequest], None],
        changed: Callable[[], None],
    ) -> None:
        self.index = index
        self.path = path
        self.headers = headers
        self._socket = socket
        self._script = script
        self._record = record
        self._changed = changed
        self._current: ReceivedRequest | None = None

    @property
    def trace_id(self) -> str:
        """What the handshake's response calls this connection."""
        return f"trace-{self.index}"

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        return await self.receive()

    async def receive(self) -> Event:
        """The client's next event, recorded; text frames are ignored."""
        while isinstance(message := await self._socket.receive(), str):
            pass
        event = decode(message)
        self._note(event)
        self._request().messages.append(message)
        self._changed()
        return event

    async def receive_request(self) -> ReceivedRequest:
        """Receive up to and including the next ``stop``."""
        while not isinstance(await self.receive(), Stop):
            pass
        return self._request()

    async def send(self, event: Event) -> None:
        """Send an event."""
        await self._socket.send(encode(event))

    async def send_audio(self, audio: bytes) -> None:
        """Send bytes of speech."""
        await self.send(Audio(audio=audio))

    async def finish(self, reason: str = "stop", *, message: str | None = None) -> None:
        """End the session; any reason but ``stop`` is failure."""
        await self.send(Finish(reason=reason, message=message))

    async def fail(self, error: str, *, max_concurrency: int | None = None) -> None:
        """Refuse or break off the request with an ``error`` event."""
        await self.send(Error(error=error, max_concurrency=max_concurrency))

    async def send_message(self, message: bytes | str) -> None:
        """Send a binary or text frame as it is."""
        await self._socket.send(message)

    async def send_raw(self, data: bytes) -> None:
        """Write bytes past the WebSocket protocol."""
        await self._socket.send_raw(data)

    async def speak(self, text: str) -> None:
        """Send the scripted audio for a text, with word times on the path that has them."""
        for event in self.audio_of(text):
            await self.send_paced(event)

    def audio_of(self, text: str) -> list[Audio]:
        """The audio events for a text, as scripted."""
        frames = self._script.frames(self._script.audio(text, self._request().request))
        n = len(frames)
        events = [self._audio(frame, text, heard=i / n) for i, frame in enumerate(frames)]
        if self.path.endswith(WITH_TIMESTAMP):  # the last correction comes without audio
            events.append(self._audio(b"", text, heard=1.0))
        return events

    async def send_paced(self, event: Audio) -> None:
        """Send an audio event when it is time for it."""
        if event.audio and self._script.pace is not None:
            await self._script.pace()
        await self.send(event)

    async def answer(self, *, after_finish: AfterFinish = "reuse") -> None:
        """Behave as the cloud does until the client leaves, or hangs up after ``finish``."""
        while True:
            await self._answer_one()
            if after_finish == "close":
                return
            if after_finish == "drop":
                await self.drop()
                return

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close with a close frame."""
        await self._socket.close(code, reason)

    async def drop(self) -> None:
        """Close without a close frame, after what was sent."""
        await self._socket.drop()

    def abort(self) -> None:
        """Reset the connection."""
        self._socket.abort()

    async def vanish(self) -> None:
        """Neither read nor write any more, nor say so; never returns."""
        await self._socket.vanish()

    async def receive_portion(self) -> tuple[str, bool]:
        """Text that is to be spoken now, and whether it is the session's last."""
        unspoken = ""
        async for event in self:
            if isinstance(event, Text):
                unspoken += event.text
            if isinstance(event, (Flush, Stop)) or len(unspoken) >= self._chunk_length():
                return unspoken, isinstance(event, Stop)
        raise AssertionError("a session's events have no end but the client's leaving")

    async def _answer_one(self) -> None:
        is_last = False
        while not is_last:
            text, is_last = await self.receive_portion()
            await self.speak(text)
        await self.finish()

    def _audio(self, frame: bytes, text: str, *, heard: float) -> Audio:
        if not self.path.endswith(WITH_TIMESTAMP):
            return Audio(audio=frame)
        return Audio(
            audio=frame,
            content=text,
            alignment=self._script.alignment(text, heard=heard),
            chunk_seq=0,
            chunk_audio_offset_s=0.0,
        )

    def _chunk_length(self) -> int:
        length = self._request().request.get("chunk_length")
        return length if isinstance(length, int) else 300

    def _request(self) -> ReceivedRequest:
        if self._current is None:
            self._current = ReceivedRequest(path=self.path, headers=self.headers, request={})
        return self._current

    def _note(self, event: Event) -> None:
        if isinstance(event, Start):
            self._current = ReceivedRequest(
                path=self.path, headers=self.headers, request=event.request
            )
            self._record(self._current)
        elif isinstance(event, Text):
            self._request().texts.append(event.text)
        elif isinstance(event, Flush):
            self._request().n_flushes += 1
        elif isinstance(event, Stop):
            self._request().is_stopped = True
