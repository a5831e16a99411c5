"""Speaking through the cloud: what is sent, what comes back, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from junetts._backend import BackendAudio, TtsBackend
from junetts._errors import InvalidRequestError
from junetts._utterance import Prosody, ReferenceClip, Sampling, Segment, Utterance, Voice
from junetts.backends.cloud import CloudBackend
from junetts.testing import CloudServer, CloudSession

pytestmark = pytest.mark.anyio


def spoken(items: list[BackendAudio]) -> dict[int, bytes]:
    """The bytes of each segment that was closed, whose items must be consecutive."""
    audio: dict[int, bytes] = {}
    closed: list[int] = []
    for item in items:
        assert item.segment not in closed
        assert item.segment == len(closed)
        audio[item.segment] = audio.get(item.segment, b"") + item.data
        if item.end is not None:
            assert item.end == "complete"
            closed.append(item.segment)
    assert closed == sorted(audio)
    return audio


def labelled(text: str, request: object) -> bytes:
    """Audio that says which text it is of."""
    return text.strip().encode() * 1000


async def test_it_is_a_backend(cloud) -> None:
    """The class fulfils the protocol, and says what it can do."""
    async with cloud(model="s2.1-pro-free", timestamps=True, format="opus") as c:
        assert isinstance(c.backend, TtsBackend)
        capabilities = c.backend.capabilities
        assert (c.backend.name, capabilities.sample_rate) == ("cloud", 48_000)
        assert capabilities.word_times
        assert not capabilities.seed
        assert capabilities.price_usd_per_million_bytes == 0
        assert "s2.1-pro-free" in repr(c.backend)


async def test_each_segment_has_its_own_audio(cloud) -> None:
    """Audio arrives in order, tagged with the segment that it is of, to the last byte."""
    server = CloudServer(audio=labelled, frame_bytes=700)
    async with cloud(server) as c:
        items = await c.speak("One. ", "Two. ", "Three.", "Four.", "Five.")
    assert spoken(items) == {
        i: text * 1000 for i, text in enumerate([b"One.", b"Two.", b"Three.", b"Four.", b"Five."])
    }
    assert [r.text for r in server.requests] == ["One. ", "Two. ", "Three.", "Four.", "Five."]
    assert all(r.is_stopped for r in server.requests)


async def test_what_is_sent(cloud) -> None:
    """The handshake carries key and model, the start event the request."""
    async with cloud(model="s1", voice="v", sample_rate=16_000, latency="low") as c:
        utterance = Utterance(prosody=Prosody(speed=1.5), sampling=Sampling(temperature=0.2))
        items = await c.speak("Hello.", utterance=utterance)
        (received,) = c.server.requests
    assert received.headers["authorization"] == "Bearer k"
    assert received.headers["model"] == "s1"
    assert received.headers["user-agent"].startswith("junetts/")
    assert "sec-websocket-extensions" not in received.headers
    assert received.path == "/v1/tts/live"
    assert received.request["text"] == ""
    assert received.request["prosody"] == {"speed": 1.5, "volume": 0.0}
    assert received.request["temperature"] == 0.2
    assert received.request["reference_id"] == "v"
    assert {(item.format.sample_rate, item.format.media_type) for item in items} == {
        (16_000, "audio/pcm")
    }


@pytest.mark.parametrize(
    ("container", "media_type", "magic"),
    [("wav", "audio/wav", b"RIFF"), ("mp3", "audio/mpeg", b""), ("opus", "audio/ogg", b"OggS")],
)
async def test_other_formats(cloud, container: str, media_type: str, magic: bytes) -> None:
    """Bytes pass as they come, with the media type that was asked for."""
    async with cloud(format=container) as c:
        items = await c.speak("Hello there.")
    assert items[0].format.media_type == media_type
    assert spoken(items)[0].startswith(magic)
    assert len(spoken(items)[0]) > 1000


async def test_blank_segments_are_not_sent(cloud) -> None:
    """White space is closed as spoken without asking the server."""
    async with cloud() as c:
        items = await c.speak(" ", "Hello.", "\n\n")
        assert [r.text for r in c.server.requests] == ["Hello."]
    assert sorted(spoken(items)) == [0, 1, 2]
    assert not spoken(items)[0]


async def test_no_segments(cloud) -> None:
    """An utterance without text ends at once, and its socket can be used again."""
    async with cloud() as c:
        assert await c.speak() == []
        await c.speak("Hello.")
        assert c.server.n_connections == 1


async def test_sockets_are_reused(cloud) -> None:
    """Two sockets by turns carry an utterance, and the next one finds them waiting."""
    async with cloud() as c:
        await c.speak("One.", "Two.", "Three.", "Four.")
        await c.speak("Five.", "Six.")
        assert c.server.n_connections == 2


@pytest.mark.parametrize("manner", ["close", "drop"])
async def test_server_that_closes_after_finish(cloud, manner: str) -> None:
    """A close straight after `finish`, with a close frame or without, is no failure."""

    async def script(session: CloudSession) -> None:
        await session.answer(after_finish=manner)

    async with cloud(CloudServer(audio=labelled, script=script)) as c:
        items = await c.speak("One.", "Two.", "Three.")
        assert len(spoken(items)) == 3
        assert len(spoken(await c.speak("Four."))) == 1


async def test_next_segment_is_begun_ahead(cloud) -> None:
    """The next session runs while the first one's audio is still to come, and no third."""
    gate = asyncio.Event()
    server = CloudServer(audio=labelled, pace=gate.wait)
    async with cloud(server) as c, asyncio.TaskGroup() as group:
        speaking = group.create_task(c.speak("One.", "Two.", "Three."))
        await server.until(lambda: sum(r.is_stopped for r in server.requests) == 2)
        assert [r.text for r in server.requests] == ["One.", "Two."]
        gate.set()
        assert len(spoken(await speaking)) == 3


