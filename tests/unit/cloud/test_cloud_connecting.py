"""Connections that do not come about: what is raised, and what a person is told to do."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator

import pytest
import trustme

from junetts._backend import BackendAudio
from junetts._config import CloudSection
from junetts._errors import (
    AuthenticationError,
    BackendBusyError,
    BackendTimeoutError,
    BackendUnavailableError,
    QuotaError,
    RateLimitedError,
    RemoteProtocolError,
)
from junetts._utterance import Segment, Utterance
from junetts.backends.cloud import CloudBackend
from junetts.testing import CloudServer, Knock, Refusal

pytestmark = pytest.mark.anyio


async def segments_of_one() -> AsyncIterator[Segment]:
    """A sentence."""
    yield Segment(index=0, text="Hello.")


def doorman_with(refusal: Refusal):
    """A doorman who refuses everybody."""

    async def doorman(knock: Knock) -> Refusal:
        return refusal

    return doorman


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (401, AuthenticationError, False),
        (402, QuotaError, False),
        (403, AuthenticationError, False),
        (429, RateLimitedError, True),
        (503, BackendBusyError, True),
        (500, BackendUnavailableError, True),
        (302, BackendUnavailableError, True),
    ],
)
async def test_refused_upgrade(
    cloud, status: int, kind: type[BackendUnavailableError], retryable: bool, failure_of
) -> None:
    """A refused handshake tells the status, the server's words, its trace id and when to return."""
    refusal = Refusal(
        status=status,
        body=b'{"message":"not like this","status":0}',
        headers={"x-fish-trace-id": "T1", "Retry-After": "7", "Location": "ws://127.0.0.1:1/"},
    )
    async with cloud(CloudServer(doorman=doorman_with(refusal))) as c:
        error = await failure_of(c.backend)
    assert type(error) is kind
    assert error.retryable is retryable
    assert (error.backend, error.status, error.trace_id) == ("cloud", status, "T1")
    assert error.retry_after_s == 7.0
    assert "not like this" in str(error)


async def test_wrong_key(cloud, failure_of) -> None:
    """A wrong key says what to set."""
    async with cloud(api_keys=["wrong"]) as c:
        error = await failure_of(c.backend)
    assert isinstance(error, AuthenticationError)
    assert "Invalid Token" in str(error)
    assert "FISH_API_KEY" in (error.hint or "")


async def test_no_key(cloud, failure_of) -> None:
    """Without a key nothing is dialled, and the hint says what to set."""
    async with cloud(api_keys=[]) as c:
        error = await failure_of(c.backend)
        assert c.server.n_connections == 0
    assert isinstance(error, AuthenticationError)
    assert "FISH_API_KEY" in (error.hint or "")


@pytest.mark.parametrize("status", [401, 402, 429])
async def test_next_key_is_tried(cloud, status: int) -> None:
    """A refused key makes room for the next, which is then used first."""
    knocks: list[str] = []

    async def doorman(knock: Knock) -> Refusal | None:
        knocks.append(knock.headers["authorization"])
        return None if knock.headers["authorization"] == "Bearer b" else Refusal(status=status)

    async with cloud(CloudServer(doorman=doorman), api_keys=["a", "b"]) as c:
        await c.speak("One.", "Two.")
    assert knocks == ["Bearer a", "Bearer b", "Bearer b"]


async def test_all_keys_refused(cloud, failure_of) -> None:
    """With every key refused, the refusal that may pass is the one to tell; all are tried again."""

    async def doorman(knock: Knock) -> Refusal | None:
        return Refusal(status=429 if knock.headers["authorization"].endswith("a") else 402)

    async with cloud(CloudServer(doorman=doorman), api_keys=["a", "b"]) as c:
        assert isinstance(await failure_of(c.backend), RateLimitedError)
        assert isinstance(await failure_of(c.backend), RateLimitedError)


