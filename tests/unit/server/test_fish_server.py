"""The loopback server answers as fish-speech 2.0 does; stock clients are the judges."""

from __future__ import annotations

import io
import json
import socket
import threading
import wave

import httpx
import ormsgpack
import pytest

from junetts.testing import FishServer, ServerCall

FORM = "multipart/form-data; boundary=x"


@pytest.fixture
def client():
    """A stock HTTP client of a server in a thread, and the server."""
    with FishServer(voices=["june"]).in_thread() as server, httpx.Client(base_url=server.url) as it:
        it.server = server
        yield it


def test_it_serves_from_a_thread_and_stops() -> None:
    """Blocking clients are served; nothing is left afterwards."""
    before = threading.active_count()
    server = FishServer()
    with server.in_thread():
        assert httpx.get(f"{server.url}/v1/health").json() == {"status": "ok"}
    assert threading.active_count() == before
    with pytest.raises(RuntimeError, match="async with"):
        _ = server.url


@pytest.mark.anyio
async def test_closing_twice_is_closing_once() -> None:
    """`aclose` may be called again."""
    server = FishServer()
    async with server:
        await server.aclose()
    await server.aclose()


def test_streamed_audio_is_raw_under_a_wav_label(client) -> None:
    """The header is missing, as in the real one; the sound is not silence."""
    response = client.post("/v1/tts", json={"text": "Hello.", "streaming": True})
    assert response.headers["content-type"] == "audio/wav"
    assert "content-length" not in response.headers
    assert response.content[:4] != b"RIFF"
    assert any(response.content)


def test_audio_that_is_not_streamed_is_a_file(client) -> None:
    """The same sound, with a correct header of 44 bytes."""
    streamed = client.post("/v1/tts", json={"text": "Hello.", "streaming": True}).content
    file = client.post("/v1/tts", json={"text": "Hello."}).content
    assert file[44:] == streamed
    with wave.open(io.BytesIO(file)) as wav:
        assert wav.getparams()[:4] == (1, 2, 44_100, len(streamed) // 2)


def test_mp3_is_mp3(client) -> None:
    """With its own media type."""
    response = client.post("/v1/tts", json={"text": "Hello.", "format": "mp3"})
    assert response.headers["content-type"] == "audio/mpeg"
    assert response.content[0] == 0xFF


def test_forms_and_msgpack_are_read_too(client) -> None:
    """Whatever client library writes them."""
    recording = {"reference_audio": ("a.wav", b"recording")}
    client.post("/v1/tts", data={"text": "Form.", "streaming": "true"}, files=recording)
    client.post(
        "/v1/tts",
        content=ormsgpack.packb({"text": "Pack."}),
        headers={"Content-Type": "application/msgpack", "Expect": "100-continue"},
    )
    form, pack = client.server.calls
    assert client.server.texts == ["Form.", "Pack."]
    assert form.request.references[0].audio == b"recording"
    assert form.request.streaming
    assert pack.state == "answered"


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"text": "a", "streaming": True, "format": "mp3"}, 400, "Streaming only supports WAV"),
        ({"text": "a", "format": "pcm"}, 500, "Failed"),
        ({"text": "a", "format": "opus"}, 500, "Failed"),
        ({"text": "a", "max_new_tokens": 1}, 500, "Failed"),
        ({"text": "a" * 3000}, 500, "Prompt is too long: 3000 > 2048"),
    ],
)
def test_errors_are_worded_as_the_real_ones(client, body, status, message) -> None:
    """``{statusCode, message, error}``."""
    response = client.post("/v1/tts", json=body)
    answer = response.json()
    assert (response.status_code, answer["statusCode"]) == (status, status)
    assert answer["message"].startswith(message)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": 1},
        {"text": "a", "references": None},
        {"text": "a", "temperature": "0.8"},
        {"text": "a", "top_p": 0.01},
    ],
)
def test_schema_errors_are_a_list(client, body) -> None:
    """With status 422."""
    response = client.post("/v1/tts", json=body)
    assert response.status_code == 422
    assert response.json()[0]["msg"]


@pytest.mark.parametrize(
    ("content_type", "status"),
    [("application/json", 400), ("application/msgpack", 500), ("text/plain", 415), (FORM, 400)],
)
def test_broken_bodies_are_refused(client, content_type, status) -> None:
    """Each content type in its own way."""
    response = client.post("/v1/tts", content=b"\xc1", headers={"Content-Type": content_type})
    assert response.status_code == status
    response = client.post("/v1/references/add", content=b"", headers={"Content-Type": "a/b"})
    assert response.status_code == 400


