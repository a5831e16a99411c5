"""Where audio goes: files, pipes, devices."""

from __future__ import annotations

import os
import sys
import threading
from typing import IO, TYPE_CHECKING

import anyio
import pytest

from junetts._audio import AudioChunk
from junetts._errors import AudioFileError, InvalidRequestError
from junetts._report import Outcome, SpeechReport
from junetts._speech import Speech
from junetts._wav import wav_header
from junetts.cli.outlets import (
    COMPRESSED_SUFFIXES,
    CompressedOutlet,
    PipeOutlet,
    WavOutlet,
    open_outlet,
)

if TYPE_CHECKING:
    from pathlib import Path

RATE = 8000


def chunk(pcm: bytes = b"\x01\x02" * 100) -> AudioChunk:
    """Some audio."""
    return AudioChunk(pcm=pcm, sample_rate=RATE, start_s=0.0, segment=0)


def report(outcome: Outcome = "complete") -> SpeechReport:
    """A report of something."""
    return SpeechReport(
        outcome=outcome,
        spoken_text="",
        unspoken_text="",
        segments=(),
        attempts=(),
        handovers=(),
        backend=None,
        sample_rate=RATE,
        ttfa_s=None,
        rtf=None,
        audio_s=0.0,
        characters=0,
        utf8_bytes=0,
        cost_usd=0.0,
    )


def use_as_stdout(monkeypatch: pytest.MonkeyPatch, file: IO[str] | None) -> None:
    """Let this file be standard output."""
    monkeypatch.setattr(sys, "stdout", file)


