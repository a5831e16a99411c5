"""The streaming engine beside fish-speech 0.1.0's: same machine, same checkpoint, same run.

    python benchmarks/engine.py                 # both shapes, both precisions; takes half an hour
    python benchmarks/engine.py --shape small

Both engines speak random checkpoints, which are written to ``--workspace`` first, each in a fresh
process, in turns. fish-speech needs an environment of its own, which is made if it is not there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
INTEROP = HERE.parent / "tests" / "interop"
SECONDS = (3, 10, 30)
FRAMES_PER_S = 44_100 / 2048
Row = dict[str, Any]


def main() -> None:
    """Read the command line; print a table per shape and precision."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=["small", "s1-mini"], action="append")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], action="append")
    parser.add_argument("--workspace", type=Path, default=Path("build", "benchmarks"))
    parser.add_argument("--upstream", type=Path, default=Path(".nox", "interop-server"))
    parser.add_argument("--seconds", type=float, nargs="+", default=SECONDS)
    arguments = parser.parse_args()
    upstream = upstream_python(arguments.upstream)
    print(f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    frames = [round(seconds * FRAMES_PER_S) for seconds in arguments.seconds]
    for shape in arguments.shape or ["small", "s1-mini"]:
        for dtype in arguments.dtype or ["float32", "bfloat16"]:
            checkpoint = made_checkpoint(arguments.workspace, shape, dtype)
            report(shape, dtype, upstream, checkpoint, frames)


def report(shape: str, dtype: str, upstream: Path, checkpoint: Path, frames: list[int]) -> None:
    """Measure one shape in one precision, and print it."""
    lengths = [str(n) for n in frames]
    options = [str(checkpoint), "--dtype", dtype]
    theirs = list(run(upstream, "_upstream_engine.py", *options, "--frames", *lengths))
    parts = ["--parts", lengths[0]]
    ours = list(run(sys.executable, "_junetts_engine.py", *options, "--frames", *lengths, *parts))
    (loop,) = run(sys.executable, "_junetts_engine.py", *options, "--event-loop", lengths[0])
    print(f"\n{shape}, {dtype}: fish-speech 0.1.0, junetts, and the ratio that is in our favour\n")
    print("| speech, s | first audio, s | | | frames per s | | | peak memory, MB | | |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for n_frames, their, our in zip(frames, theirs[1:], ours[1:-1], strict=True):
        assert their["frames"] == our["frames"] == n_frames, (their, our)
        cells = [
            *compared(their["first_audio_s"], our["first_audio_s"]),
            *compared(their["frames_per_s"], our["frames_per_s"], more_is_better=True),
            *compared(their["peak_rss_mb"], our["peak_rss_mb"]),
        ]
        print(f"| {n_frames / FRAMES_PER_S:.0f} | {' | '.join(cells)} |")
    print(f"\nours, ms per frame: {listed(ours[-1])}")
    print(f"event loop beside it, ms: {listed(loop)}", flush=True)


def compared(their: float, our: float, *, more_is_better: bool = False) -> tuple[str, str, str]:
    """Both numbers, and by which factor ours is better."""
    factor = our / their if more_is_better else their / our
    return f"{their:g}", f"{our:g}", f"{factor:.1f}"


def listed(numbers: Row) -> str:
    """Names and numbers in a line."""
    return ", ".join(f"{name} {number:g}" for name, number in numbers.items())


def run(python: Path | str, script: str, *arguments: str) -> Iterator[Row]:
    """Run a script in a fresh process; yields the lines of JSON that it prints."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COV_")}
    if python != sys.executable:
        environment["PYTHONPATH"] = str(INTEROP / "stubs")
    done = subprocess.run(
        [python, HERE / script, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    for line in done.stdout.splitlines():
        yield json.loads(line)


def made_checkpoint(workspace: Path, shape: str, dtype: str) -> Path:
    """The random checkpoint of that shape, written if it is not there."""
    directory = workspace / f"{shape}-{dtype}"
    if not (directory / "codec.pth").exists():
        maker = HERE / "make_checkpoint.py"
        command = [sys.executable, maker, shape, directory, "--dtype", dtype]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return directory


def upstream_python(environment: Path) -> Path:
    """The interpreter that has fish-speech 0.1.0."""
    maker = INTEROP / "server_env.py"
    subprocess.run([sys.executable, maker, environment], check=True, stdout=sys.stderr)
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    return python.absolute()


def processor() -> str:
    """What computes."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
