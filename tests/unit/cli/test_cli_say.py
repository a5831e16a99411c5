"""``junetts say`` in one process, with a scripted backend."""

from __future__ import annotations

import errno
import io
import json
import signal
import sys
import wave
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from junetts import _assembly
from junetts._config import Config
from junetts._errors import (
    AudioDeviceError,
    AudioFileError,
    BackendUnavailableError,
    CheckpointError,
    ConfigError,
    InvalidRequestError,
    NoBackendAvailableError,
)
from junetts._utterance import Prosody, Voice
from junetts.cli.failures import hint_of
from junetts.cli.say import Ending, Order, prosody_of, read_text, say, voice_of

if TYPE_CHECKING:
    from conftest import ScriptedBackend

TEN_SENTENCES = " ".join(f"This is the sentence with the number {n}." for n in range(10))


def order(backend: ScriptedBackend, text: str = "Hello.", **changes: object) -> Order:
    """An order to this backend, to a file unless said otherwise."""
    given = {"output": "out.wav", **changes}
    return Order(text=text, config=Config(backends=[backend]), **given)  # type: ignore[arg-type]


def seconds(path: str = "out.wav") -> float:
    """Length of a WAV file, which must be valid."""
    with wave.open(path) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (44100, 1, 2)
        n_samples = file.getnframes()
        assert len(file.readframes(n_samples + 1)) == 2 * n_samples
        return n_samples / 44100


def test_writes_a_file_and_says_so(
    backend: ScriptedBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    """Success is 0, a file, and one line about it on stderr."""
    assert say(order(backend, voice=Voice("v"), prosody=Prosody(speed=1.5))) == 0
    assert seconds() == pytest.approx(0.1)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("out.wav: 0.1 s of speech by scripted (first audio after ")
    assert len(err.splitlines()) == 1
    (utterance,) = backend.utterances
    assert (utterance.voice, utterance.prosody) == (Voice("v"), Prosody(speed=1.5))


@pytest.mark.parametrize(
    ("backends", "text", "is_loaded"),
    [
        (["local"], "Hello.", True),
        ([], "Hello.", True),
        (["local", "demo"], "Hello.", False),
        (["local"], " ... ", False),
    ],
)
def test_a_model_is_loaded_before_deadlines_run(
    backend: ScriptedBackend,
    monkeypatch: pytest.MonkeyPatch,
    backends: list[str],
    text: str,
    *,
    is_loaded: bool,
) -> None:
    """A model on this machine is loaded first, if it alone would speak and there is something."""
    backend.name = "local"
    monkeypatch.setitem(_assembly._BUILDERS, "local", lambda _: backend)
    config = Config(backends=backends, local={"checkpoint": "here"})
    assert say(Order(text=text, config=config, output="out.wav")) == 0
    assert backend.n_warmups == is_loaded


def test_why_a_model_cannot_be_loaded_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A checkpoint that is not there fails in one line, with a hint, and writes no file."""
    config = Config(backends=["local"], local={"checkpoint": "nowhere"})
    assert say(Order(text="Hello.", config=config, output="out.wav")) == 1
    complaint, hint = capsys.readouterr().err.splitlines()
    assert complaint == "junetts: local: there is no directory nowhere"
    assert hint.startswith("hint: a checkpoint is a directory")
    assert not Path("out.wav").exists()


def test_json_is_the_report(backend: ScriptedBackend, capsys: pytest.CaptureFixture[str]) -> None:
    """``--json`` prints the report for programs, and nothing for people."""
    assert say(order(backend, as_json=True)) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["outcome"] == "complete"
    assert report["spoken_text"] == "Hello."
    assert report["audio_s"] == pytest.approx(0.1)
    assert err == ""


def test_empty_text_is_an_empty_file(
    backend: ScriptedBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing to say is no failure: a valid WAV without samples, and a note."""
    assert say(order(backend, text="")) == 0
    assert seconds() == 0
    assert capsys.readouterr().err == "out.wav: nothing to say\n"


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signal_in_the_middle(
    backend: ScriptedBackend, capsys: pytest.CaptureFixture[str], signum: signal.Signals
) -> None:
    """What was heard before Ctrl-C stays as a valid file; the report says cancelled."""
    before = signal.getsignal(signum)
    backend.before = lambda index: signal.raise_signal(signum) if index == 5 else None
    assert say(order(backend, text=TEN_SENTENCES, as_json=True)) == 128 + signum
    report = json.loads(capsys.readouterr().out)
    assert report["outcome"] == "cancelled"
    assert report["spoken_text"] + report["unspoken_text"] == TEN_SENTENCES
    assert seconds() == pytest.approx(report["audio_s"])
    assert seconds() < 1
    assert signal.getsignal(signum) is before


def test_signal_before_any_sound(
    backend: ScriptedBackend, capsys: pytest.CaptureFixture[str], surrounding: Path
) -> None:
    """Interrupted before any sound, an existing file is left as it was."""
    (surrounding / "out.wav").write_bytes(b"precious")
    backend.before = lambda index: signal.raise_signal(signal.SIGINT)
    assert say(order(backend)) == 130
    assert (surrounding / "out.wav").read_bytes() == b"precious"
    assert "out.wav: no speech" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("outcome", "error", "interrupted", "status"),
    [
        ("complete", None, None, 0),
        ("complete", None, 130, 0),  # it came too late
        ("cancelled", None, 130, 130),
        ("failed", BackendUnavailableError("x"), None, 1),
        ("failed", BackendUnavailableError("x"), 143, 143),
        ("cancelled", BrokenPipeError(errno.EPIPE, ""), None, 141),
        ("truncated", None, None, 1),
        (None, None, 130, 130),
    ],
)
def test_exit_status(
    outcome: str | None, error: Exception | None, interrupted: int | None, status: int
) -> None:
    """What was spoken in full is a success; otherwise the signal or the error decides."""
    report = None if outcome is None else SimpleNamespace(outcome=outcome)
    ending = Ending(report=report, error=error, interrupted=interrupted)  # type: ignore[arg-type]
    assert ending.exit_status == status


