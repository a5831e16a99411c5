"""What ``junetts say`` tells while something fails and speech goes on."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import wave
from typing import TYPE_CHECKING

import anyio
import pytest

from junetts._config import Config
from junetts._events import (
    AttemptFailed,
    BackendChosen,
    BreakerOpened,
    Event,
    HandedOver,
    Hedged,
    Retrying,
    VoiceSubstituted,
)
from junetts._report import Attempt, Handover, SegmentReport, Substitution
from junetts.cli.say import Order, say
from junetts.cli.trouble import Trouble
from junetts.testing import CloudServer, CloudSession, FishServer, Knock, Refusal, ServerCall

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "canary-key-of-the-command-line"
TEXT = "This is the first one. This is the second one.\nThis is the third one."
HANDOVER = (
    'cloud goes on for server with "This is the second one.": '
    "the server broke off its answer: peer closed connection"
)
TIMEOUT_S = 15
AT_ONCE_S = 2.0  # far less than what is waited for, far more than a busy machine takes


async def dies_in_the_second(call: ServerCall) -> None:
    """Breaks the connection in the middle of the second sentence's audio."""
    if call.request is None or "second" not in call.request.text:
        await call.answer()
        return
    await call.begin()
    await call.send(b"\1\2" * 22_050)
    await call.cut_off()


@pytest.fixture
def world() -> Iterator[dict[str, str]]:
    """Settings with a server that dies in the second sentence, and a cloud behind it."""
    with (
        FishServer(voices=["june"], script=dies_in_the_second).in_thread() as server,
        CloudServer(keys={KEY}).in_thread() as cloud,
    ):
        yield {
            "JUNETTS_BACKENDS": "server,cloud",
            "JUNETTS_SERVER__URL": server.url,
            "JUNETTS_CLOUD__URL": cloud.url,
            "FISH_API_KEY": KEY,
        }


def command(*arguments: str, variables: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start ``junetts say`` without settings but these variables."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "junetts", "say", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**kept, **variables},
    )


def spoken(*arguments: str, variables: dict[str, str]) -> tuple[int, bytes, list[str]]:
    """Run ``junetts say`` to its end; its exit status, stdout and the lines on stderr."""
    with command(*arguments, variables=variables) as process:
        out, err = process.communicate(timeout=TIMEOUT_S)
    assert "Traceback" not in err.decode()
    assert KEY not in err.decode()
    return process.returncode, out, err.decode().splitlines()


def test_a_handover_is_told_in_one_line(world: dict[str, str]) -> None:
    """Who goes on for whom, where and why, before the summary."""
    status, out, (told, summary) = spoken(TEXT, "-o", "x.wav", variables=world)
    assert (status, out) == (0, b"")
    assert told.startswith(HANDOVER)
    assert summary.startswith("x.wav: ")


def test_nothing_of_it_gets_into_a_pipe(world: dict[str, str]) -> None:
    """Standard output is a WAV stream, whatever happens."""
    status, out, lines = spoken(TEXT, "-o", "-", variables=world)
    assert (status, len(lines)) == (0, 2)
    with wave.open(io.BytesIO(out)) as file:
        assert file.getframerate() == 44_100
    assert b"goes on" not in out


@pytest.mark.parametrize("output", ["x.wav", "-"])
def test_json_has_it_all_and_nothing_else_is_told(world: dict[str, str], output: str) -> None:
    """Programs find attempts, handovers and substitutions in the report, people see nothing."""
    variables = {
        **world,
        "JUNETTS_BACKENDS": "demo,server,cloud",
        "JUNETTS_SERVER__VOICE": "june",
        "JUNETTS_DEMO__VOICE": "nobody",
        "JUNETTS_FALLBACK__ON_PARTIAL": "continue",
    }
    status, out, lines = spoken(TEXT, "-o", output, "--json", variables=variables)
    (line,) = lines if output == "-" else out.decode().splitlines()
    assert (status, out[:4] == b"RIFF") == (0, output == "-")
    assert output == "-" or not lines
    report = json.loads(line)
    assert [attempt["backend"] for attempt in report["attempts"]] == ["demo"]
    assert report["attempts"][0]["reason"].startswith("demo.voice 'nobody' is no")
    (handover,) = report["handovers"]
    assert (handover["from_backend"], handover["to_backend"]) == ("server", "cloud")
    assert (handover["segment"], handover["resumed_by"]) == (1, "estimated")
    assert 0 <= handover["resumed_at"] < len("This is the second one. ")
    assert report["substitutions"] == [
        {"backend": "cloud", "reason": "no voice is configured for it; demo has 'nobody'"}
    ]


