"""What fish-speech 0.1.0 really sends: the facts that the server backend is built on."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import httpx
import numpy as np
import ormsgpack
import pytest
from recording_proxy import recording_proxy
from sounds import pcm_of, sine_wav

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fish_server import FishServer

pytestmark = pytest.mark.timeout(180)  # the first test also waits for the server to start

FRAME_BYTES = 2048 * 2
SPOKEN = {"text": "Hello there, how are you?", "seed": 7}
TOO_LONG = {"text": "word " * 3000}


@pytest.fixture
def http(fish_server: FishServer) -> Iterator[httpx.Client]:
    """Return a client that knows the address and the key."""
    with httpx.Client(
        base_url=fish_server.url, headers=fish_server.headers, timeout=60, trust_env=False
    ) as client:
        yield client


def tts(http: httpx.Client, **fields: object) -> httpx.Response:
    """Ask for speech with a JSON body."""
    return http.post("/v1/tts", json=fields)


async def read_into(buffer: bytearray, response: httpx.Response) -> None:
    """Read the body piece by piece, so that what came before an error is kept."""
    async for piece in response.aiter_raw():
        buffer += piece


def test_a_stream_is_raw_samples(http: httpx.Client) -> None:
    """The content type of a stream says WAV, but no header comes: whole frames of s16le do."""
    response = tts(http, streaming=True, **SPOKEN)
    assert response.status_code == 200
    assert response.headers["content-type"] == "audio/wav"
    assert response.headers["transfer-encoding"] == "chunked"
    assert not response.content.startswith(b"RIFF")
    assert len(response.content) > 0
    assert len(response.content) % FRAME_BYTES == 0


def test_a_whole_answer_is_a_wav_file(http: httpx.Client) -> None:
    """Without streaming a correct WAV of the same speech comes, rounded differently at most."""
    response = tts(http, **SPOKEN)
    assert response.headers["content-type"] == "audio/wav"
    assert "content-length" not in response.headers
    samples = np.frombuffer(pcm_of(response.content), "<i2")
    assert len(response.content) == 44 + 2 * len(samples)
    streamed = np.frombuffer(tts(http, streaming=True, **SPOKEN).content, "<i2")
    np.testing.assert_allclose(samples, streamed, atol=1)


def test_a_seed_repeats_every_byte(http: httpx.Client) -> None:
    """The same seed gives the same bytes, another seed gives others."""
    first, again, other = (tts(http, streaming=True, text="Hi.", seed=n).content for n in (1, 1, 2))
    assert first == again
    assert first != other


def test_msgpack_is_understood(http: httpx.Client) -> None:
    """A msgpack body, in which a reference clip stays binary, is as good as JSON."""
    clip = {"audio": sine_wav(), "text": "A tone."}
    response = http.post(
        "/v1/tts",
        content=ormsgpack.packb({"references": [clip], "use_memory_cache": "on", **SPOKEN}),
        headers={"content-type": "application/msgpack"},
    )
    assert response.status_code == 200
    assert len(pcm_of(response.content)) > 0


def test_a_cached_recording_keeps_its_first_transcript(http: httpx.Client) -> None:
    """With the memory cache a recording is known by its sound: other words for it are ignored."""
    audio = base64.b64encode(sine_wav(radians_per_sample=0.3)).decode()
    first, other = ({"audio": audio, "text": words} for words in ("A tone.", "Another text."))
    cached = {"use_memory_cache": "on", **SPOKEN}
    expected = tts(http, references=[first], **cached).content
    assert tts(http, references=[other], **cached).content == expected
    assert tts(http, references=[other], **SPOKEN).content != expected


def test_multipart_is_refused(http: httpx.Client) -> None:
    """This release reads neither multipart nor forms."""
    response = http.post("/v1/tts", data={"text": "Hi."}, files={"audio": b"x"})
    assert response.status_code == 415


def test_an_unknown_voice_is_not_an_error(http: httpx.Client, fish_server: FishServer) -> None:
    """An unknown voice is answered in the default one, and leaves an empty directory behind."""
    response = tts(http, reference_id="nobody", **SPOKEN)
    assert response.status_code == 200
    assert response.content == tts(http, **SPOKEN).content
    assert list((fish_server.directory / "references" / "nobody").iterdir()) == []


def test_a_known_voice_is_heard(http: httpx.Client, fish_server: FishServer) -> None:
    """A voice that is in the server's directory changes what comes."""
    fish_server.add_reference("june", audio=sine_wav(), text="A tone.")
    response = tts(http, reference_id="june", **SPOKEN)
    assert response.status_code == 200
    assert response.content != tts(http, **SPOKEN).content