async def test_no_websocket_server(failure_of) -> None:
    """Something else that listens there is told as a failed handshake."""
    received = await asyncio.start_server(_plain_server, "127.0.0.1", 0)
    async with received:
        port = received.sockets[0].getsockname()[1]
        backend = backend_for(f"ws://127.0.0.1:{port}/v1/tts/live")
        error = await failure_of(backend)
        await backend.aclose()
    assert isinstance(error, RemoteProtocolError)
    assert "handshake" in str(error)
    assert not error.retryable


async def _plain_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Something that is no HTTP server."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"220 mail.example ESMTP\r\n")
    writer.close()
    await writer.wait_closed()


def backend_for(url: str, **settings: object) -> CloudBackend:
    """A backend for some address."""
    return CloudBackend(CloudSection.model_validate({"url": url, "api_keys": ["k"], **settings}))


async def test_connection_refused(failure_of) -> None:
    """Nobody listening is told with the address and what to check."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        error = await failure_of(backend_for(f"ws://127.0.0.1:{port}/"))
    assert type(error) is BackendUnavailableError
    assert f"127.0.0.1:{port} refused the connection" in str(error)
    assert error.hint is not None
    assert error.retryable


async def test_unknown_host(monkeypatch: pytest.MonkeyPatch, failure_of) -> None:
    """A name that cannot be resolved is told as that."""

    async def no_address(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", no_address)
    error = await failure_of(backend_for("ws://nowhere.invalid/"))
    assert "nowhere.invalid cannot be resolved" in str(error)


async def test_connect_timeout(cloud, failure_of) -> None:
    """A server that accepts and says nothing is given up after the configured time."""

    async def doorman(knock: Knock) -> None:
        await asyncio.Event().wait()

    async with cloud(CloudServer(doorman=doorman), connect_timeout_s=0.05) as c:
        error = await failure_of(c.backend)
    assert isinstance(error, BackendTimeoutError)
    assert "within 0.05 s" in str(error)
    assert "connect_timeout_s" in (error.hint or "")


async def test_tls(failure_of) -> None:
    """A certificate that is not trusted is told as that; a trusted one is spoken over."""
    authority = trustme.CA()
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server_tls)
    client_tls = ssl.create_default_context()
    authority.configure_trust(client_tls)
    async with CloudServer(tls=server_tls) as server:
        stranger = backend_for(server.url)
        error = await failure_of(stranger)
        assert "certificate of 127.0.0.1" in str(error)
        assert not error.retryable
        assert "SSL_CERT_FILE" in (error.hint or "")
        assert (await stranger.probe()).hint == error.hint
        section = CloudSection.model_validate({"url": server.url, "api_keys": ["k"]})
        friend = CloudBackend(section, tls=client_tls)
        async with friend.speak(Utterance(), segments_of_one()) as audio:
            items: list[BackendAudio] = [item async for item in audio]
        assert items[-1].end == "complete"
        assert (await friend.probe()).status == "ok"
        await friend.aclose()


async def test_tls_to_a_plain_server(failure_of) -> None:
    """wss:// to a server without TLS says which of the two is wrong."""

    async def complain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(complain, "127.0.0.1", 0) as plain:
        port = plain.sockets[0].getsockname()[1]
        error = await failure_of(backend_for(f"wss://127.0.0.1:{port}/"))
    assert "TLS" in str(error)
    assert "ws://" in (error.hint or "")


async def test_loopback_ignores_proxies(cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy cannot reach this machine for us, so it is not asked."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "ws_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    async with cloud() as c:
        assert (await c.speak("Hi."))[-1].end == "complete"
        assert (await c.backend.probe()).status == "ok"


async def test_proxy_that_fails(monkeypatch: pytest.MonkeyPatch, failure_of) -> None:
    """A failing proxy is named as such, its password not."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        monkeypatch.setenv("https_proxy", f"http://user:canary@127.0.0.1:{port}")
        error = await failure_of(backend_for("wss://api.example/v1/tts/live"))
    assert "proxy did not connect" in str(error)
    assert "NO_PROXY" in (error.hint or "")
    assert "canary" not in repr(error) + str(error)
