"""What junetts's engine costs, in a process of its own; prints JSON, a line per run.

    python benchmarks/_junetts_engine.py CHECKPOINT --dtype bfloat16 --frames 65 215

The first line is about loading. A random checkpoint hardly ever ends by itself, so that the
number of frames is the one asked for.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

TEXT = "The quick brown fox jumps over the lazy dog, and then it does so again."


class Stopwatch:
    """Seconds spent inside of functions, without those of other watched functions in them."""

    def __init__(self) -> None:
        self.spent_s: dict[str, float] = defaultdict(float)
        self._open: list[float] = []

    def watch(self, owner: Any, name: str, what: str) -> None:
        """Time every call of ``owner.name`` as ``what``."""
        setattr(owner, name, self._timed(getattr(owner, name), what))

    def _timed(self, function: Callable[..., Any], what: str) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._open.append(0.0)
            begin = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                elapsed = time.perf_counter() - begin
                self.spent_s[what] += elapsed - self._open.pop()
                if self._open:
                    self._open[-1] += elapsed

        return timed


def watched_engine() -> Stopwatch:
    """Watch the parts of a frame; what is in none of them is Python."""
    from junetts._runtime import frame
    from junetts._runtime.codec import CodecStream
    from junetts._runtime.dual_ar import DualAR

    stopwatch = Stopwatch()
    stopwatch.watch(DualAR, "prefill", "prompt")
    stopwatch.watch(DualAR, "decode", "slow AR")
    stopwatch.watch(DualAR, "main_logits", "head")
    stopwatch.watch(DualAR, "fast", "fast AR")
    stopwatch.watch(DualAR, "fast_logits", "fast AR")
    stopwatch.watch(frame, "_token", "sampling")  # calls main_logits
    stopwatch.watch(frame, "_residual_noise", "sampling")
    stopwatch.watch(frame._Sampler, "code", "sampling")
    stopwatch.watch(CodecStream, "push", "codec")
    return stopwatch


def measure(engine: Any, text: str, *, n_frames: int) -> dict[str, object]:
    """Speak once; times are in seconds from the request."""
    from junetts import Sampling

    begin = time.perf_counter()
    first_audio_s, n_samples = None, 0
    for samples in engine.speak([text], sampling=Sampling(seed=1), max_frames=n_frames):
        first_audio_s = first_audio_s or time.perf_counter() - begin
        n_samples += samples.shape[0]
    total_s = time.perf_counter() - begin
    return {
        "frames": n_samples // 2048,
        "first_audio_s": round(first_audio_s or total_s, 3),
        "total_s": round(total_s, 3),
        "frames_per_s": round(n_samples / 2048 / total_s, 3),
        "peak_rss_mb": peak_rss_mb(),
    }


def parts(engine: Any, text: str, stopwatch: Stopwatch, *, n_frames: int) -> dict[str, float]:
    """Milliseconds per frame, by part."""
    stopwatch.spent_s.clear()
    total_s = float(str(measure(engine, text, n_frames=n_frames)["total_s"]))
    reading_s = stopwatch.spent_s.pop("prompt", 0.0)
    found = {what: 1000 * spent / n_frames for what, spent in stopwatch.spent_s.items()}
    found["Python"] = 1000 * (total_s - reading_s) / n_frames - sum(found.values())
    return {what: round(ms, 3) for what, ms in found.items()}


class LoopWatch:
    """How long callbacks of the event loop run, and how late a heartbeat of 1 ms comes."""

    BEAT_S = 0.001

    def __init__(self) -> None:
        self.longest_callback_s = 0.0
        self.late_s: list[float] = []

    async def __aenter__(self) -> LoopWatch:
        run = asyncio.Handle._run

        def timed(handle: asyncio.Handle) -> None:
            begin = time.perf_counter()
            run(handle)
            self.longest_callback_s = max(self.longest_callback_s, time.perf_counter() - begin)

        self._untimed = run
        asyncio.Handle._run = timed
        self._beating = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.Handle._run = self._untimed
        self._beating.cancel()

    async def _beat(self) -> None:
        while True:
            begin = time.perf_counter()
            await asyncio.sleep(self.BEAT_S)
            self.late_s.append(time.perf_counter() - begin - self.BEAT_S)


async def event_loop(checkpoint: Path, text: str, *, dtype: str, n_frames: int) -> dict[str, float]:
    """What an application's event loop notices of speech that is made beside it."""
    from junetts import TTS, Sampling

    settings = {"checkpoint": str(checkpoint), "device": "cpu", "dtype": dtype, "voice_cache": ""}
    sampling = Sampling(seed=1, max_new_tokens=n_frames)
    async with TTS({"backends": ["local"], "local": settings}) as tts:
        await tts.warmup()
        for warming in (True, False):
            async with LoopWatch() as watch:
                async for _ in tts.stream(text, sampling=sampling):
                    pass
            if warming:
                continue
            late = sorted(watch.late_s)
    return {
        "longest_callback_ms": round(1000 * watch.longest_callback_s, 2),
        "heartbeat_late_p99_ms": round(1000 * late[int(0.99 * len(late))], 2),
        "heartbeat_late_max_ms": round(1000 * late[-1], 2),
    }


def peak_rss_mb() -> int:
    """The most memory that this process ever held, file pages that it mapped included."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    """Read the command line, load once, speak as often as asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--frames", type=int, nargs="+", default=[65])
    parser.add_argument("--text", default=TEXT)
    parser.add_argument("--warmup-frames", type=int, default=4)
    parser.add_argument("--parts", type=int, default=0, metavar="FRAMES")
    parser.add_argument("--event-loop", type=int, default=0, metavar="FRAMES")
    arguments = parser.parse_args()
    logging.getLogger("junetts").setLevel(logging.ERROR)  # that speech does not end, each time
    if arguments.event_loop:
        options = {"dtype": arguments.dtype, "n_frames": arguments.event_loop}
        found = asyncio.run(event_loop(arguments.checkpoint, arguments.text, **options))
        print(json.dumps(found))
        return
    begin = time.perf_counter()
    import junetts.engine

    engine = junetts.engine.load(arguments.checkpoint, device="cpu", dtype=arguments.dtype)
    load_s = round(time.perf_counter() - begin, 2)
    print(json.dumps({"load_s": load_s, "peak_rss_mb": peak_rss_mb()}), flush=True)
    if arguments.warmup_frames:
        measure(engine, arguments.text, n_frames=arguments.warmup_frames)
    for n_frames in arguments.frames:
        print(json.dumps(measure(engine, arguments.text, n_frames=n_frames)), flush=True)
    if arguments.parts:
        stopwatch = watched_engine()
        print(json.dumps(parts(engine, arguments.text, stopwatch, n_frames=arguments.parts)))


if __name__ == "__main__":
    main()
