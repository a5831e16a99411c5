"""junetts against fish-speech 0.1.0: what it hands out is what the server sent."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import ormsgpack
import pytest
import soundfile
from anyio.from_thread import start_blocking_portal
from recording_proxy import Exchange, RecordingProxy, recording_proxy
from sounds import pcm_of, sine_wav

import junetts

if TYPE_CHECKING:
    from fish_server import FishServer

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(180),  # the first test also waits for the server to start
]

TEXT = "Hello there, how are you? I am fine, thank you. Good to hear that."
SENTENCES = ["Hello there, how are you? ", "I am fine, thank you. ", "Good to hear that."]
SEEDED = junetts.Sampling(seed=7)
CLONE = junetts.Voice.clone(sine_wav(), "A tone.")
# No text is too long, for it is cut to sentences; but what is said in a recording can be. One of
# its own, because the server remembers by the sound alone what is said in it.
TOO_LONG = junetts.Voice.clone(sine_wav(radians_per_sample=0.2), "word " * 3000)

encodings = pytest.mark.parametrize("encoding", ["msgpack", "json"])
ways = pytest.mark.parametrize("streaming", [True, False], ids=["stream", "whole"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A client, and the proxy that overhears what it and the server say."""

    tts: junetts.TTS
    proxy: RecordingProxy

    @property
    def methods(self) -> list[str]:
        """The method of each request."""
        return [exchange.method for exchange in self.proxy.exchanges]

    @property
    def spoken(self) -> list[Exchange]:
        """The requests for speech."""
        return [exchange for exchange in self.proxy.exchanges if exchange.method == "POST"]

    @property
    def pcm(self) -> list[bytes]:
        """The samples that the server sent, request by request."""
        return [samples_in(exchange) for exchange in self.spoken]


def samples_in(exchange: Exchange) -> bytes:
    """The samples of an answer: all of a streamed one, the data of a WAV file."""
    return exchange.body if request_in(exchange)["streaming"] else pcm_of(exchange.body)


def request_in(exchange: Exchange) -> dict[str, Any]:
    """The fields of a request, read as its content type says."""
    kind = exchange.request_headers["content-type"]
    readers = {"application/msgpack": ormsgpack.unpackb, "application/json": json.loads}
    fields: dict[str, Any] = readers[kind](exchange.request_body)
    return fields


def settings(url: str, server: FishServer, **section: object) -> dict[str, object]:
    """The settings of a client of the server at a URL."""
    return {
        "backends": ["server"],
        "server": {"url": url, "api_key": server.api_key, **section},
    }


@asynccontextmanager
async def line_to(
    server: FishServer, *, cut_after: int | None = None, **section: object
) -> AsyncIterator[Line]:
    """A client that speaks through a proxy to the server."""
    async with (
        recording_proxy(server.url, cut_after=cut_after) as proxy,
        junetts.TTS(settings(proxy.url, server, **section)) as tts,
    ):
        yield Line(tts=tts, proxy=proxy)


async def heard_in(stream: junetts.SpeechStream, n_segments: int) -> list[bytes]:
    """The samples that a stream hands out, by segment."""
    segments = [b""] * n_segments
    async for chunk in stream:
        segments[chunk.segment] += chunk.pcm
    return segments


@encodings
@ways
async def test_speech_is_what_the_server_sent(
    fish_server: FishServer, encoding: str, streaming: bool
) -> None:
    """Three sentences are three requests, and their samples are the speech, byte for byte."""
    async with line_to(fish_server, encoding=encoding, streaming=streaming) as line:
        speech = await line.tts.synthesize(TEXT, sampling=SEEDED)
        requests = [request_in(exchange) for exchange in line.spoken]
    assert speech.pcm == b"".join(line.pcm)
    assert len(set(line.pcm)) == 3
    assert (speech.sample_rate, speech.report.outcome) == (44_100, "complete")
    assert speech.report.spoken_text == TEXT
    assert [request["text"] for request in requests] == SENTENCES
    assert {(request["seed"], request["streaming"]) for request in requests} == {(7, streaming)}
    assert {e.request_headers["content-type"] for e in line.spoken} == {f"application/{encoding}"}


@encodings
@ways
async def test_a_stream_is_what_the_server_sent(
    fish_server: FishServer, encoding: str, streaming: bool
) -> None:
    """Every chunk belongs to the segment that it says, in order and byte for byte."""
    async with line_to(fish_server, encoding=encoding, streaming=streaming) as line:
        stream = line.tts.stream(TEXT, sampling=SEEDED)
        assert await heard_in(stream, n_segments=3) == line.pcm
    assert stream.report.outcome == "complete"
    assert [segment.text for segment in stream.report.segments] == SENTENCES


