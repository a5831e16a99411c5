"""junetts under the fault script: the cloud, and a fish-speech server as its backup."""

from __future__ import annotations

import asyncio

import junetts
from _faults_listener import (
    GRACE_S,
    LEAVES,
    WARM_UP,
    Recorder,
    Result,
    Situation,
    measured,
    read_situation,
    tokens_async,
)


def config(situation: Situation) -> dict[str, object]:
    """The settings, which are the default ones but for addresses, deadlines and the policy."""
    return {
        "backends": ["cloud", "server"],
        "cloud": {"url": situation.primary["live"], "api_keys": ["benchmark"]},
        "server": {"url": situation.backup["http"]},
        "fallback": {
            "first_audio_timeout_s": situation.deadline_s,
            "stall_timeout_s": situation.deadline_s,
            "on_partial": situation.peer.partition(", ")[2],
        },
    }


async def listen(situation: Situation, result: Result) -> None:
    """Speak the text, and note how the report says that it ended."""
    recorder = Recorder(situation.recording)
    async with junetts.TTS(config(situation)) as tts:
        stream = tts.stream(tokens_async(situation.script))
        try:
            async for chunk in stream:
                recorder.hear(chunk.pcm)
                if situation.script == LEAVES and recorder.has_enough:
                    break
        finally:
            result.leave()
            report = stream.report
            result.told = f"report: {report.outcome}"
            if report.handovers:
                result.told += f", {len(report.handovers)} handover"
        await asyncio.sleep(GRACE_S)


async def main() -> None:
    """One run."""
    situation = read_situation()
    result = Result(version=junetts.__version__)

    async def warm_up() -> None:
        async with junetts.TTS(config(situation)) as tts:
            await tts.synthesize(WARM_UP)

    await measured(situation, result, warm_up=warm_up, listen=lambda: listen(situation, result))


if __name__ == "__main__":
    asyncio.run(main())