def test_a_substitution_is_told(world: dict[str, str]) -> None:
    """Whose voice it is not, and why; only if the settings allow it."""
    variables = {
        **world,
        "JUNETTS_BACKENDS": "server",
        "JUNETTS_FALLBACK__ON_UNKNOWN_VOICE": "substitute",
    }
    arguments = ("Hello.", "-o", "x.wav", "--voice", "jnue")
    status, _, (told, summary) = spoken(*arguments, variables=variables)
    assert status == 0
    assert told == "server speaks in another voice: the server has no voice 'jnue'; it has june"
    assert summary.startswith("x.wav: ")


def test_a_retry_is_told_with_its_delay() -> None:
    """A server that is not there is tried again, and then the failure is told as ever."""
    variables = {"JUNETTS_BACKENDS": "server", "JUNETTS_SERVER__URL": "http://127.0.0.1:1"}
    status, _, (told, failure, hint) = spoken("Hello.", "-o", "x.wav", variables=variables)
    reason = "server: no connection to http://127.0.0.1:1: connection refused"
    assert status == 1
    assert told in (f"{reason}; trying again in 0.1 s", f"{reason}; trying again in 0.2 s")
    assert failure == f"junetts: {reason}"
    assert hint.startswith("hint: ")


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        """So it says."""
        return True


def test_it_stands_above_the_progress(
    world: dict[str, str], monkeypatch: pytest.MonkeyPatch, surrounding: Path
) -> None:
    """On a terminal the progress line is taken away for it, and drawn again below."""
    for name, value in {**world, "TERM": "xterm", "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    text = TEXT + " And so on it goes." * 20
    assert say(Order(text=text, config=Config.load(), output="x.wav")) == 0
    shown = terminal.getvalue()
    before, _, after = shown.partition(HANDOVER)
    assert before.endswith("\x1b[2K")  # the line that it stands on was emptied
    assert "spoken (" in after


async def too_busy(knock: Knock) -> Refusal:
    """Come again in twenty seconds."""
    return Refusal(status=429, headers={"Retry-After": "20"})


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interruption_of_a_back_off(signum: signal.Signals, status: int) -> None:
    """Nobody waits for a pause to be over after Ctrl-C."""
    with CloudServer(doorman=too_busy).in_thread() as cloud:
        variables = {"FISH_API_KEY": KEY, "JUNETTS_CLOUD__URL": cloud.url}
        with command("Hello.", "-o", "x.wav", variables=variables) as process:
            assert process.stderr is not None
            told = process.stderr.readline()
            began = time.monotonic()
            process.send_signal(signum)
            _, err = process.communicate(timeout=TIMEOUT_S)
    assert told == b"cloud: the server answered 429; trying again in 20 s\n"
    assert (process.returncode, err) == (status, b"x.wav: no speech\n")
    assert time.monotonic() - began < AT_ONCE_S


def test_interruption_of_a_race() -> None:
    """Ctrl-C ends both backends at once; that there were two is told to nobody."""
    racing = threading.Semaphore(0)

    async def server_hangs(call: ServerCall) -> None:
        if call.request is None:
            await call.answer()
            return
        racing.release()
        await call.until_left()

    async def cloud_hangs(session: CloudSession) -> None:
        await session.receive_request()
        racing.release()
        await anyio.sleep_forever()

    with (
        FishServer(script=server_hangs).in_thread() as server,
        CloudServer(script=cloud_hangs).in_thread() as cloud,
    ):
        variables = {
            "JUNETTS_BACKENDS": "server,cloud",
            "JUNETTS_SERVER__URL": server.url,
            "JUNETTS_CLOUD__URL": cloud.url,
            "JUNETTS_FALLBACK__HEDGE_AFTER_S": "0.05",
            "JUNETTS_FALLBACK__FIRST_AUDIO_TIMEOUT_S": "30",
            "FISH_API_KEY": KEY,
        }
        with command("Hello.", "-o", "x.wav", variables=variables) as process:
            for _ in ("server", "cloud"):
                assert racing.acquire(timeout=TIMEOUT_S)
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=TIMEOUT_S)
    assert (process.returncode, err) == (130, b"x.wav: no speech\n")
    assert time.monotonic() - began < AT_ONCE_S