class TestFiles:
    """Names of files."""

    @pytest.mark.parametrize("name", ["x.txt", "x", "", "wav"])
    def test_unknown_suffix(self, name: str) -> None:
        """A name that says no format is refused with those that are known."""
        with pytest.raises(InvalidRequestError, match=r"must end in .wav, .flac, .ogg, .opus, .mp"):
            open_outlet(name)

    def test_suffixes_are_those_that_speech_saves(self, tmp_path: Path) -> None:
        """Every suffix that is let through can be saved at the end."""
        speech = Speech(pcm=chunk().pcm, sample_rate=RATE, report=report())
        for suffix in COMPRESSED_SUFFIXES:
            speech.save(tmp_path / f"x{suffix}")

    def test_opening_leaves_no_trace(self, tmp_path: Path) -> None:
        """Until there is audio, no file appears and none is overwritten."""
        for suffix in (".WAV", ".mp3"):
            open_outlet(str(tmp_path / f"new{suffix}"))
            (tmp_path / f"old{suffix}").write_bytes(b"precious")
            open_outlet(str(tmp_path / f"old{suffix}"))
            assert (tmp_path / f"old{suffix}").read_bytes() == b"precious"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["old.WAV", "old.mp3"]

    @pytest.mark.parametrize("suffix", [".wav", ".flac"])
    def test_unwritable(self, tmp_path: Path, suffix: str) -> None:
        """A missing folder, or a folder in the file's place, is told at once."""
        with pytest.raises(AudioFileError, match="No such file or directory"):
            open_outlet(str(tmp_path / f"no/x{suffix}"))
        (tmp_path / f"folder{suffix}").mkdir()
        with pytest.raises(AudioFileError, match="Is a directory"):
            open_outlet(str(tmp_path / f"folder{suffix}"))

    def test_folder_that_takes_no_new_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A compressed file needs room beside it, too."""

        def refuse(**_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("tempfile.TemporaryFile", refuse)
        open_outlet(str(tmp_path / "x.wav"))
        with pytest.raises(AudioFileError, match="Permission denied"):
            open_outlet(str(tmp_path / "x.mp3"))

    @pytest.mark.anyio
    async def test_wav_grows_while_it_is_spoken(self, tmp_path: Path) -> None:
        """After each chunk the file is as long as what was spoken."""
        path = tmp_path / "x.wav"
        outlet = open_outlet(str(path))
        assert isinstance(outlet, WavOutlet)
        await outlet.write(chunk())
        first = path.stat().st_size
        await outlet.write(chunk())
        assert path.stat().st_size == first + 200
        outlet.finish(report("cancelled"))

    @pytest.mark.anyio
    async def test_compressed_file_is_written_at_the_end(self, tmp_path: Path) -> None:
        """What was spoken before an interruption is saved, too."""
        outlet = open_outlet(str(tmp_path / "x.ogg"))
        assert isinstance(outlet, CompressedOutlet)
        await outlet.write(chunk())
        outlet.finish(report("cancelled"))
        assert (tmp_path / "x.ogg").read_bytes()[:4] == b"OggS"


class TestPipes:
    """Standard output and named pipes."""

    def test_terminal_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Audio is no text."""
        primary, secondary = os.openpty()
        with os.fdopen(primary), os.fdopen(secondary, "w") as terminal:
            use_as_stdout(monkeypatch, terminal)
            with pytest.raises(InvalidRequestError, match="write to a file or into a pipe"):
                open_outlet("-")

    def test_closed_stdout(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A closed standard output is told at once."""
        use_as_stdout(monkeypatch, None)
        with pytest.raises(AudioFileError, match="standard output is closed"):
            open_outlet("-")

    @pytest.mark.anyio
    async def test_redirected_stdout_is_a_file(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """After the shell's ``>`` the sizes in the header are right in the end."""
        with (tmp_path / "x.wav").open("w") as file:
            use_as_stdout(monkeypatch, file)
            outlet = open_outlet("-")
            assert isinstance(outlet, WavOutlet)
            await outlet.write(chunk())
            outlet.finish(report())
        data = (tmp_path / "x.wav").read_bytes()
        assert int.from_bytes(data[4:8], "little") == len(data) - 8

    @pytest.mark.anyio
    async def test_pipe_gets_one_header_and_the_samples(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """More than a pipe holds goes through, after one header of unknown length."""
        read_fd, write_fd = os.pipe()
        received = bytearray()
        pcm = bytes(range(256)) * 1000
        with os.fdopen(read_fd, "rb") as reader, os.fdopen(write_fd, "w") as writer:
            use_as_stdout(monkeypatch, writer)
            outlet = open_outlet("-")
            assert isinstance(outlet, PipeOutlet)
            thread = threading.Thread(target=lambda: received.extend(reader.read()))
            thread.start()
            await outlet.write(chunk(pcm))
            await outlet.write(chunk(b"\x07\x00"))
            outlet.finish(report())
            writer.close()
            thread.join()
        assert received == wav_header(None, sample_rate=RATE) + pcm + b"\x07\x00"

    @pytest.mark.anyio
    async def test_full_pipe_can_be_left(self) -> None:
        """A reader that does not read cannot hold up cancellation."""
        read_fd, write_fd = os.pipe()
        try:
            outlet = PipeOutlet("pipe", fd=write_fd)
            with anyio.move_on_after(0.05) as scope:
                await outlet.write(chunk(bytes(1_000_000)))
            assert scope.cancelled_caught
        finally:
            os.close(read_fd)
            os.close(write_fd)

    @pytest.mark.anyio
    async def test_reader_that_has_gone(self) -> None:
        """A closed pipe is a BrokenPipeError."""
        read_fd, write_fd = os.pipe()
        os.close(read_fd)
        try:
            with pytest.raises(BrokenPipeError):
                await PipeOutlet("pipe", fd=write_fd).write(chunk())
        finally:
            os.close(write_fd)

    def test_named_pipe_without_audio(self, tmp_path: Path) -> None:
        """A named pipe is waited for; without audio it gets an empty WAV."""
        path = tmp_path / "pipe"
        os.mkfifo(path)
        received: list[bytes] = []
        thread = threading.Thread(target=lambda: received.append(path.read_bytes()))
        thread.start()
        outlet = open_outlet(str(path))
        assert isinstance(outlet, PipeOutlet)
        outlet.finish(report())
        os.close(outlet._fd)
        thread.join()
        assert received == [wav_header(0, sample_rate=RATE)]

    @pytest.mark.anyio
    async def test_device(self) -> None:
        """A device needs no suffix."""
        outlet = open_outlet(os.devnull)
        assert isinstance(outlet, WavOutlet)
        await outlet.write(chunk())
        outlet.finish(report())

    def test_special_file_that_cannot_be_opened(self, tmp_path: Path) -> None:
        """A socket in the file system is no file to write."""
        import socket

        path = tmp_path / "socket"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            with pytest.raises(AudioFileError, match="cannot write"):
                open_outlet(str(path))