def fail(index: int) -> None:
    """Fail at the third segment."""
    if index == 2:
        raise BackendUnavailableError("it fell over", hint="pick it up")


def test_failure_in_the_middle(
    backend: ScriptedBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failure is one line and its hint; what was heard stays, and is told."""
    backend.before = fail
    assert say(order(backend, text=TEN_SENTENCES)) == 1
    err = capsys.readouterr().err.splitlines()
    assert "it fell over" in err[0]
    assert err[0].startswith("junetts: ")
    assert "failed" in err[-1]
    assert 0 < seconds() < 1


def test_failure_before_any_sound(
    backend: ScriptedBackend, capsys: pytest.CaptureFixture[str], surrounding: Path
) -> None:
    """Without any sound there is one line and a hint, and no file."""

    def refuse(index: int) -> None:
        raise BackendUnavailableError("it fell over", hint="pick it up")

    backend.before = refuse
    assert say(order(backend, as_json=True)) == 1
    out, err = capsys.readouterr()
    assert err.splitlines() == ["junetts: scripted: it fell over", "hint: pick it up"]
    report = json.loads(out)
    assert (report["outcome"], report["hint"]) == ("failed", "pick it up")
    assert "it fell over" in report["error"]
    assert not (surrounding / "out.wav").exists()


def test_failure_to_begin(
    backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failure before there is a report is told in the same form."""

    async def refuse(_: object) -> None:
        raise ConfigError("no way")

    monkeypatch.setattr("junetts._client.TTS.__aenter__", refuse)
    assert say(order(backend, as_json=True)) == 1
    out, err = capsys.readouterr()
    assert json.loads(out) == {"outcome": "failed", "error": "no way", "hint": None}
    assert err == "junetts: no way\n"


def test_unwritable_output_fails_before_speaking(backend: ScriptedBackend) -> None:
    """Nothing is spoken, or paid for, if it could not be kept."""
    with pytest.raises(AudioFileError, match=r"cannot write no/such/folder\.wav"):
        say(order(backend, output="no/such/folder.wav"))
    assert backend.utterances == []


def test_failure_to_write_in_the_middle(
    backend: ScriptedBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk is one line; the exit status and the report say failure."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    assert say(order(backend, text=TEN_SENTENCES, output="/dev/full", as_json=True)) == 1
    out, err = capsys.readouterr()
    assert "No space left on device" in err
    report = json.loads(out)
    assert report["outcome"] == "failed"
    assert "No space left on device" in report["error"]


def test_compressed_file(backend: ScriptedBackend, surrounding: Path) -> None:
    """The suffix chooses the format."""
    assert say(order(backend, output="out.flac")) == 0
    assert (surrounding / "out.flac").read_bytes()[:4] == b"fLaC"


class FakePlayer:
    """A player that can fail."""

    def __init__(self) -> None:
        self.played = bytearray()
        self.ending = ""
        self.error: AudioDeviceError | None = None

    async def write(self, pcm: bytes) -> None:
        """Hear it."""
        if self.error is not None:
            raise self.error
        self.played += pcm

    def drain(self) -> None:
        """Hear the rest."""
        self.ending += "drained "

    def close(self) -> None:
        """Be silent."""
        self.ending += "closed"


@pytest.fixture
def player(monkeypatch: pytest.MonkeyPatch) -> FakePlayer:
    """The player that the loudspeaker finds."""
    player = FakePlayer()
    monkeypatch.setattr("junetts.cli.loudspeaker._open_player", lambda sample_rate: player)
    return player


def test_plays(
    backend: ScriptedBackend, player: FakePlayer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a file the speech is played; with one only if asked for."""
    assert say(order(backend)) == 0
    assert not player.played
    assert say(order(backend, output=None)) == 0
    assert player.ending == "drained closed"
    assert say(order(backend, play=True)) == 0
    assert len(player.played) == 2 * 8820
    assert "played: 0.1 s of speech" in capsys.readouterr().err


def test_is_silent_after_interruption(backend: ScriptedBackend, player: FakePlayer) -> None:
    """Who has pressed Ctrl-C wants silence."""
    backend.before = lambda index: signal.raise_signal(signal.SIGINT) if index == 5 else None
    assert say(order(backend, text=TEN_SENTENCES, output=None)) == 130
    assert player.ending == "closed"


def test_no_sound_device(
    backend: ScriptedBackend, player: FakePlayer, capsys: pytest.CaptureFixture[str]
) -> None:
    """A machine without sound is told in one line and a hint."""
    player.error = AudioDeviceError("no sound device was found", hint="-o hello.wav")
    assert say(order(backend, output=None)) == 1
    assert capsys.readouterr().err.splitlines() == [
        "junetts: no sound device was found",
        "hint: -o hello.wav",
    ]


def test_no_sound_device_for_programs(
    backend: ScriptedBackend, player: FakePlayer, capsys: pytest.CaptureFixture[str]
) -> None:
    """What nobody could hear has failed, although the stream was only left."""
    player.error = AudioDeviceError("no sound device was found", hint="-o hello.wav")
    assert say(order(backend, text=TEN_SENTENCES, output=None, as_json=True)) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["outcome"], report["error"]) == ("failed", "no sound device was found")


def test_failure_to_finish(
    backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What fails only at the end is a failure, too."""

    def refuse(*_: object) -> None:
        raise AudioFileError("the disk is full")

    monkeypatch.setattr("junetts._speech.Speech.save", refuse)
    assert say(order(backend, output="x.flac", as_json=True)) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["outcome"] == "failed"
    assert "junetts: the disk is full" in err


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
        (OSError(5, "Input/output error"), 1, "junetts: Input/output error"),
    ],
)
def test_foreign_failure_to_write(
    backend: ScriptedBackend,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: OSError,
    status: int,
    line: str,
) -> None:
    """A reader that leaves is nobody's fault; other errors of the system are told."""

    async def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr("junetts.cli.outlets.WavOutlet.write", refuse)
    complaints: list[str] = []
    monkeypatch.setattr("junetts.cli.say.say_on_stderr", complaints.append)
    monkeypatch.setattr("junetts.cli.say.drop_stdout", lambda: None)
    assert say(order(backend, as_json=True)) == status
    outcome = json.loads(capsys.readouterr().out)["outcome"]
    assert outcome == ("failed" if line else "cancelled")
    assert complaints[:1] == ([line] if line else [])


class TestReadText:
    """Where the text comes from."""

    def stdin(self, monkeypatch: pytest.MonkeyPatch, data: bytes, *, terminal: bool) -> None:
        """Put data into standard input."""
        stream = io.TextIOWrapper(io.BytesIO(data))
        monkeypatch.setattr(stream, "isatty", lambda: terminal)
        monkeypatch.setattr(sys, "stdin", stream)

    def test_argument_is_text(self, surrounding: Path) -> None:
        """An argument is text even if it names a file."""
        (surrounding / "file.txt").write_text("content")
        assert read_text("file.txt") == "file.txt"
        assert read_text("") == ""

    def test_standard_input(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """``-`` or nothing reads standard input, as UTF-8 with or without a BOM."""
        for argument in ("-", None):
            self.stdin(monkeypatch, b"\xef\xbb\xbfgr\xc3\xbc\xc3\x9fe\n", terminal=False)
            assert read_text(argument) == "grüße\n"
        self.stdin(monkeypatch, b"typed", terminal=True)
        assert read_text("-") == "typed"

    def test_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No argument and nobody piping is a mistake in the call."""
        self.stdin(monkeypatch, b"", terminal=True)
        with pytest.raises(InvalidRequestError, match="there is no text"):
            read_text(None)
        monkeypatch.setattr(sys, "stdin", None)
        with pytest.raises(InvalidRequestError, match="there is no text"):
            read_text("-")

    def test_not_utf8(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Other encodings are refused with the place."""
        self.stdin(monkeypatch, b"abc\xff", terminal=False)
        with pytest.raises(InvalidRequestError, match=r"not UTF-8 text \(byte 3\)"):
            read_text("-")
        with pytest.raises(InvalidRequestError, match=r"not valid UTF-8 \(character 3\)"):
            read_text("ab\udcff")


def test_options_as_values() -> None:
    """Options that are not given leave the choice to the settings."""
    assert (voice_of(None), prosody_of(None)) == (None, None)
    assert (voice_of("v"), prosody_of(2.0)) == (Voice("v"), Prosody(speed=2.0))


def test_unknown_cause_has_a_hint() -> None:
    """An unavailable backend without a hint of its own leads to the doctor."""
    error = BackendUnavailableError("gone")
    assert hint_of(error) == "`junetts doctor` checks every backend"
    assert hint_of(NoBackendAvailableError([("a", error)])) is not None
    assert hint_of(AudioFileError("full")) is None
    assert hint_of(CheckpointError("torn")) is None  # the doctor would find no more