LONG = "This sentence is so long\n that nobody wants to see all of it in one line."
SEGMENTS = tuple(
    SegmentReport(index=n, text=text, state="unspoken", backend=None, start_s=0.0, duration_s=0.0)
    for n, text in enumerate(("Short. ", LONG))
)


def handed_over(segment: int, resumed_at: int = 0) -> HandedOver:
    """From a to b."""
    handover = Handover(
        from_backend="a", to_backend="b", segment=segment, reason="gone", resumed_at=resumed_at
    )
    return HandedOver(utterance=1, handover=handover)


def failed(reason: str) -> AttemptFailed:
    """Before any sound."""
    return AttemptFailed(utterance=1, attempt=Attempt(backend="a", reason=reason))


def retrying(delay_s: float) -> Retrying:
    """The same backend."""
    return Retrying(utterance=1, backend="a", delay_s=delay_s)


@pytest.mark.parametrize(
    ("events", "line"),
    [
        ([failed("x"), failed("gone"), retrying(0.21)], "a: gone; trying again in 0.2 s"),
        ([failed("gone"), retrying(0)], "a: gone; trying again"),
        ([failed("gone"), retrying(9.96)], "a: gone; trying again in 10.0 s"),
        ([failed("gone"), retrying(20.4)], "a: gone; trying again in 20 s"),
        ([retrying(1)], "a: failed; trying again in 1.0 s"),
        ([handed_over(0)], 'b goes on for a with "Short.": gone'),
        ([handed_over(0, 3)], 'b goes on for a with "rt.": gone'),
        (
            [handed_over(1)],
            'b goes on for a with "This sentence is so long that nobody wan...": gone',
        ),
        (
            [
                VoiceSubstituted(
                    utterance=1, substitution=Substitution(backend="b", reason="unknown")
                )
            ],
            "b speaks in another voice: unknown",
        ),
        ([BackendChosen(utterance=1, backend="b")], None),
        ([Hedged(utterance=1, slow_backend="a", backend="b")], None),
        ([BreakerOpened(backend="a", reason="gone", probe_in_s=1.0)], None),
    ],
)
def test_lines(events: list[Event], line: str | None) -> None:
    """What a person reads; what has cost the listener nothing is passed over."""
    lines: list[str] = []
    trouble = Trouble(lambda: SEGMENTS, say=lines.append)
    for event in events:
        trouble(event)
    assert lines == ([] if line is None else [line])


def test_who_was_passed_over_is_told(world: dict[str, str]) -> None:
    """Or a refused key would go unnoticed for as long as another backend speaks."""
    variables = {**world, "JUNETTS_BACKENDS": "cloud,server", "FISH_API_KEY": "another"}
    status, _, (told, summary) = spoken("Hello.", "-o", "x.wav", variables=variables)
    assert status == 0
    assert told == "server speaks for cloud: the server answered 401: Invalid Token"
    assert "by server" in summary