async def test_utterances_at_once_do_not_mix(fish_server: FishServer) -> None:
    """They take turns, and each is given the answers to its own requests."""
    texts = ["One is the first.", "Two is the second.", "Three is the third."]
    async with line_to(fish_server) as line:
        speeches = await asyncio.gather(*map(line.tts.synthesize, texts))
    sent = {request_in(exchange)["text"]: exchange.body for exchange in line.spoken}
    assert [speech.pcm for speech in speeches] == [sent[text] for text in texts]


def test_blocking_calls_hear_the_same(fish_server: FishServer) -> None:
    """`junetts.synthesize` and `junetts.stream` hand out what the server sent, twice the same."""
    proxied: AbstractAsyncContextManager[RecordingProxy] = recording_proxy(fish_server.url)
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(proxied) as proxy,
    ):
        config = settings(proxy.url, fish_server)
        speech = junetts.synthesize(TEXT, config=config, sampling=SEEDED)
        chunks = list(junetts.stream(TEXT, config=config, sampling=SEEDED))
        bodies = [exchange.body for exchange in proxy.exchanges]
    assert speech.pcm == b"".join(bodies[:3]) == b"".join(bodies[3:])
    assert b"".join(chunk.pcm for chunk in chunks) == speech.pcm


async def test_an_mp3_is_decoded(fish_server: FishServer) -> None:
    """The samples are those that the sound file library finds in the server's answer."""
    async with line_to(fish_server, format="mp3") as line:
        speech = await line.tts.synthesize("Hello there.", sampling=SEEDED)
        (answer,) = line.spoken
    expected, sample_rate = soundfile.read(io.BytesIO(answer.body), dtype="float32")
    assert (answer.headers["content-type"], sample_rate) == ("audio/mpeg", 44_100)
    np.testing.assert_allclose(speech.samples, expected, atol=1 / 32768)


@encodings
async def test_a_recording_is_imitated(fish_server: FishServer, encoding: str) -> None:
    """A clip arrives as it is and changes the voice, the same way in either encoding."""
    async with line_to(fish_server, encoding=encoding) as line:
        plain = await line.tts.synthesize("Hello there.", sampling=SEEDED)
        speech = await line.tts.synthesize("Hello there.", sampling=SEEDED, voice=CLONE)
    (clip,) = request_in(line.spoken[1])["references"]
    audio = clip["audio"] if encoding == "msgpack" else base64.b64decode(clip["audio"])
    assert (audio, clip["text"]) == (sine_wav(), "A tone.")
    assert speech.pcm == line.pcm[1] != plain.pcm


async def test_a_voice_that_the_server_keeps(fish_server: FishServer) -> None:
    """A trusted id is sent as it is, and heard."""
    fish_server.add_reference("kept", audio=sine_wav(), text="A tone.")
    async with line_to(fish_server, verify_voices=False) as line:
        await line.tts.warmup()
        plain = await line.tts.synthesize("Hello there.", sampling=SEEDED)
        speech = await line.tts.synthesize("Hello there.", sampling=SEEDED, voice="kept")
    assert [request_in(exchange).get("reference_id") for exchange in line.spoken] == [None, "kept"]
    assert speech.pcm == line.pcm[1] != plain.pcm


async def test_an_id_that_cannot_be_checked_is_refused(fish_server: FishServer) -> None:
    """Nothing is asked for: the server would speak in another voice and make a directory."""
    async with line_to(fish_server) as line:
        await line.tts.warmup()
        with pytest.raises(junetts.UnknownVoiceError, match="does not list its voices") as caught:
            await line.tts.synthesize("Hello there.", voice="stranger")
    assert set(line.methods) == {"GET"}
    assert not (fish_server.directory / "references" / "stranger").exists()
    assert "server.verify_voices = false" in (caught.value.hint or "")
    assert (caught.value.backend, caught.value.retryable) == ("server", False)


async def test_a_wrong_key_is_refused(fish_server: FishServer) -> None:
    """The error says where the key stands, and not what it is."""
    async with line_to(fish_server, api_key="canary-7") as line:
        with pytest.raises(junetts.AuthenticationError) as caught:
            await line.tts.synthesize("Hello there.")
        health = (await line.tts.health())["server"]
    assert (caught.value.status, caught.value.backend) == (401, "server")
    assert "server.api_key" in (caught.value.hint or "")
    assert health.status == "unavailable"
    assert "server.api_key" in (health.hint or "")
    assert "canary-7" not in f"{caught.value!r} {caught.value} {caught.value.hint} {health}"


