"""What the official SDK and we say to the cloud, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import ormsgpack
import pytest
from fishaudio import FlushEvent, TTSConfig
from fishaudio.types import Prosody, ReferenceAudio
from official_sdk import KEY, async_sdk, texts
from sounds import sine_wav

import junetts
from junetts._fishwire.codec import encode
from junetts._fishwire.events import Flush, Stop, Text
from junetts.testing import CloudServer, ReceivedRequest

pytestmark = pytest.mark.anyio

SENTENCE = "Hello there, how are you?"
ABSENT = "not sent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Same:
    """One request, as it is put to the SDK and to us, and how the messages still differ.

    `differences` holds, by field, what we send and what the SDK sends.
    """

    config: TTSConfig
    section: Mapping[str, object]
    wishes: Mapping[str, object] = field(default_factory=dict)
    differences: Mapping[str, tuple[object, object]] = field(default_factory=dict)
    model: str = "s2-pro"


# The SDK always sends its own defaults, we leave to the server what nobody asked for.
OTHER_FORMATS = {
    "mp3_bitrate": (ABSENT, 128),  # means nothing for another format
    "opus_bitrate": (ABSENT, 32),  # likewise; and it is in kbit/s, which the API refuses
}
NO_PROSODY = {"prosody": (ABSENT, None)}
NO_CLIPS = {"references": (ABSENT, [])}
NO_ID = {"reference_id": (ABSENT, None)}
NO_RATE = {"sample_rate": (ABSENT, None)}
NO_SAMPLING = {
    "temperature": (ABSENT, 0.7),  # all four are the API's own defaults
    "top_p": (ABSENT, 0.7),
    "repetition_penalty": (ABSENT, 1.2),
    "max_new_tokens": (ABSENT, 1024),
}
CHUNKS = {"chunk_length": (300, 200)}  # ours is the API's default

GENERATION = {
    "normalize": False,
    "chunk_length": 150,
    "latency": "normal",
    "min_chunk_length": 40,
    "condition_on_previous_chunks": False,
    "early_stop_threshold": 0.75,
}
SAMPLING = {
    "temperature": 0.5,
    "top_p": 0.25,
    "repetition_penalty": 1.5,
    "max_new_tokens": 512,
}
ROUND = {"temperature": 1, "top_p": 1, "repetition_penalty": 1}
CLIPS = [(sine_wav(), "A tone."), (sine_wav(radians_per_sample=0.2), "Another.")]

SAME = {
    "nothing but the format": Same(
        config=TTSConfig(format="pcm"),
        section={},
        differences={
            **OTHER_FORMATS,
            **NO_PROSODY,
            **NO_CLIPS,
            **NO_ID,
            **NO_RATE,
            **NO_SAMPLING,
            **CHUNKS,
        },
    ),
    "everything, and a voice by id": Same(
        config=TTSConfig(
            format="pcm",
            sample_rate=24_000,
            reference_id="voice-1",
            prosody=Prosody(speed=1.25, volume=-3.5),
            **GENERATION,
            **SAMPLING,
        ),
        section={"sample_rate": 24_000, **GENERATION},
        wishes={
            "voice": junetts.Voice("voice-1"),
            "prosody": junetts.Prosody(speed=1.25, volume_db=-3.5),
            "sampling": junetts.Sampling(**SAMPLING),
        },
        differences={**OTHER_FORMATS, **NO_CLIPS},
        model="s1",
    ),
    "recordings": Same(
        config=TTSConfig(
            format="pcm",
            references=[ReferenceAudio(audio=audio, text=text) for audio, text in CLIPS],
            **SAMPLING,
        ),
        section={"chunk_length": 200},
        wishes={
            "voice": junetts.Voice(
                clips=tuple(junetts.ReferenceClip(audio=audio, text=text) for audio, text in CLIPS)
            ),
            "sampling": junetts.Sampling(**SAMPLING),
        },
        differences={**OTHER_FORMATS, **NO_PROSODY, **NO_ID, **NO_RATE},
    ),
    "whole numbers for real ones": Same(
        config=TTSConfig(
            format="pcm", prosody=Prosody(speed=2, volume=1), early_stop_threshold=1, **ROUND
        ),
        section={"chunk_length": 200, "early_stop_threshold": 1},
        wishes={
            "prosody": junetts.Prosody(speed=2, volume_db=1),
            "sampling": junetts.Sampling(max_new_tokens=1024, **ROUND),
        },
        differences={**OTHER_FORMATS, **NO_CLIPS, **NO_ID, **NO_RATE},
    ),
    "mp3": Same(
        config=TTSConfig(
            format="mp3", mp3_bitrate=192, sample_rate=32_000, chunk_length=300, **SAMPLING
        ),
        section={"format": "mp3", "mp3_bitrate": 192, "sample_rate": 32_000},
        wishes={"sampling": junetts.Sampling(**SAMPLING)},
        differences={
            "opus_bitrate": OTHER_FORMATS["opus_bitrate"],
            **NO_PROSODY,
            **NO_CLIPS,
            **NO_ID,
        },
    ),
    "opus": Same(
        config=TTSConfig(
            format="opus", opus_bitrate=-1000, sample_rate=48_000, chunk_length=300, **SAMPLING
        ),
        section={"format": "opus", "opus_bitrate": -1000, "sample_rate": 48_000},
        wishes={"sampling": junetts.Sampling(**SAMPLING)},
        differences={
            "mp3_bitrate": OTHER_FORMATS["mp3_bitrate"],
            **NO_PROSODY,
            **NO_CLIPS,
            **NO_ID,
        },
    ),
}


@pytest.mark.parametrize("same", SAME.values(), ids=SAME.keys())
async def test_our_messages_are_those_of_the_sdk(same: Same) -> None:
    """The same request is the same conversation, but for the fields that are listed."""
    async with CloudServer(keys={KEY}) as server:
        await speak_with_us(server, same)
        await speak_with_the_sdk(server, same)
    ours, theirs = server.requests
    assert ours.path == theirs.path == "/v1/tts/live"
    assert credentials(ours) == credentials(theirs) == (f"Bearer {KEY}", same.model)
    assert ours.messages[1:] == theirs.messages[1:]
    assert events(ours) == events(theirs) == ["start", "text", "stop"]
    assert set(start(ours)) == set(start(theirs)) == {"event", "request"}
    assert differences(start(ours)["request"], start(theirs)["request"]) == same.differences


async def test_recordings_travel_as_binary() -> None:
    """Both send a recording's bytes as they are: base64 would be refused."""
    same = SAME["recordings"]
    async with CloudServer() as server:
        await speak_with_us(server, same)
        await speak_with_the_sdk(server, same)
    for request in server.requests:
        clips = start(request)["request"]["references"]
        assert [(clip["audio"], clip["text"]) for clip in clips] == CLIPS
        assert all(type(clip["audio"]) is bytes for clip in clips)


