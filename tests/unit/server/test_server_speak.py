"""What the server backend asks for, and what it makes of the answer."""

from __future__ import annotations

import asyncio
import io
import ssl
import wave

import pytest
import trustme

from junetts._audio import AudioFormat
from junetts._backend import TtsBackend
from junetts._config import ServerSection
from junetts._errors import ConfigError, InvalidRequestError
from junetts._fishwire.server_request import ServerRequest
from junetts._utterance import Prosody, ReferenceClip, Sampling, Utterance, Voice
from junetts.backends.server import ServerBackend
from junetts.testing import FishServer, ServerCall

PCM = bytes(range(1, 256)) * 1000
CLIPS = (ReferenceClip(audio=bytes(300), text="One."), ReferenceClip(audio=b"2", text="Two."))


def data(items):
    """The bytes of some items."""
    return b"".join(item.data for item in items)


@pytest.mark.anyio
async def test_streamed_bytes_come_as_the_server_sent_them(fish) -> None:
    """Raw samples under a WAV label are passed on untouched, in order, tagged and closed."""
    async with fish(FishServer(audio=PCM, chunk_bytes=1001)) as it:
        items = await it.speak("Hello from June.", "And again.")
    assert data(items) == PCM * 2
    assert data(item for item in items if item.segment == 1) == PCM
    assert [(item.segment, item.end) for item in items if item.end] == [
        (0, "complete"),
        (1, "complete"),
    ]
    assert {item.format for item in items} == {
        AudioFormat(sample_rate=44_100, media_type="audio/wav")
    }
    assert it.server.texts == ["Hello from June.", "And again."]
    assert it.server.most_at_once == 1


@pytest.mark.anyio
async def test_without_streaming_there_is_a_wav_file(fish) -> None:
    """A complete file comes, header and all."""
    async with fish(FishServer(audio=PCM), streaming=False) as it:
        items = await it.speak("Hello.")
    with wave.open(io.BytesIO(data(items))) as file:
        assert (file.getframerate(), file.getnchannels()) == (44_100, 1)
        assert file.readframes(file.getnframes()) == PCM


@pytest.mark.anyio
async def test_mp3_is_named_as_such(fish) -> None:
    """The media type tells the reader what comes; streaming is off by itself."""
    async with fish(format="mp3") as it:
        items = await it.speak("Hello.")
    assert items[0].format.media_type == "audio/mpeg"
    assert it.server.calls[0].request.streaming is False
    assert it.backend.capabilities.formats == ("mp3",)


@pytest.mark.anyio
@pytest.mark.parametrize("encoding", ["msgpack", "json", "multipart"])
async def test_the_request_arrives_whole_in_every_encoding(fish, encoding) -> None:
    """Settings, sampling, text and recording are what the server reads."""
    sampling = Sampling(seed=5, max_new_tokens=900)
    async with fish(encoding=encoding, use_memory_cache="on") as it:
        await it.speak("Grüße.", voice=Voice(clips=CLIPS[:1]), sampling=sampling)
    (call,) = it.server.calls
    assert call.request == ServerRequest(
        text="Grüße.",
        references=CLIPS[:1],
        streaming=True,
        use_memory_cache="on",
        seed=5,
        max_new_tokens=900,
    )


@pytest.mark.anyio
async def test_several_recordings_are_sent_together(fish) -> None:
    """Inline references are not an either-or."""
    async with fish() as it:
        await it.speak("Hi.", voice=Voice(clips=CLIPS))
    assert it.server.calls[0].request.references == CLIPS


@pytest.mark.anyio
async def test_what_a_recording_cannot_be_sent_as_is_refused(fish) -> None:
    """An encoding's limits are the caller's to know, before anything is sent."""
    async with fish(encoding="json") as it:
        with pytest.raises(InvalidRequestError, match="too short for JSON") as caught:
            await it.speak("Hi.", voice=Voice(clips=CLIPS))
    assert caught.value.backend == "server"
    assert it.server.calls == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    "wishes",
    [
        {"prosody": Prosody(speed=1.2)},
        {"sampling": Sampling(top_k=5)},
        {"sampling": Sampling(temperature=0.05)},
    ],
)
async def test_impossible_wishes_are_refused_on_entering(fish, wishes) -> None:
    """Before any text is taken, and before anything is sent."""
    async with fish() as it:
        with pytest.raises(InvalidRequestError) as caught:
            async with it.listen("Hi.", **wishes):
                pytest.fail("it was let in")
    assert caught.value.backend == "server"
    assert it.server.calls == []


@pytest.mark.anyio
async def test_volume_is_left_to_others(fish) -> None:
    """The samples are scaled elsewhere, so that the wish is accepted here."""
    async with fish() as it:
        assert await it.speak("Hi.", prosody=Prosody(volume_db=6))
    assert it.backend.capabilities.volume is False


@pytest.mark.anyio
async def test_text_without_words_is_not_sent(fish) -> None:
    """The model babbles on white space; a segment of it is complete as it is."""
    async with fish() as it:
        items = await it.speak(" \n", "Hi.", "<|speaker:1|> …")
    assert it.server.texts == ["Hi."]
    assert [(item.segment, item.end) for item in items if item.end] == [
        (0, "complete"),
        (1, "complete"),
        (2, "complete"),
    ]


