"""The few REST routes of the Fish Audio cloud that the loopback server answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import h11
import ormsgpack

READ_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class RestRequest:
    """One request, its body decoded if it is JSON or MessagePack."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def fields(self) -> dict[str, object] | None:
        """The body as a map, or None if it is none."""
        is_msgpack = "msgpack" in self.headers.get("content-type", "")
        try:
            value = ormsgpack.unpackb(self.body) if is_msgpack else json.loads(self.body)
        except ValueError:
            return None
        return value if isinstance(value, dict) else None


class RestExchange:
    """One HTTP/1.1 request and its answer; the connection closes after it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER)

    async def receive(self, head: bytes) -> RestRequest:
        """The request that ``head`` begins, with its body."""
        self._http.receive_data(head)
        request: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(READ_BYTES))
            elif isinstance(event, h11.Request):
                request = event
                await self._invite_body()
            elif isinstance(event, h11.Data):
                body += event.data
            elif request is None:
                raise ConnectionError("the client left before its request was complete")
            else:
                return _rest_request(request, bytes(body))

    async def answer(
        self, status: int, headers: Mapping[str, str], chunks: Iterable[bytes]
    ) -> None:
        """Send a response of unknown length, chunk by chunk."""
        fields = [*headers.items(), ("Connection", "close"), ("Transfer-Encoding", "chunked")]
        await self._send(h11.Response(status_code=status, headers=fields))
        for chunk in chunks:
            await self._send(h11.Data(data=chunk))
        await self._send(h11.EndOfMessage())

    async def answer_json(self, status: int, value: object) -> None:
        """Send a JSON response."""
        body = json.dumps(value).encode()
        await self.answer(status, {"Content-Type": "application/json"}, [body])

    async def _invite_body(self) -> None:
        if self._http.they_are_waiting_for_100_continue:
            await self._send(h11.InformationalResponse(status_code=100, headers=[]))

    async def _send(self, event: h11.Event) -> None:
        self._writer.write(self._http.send(event) or b"")
        await self._writer.drain()


def _rest_request(request: h11.Request, body: bytes) -> RestRequest:
    return RestRequest(
        method=request.method.decode(),
        path=request.target.decode(),
        headers={name.decode().lower(): value.decode() for name, value in request.headers},
        body=body,
    )