async def test_frames_are_equal_byte_for_byte() -> None:
    """Text, flush and stop are encoded by us exactly as by the SDK."""
    async with CloudServer() as server, async_sdk(server) as client:
        conversation = texts("Hello ", FlushEvent(), "wörld. ")
        async for _ in client.tts.stream_websocket(conversation, format="pcm"):
            pass
    expected = [Text(text="Hello "), Flush(), Text(text="wörld. "), Stop()]
    assert server.requests[0].messages[1:] == [encode(event) for event in expected]


async def speak_with_us(server: CloudServer, same: Same) -> None:
    """Put the request to junetts."""
    section = {"url": server.url, "api_keys": [KEY], "model": same.model, **same.section}
    async with junetts.TTS({"backends": ["cloud"], "cloud": section}) as tts:
        await tts.synthesize(SENTENCE, **same.wishes)


async def speak_with_the_sdk(server: CloudServer, same: Same) -> None:
    """Put the request to the SDK."""
    async with async_sdk(server) as client:
        async for _ in client.tts.stream_websocket(
            texts(SENTENCE), config=same.config, model=same.model
        ):
            pass


def credentials(request: ReceivedRequest) -> tuple[str, str]:
    """The two headers of the handshake that the API asks for."""
    return request.headers["authorization"], request.headers["model"]


def events(request: ReceivedRequest) -> list[str]:
    """The names of what a client said."""
    return [ormsgpack.unpackb(message)["event"] for message in request.messages]


def start(request: ReceivedRequest) -> dict[str, dict[str, object]]:
    """What a client said first."""
    fields: dict[str, dict[str, object]] = ormsgpack.unpackb(request.messages[0])
    return fields


def differences(
    ours: Mapping[str, object], theirs: Mapping[str, object]
) -> dict[str, tuple[object, object]]:
    """The fields that are not encoded alike, or that only one of the two sends."""
    both = {name: (ours.get(name, ABSENT), theirs.get(name, ABSENT)) for name in {**ours, **theirs}}
    return {
        name: (a, b) for name, (a, b) in both.items() if ormsgpack.packb(a) != ormsgpack.packb(b)
    }