@pytest.mark.anyio
async def test_every_sentence_keeps_its_speaker(fish) -> None:
    """The server forgets tags between requests, so that they are repeated."""
    async with fish() as it:
        await it.speak("<|speaker:1|>Hi.", " How are you?", " Well. <|speaker:0|>And you?", "Yes.")
    assert it.server.texts == [
        "<|speaker:1|>Hi.",
        "<|speaker:1|> How are you?",
        "<|speaker:1|> Well. <|speaker:0|>And you?",
        "<|speaker:0|>Yes.",
    ]


@pytest.mark.anyio
@pytest.mark.parametrize("streaming", [True, False])
async def test_running_into_the_token_limit_is_truncation(fish, streaming) -> None:
    """The server does not say so, but the length does."""
    async with fish(streaming=streaming) as it:
        items = await it.speak("A sentence that is longer.", sampling=Sampling(max_new_tokens=4))
        assert items[-1].end == "truncated"
        items = await it.speak("A sentence that is longer.", sampling=Sampling(max_new_tokens=99))
        assert items[-1].end == "complete"


@pytest.mark.anyio
async def test_the_key_is_presented(fish) -> None:
    """Only a configured key is sent."""
    async with fish(FishServer(api_key="canary"), api_key="canary") as it:
        await it.speak("Hi.")
        assert it.server.calls[0].headers["authorization"] == "Bearer canary"
    async with fish() as it:
        await it.speak("Hi.")
    assert "authorization" not in it.server.calls[0].headers


@pytest.mark.anyio
async def test_the_key_and_the_text_stay_out_of_logs_and_repr(fish, caplog) -> None:
    """Foreign loggers at DEBUG included."""
    caplog.set_level("DEBUG")
    server = FishServer(api_key="canary", voices=["june"])
    async with fish(server, api_key="canary") as it:
        await it.speak("Seecret words.", voice=Voice("june"))
        await it.backend.probe()
        shown = repr(it.backend) + repr(vars(it.backend)) + caplog.text
    assert caplog.records
    assert "canary" not in shown
    assert "Seecret" not in shown


@pytest.mark.anyio
async def test_the_address_of_the_route_is_understood(fish) -> None:
    """People paste what they see in examples."""
    async with FishServer() as server:
        backend = ServerBackend(ServerSection(url=f"{server.url}/v1/tts"))
        assert (await backend.probe()).status == "ok"
        await backend.aclose()


@pytest.mark.anyio
async def test_a_kept_connection_is_used_again(fish) -> None:
    """One connection serves an utterance's segments."""
    async with fish() as it:
        await it.speak("One.", "Two.", "Three.")
        assert it.server.n_open == 1


@pytest.mark.anyio
async def test_https_with_a_certificate_of_ones_own(fish) -> None:
    """A context that trusts the server's authority is enough."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with FishServer(audio=PCM, tls=context) as server:
        backend = ServerBackend(ServerSection(url=server.url), tls=trusting)
        assert (await backend.probe()).status == "ok"
        await backend.aclose()


@pytest.mark.anyio
async def test_a_listeners_own_error_arrives_as_it_is(fish) -> None:
    """No group is put around it."""

    async def listen() -> None:
        async with it.listen("One.", "Two.") as audio:
            await anext(audio)
            raise ZeroDivisionError

    async with fish() as it:
        with pytest.raises(ZeroDivisionError):
            await listen()


@pytest.mark.anyio
async def test_segments_that_fail_stop_the_speech(fish) -> None:
    """An error of the source of text is the caller's own."""

    async def broken():
        raise ZeroDivisionError
        yield

    async with fish() as it, it.backend.speak(Utterance(), broken()) as audio:
        with pytest.raises(ZeroDivisionError):
            await anext(audio)


@pytest.mark.anyio
async def test_a_listener_who_pauses_does_not_hold_the_server(fish) -> None:
    """What was begun is received to its end, so that others get their turn."""
    async with fish(FishServer(audio=PCM)) as it, it.listen("One.") as audio:
        first = await anext(audio)
        others = await it.speak("Two.")
        rest = [item async for item in audio]
    assert data([first, *rest]) == data(others) == PCM


@pytest.mark.anyio
async def test_how_far_it_reads_ahead_is_bounded(fish) -> None:
    """A listener who pauses for good does not fill the memory."""
    stuck = asyncio.Event()

    async def flood(call: ServerCall) -> None:
        await call.begin()
        writing = asyncio.ensure_future(call.send(*[bytes(65_536)] * 10_000))
        await asyncio.wait([writing], timeout=0.2)
        assert not writing.done()
        stuck.set()
        writing.cancel()

    async with fish(FishServer(script=flood)) as it, it.listen("One.") as audio:
        await anext(audio)
        await stuck.wait()


def test_it_is_a_backend() -> None:
    """It fits the seam, and says what it can."""
    backend = ServerBackend(ServerSection(), name="mine")
    assert isinstance(backend, TtsBackend)
    assert (backend.name, backend.capabilities.sample_rate) == ("mine", 44_100)
    assert repr(backend) == "ServerBackend('http://127.0.0.1:8080', name='mine')"


@pytest.mark.parametrize("url", ["http://[::1", "http://xn--/", "http://a:99999"])
def test_an_unusable_address_is_a_setting_that_is_wrong(url) -> None:
    """The error names the setting, whoever finds out."""
    with pytest.raises(ConfigError) as caught:
        ServerBackend(ServerSection(url=url))
    assert caught.value.key == "server.url"
