"""What fish-speech 0.1.0's engine costs, in a process of its own; prints JSON, a line per run.

    PYTHONPATH=tests/interop/stubs PYTHON_OF_FISH_SPEECH benchmarks/_upstream_engine.py \
        CHECKPOINT --dtype bfloat16 --frames 65 215

The first line is about loading. A random checkpoint hardly ever ends by itself, so that the
number of frames is the one asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import Any

TEXT = "The quick brown fox jumps over the lazy dog, and then it does so again."


def measure(engine: Any, text: str, *, n_frames: int) -> dict[str, object]:
    """Speak once; times are in seconds from the request."""
    from fish_speech.utils.schema import ServeTTSRequest

    # Upstream always drops the last frame.
    request = ServeTTSRequest(text=text, max_new_tokens=n_frames + 1, seed=1, streaming=True)
    begin = time.perf_counter()
    first_audio_s, n_samples = None, 0
    for result in engine.inference(request):
        if result.code == "error":
            raise result.error
        if result.code == "segment":
            first_audio_s = first_audio_s or time.perf_counter() - begin
            n_samples += len(result.audio[1])
    total_s = time.perf_counter() - begin
    return {
        "frames": n_samples // 2048,
        "first_audio_s": round(first_audio_s or total_s, 3),
        "total_s": round(total_s, 3),
        "frames_per_s": round(n_samples / 2048 / total_s, 3),
        "peak_rss_mb": peak_rss_mb(),
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
    arguments = parser.parse_args()
    os.environ["TQDM_DISABLE"] = "1"
    warnings.simplefilter("ignore")  # upstream's own, on every request
    begin = time.perf_counter()
    import upstream_parts

    upstream_parts.quieten()
    dtype = upstream_parts.DTYPES[arguments.dtype]
    engine = upstream_parts.load_engine(arguments.checkpoint, dtype=dtype)
    load_s = round(time.perf_counter() - begin, 2)
    print(json.dumps({"load_s": load_s, "peak_rss_mb": peak_rss_mb()}), flush=True)
    if arguments.warmup_frames:
        measure(engine, arguments.text, n_frames=arguments.warmup_frames)
    for n_frames in arguments.frames:
        print(json.dumps(measure(engine, arguments.text, n_frames=n_frames)), flush=True)


if __name__ == "__main__":
    main()
