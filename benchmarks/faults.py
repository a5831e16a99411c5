"""The same faults for junetts and for what people use today: heard, raised, left behind.

    pip install . && python benchmarks/faults.py       # all of it; takes some minutes
    python benchmarks/faults.py --script death --peer junetts

A loopback provider speaks twenty words, each at its own pitch, so that what a listener gets can be
heard word by word; it breaks on command in the ninth. The peers come from the package index, each
into an environment of its own below ``.nox``. RealtimeTTS needs PyAudio, which builds only where
PortAudio's headers are (Debian: portaudio19-dev).
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from _faults_environments import DoesNotInstallError, python_of
from _faults_listener import FAULT_WORD, SOURCE_FAILS_AT, WORDS
from _faults_voice import hear

HERE = Path(__file__).resolve().parent
SCRIPTS = {
    "death": "The primary's process dies in the 9th word: the connection ends, no new one is taken",
    "stall": "The primary stops sending in the 9th word and keeps the connection open",
    "abort": "The primary resets the TCP connection in the 9th word, whenever it is asked",
    "source": f"The text's source raises after {SOURCE_FAILS_AT} words",
    "leave": "The listener leaves after 1 s of audio",
    "refused": "The primary refuses connections from the start",
    "down": "Both providers refuse connections",
}
LEGEND = """
A provider speaks {n_words} words in four sentences, four times as fast as they last; where it
breaks, it does so within word {fault}. Text arrives word by word. The deadline of everyone who can
be given one is {deadline_s:g} s.

Heard are words by their number, ~ marks a piece of one; lost is what was never heard whole, again
what was heard whole more than once. Told is what the interface says without raising; logs do not
count. Left behind are tasks, sockets and threads 0.5 s after all was closed, and speech that was
made in the 0.5 s after the listener had left.
"""
Heard = tuple[tuple[int, bool], ...]
KILL_AFTER_S = 40.0  # beyond the limit, for a driver that does not come back


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A way to speak: its name, its driver, and the packages that it is made of."""

    name: str
    driver: str
    environment: str = ""
    packages: tuple[str, ...] = ()
    settings: str
    takes_text_at_once: bool = False


