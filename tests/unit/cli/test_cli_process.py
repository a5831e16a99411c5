"""The command as a shell runs it: pipes, signals, exit status, one line for each mistake."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import wave
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import pytest

from junetts.testing import CloudServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY = "canary-key-of-the-command-line"
SENTENCES = "This is one of many sentences that are spoken. " * 400
TIMEOUT_S = 15


# Tells the peak memory of what it runs. Linux counts that of the process which starts another one
# as the other one's own, and the test run's is large.
MEASURED = """\
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:])
sys.stderr.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)
"""


def command(
    *arguments: str, before: tuple[str, ...] = (), **variables: str
) -> subprocess.Popen[bytes]:
    """Start ``junetts`` in the current folder, without settings but these variables."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.Popen(
        [*before, sys.executable, "-W", "error", "-m", "junetts", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**kept, **variables},
    )


def junetts(*arguments: str, text: bytes = b"", **variables: str) -> tuple[int, bytes, str]:
    """Run ``junetts`` to its end; its exit status, stdout and stderr."""
    with command(*arguments, **variables) as process:
        out, err = process.communicate(text, timeout=TIMEOUT_S)
    assert "Traceback" not in err.decode()
    assert KEY not in err.decode() + repr(out)
    return process.returncode, out, err.decode()


def wave_length(data: bytes) -> float:
    """Seconds of a WAV stream of unknown length, which must be 44.1 kHz, mono, 16 bit."""
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (44100, 1, 2)
    return (len(data) - 44) / 88200


@pytest.fixture
def cloud() -> Iterator[CloudServer]:
    """A loopback cloud that knows the key."""
    with CloudServer(keys={KEY}).in_thread() as server:
        yield server


class TestSuccess:
    """What goes well."""

    def test_file(self, surrounding: Path) -> None:
        """The README's command."""
        status, out, err = junetts("say", "Hello from June.", "--backend", "demo", "-o", "h.wav")
        assert (status, out) == (0, b"")
        assert err.startswith("h.wav: 1.")
        with wave.open(str(surrounding / "h.wav")) as file:
            assert 1 < file.getnframes() / 44100 < 4

    def test_pipe(self) -> None:
        """``-o -`` gives a playable WAV on stdout and nothing else."""
        status, out, err = junetts("say", "-", "-o", "-", "--backend", "demo", text=b"Hello.")
        assert status == 0
        assert 0.3 < wave_length(out) < 2
        assert "standard output: " in err

    def test_pipe_with_json(self) -> None:
        """With audio on stdout the report goes to stderr."""
        status, out, err = junetts("say", "Hi.", "-o", "-", "--json", "--backend", "demo")
        assert status == 0
        report = json.loads(err)
        assert report["audio_s"] == pytest.approx(wave_length(out), abs=0.001)

    def test_empty_text(self, surrounding: Path) -> None:
        """Nothing on stdin is a valid WAV without samples, to a file and to a pipe."""
        status, _, err = junetts("say", "-o", "e.wav", "--backend", "demo")
        assert (status, err) == (0, "e.wav: nothing to say\n")
        with wave.open(str(surrounding / "e.wav")) as file:
            assert file.getnframes() == 0
        status, out, _ = junetts("say", "", "-o", "-", "--backend", "demo")
        assert status == 0
        assert wave_length(out) == 0

    def test_cloud(self, cloud: CloudServer) -> None:
        """The cloud is spoken to with the key from the environment."""
        status, out, _ = junetts(
            "say", "Hi.", "-o", "-", "--voice", "v1", "--speed", "1.5",
            FISH_API_KEY=KEY, JUNETTS_CLOUD__URL=cloud.url,
        )  # fmt: skip
        assert status == 0
        assert wave_length(out) > 0
        (request,) = cloud.requests
        assert request.text == "Hi."
        assert request.request["reference_id"] == "v1"

    @pytest.mark.timeout(90)  # an hour of speech
    def test_long_text(self, surrounding: Path) -> None:
        """200 KB on stdin are spoken in constant memory."""
        text = ("word " * 8 + ".\n") * 4800
        arguments = ("-o", "/dev/null", "--backend", "demo", "--speed", "2", "--json")
        with command("say", *arguments, before=(sys.executable, "-c", MEASURED)) as process:
            out, err = process.communicate(text.encode(), timeout=80)
        assert process.returncode == 0
        report = json.loads(out)
        assert report["outcome"] == "complete"
        assert report["utf8_bytes"] == len(text) > 200_000
        assert report["audio_s"] > 2000  # which would be more than 170 MB
        assert int(err) < 150_000  # KB

    def test_config(self) -> None:
        """Settings are shown without keys."""
        status, out, _ = junetts(
            "config", FISH_API_KEY=KEY, JUNETTS_SERVER__API_KEY=KEY, JUNETTS_SAMPLE_RATE="8000"
        )
        assert status == 0
        assert "sample_rate = 8000  # JUNETTS_SAMPLE_RATE" in out.decode()
        assert "# server.api_key is set (from JUNETTS_SERVER__API_KEY)" in out.decode()

    def test_doctor(self, cloud: CloudServer) -> None:
        """The doctor finds a cloud that takes the key."""
        status, out, _ = junetts("doctor", FISH_API_KEY=KEY, JUNETTS_CLOUD__URL=cloud.url)
        assert status == 0
        assert "speaking now would use: cloud" in out.decode()

    def test_version(self) -> None:
        """The version is told."""
        status, out, _ = junetts("--version")
        assert status == 0
        assert out.startswith(b"junetts ")


