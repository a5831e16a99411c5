"""The loopback server itself: what users' tests can rely on."""

from __future__ import annotations

import asyncio
import io
import wave

import httpx
import ormsgpack
import pytest
import soundfile
from websockets.sync.client import connect

from junetts.testing import CloudServer, Knock, Refusal


def start(**request: object) -> bytes:
    """A start event as any client may write it."""
    return ormsgpack.packb({"event": "start", "request": {"text": "", **request}})


def text(fragment: str) -> bytes:
    """A text event."""
    return ormsgpack.packb({"event": "text", "text": fragment})


FLUSH = ormsgpack.packb({"event": "flush"})
STOP = ormsgpack.packb({"event": "stop"})


def test_from_a_blocking_client() -> None:
    """In a thread of its own it serves scripts that know no event loop."""
    with CloudServer(frame_bytes=1000).in_thread() as server, connect(server.url) as socket:
        for message in (start(format="pcm"), text("Hel"), text("lo. "), FLUSH, text("Bye."), STOP):
            socket.send(message)
        events = []
        while not events or events[-1]["event"] != "finish":
            events.append(ormsgpack.unpackb(socket.recv()))
        (received,) = server.requests
    assert events[-1] == {"event": "finish", "reason": "stop"}
    audio = b"".join(event.get("audio", b"") for event in events)
    assert len(audio) == 2 * 44_100 * 10 // 20
    assert (received.texts, received.text) == (["Hel", "lo. ", "Bye."], "Hello. Bye.")
    assert (received.n_flushes, received.is_stopped) == (1, True)


def test_long_text_is_spoken_before_it_ends() -> None:
    """Audio begins when the buffer reaches `chunk_length`, as in the cloud."""
    server = CloudServer(frame_bytes=1_000_000)
    with server.in_thread(), connect(server.url) as socket:
        socket.send(start(format="pcm", chunk_length=100))
        socket.send(text("a" * 99))
        socket.send(text("b"))
        assert ormsgpack.unpackb(socket.recv())["event"] == "audio"


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_convert(encoding: str) -> None:
    """The REST route takes both encodings and answers in chunks."""
    fields = {"text": "Hello there.", "format": "wav", "sample_rate": 16_000}
    body: dict[str, object] = {"json": fields}
    if encoding == "msgpack":
        content_type = {"Content-Type": "application/msgpack"}
        body = {"content": ormsgpack.packb(fields), "headers": content_type}
    with CloudServer().in_thread() as server:
        answer = httpx.post(f"{server.http_url}/v1/tts", **body, trust_env=False)  # type: ignore[arg-type]
        (received,) = server.requests
    assert answer.headers["transfer-encoding"] == "chunked"
    with wave.open(io.BytesIO(answer.content)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
    assert received.request == fields
    assert received.text == "Hello there."


@pytest.mark.parametrize("container", ["mp3", "opus"])
def test_compressed_audio(container: str) -> None:
    """Compressed formats are real files of the text's length."""
    with CloudServer().in_thread() as server:
        fields = {"text": "Hello there, June.", "format": container}
        answer = httpx.post(f"{server.http_url}/v1/tts", json=fields, trust_env=False)
    samples, rate = soundfile.read(io.BytesIO(answer.content))
    assert rate == {"mp3": 44_100, "opus": 48_000}[container]
    assert len(samples) / rate == pytest.approx(0.9, abs=0.15)


@pytest.mark.parametrize("content", [b"not json", b"[]", b'{"text": 5}'])
def test_convert_refuses_nonsense(content: bytes) -> None:
    """A body without text is answered with 400."""
    with CloudServer().in_thread() as server:
        answer = httpx.post(f"{server.http_url}/v1/tts", content=content, trust_env=False)
    assert answer.status_code == 400


def test_body_after_an_invitation() -> None:
    """A client that waits for `100 Continue` is invited."""
    with CloudServer().in_thread() as server:
        answer = httpx.post(
            f"{server.http_url}/v1/tts",
            json={"text": "Hi.", "format": "pcm"},
            headers={"Expect": "100-continue"},
            trust_env=False,
        )
    assert answer.status_code == 200


def test_keys_and_routes() -> None:
    """Keys are checked everywhere, and unknown routes are not found."""
    key = {"Authorization": "Bearer k"}
    with CloudServer(keys={"k"}).in_thread() as server:
        url = server.http_url
        credit = f"{url}/wallet/self/api-credit"
        assert httpx.get(credit, trust_env=False).status_code == 401
        assert httpx.get(credit, headers=key, trust_env=False).json() == {"credit": "12.50"}
        assert httpx.get(f"{url}/nothing", headers=key, trust_env=False).status_code == 404
        with pytest.raises(Exception, match="404"):
            connect(f"ws://127.0.0.1:{server.port}/nothing", additional_headers=key)


def test_scripted_audio_and_doorman() -> None:
    """Audio may be given, and every request may be refused."""
    knocks: list[Knock] = []

    async def doorman(knock: Knock) -> Refusal | None:
        knocks.append(knock)
        return Refusal(status=418, body=b"tea") if len(knocks) > 1 else None

    with CloudServer(audio=b"abc", doorman=doorman).in_thread() as server:
        url = f"{server.http_url}/v1/tts"
        assert httpx.post(url, json={"text": "x"}, trust_env=False).content == b"abc"
        assert httpx.post(url, json={"text": "x"}, trust_env=False).status_code == 418
    assert [(knock.method, knock.path) for knock in knocks] == [("POST", "/v1/tts")] * 2


@pytest.mark.anyio
async def test_rough_clients() -> None:
    """Clients that leave in the middle of a request leave nothing behind."""
    async with CloudServer() as server:
        for head in (
            b"",
            b"GET / HT",
            b"POST /v1/tts HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(head)
            writer.write_eof()
            await reader.read()
            writer.close()
            await writer.wait_closed()
        assert server.requests == []


@pytest.mark.anyio
async def test_closing() -> None:
    """Closing may be repeated; a server that is not running has no address."""
    server = CloudServer()
    await server.aclose()
    async with server:
        assert server.url == f"ws://127.0.0.1:{server.port}/v1/tts/live"
    await server.aclose()
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.url