@pytest.mark.parametrize(
    ("method", "route"), [("GET", "list"), ("POST", "add"), ("DELETE", "delete")]
)
def test_voices_have_no_routes_yet(http: httpx.Client, method: str, route: str) -> None:
    """The routes that newer servers have for named voices are missing in this release."""
    assert http.request(method, f"/v1/references/{route}").status_code == 404


def test_a_wrong_key_is_refused(fish_server: FishServer) -> None:
    """A wrong key gets 401 with a message, and so does the health route without a key."""
    headers = {"Authorization": "Bearer wrong"}
    url = f"{fish_server.url}/v1/tts"
    refused = httpx.post(url, json=SPOKEN, headers=headers, trust_env=False)
    assert refused.status_code == 401
    assert refused.json()["message"] == "Invalid token"
    assert httpx.get(f"{fish_server.url}/v1/health", trust_env=False).status_code == 401


def test_a_too_long_prompt_is_a_server_error(http: httpx.Client) -> None:
    """A text that does not fit gets 500, and only the message tells why."""
    response = tts(http, **TOO_LONG)
    assert response.status_code == 500
    error = response.json()
    assert error["message"].startswith("Prompt is too long: ")
    assert error["statusCode"] == 500


def test_a_bad_field_gets_a_list(http: httpx.Client) -> None:
    """A value out of bounds gets 422 with a list, unlike all other errors."""
    response = tts(http, temperature=5.0, **SPOKEN)
    assert response.status_code == 422
    assert response.json()[0]["loc"] == ["temperature"]


def test_only_wav_can_be_streamed(http: httpx.Client) -> None:
    """A stream in another format is refused."""
    assert tts(http, streaming=True, format="mp3", **SPOKEN).status_code == 400


@pytest.mark.parametrize("broken", [TOO_LONG, {"max_new_tokens": 1, **SPOKEN}])
def test_a_stream_that_fails_just_ends(http: httpx.Client, broken: dict[str, object]) -> None:
    """A failure in a stream comes after status 200: the connection ends without a last chunk."""
    with http.stream("POST", "/v1/tts", json={"streaming": True, **broken}) as response:
        assert response.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            response.read()


def test_health(http: httpx.Client) -> None:
    """The health route answers GET and POST, but not HEAD."""
    assert http.get("/v1/health").json() == {"status": "ok"}
    assert http.post("/v1/health").json() == {"status": "ok"}
    assert http.head("/v1/health").status_code == 405


@pytest.mark.anyio
async def test_the_proxy_keeps_what_was_sent(fish_server: FishServer) -> None:
    """A recording holds the bodies of all requests on one connection, without their chunks."""
    async with (
        recording_proxy(fish_server.url) as proxy,
        httpx.AsyncClient(base_url=proxy.url, headers=fish_server.headers, trust_env=False) as http,
    ):
        first = await http.post("/v1/tts", json={"streaming": True, **SPOKEN})
        await http.get("/v1/health")
        spoken, health = proxy.exchanges
    assert (spoken.method, spoken.path, spoken.status) == ("POST", "/v1/tts", 200)
    assert spoken.complete
    assert spoken.body == first.content
    assert health.body == b'{"status":"ok"}'


@pytest.mark.anyio
async def test_the_proxy_can_break_a_stream(fish_server: FishServer) -> None:
    """A cut connection looks to the client like a server that died while it spoke."""
    async with (
        recording_proxy(fish_server.url, cut_after=3000) as proxy,
        httpx.AsyncClient(base_url=proxy.url, headers=fish_server.headers, trust_env=False) as http,
        http.stream("POST", "/v1/tts", json={"streaming": True, **SPOKEN}) as response,
    ):
        heard = bytearray()
        with pytest.raises(httpx.RemoteProtocolError):
            await read_into(heard, response)
        (spoken,) = proxy.exchanges
    assert not spoken.complete
    assert 0 < len(heard) <= len(spoken.body) < 3000
