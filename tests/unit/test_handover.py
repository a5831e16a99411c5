"""Speech that goes on when a server dies, over real sockets."""

from __future__ import annotations

from pathlib import Path

import pytest

from junetts import TTS
from junetts.testing import CloudServer, FishServer, ServerCall

pytestmark = pytest.mark.anyio

SENTENCES = ["This is the first one. ", "This is the second one. ", "This is the third one."]
TEXT = "".join(SENTENCES)


async def dies_in_the_second(call: ServerCall) -> None:
    """Breaks the connection in the middle of the second sentence's audio."""
    if call.request is None or "second" not in call.request.text:
        await call.answer()
        return
    await call.begin()
    await call.send(b"\1\2" * 22_050)
    await call.cut_off()


async def test_a_server_dies_and_the_cloud_goes_on() -> None:
    """The cloud is sent the interrupted sentence and the rest; the report tells who spoke what."""
    async with FishServer(script=dies_in_the_second) as server, CloudServer(keys={"k"}) as cloud:
        config = {
            "backends": ["server", "cloud"],
            "server": {"url": server.url},
            "cloud": {"url": cloud.url, "api_keys": ["k"]},
        }
        async with TTS(config) as tts:
            speech = await tts.synthesize(TEXT)
        sent = "".join(request.text for request in cloud.requests)
    report = speech.report
    assert (report.outcome, report.spoken_text) == ("complete", TEXT)
    assert [segment.backend for segment in report.segments] == ["server", "cloud", "cloud"]
    assert [(h.from_backend, h.to_backend, h.segment) for h in report.handovers] == [
        ("server", "cloud", 1)
    ]
    assert "first" not in sent
    assert sent.index("second") < sent.index("third")


async def test_a_server_dies_and_the_model_on_this_machine_goes_on(checkpoint: str) -> None:
    """From a socket to a thread, in the middle of a sentence."""
    async with FishServer(script=dies_in_the_second) as server:
        config = {
            "backends": ["server", "local"],
            "server": {"url": server.url},
            "local": {"checkpoint": checkpoint, "voice_cache": "", "max_new_tokens": 8},
            "fallback": {"first_audio_timeout_s": 10},
        }
        async with TTS(config) as tts:
            await tts.warmup()
            stream = tts.stream(TEXT)
            async for _ in stream:
                pass
    assert [segment.backend for segment in stream.report.segments] == ["server", "local", "local"]
    assert len(stream.report.handovers) == 1


@pytest.fixture
def checkpoint() -> str:
    """The tiny checkpoint, which never comes to an end by itself."""
    return str(Path(__file__).parents[1] / "data" / "s1-tiny")
