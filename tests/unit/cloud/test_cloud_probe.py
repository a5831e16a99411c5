"""Asking whether the cloud would speak, without saying anything."""

from __future__ import annotations

import asyncio
import socket

import pytest

from junetts._backend import Health
from junetts._config import CloudSection
from junetts.backends.cloud import CloudBackend
from junetts.testing import CloudServer, Knock, Refusal

pytestmark = pytest.mark.anyio


async def probe(cloud, server: CloudServer, **settings: object) -> Health:
    """What a probe of a server finds; it never opens a session."""
    async with cloud(server, **settings) as c:
        health = await c.backend.probe()
        assert c.server.requests == []
        return health


async def test_credit(cloud) -> None:
    """A key with credit is fine, and the credit is told."""
    health = await probe(cloud, CloudServer(credit="3.5"))
    assert health.status == "ok"
    assert "3.50 USD" in health.detail


async def test_no_credit(cloud) -> None:
    """Without credit a paid model cannot speak, and a free one can."""
    health = await probe(cloud, CloudServer(credit="0"))
    assert health.status == "unavailable"
    assert "top up" in (health.hint or "")
    assert (await probe(cloud, CloudServer(credit="0"), model="s2.1-pro-free")).status == "ok"


async def test_strange_credit(cloud) -> None:
    """An answer in another shape still means that the key was accepted."""
    assert (await probe(cloud, CloudServer(credit="a lot"))).status == "ok"


async def test_refused_key(cloud) -> None:
    """A refused key says what to set."""
    health = await probe(cloud, CloudServer(keys={"other"}))
    assert health.status == "unavailable"
    assert "Invalid Token" in health.detail
    assert "FISH_API_KEY" in (health.hint or "")


async def test_no_key(cloud) -> None:
    """Without a key nothing is asked."""
    health = await probe(cloud, CloudServer(), api_keys=[])
    assert health.status == "unavailable"
    assert "FISH_API_KEY" in (health.hint or "")


async def test_one_good_key_is_enough(cloud) -> None:
    """A second key that is accepted makes the backend usable."""
    assert (await probe(cloud, CloudServer(keys={"b"}), api_keys=["a", "b"])).status == "ok"


@pytest.mark.parametrize(
    ("status", "expected"), [(429, "busy"), (503, "busy"), (500, "unavailable")]
)
async def test_other_answers(cloud, status: int, expected: str) -> None:
    """Overload is not absence."""

    async def doorman(knock: Knock) -> Refusal:
        return Refusal(status=status)

    assert (await probe(cloud, CloudServer(doorman=doorman))).status == expected


async def test_without_the_route(cloud) -> None:
    """Where there is no such route, a handshake tells as much, and its socket is kept."""
    async with cloud(CloudServer(credit=None)) as c:
        assert (await c.backend.probe()).status == "ok"
        await c.speak("Hi.")
        assert c.server.n_connections == 1


async def test_without_the_route_and_without_the_socket(cloud) -> None:
    """A handshake that is refused in turn says why."""

    async def doorman(knock: Knock) -> Refusal | None:
        return Refusal(status=503) if "upgrade" in knock.headers else None

    assert (await probe(cloud, CloudServer(credit=None, doorman=doorman))).status == "busy"


async def test_slow_answer(cloud) -> None:
    """No answer in time is told with the setting that governs it."""

    async def doorman(knock: Knock) -> None:
        await asyncio.Event().wait()

    health = await probe(cloud, CloudServer(doorman=doorman), connect_timeout_s=0.05)
    assert health.status == "unavailable"
    assert "within 0.05 s" in health.detail


async def test_nobody_there() -> None:
    """A refused connection is told with the address."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{unused.getsockname()[1]}/"
        section = CloudSection.model_validate({"url": url, "api_keys": ["k"]})
        health = await CloudBackend(section).probe()
    assert health.status == "unavailable"
    assert "refused the connection" in health.detail
    assert health.hint


async def test_answer_that_breaks_off() -> None:
    """A server that hangs up instead of answering is unavailable, not a crash."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        section = CloudSection.model_validate({"url": url, "api_keys": ["k"]})
        health = await CloudBackend(section).probe()
    assert health.status == "unavailable"
    assert "disconnected" in health.detail
