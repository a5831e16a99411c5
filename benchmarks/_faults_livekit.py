"""livekit-agents' FallbackAdapter under the fault script: its own Fish Audio plugin, twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import aiohttp
from livekit.agents import APIConnectOptions, tts, utils
from livekit.plugins import fishaudio

from _faults_listener import (
    GRACE_S,
    LEAVES,
    SAMPLE_RATE,
    TEXT,
    WARM_UP,
    Recorder,
    Result,
    Situation,
    measured,
    read_situation,
    tokens_async,
)


@asynccontextmanager
async def adapter(situation: Situation) -> AsyncIterator[tts.FallbackAdapter]:
    """The adapter over two providers, closed with all that it was given."""
    # Its `synthesize` calls /v1/tts over HTTP, its `stream` the socket: the same origin upstream.
    where = "http" if situation.peer.endswith("synthesize()") else "cloud"
    async with aiohttp.ClientSession() as session:
        providers: list[tts.TTS] = [
            fishaudio.TTS(
                api_key="benchmark",
                base_url=provider[where],
                output_format="pcm",
                sample_rate=SAMPLE_RATE,
                http_session=session,
            )
            for provider in (situation.primary, situation.backup)
        ]
        fallback = tts.FallbackAdapter(providers)
        try:
            yield fallback
        finally:
            await fallback.aclose()
            for provider in providers:
                await provider.aclose()


def options(situation: Situation) -> APIConnectOptions:
    """The adapter's own: no retry of its own, and the deadline that everyone has."""
    return APIConnectOptions(max_retry=0, timeout=situation.deadline_s)


async def listen(situation: Situation, result: Result) -> None:
    """Speak the text as the framework's agents do."""
    recorder = Recorder(situation.recording)
    async with adapter(situation) as fallback:
        events: list[str] = []
        fallback.on("tts_availability_changed", lambda event: events.append(_named(event)))
        try:
            await _speak(fallback, situation, recorder)
        finally:
            result.leave()
            result.told = "; ".join(events)
        await asyncio.sleep(GRACE_S)


def _named(event: tts.AvailabilityChangedEvent) -> str:
    return f"event: {'available' if event.available else 'not available'}"


async def _speak(fallback: tts.FallbackAdapter, situation: Situation, recorder: Recorder) -> None:
    if situation.peer.endswith("synthesize()"):
        async with fallback.synthesize(TEXT, conn_options=options(situation)) as stream:
            await _hear(stream, situation, recorder)
        return
    async with fallback.stream(conn_options=options(situation)) as stream:

        async def forward() -> None:
            async for token in tokens_async(situation.script):
                stream.push_text(token)
            stream.end_input()

        forwarding = asyncio.create_task(forward())
        try:
            await _hear(stream, situation, recorder)
        finally:
            await utils.aio.cancel_and_wait(forwarding)


async def _hear(
    stream: tts.SynthesizeStream | tts.ChunkedStream, situation: Situation, recorder: Recorder
) -> None:
    async for event in stream:
        recorder.hear(bytes(event.frame.data))
        if situation.script == LEAVES and recorder.has_enough:
            break


async def main() -> None:
    """One run."""
    situation = read_situation()
    result = Result(version=version("livekit-agents"))

    async def warm_up() -> None:
        async with (
            adapter(situation) as fallback,
            fallback.synthesize(WARM_UP, conn_options=options(situation)) as stream,
        ):
            async for _ in stream:
                pass

    await measured(situation, result, warm_up=warm_up, listen=lambda: listen(situation, result))


if __name__ == "__main__":
    asyncio.run(main())
