"""Connections come back, wherever a request was cancelled."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from junetts import TTS
from junetts._config import ServerSection
from junetts.backends._server_client import RenewedClient
from junetts.backends.server import ServerBackend
from junetts.testing import FishServer

pytestmark = pytest.mark.anyio
TEXT = "This is the first sentence. And one more sentence here."


async def test_barge_in_at_any_moment_leaves_no_connection_behind() -> None:
    """Also between connecting and sending, where httpx's pool would keep it for good."""
    async with FishServer(chunk_bytes=4000) as server:
        backend = ServerBackend(ServerSection.model_validate({"url": server.url}))
        async with TTS({"backends": [backend]}) as tts:
            for n in range(120):
                stream = tts.stream(TEXT)
                for _ in range(6 + n % 12):
                    await asyncio.sleep(0)
                await stream.aclose()
            await server.until(lambda: server.n_open <= 1)
            assert (await tts.synthesize("Hello.")).report.outcome == "complete"
        await server.until(lambda: server.n_open == 0)


def built(clients: list[httpx.AsyncClient], transport: httpx.AsyncBaseTransport) -> RenewedClient:
    """A client that keeps book of those it makes."""

    def build() -> httpx.AsyncClient:
        clients.append(httpx.AsyncClient(base_url="http://127.0.0.1", transport=transport))
        return clients[-1]

    return RenewedClient(build)


async def get(client: RenewedClient, path: str) -> int:
    """The status of an answer."""
    async with client.stream("GET", path, headers={}) as response:
        return response.status_code


async def test_the_former_client_is_closed_with_its_last_request() -> None:
    """What is under way in it goes on."""
    go = asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path != "/quick":
            await go.wait()
        return httpx.Response(200)

    clients: list[httpx.AsyncClient] = []
    client = built(clients, httpx.MockTransport(answer))
    slow, doomed = (asyncio.create_task(get(client, path)) for path in ("/slow", "/doomed"))
    await asyncio.sleep(0)
    doomed.cancel()
    await asyncio.wait([doomed])
    assert await get(client, "/quick") == 200
    first, second = clients
    assert (first.is_closed, second.is_closed) == (False, False)
    go.set()
    assert await slow == 200
    assert (first.is_closed, second.is_closed, client.is_closed) == (True, False, False)
    await client.aclose()
    assert second.is_closed
    assert client.is_closed


async def test_a_request_that_fails_keeps_its_client() -> None:
    """Only cancellation leaves connections behind."""

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no", request=request)

    clients: list[httpx.AsyncClient] = []
    client = built(clients, httpx.MockTransport(refuse))
    with pytest.raises(httpx.ConnectError):
        await get(client, "/")
    assert len(clients) == 1
    await client.aclose()


async def test_after_closing_nothing_is_built() -> None:
    """A request that is cancelled by closing does not renew the client."""
    never = asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        await never.wait()
        raise AssertionError

    clients: list[httpx.AsyncClient] = []
    client = built(clients, httpx.MockTransport(answer))
    task = asyncio.create_task(get(client, "/"))
    await asyncio.sleep(0)
    await client.aclose()
    task.cancel()
    await asyncio.wait([task])
    assert len(clients) == 1
    assert clients[0].is_closed