class TestMistakes:
    """What a user can cause: a status and a readable line."""

    @pytest.mark.parametrize(
        ("arguments", "complaint"),
        [
            (["say", "x", "-o", "x.txt"], "must end in .wav, .flac, .ogg, .opus, .mp3"),
            (["say", "x", "-o", "x.wav", "--backend", "clowd"], "must be one of cloud, server"),
            (["say", "x", "-o", "x.wav", "--speed", "9"], "a number from 0.5 to 2"),
            (["say", "x", "-o", "x.wav", "--speed", "fast"], "valid"),
            (["say", "x", "-o", "x.wav", "--voice", ""], "voice.id must be a non-empty str"),
            (["say", "x", "y"], "y"),
            (["sing"], "sing"),
        ],
    )
    def test_usage(self, arguments: list[str], complaint: str) -> None:
        """Wrong usage is 2 and names the mistake."""
        status, out, err = junetts(*arguments)
        assert (status, out) == (2, b"")
        assert complaint in err.splitlines()[-1]

    @pytest.mark.parametrize(
        ("arguments", "variables", "complaint"),
        [
            (["-o", "no/x.wav"], {}, "cannot write no/x.wav: No such file or directory"),
            (["-o", "x.wav", "--config", "no.toml"], {}, "there is no settings file no.toml"),
            (["-o", "x.wav"], {"JUNETTS_MODEL": "x"}, "JUNETTS_MODEL is not a setting"),
            (
                ["-o", "x.wav"],
                {"JUNETTS_CLOUD__MODEL": "s9"},
                "cloud.model must be one of s1, s2-pro, s2.1-pro, s2.1-pro-free, not 's9' "
                "(from JUNETTS_CLOUD__MODEL)",
            ),
            (["-o", "x.wav", "--backend", "cloud"], {}, "no API key is configured"),
            (
                ["-o", "x.wav"],
                {"FISH_API_KEY": KEY, "JUNETTS_CLOUD__URL": "ws://127.0.0.1:1/v1/tts/live"},
                "refused the connection",
            ),
            (
                ["-o", "x.wav", "--backend", "server"],
                {"JUNETTS_SERVER__URL": "http://127.0.0.1:1"},
                "connection refused",
            ),
            (["-o", "x.wav", "--backend", "demo", "--voice", "nobody"], {}, "nobody"),
        ],
    )
    def test_failure(
        self, arguments: list[str], variables: dict[str, str], complaint: str, surrounding: Path
    ) -> None:
        """A failure is 1, one line and perhaps a hint; no file appears."""
        variables = {"JUNETTS_FALLBACK__TRIES": "1", **variables}
        status, out, err = junetts("say", "Hello.", *arguments, **variables)
        assert (status, out) == (1, b"")
        first, *hint = err.splitlines()
        assert first.startswith("junetts: ")
        assert complaint.lower() in first.lower()
        assert len(hint) < 2
        assert not hint or hint[0].startswith("hint: ")
        assert not (surrounding / "x.wav").exists()

    def test_wrong_key(self, cloud: CloudServer) -> None:
        """A refused key is told in the server's words, never with the key."""
        wrong = f"{KEY}-no-more"
        status, _, err = junetts(
            "say", "Hi.", "-o", "x.wav", FISH_API_KEY=wrong, JUNETTS_CLOUD__URL=cloud.url
        )
        assert status == 1
        assert "Invalid Token" in err.splitlines()[0]
        assert err.splitlines()[1].startswith("hint: ")

    def test_without_the_extra(self, surrounding: Path) -> None:
        """Without typer one line says how to install it."""
        (surrounding / "typer.py").write_text("raise ModuleNotFoundError(name='typer')")
        status, _, err = junetts("say", "x", PYTHONPATH=str(surrounding))
        assert status == 1
        assert err == 'junetts: the command line needs typer: pip install "junetts[cli]"\n'

    def test_other_missing_modules_are_not_hidden(self, surrounding: Path) -> None:
        """Only the extra's own modules are explained away."""
        (surrounding / "typer.py").write_text("raise ModuleNotFoundError(name='other')")
        with command("say", "x", PYTHONPATH=str(surrounding)) as process:
            _, err = process.communicate(timeout=TIMEOUT_S)
        assert b"ModuleNotFoundError" in err


