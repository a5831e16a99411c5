"""What junetts says with upstream's engine; runs in upstream's environment, as a script.

    python fish_speech_driver.py CASES.json OUT.npz

A case is ``{"name", "text", "section", "sampling", "clip", "transcript"}``. Of each, OUT holds
its samples (``NAME_pcm``) and, as JSON in ``outcomes``, how it ended and what was logged.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import sys
import threading
import time
from typing import Any

import numpy as np

import junetts


class Messages(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.lines.append((record.levelname, record.getMessage()))


async def speak(case: dict[str, Any]) -> tuple[bytes, dict[str, object]]:
    """One case in a client of its own."""
    began = time.monotonic()
    voice = None
    if "clip" in case:
        said = case.get("transcript", "A tone.")
        voice = junetts.Voice.clone(base64.b64decode(case["clip"]), said)
    async with junetts.TTS(
        {
            "backends": ["local"],
            "local": {"engine": "fish-speech", "device": "cpu", **case["section"]},
            "fallback": {"patience_s": 120.0},
        }
    ) as tts:
        try:
            speech = await tts.synthesize(
                case["text"], voice=voice, sampling=junetts.Sampling(**case.get("sampling", {}))
            )
        except junetts.JuneTtsError as error:
            partial = b"" if error.speech is None else error.speech.pcm
            outcome = error.report.outcome if error.report is not None else None
            ended = {"error": type(error).__name__, "message": str(error), "outcome": outcome}
            return partial, ended | {"took_s": time.monotonic() - began}
        (health,) = (await tts.health()).values()
    return speech.pcm, {
        "outcome": speech.report.outcome,
        "health": health.detail,
        "took_s": time.monotonic() - began,
    }


def main() -> None:
    """Speak every case, and write down what came."""
    with open(sys.argv[1], encoding="utf-8") as file:
        cases = json.load(file)
    log = Messages()
    logger = logging.getLogger("junetts")
    logger.addHandler(log)
    logger.setLevel(logging.DEBUG)
    outcomes: dict[str, object] = {}
    audio: dict[str, Any] = {}
    for case in cases:
        log.lines.clear()
        pcm, outcomes[case["name"]] = asyncio.run(speak(case))
        outcomes[case["name"]] |= {"log": list(log.lines)}  # type: ignore[operator]
        audio[f"{case['name']}_pcm"] = np.frombuffer(pcm, "<i2")
    outcomes["threads"] = [thread.name for thread in threading.enumerate()]
    outcomes["has_torchaudio"] = "torchaudio" in sys.modules
    np.savez(sys.argv[2], outcomes=json.dumps(outcomes), **audio)


if __name__ == "__main__":
    main()