LIVEKIT = ("livekit-agents", "livekit-plugins-fishaudio")
ADAPTER = (
    "FallbackAdapter of two livekit-plugins-fishaudio with pcm, its defaults (2 retries each); "
    "used as the framework's own default agent does"
)
PEERS = (
    Peer(
        name="junetts, respeak",
        driver="_faults_junetts.py",
        settings="TTS.stream, backends cloud and server, defaults (on_partial respeak)",
    ),
    Peer(
        name="junetts, continue",
        driver="_faults_junetts.py",
        settings="the same with on_partial continue",
    ),
    Peer(
        name="livekit-agents, stream()",
        driver="_faults_livekit.py",
        environment="faults-livekit",
        packages=LIVEKIT,
        settings=ADAPTER,
    ),
    Peer(
        name="livekit-agents, synthesize()",
        driver="_faults_livekit.py",
        environment="faults-livekit",
        packages=LIVEKIT,
        settings="the same adapter, given the whole text",
        takes_text_at_once=True,
    ),
    Peer(
        name="RealtimeTTS",
        driver="_faults_realtimetts.py",
        environment="faults-realtimetts",
        packages=("realtimetts[playback]",),
        settings="TextToAudioStream of two HTTP engines that have the deadline; muted, rule-based",
    ),
    Peer(
        name="fish-audio-sdk",
        driver="_faults_fish_sdk.py",
        environment="faults-fish-audio-sdk",
        packages=("fish-audio-sdk",),
        settings="AsyncFishAudio.tts.stream_websocket, pcm; it has no failover",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one peer did under one script."""

    peer: Peer
    script: str
    heard: Heard = ()
    raised: str = "nothing"
    left: str = "nothing"
    seconds: str = ""
    version: str = ""
    failure: str = ""

    def row(self) -> str:
        """A line of the table."""
        if self.failure:
            return f"| {self.peer.name} | {self.failure} | | | | | |"
        lost, again = self.lost_and_repeated()
        cells = (self.peer.name, spans(self.heard), lost, again, self.raised, self.left)
        return f"| {' | '.join(cells)} | {self.seconds} |"

    def lost_and_repeated(self) -> tuple[str, str]:
        """How many words that were to be spoken were not, and how many were more than once."""
        n_given = SOURCE_FAILS_AT if self.script == "source" else len(WORDS)
        whole = [place for place, is_whole in self.heard if is_whole]
        n_lost = len(set(range(1, n_given + 1)) - set(whole))
        lost = "" if self.script == "leave" else str(n_lost)
        return lost, str(len(whole) - len(set(whole)))


def main() -> None:
    """Run everything; print a table per script."""
    options = read_options()
    peers = [peer for peer in PEERS if not options.peer or options.peer in peer.name]
    scripts = [s for s in SCRIPTS if options.script in (None, s)]
    pythons = {peer.name: prepared(peer, options.environments) for peer in peers}
    with ThreadPoolExecutor(options.jobs) as pool:
        runs = {
            (peer.name, script): pool.submit(run, peer, script, pythons[peer.name], options)
            for script in scripts
            for peer in peers
            if not (script == "source" and peer.takes_text_at_once)
        }
        results = {key: future.result() for key, future in runs.items()}
    print_preamble(peers, list(results.values()), options)
    for script in scripts:
        print(f"\n{SCRIPTS[script]}.\n")
        print("| | heard | lost | again | raised; told | left behind | s |")
        print("|---|---|---|---|---|---|---|")
        for peer in peers:
            if (peer.name, script) in results:
                print(results[peer.name, script].row())


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--script", choices=list(SCRIPTS))
    parser.add_argument("--peer", default="", help="only those whose name contains this")
    parser.add_argument("--deadline-s", type=float, default=3.0)
    parser.add_argument("--limit-s", type=float, default=100.0)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--environments", type=Path, default=Path(".nox"))
    parser.add_argument("--logs", type=Path, help="a folder for what the drivers print")
    return parser.parse_args()


def prepared(peer: Peer, folder: Path) -> Path | str:
    """The interpreter that the peer runs in, or why there is none."""
    if not peer.packages:
        return Path(sys.executable)
    try:
        return python_of(peer.packages, folder / peer.environment)
    except DoesNotInstallError as error:
        return f"does not install here: {error}"


def run(peer: Peer, script: str, python: Path | str, options: argparse.Namespace) -> Run:
    """One peer under one script, in a process of its own with providers of its own."""
    if isinstance(python, str):
        return Run(peer=peer, script=script, failure=python)
    providers = subprocess.Popen(
        [sys.executable, HERE / "_faults_providers.py", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with providers, tempfile.TemporaryDirectory() as folder:
        assert providers.stdout is not None
        recording = Path(folder, "heard.pcm")
        situation = json.loads(providers.stdout.readline()) | {
            "script": script,
            "peer": peer.name,
            "deadline_s": options.deadline_s,
            "limit_s": options.limit_s,
            "recording": str(recording),
        }
        output = driven(peer, situation, python, options)
        sent, _ = providers.communicate()
        heard = tuple(hear(recording.read_bytes())) if recording.exists() else ()
    return judged(peer, script, output, json.loads(sent), heard, options.limit_s)


def driven(
    peer: Peer, situation: dict[str, object], python: Path, options: argparse.Namespace
) -> dict[str, object]:
    """Run the driver; returns its result, which is empty if it had to be killed."""
    command: list[str | Path] = [python, HERE / peer.driver, json.dumps(situation)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=options.limit_s + KILL_AFTER_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {}
    if options.logs:
        name = f"{situation['script']} {peer.name}.log"
        options.logs.mkdir(parents=True, exist_ok=True)
        (options.logs / name).write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode:
        return {"failure": done.stderr.strip().splitlines()[-1]}
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result


def judged(
    peer: Peer,
    script: str,
    output: dict[str, object],
    sent: list[tuple[float, float]],
    heard: Heard,
    limit_s: float,
) -> Run:
    """The run in words."""
    hangs = f"hangs (> {limit_s:g} s)"
    if not output:
        return Run(peer=peer, script=script, heard=heard, raised=f"{hangs}; had to be killed")
    if "failure" in output:
        return Run(peer=peer, script=script, failure=f"does not run here: {output['failure']}")
    left_at = float(str(output["left_at"]))
    raised = hangs if output["hangs"] else str(output["raised"] or "nothing")
    told = f"; {output['told']}" if output["told"] else ""
    return Run(
        peer=peer,
        script=script,
        heard=heard,
        raised=(raised + told).replace("|", "/"),
        left=left_behind(output, sum(s for at, s in sent if at > left_at)),
        seconds="" if output["hangs"] else f"{float(str(output['ended_s'])):.1f}",
        version=str(output["version"]),
    )


def left_behind(output: dict[str, object], synthesised_s: float) -> str:
    """What the peer held after all was closed, and what was spoken to nobody."""
    held = output["left_behind"]
    assert isinstance(held, dict)
    parts = [f"{n} {kind if n > 1 else kind[:-1]}" for kind, n in held.items()]
    if synthesised_s > 0.1:
        parts.append(f"{synthesised_s:.1f} s of speech made for nobody")
    return ", ".join(parts) or "nothing"


def spans(heard: Heard) -> str:
    """The words that were heard as stretches: ``1-8, ~9, 6-20``; ~ is a piece of a word."""
    parts: list[list[int]] = []
    for place, is_whole in heard:
        if is_whole and parts and len(parts[-1]) == 2 and place == parts[-1][1] + 1:
            parts[-1][1] = place
        else:
            parts.append([place, place] if is_whole else [place])
    return ", ".join(span(part) for part in parts) or "nothing"


def span(part: list[int]) -> str:
    """One stretch, or a piece of a word."""
    if len(part) == 1:
        return f"~{part[0]}"
    first, last = part
    return f"{first}" if first == last else f"{first}-{last}"


def print_preamble(peers: list[Peer], runs: list[Run], options: argparse.Namespace) -> None:
    """What was run, with which settings."""
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}.")
    print(LEGEND.format(n_words=len(WORDS), fault=FAULT_WORD + 1, deadline_s=options.deadline_s))
    for peer in peers:
        versions = {run.version for run in runs if run.peer is peer and run.version}
        print(f"- {peer.name} {', '.join(versions)}: {peer.settings}")


if __name__ == "__main__":
    main()
