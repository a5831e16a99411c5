"""The official Fish Audio SDK under the fault script; it has no failover of its own."""

from __future__ import annotations

import asyncio
from importlib.metadata import version

from fishaudio import AsyncFishAudio
from fishaudio.types import TTSConfig

from _faults_listener import (
    GRACE_S,
    LEAVES,
    SAMPLE_RATE,
    WARM_UP,
    Recorder,
    Result,
    Situation,
    measured,
    read_situation,
    tokens_async,
)

FORMAT = TTSConfig(format="pcm", sample_rate=SAMPLE_RATE)


def client(situation: Situation) -> AsyncFishAudio:
    """The client; its timeout is the deadline that everyone has."""
    url = situation.primary["cloud"]
    return AsyncFishAudio(api_key="benchmark", base_url=url, timeout=situation.deadline_s)


async def listen(situation: Situation, result: Result) -> None:
    """Speak the text over the socket, as its documentation shows."""
    recorder = Recorder(situation.recording)
    async with client(situation) as fish:
        try:
            text = tokens_async(situation.script)
            async for chunk in fish.tts.stream_websocket(text, config=FORMAT):
                recorder.hear(chunk)
                if situation.script == LEAVES and recorder.has_enough:
                    break
        finally:
            result.leave()
        await asyncio.sleep(GRACE_S)


async def main() -> None:
    """One run."""
    situation = read_situation()
    result = Result(version=version("fish-audio-sdk"))

    async def warm_up() -> None:
        async def texts():  # type: ignore[no-untyped-def]
            yield WARM_UP

        async with client(situation) as fish:
            async for _ in fish.tts.stream_websocket(texts(), config=FORMAT):
                pass

    await measured(situation, result, warm_up=warm_up, listen=lambda: listen(situation, result))


if __name__ == "__main__":
    asyncio.run(main())