class TestInterruption:
    """Signals and readers that leave."""

    @pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_signal_while_writing_a_file(
        self, signum: signal.Signals, status: int, surrounding: Path
    ) -> None:
        """What had been spoken stays as a valid WAV, and the report says cancelled."""
        events = itertools.count()

        async def hold_back() -> None:
            if next(events) > 50:
                await anyio.sleep_forever()

        with (
            CloudServer(pace=hold_back).in_thread() as server,
            command(
                "say", SENTENCES, "-o", "x.wav", "--json",
                FISH_API_KEY=KEY, JUNETTS_CLOUD__URL=server.url,
            ) as process,
        ):  # fmt: skip
            wait_for(lambda: has_sound(surrounding / "x.wav"))
            process.send_signal(signum)
            out, err = process.communicate(timeout=TIMEOUT_S)
        assert (process.returncode, err) == (status, b"")
        report = json.loads(out)
        assert report["outcome"] == "cancelled"
        assert report["spoken_text"] + report["unspoken_text"] == SENTENCES
        with wave.open(str(surrounding / "x.wav")) as file:
            n_samples = file.getnframes()
            assert len(file.readframes(n_samples)) == 2 * n_samples
        assert n_samples / 44100 == pytest.approx(report["audio_s"])
        assert n_samples > 0

    def test_interrupt_while_the_reader_is_slow(self) -> None:
        """A player that plays does not hold up Ctrl-C."""
        with command("say", SENTENCES, "-o", "-", "--backend", "demo") as process:
            assert process.stdout is not None
            assert len(process.stdout.read(100_000)) == 100_000
            process.send_signal(signal.SIGINT)
            process.wait(TIMEOUT_S)
            assert process.stderr is not None
            err = process.stderr.read().decode()
        assert process.returncode == 130
        assert ", cancelled" in err
        assert "Traceback" not in err

    def test_interrupt_while_reading_text(self) -> None:
        """Ctrl-C while text is still awaited is quiet."""
        with command("say", "-", "-o", "x.wav", "--backend", "demo") as process:
            assert process.stdin is not None
            process.stdin.write(b"x" * 200_000)  # more than a pipe holds: it is reading now
            process.stdin.flush()
            interrupt_until_ended(process)
            assert process.stderr is not None
            err = process.stderr.read()
            process.stdin.close()
        assert (process.returncode, err) == (130, b"")

    def test_reader_leaves(self) -> None:
        """``| head -c 100`` ends the command quietly."""
        with command("say", SENTENCES, "-o", "-", "--backend", "demo") as process:
            assert process.stdout is not None
            assert len(process.stdout.read(100)) == 100
            process.stdout.close()
            process.wait(TIMEOUT_S)
            assert process.stderr is not None
            assert process.stderr.read() == b""
        assert process.returncode == 141

    def test_reader_of_settings_leaves(self) -> None:
        """Text output into a closed pipe is quiet, too."""
        read_fd, write_fd = os.pipe()
        os.close(read_fd)
        process = subprocess.run(
            [sys.executable, "-m", "junetts", "config"],
            stdout=write_fd,
            stderr=subprocess.PIPE,
            check=False,
            timeout=TIMEOUT_S,
        )
        os.close(write_fd)
        assert (process.returncode, process.stderr) == (141, b"")


def interrupt_until_ended(process: subprocess.Popen[bytes]) -> None:
    """Ctrl-C, again if it fell into the moment between two reads."""
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(2)


def has_sound(path: Path) -> bool:
    """Whether a WAV file has more than its header."""
    return path.exists() and path.stat().st_size > 80


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until another process has done something, as long as the test may take."""
    pause = threading.Event()
    while not condition():
        pause.wait(0.01)
