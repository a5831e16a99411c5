"""The official SDK as a client of our loopback cloud, unmodified."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fishaudio import FlushEvent
from fishaudio.exceptions import AuthenticationError, WebSocketError
from httpx_ws import WebSocketUpgradeError
from official_sdk import KEY, async_sdk, sdk, texts

from junetts.testing import CloudServer, CloudSession

pytestmark = pytest.mark.anyio

PCM = bytes(range(1, 251)) * 100  # seven frames, the last one short
FRAGMENTS = ["Hello ", "there. ", "How are you?"]


async def test_the_async_socket() -> None:
    """It delivers the scripted bytes, and its text arrives fragment by fragment."""
    async with CloudServer(keys={KEY}, audio=PCM) as server, async_sdk(server) as client:
        heard = [
            chunk
            async for chunk in client.tts.stream_websocket(
                texts(*FRAGMENTS), format="pcm", model="s2-pro"
            )
        ]
    (request,) = server.requests
    assert b"".join(heard) == PCM
    assert len(heard) == 7
    assert (request.texts, request.n_flushes, request.is_stopped) == (FRAGMENTS, 0, True)
    assert request.headers["model"] == "s2-pro"


def test_the_blocking_socket() -> None:
    """It delivers the scripted bytes, those of the flushed text first."""
    server = CloudServer(keys={KEY}, audio=lambda text, _: text.encode() * 1000)
    fragments = ["Hello ", FlushEvent(), "there."]
    with server.in_thread(), sdk(server) as client:
        heard = b"".join(client.tts.stream_websocket(iter(fragments), format="pcm", model="s1"))
    (request,) = server.requests
    assert heard == b"Hello " * 1000 + b"there." * 1000
    assert (request.texts, request.n_flushes) == (["Hello ", "there."], 1)
    assert request.headers["model"] == "s1"


async def test_async_conversion() -> None:
    """`convert` and `stream` deliver the scripted bytes over REST."""
    async with CloudServer(keys={KEY}, audio=PCM) as server, async_sdk(server) as client:
        assert await client.tts.convert(text="Hi.", format="pcm") == PCM
        stream = await client.tts.stream(text="Hi.", format="pcm")
        assert await stream.collect() == PCM
    assert [request.text for request in server.requests] == ["Hi.", "Hi."]
    assert server.n_connections == 0


def test_blocking_conversion() -> None:
    """`convert` and `stream` deliver the scripted bytes over REST."""
    server = CloudServer(keys={KEY}, audio=PCM)
    with server.in_thread(), sdk(server) as client:
        assert client.tts.convert(text="Hi.", format="pcm") == PCM
        assert client.tts.stream(text="Hi.", format="pcm").collect() == PCM
    assert [request.text for request in server.requests] == ["Hi.", "Hi."]


async def test_a_wrong_key_over_rest() -> None:
    """Its own error comes, with the status and the server's words."""
    async with CloudServer(keys={KEY}) as server, async_sdk(server, "wrong") as client:
        with pytest.raises(AuthenticationError, match="Invalid Token") as caught:
            await client.tts.convert(text="Hi.", format="pcm")
    assert caught.value.status == 401
    assert server.requests == []


async def test_a_wrong_key_at_the_async_socket() -> None:
    """The refused handshake arrives as the WebSocket library's error, with its status."""
    async with CloudServer(keys={KEY}) as server, async_sdk(server, "wrong") as client:
        with pytest.raises(WebSocketUpgradeError) as caught:
            await anext(client.tts.stream_websocket(texts("Hi."), format="pcm"))
    assert caught.value.response.status_code == 401
    assert server.requests == []


def test_a_wrong_key_at_the_blocking_socket() -> None:
    """The refused handshake arrives as the WebSocket library's error, with its status."""
    with CloudServer(keys={KEY}).in_thread() as server, sdk(server, "wrong") as client:
        with pytest.raises(WebSocketUpgradeError) as caught:
            next(client.tts.stream_websocket(iter(["Hi."]), format="pcm"))
        assert caught.value.response.status_code == 401


async def broken(session: CloudSession) -> None:
    """Say something, then fail."""
    await session.receive_request()
    await session.send_audio(PCM)
    await session.finish("error", message="out of memory")


async def test_a_failure_at_the_async_socket() -> None:
    """The SDK's own error comes after the audio, in a group."""
    async with CloudServer(script=broken) as server, async_sdk(server) as client:
        stream = client.tts.stream_websocket(texts("Hi."), format="pcm")
        assert await anext(stream) == PCM
        with pytest.raises((WebSocketError, ExceptionGroup)) as caught:
            await anext(stream)
    assert [type(cause) for cause in causes(caught.value)] == [WebSocketError]


def test_a_failure_at_the_blocking_socket() -> None:
    """The SDK's own error comes after the audio."""
    with CloudServer(script=broken).in_thread() as server, sdk(server) as client:
        stream = client.tts.stream_websocket(iter(["Hi."]), format="pcm")
        assert next(stream) == PCM
        with pytest.raises(WebSocketError, match="ended with error"):
            next(stream)


def causes(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group, or the one that is none."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from causes(one)
    else:
        yield error
