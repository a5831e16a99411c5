"""Asking whether the cloud would speak, without saying anything."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import suppress

import pytest
from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection

from junetts._backend import Health
from junetts._config import CloudSection
from junetts._errors import ConfigError
from junetts.backends._cloud_dial import Dialler
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


@pytest.mark.parametrize("credit", ["NaN", "sNaN", "-Infinity", "1e999999"])
async def test_credit_that_is_no_amount(cloud, credit: str) -> None:
    """Numbers that cannot be money are not told as such."""
    health = await probe(cloud, CloudServer(credit=credit))
    assert (health.status, health.detail) == ("ok", "the key is accepted")


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


async def health_from(answer: bytes, *, is_endless: bool = False) -> Health:
    """What a probe makes of an answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        with suppress(ConnectionError):
            while is_endless:
                writer.write(bytes(4096))
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        section = CloudSection.model_validate({"url": url, "api_keys": ["k"]})
        return await CloudBackend(section).probe()


async def test_answer_that_never_ends() -> None:
    """A bounded part of it is read."""
    health = await health_from(b"HTTP/1.1 200 OK\r\n\r\n", is_endless=True)
    assert health.status == "unavailable"
    assert "exceeds" in health.detail


@pytest.mark.parametrize("body", [b"no gzip", b"[" * 60_000, b"\xff", b"[]"])
async def test_answer_that_makes_no_sense(body: bytes) -> None:
    """Neither a false compression nor a strange body is a crash, nor a cloud to speak with."""
    health = await health_from(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + body)
    assert health.status == "unavailable"
    assert "200" in health.detail


async def test_a_wrong_path(cloud) -> None:
    """Credit alone does not speak: the socket's address is looked at, too, and named if wrong."""

    async def refuse_sockets(knock: Knock) -> Refusal | None:
        return Refusal(status=404, body=b"Not Found") if "live" in knock.path else None

    health = await probe(cloud, CloudServer(doorman=refuse_sockets))
    assert health.status == "unavailable"
    assert health.hint is not None
    assert "cloud.url" in health.hint


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ("socks5://user:canary@127.0.0.1:9", "socksio"),
        ("ftp://user:canary@127.0.0.1:9", "proxy did not connect"),
        ("http://user:canary@127.0.0.1:port", "proxy did not connect"),
    ],
)
async def test_proxy_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, proxy: str, words: str
) -> None:
    """A proxy that the HTTP library does not take is told, not raised."""
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.setitem(sys.modules, "socksio", None)
    section = CloudSection.model_validate({"url": "wss://api.example/", "api_keys": ["k"]})
    health = await CloudBackend(section).probe()
    assert health.status == "unavailable"
    assert words in health.detail
    assert health.hint
    assert "canary" not in repr(health)


async def test_proxy_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy's refusal is told as the proxy's."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        section = CloudSection.model_validate({"url": "wss://api.example/", "api_keys": ["k"]})
        health = await CloudBackend(section).probe()
    assert "proxy did not connect to api.example" in health.detail


async def test_proxy_that_the_handshake_cannot_use(cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that only the handshake trips over are told as well."""

    async def unusable(self: Dialler, key: SecretStr) -> ClientConnection:
        raise ConfigError("no such proxy")

    monkeypatch.setattr(Dialler, "dial", unusable)
    health = await probe(cloud, CloudServer(credit=None))
    assert health.detail == "no such proxy"