async def test_health(fish_server: FishServer) -> None:
    """A server that answers is well; a port where nothing listens is not."""
    async with line_to(fish_server) as line:
        assert (await line.tts.health())["server"].status == "ok"
        assert line.methods == ["GET"]
    async with junetts.TTS(settings(line.proxy.url, fish_server)) as tts:
        assert (await tts.health())["server"].status == "unavailable"


async def test_a_too_long_prompt_is_refused(fish_server: FishServer) -> None:
    """The server's own words say why, and that another try cannot help."""
    async with line_to(fish_server, streaming=False) as line:
        with pytest.raises(
            junetts.RequestRejectedError, match=r"Prompt is too long: \d+ > \d+"
        ) as caught:
            await line.tts.synthesize("Hello there.", voice=TOO_LONG)
    assert (caught.value.status, caught.value.retryable) == (500, False)


async def test_a_stream_that_fails_before_sound(fish_server: FishServer) -> None:
    """It was answered with 200, then cut off: an error, and no speech."""
    async with line_to(fish_server) as line:
        stream = line.tts.stream("Hello there.", voice=TOO_LONG)
        with pytest.raises(junetts.RemoteProtocolError, match="broke off its answer") as caught:
            await stream.collect()
        answers = [(one.status, one.body, one.complete) for one in line.spoken]
    assert answers == [(200, b"", False)] * 2  # tried again once: it might have been the network
    assert caught.value.speech is None
    assert "server.streaming = false" in (caught.value.hint or "")
    assert (stream.report.outcome, stream.report.audio_s) == ("failed", 0)


async def test_a_stream_that_fails_after_sound(fish_server: FishServer) -> None:
    """The error carries exactly the samples that came, and says which text they do not speak."""
    async with line_to(fish_server) as whole:
        speech = await whole.tts.synthesize(TEXT, sampling=SEEDED)
    (recording,) = whole.proxy.recordings
    n_bytes = len(recording.received) - 1000  # in the last sentence, and inside a sample
    async with line_to(fish_server, cut_after=n_bytes) as line:
        with pytest.raises(junetts.SynthesisInterruptedError, match="broke off") as caught:
            await line.tts.synthesize(TEXT, sampling=SEEDED)
    came = b"".join(exchange.body for exchange in line.spoken)
    heard, report = caught.value.speech, caught.value.report
    assert heard is not None
    assert report is not None
    assert len(came) % 2 == 1
    assert heard.pcm == came[:-1] == speech.pcm[: len(came) - 1]
    assert (report.outcome, report.unspoken_text) == ("failed", SENTENCES[2])
    assert report.spoken_text + report.unspoken_text == TEXT


async def test_speech_that_runs_into_the_limit_is_no_success(fish_server: FishServer) -> None:
    """The server calls it success, but a sentence that is cut short is told as such."""
    short = junetts.Sampling(seed=7, max_new_tokens=4)
    async with line_to(fish_server) as line:
        with pytest.raises(junetts.SynthesisInterruptedError, match="token limit") as caught:
            await line.tts.synthesize("Hello there.", sampling=short)
    assert line.spoken[0].complete
    assert caught.value.speech is not None
    assert caught.value.speech.pcm == line.pcm[0]
    assert caught.value.speech.report.outcome == "truncated"


async def test_a_form_is_not_understood(fish_server: FishServer) -> None:
    """This release refuses the third encoding, and so do we, with its status."""
    async with line_to(fish_server, encoding="multipart") as line:
        with pytest.raises(junetts.RequestRejectedError) as caught:
            await line.tts.synthesize("Hello there.")
    assert caught.value.status == 415


async def test_leaving_the_loop_hangs_up(fish_server: FishServer) -> None:
    """The request that is under way is given up at once, and the client is usable after it."""
    async with line_to(fish_server) as line:
        async for _ in line.tts.stream(TEXT):
            await line.proxy.until(lambda: len(line.spoken) == 2)
            break
        await line.proxy.until(lambda: line.proxy.n_open == 0)
        assert not line.spoken[-1].complete
        speech = await line.tts.synthesize("Hello there.")
        assert speech.pcm == line.pcm[-1]
    assert [request_in(exchange)["text"] for exchange in line.spoken[2:]] == ["Hello there."]