async def test_text_that_comes_late(cloud) -> None:
    """A segment is spoken as soon as it is there; the connection is made beforehand."""
    more: asyncio.Queue[Segment | None] = asyncio.Queue()

    async def segments() -> AsyncIterator[Segment]:
        while (segment := await more.get()) is not None:
            yield segment

    async with (
        cloud(CloudServer(audio=labelled)) as c,
        c.backend.speak(Utterance(), segments()) as audio,
    ):
        await c.server.until(lambda: c.server.n_open == 1)
        for index in range(3):
            more.put_nowait(Segment(index=index, text="Hi."))
            while (item := await anext(audio)).end is None:
                assert item.segment == index
        more.put_nowait(None)
        with pytest.raises(StopAsyncIteration):
            await anext(audio)
        with pytest.raises(StopAsyncIteration):
            await anext(audio)


async def test_large_references_do_not_deadlock(cloud) -> None:
    """A server that sends megabytes before it reads megabytes meets a client that does both."""
    clip = ReferenceClip(audio=b"?" * 8_000_000, text="t")

    async def script(session: CloudSession) -> None:
        await session.receive()
        for _ in range(300):
            await session.send_audio(b"\x01" * 16_384)
        await session.receive_request()
        await session.finish()

    async def eager(session: CloudSession) -> None:
        for _ in range(10_000_000 // 16_384):
            await session.send_message("ignored" * 2000)
        await script(session)

    async with cloud(CloudServer(script=eager)) as c:
        items = await c.speak("Hi.", utterance=Utterance(voice=Voice(clips=(clip,))))
    assert len(spoken(items)[0]) == 300 * 16_384


async def test_word_times(cloud) -> None:
    """On the with-timestamp path snapshots become the segment's words, each replacing the last."""
    async with cloud(timestamps=True) as c:
        items = await c.speak("Hello there. ", "Bye now.")
        assert {r.path for r in c.server.requests} == {"/v1/tts/live/with-timestamp"}
    last = {item.segment: item.words for item in items if item.words is not None}
    assert [[w.text for w in words] for words in last.values()] == [
        ["Hello", "there."],
        ["Bye", "now."],
    ]
    assert last[1][1].start_s == pytest.approx(0.2)
    assert last[1][1].provenance == "aligned"
    assert sum(item.words == () for item in items) >= 1


async def test_strange_messages_are_ignored(cloud) -> None:
    """Text frames, logs, unknown events and empty audio change nothing."""

    async def script(session: CloudSession) -> None:
        await session.receive_request()
        await session.send_message("a text frame")
        await session.send_message(b"\x81\xa5event\xa3log")
        await session.send_message(b"\x82\xa5event\xa3new\xa1x\x01")
        await session.send_audio(b"")
        await session.send_audio(b"\x01\x02")
        await session.finish()

    async with cloud(CloudServer(script=script)) as c:
        items = await c.speak("Hi.")
    assert [item.data for item in items] == [b"\x01\x02", b""]


async def test_many_utterances_at_once(cloud) -> None:
    """Utterances side by side do not mix."""
    async with cloud(CloudServer(audio=labelled, frame_bytes=100)) as c:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(c.speak(f"a{i}", f"b{i}")) for i in range(10)]
        for i, task in enumerate(tasks):
            assert spoken(task.result()) == {
                0: f"a{i}".encode() * 1000,
                1: f"b{i}".encode() * 1000,
            }


async def heard_before_error(
    backend: CloudBackend, segments: AsyncIterator[Segment]
) -> tuple[list[BackendAudio], Exception]:
    """What is yielded before iterating raises, and what it raises."""
    heard = []
    async with backend.speak(Utterance(), segments) as audio:
        try:
            async for item in audio:
                heard.append(item)  # noqa: PERF401 - the point is what came before
        except (InvalidRequestError, KeyError) as error:
            return heard, error
    pytest.fail("nothing was raised")


async def test_text_that_cannot_be_sent(cloud) -> None:
    """A lone surrogate is refused in its turn, after the audio of what came before."""

    async def segments() -> AsyncIterator[Segment]:
        yield Segment(index=0, text="Good.")
        yield Segment(index=1, text="\ud800")

    async with cloud(CloudServer(audio=labelled)) as c:
        heard, error = await heard_before_error(c.backend, segments())
    assert spoken(heard) == {0: b"Good." * 1000}
    assert isinstance(error, InvalidRequestError)


async def test_text_source_that_raises(cloud) -> None:
    """The source's own exception comes through as it is, after the audio of what came before."""

    async def segments() -> AsyncIterator[Segment]:
        yield Segment(index=0, text="Good.")
        raise KeyError("the model is gone")

    async with cloud(CloudServer(audio=labelled)) as c:
        heard, error = await heard_before_error(c.backend, segments())
    assert spoken(heard) == {0: b"Good." * 1000}
    assert error.args == ("the model is gone",)