@pytest.mark.parametrize(
    "body", [{"text": ""}, {"text": "a", "x": 1}, {"text": "a", "chunk_length": 9}]
)
def test_what_the_real_one_lets_pass(client, body) -> None:
    """Empty text, unknown fields, and bounds that it declares but does not enforce."""
    assert client.post("/v1/tts", json=body).status_code == 200


def test_an_unknown_voice_gets_an_empty_directory(client) -> None:
    """And the default voice with status 200; it is not listed."""
    json_please = {"Accept": "application/json"}
    assert client.post("/v1/tts", json={"text": "a", "reference_id": "x"}).status_code == 200
    assert client.server.references["x"] == ()
    listed = client.get("/v1/references/list", headers=json_please).json()
    assert listed["reference_ids"] == ["june"]


def test_a_failure_while_streaming_is_a_connection_that_ends(client) -> None:
    """After status 200, without the last chunk."""
    with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
        client.post("/v1/tts", json={"text": "a" * 3000, "streaming": True})


def test_voices_are_added_renamed_and_deleted(client) -> None:
    """The reference routes answer in msgpack, unless asked for JSON."""

    def add(name: str, audio: bytes = b"recording") -> int:
        form = {"data": {"id": name, "text": "Words."}, "files": {"audio": ("a.wav", audio)}}
        return int(client.post("/v1/references/add", **form).status_code)

    def rename(old: str, new: str) -> int:
        names = {"old_reference_id": old, "new_reference_id": new}
        return int(client.post("/v1/references/update", json=names).status_code)

    def delete(name: object) -> int:
        body = json.dumps({"reference_id": name})
        kind = {"Content-Type": "application/json"}
        url = "/v1/references/delete"
        return int(client.request("DELETE", url, content=body, headers=kind).status_code)

    assert [add("may"), add("may"), add("a/b"), add("new", b"")] == [200, 409, 400, 400]
    assert [rename("may", "april"), rename("may", "x"), rename("april", "june")] == [200, 404, 409]
    assert [delete("june"), delete("june"), delete(1)] == [200, 404, 400]
    response = client.get("/v1/references/list")
    assert response.headers["content-type"] == "application/msgpack"
    assert ormsgpack.unpackb(response.content)["reference_ids"] == ["april"]


def test_other_routes_and_methods(client) -> None:
    """Health may be posted to, but not asked for its head."""
    assert client.post("/v1/health").json() == {"status": "ok"}
    assert client.head("/v1/health").status_code == 405
    assert client.get("/v1/models").status_code == 404
    assert client.server.n_open == 1


def test_a_key_covers_every_route() -> None:
    """Health included."""
    with FishServer(api_key="k").in_thread() as server:
        assert httpx.get(f"{server.url}/v1/health").status_code == 401
        headers = {"Authorization": "Bearer k"}
        assert httpx.get(f"{server.url}/v1/health", headers=headers).status_code == 200


def test_audio_can_depend_on_the_request() -> None:
    """And be cut into chunks of any size."""
    with FishServer(audio=lambda request: request.text.encode(), chunk_bytes=2).in_thread() as it:
        response = httpx.post(f"{it.url}/v1/tts", json={"text": "abcde", "streaming": True})
    assert response.content == b"abcde"


def test_a_client_that_waits_to_be_invited_is_invited(client) -> None:
    """As ``Expect: 100-continue`` asks; a client that then leaves is not answered."""
    head = b"POST /v1/tts HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection(("127.0.0.1", client.server.port)) as raw:
        raw.sendall(head)
        assert raw.recv(100).startswith(b"HTTP/1.1 100 ")
    assert client.get("/v1/health").status_code == 200
    assert [call.path for call in client.server.calls] == ["/v1/health"]


def test_what_is_no_http_is_dropped(client) -> None:
    """A client's nonsense is its own affair."""
    with socket.create_connection(("127.0.0.1", client.server.port)) as raw:
        raw.sendall(b"EHLO\r\n\r\n")
        assert raw.recv(1) == b""


@pytest.mark.anyio
async def test_a_script_may_break_the_protocol() -> None:
    """Two responses to one request are the server's own fault, and end the connection."""

    async def script(call: ServerCall) -> None:
        assert call.request is None  # not to /v1/tts
        await call.answer()
        await call.answer()

    async with FishServer(script=script) as server, httpx.AsyncClient(base_url=server.url) as it:
        assert (await it.get("/v1/health")).status_code == 200
        await server.until(lambda: server.n_open == 0)
