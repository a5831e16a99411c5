"""Where spoken audio is written to: a file, standard output, a pipe."""

from __future__ import annotations

import os
import select
import stat
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO, Protocol

from anyio import wait_writable

from junetts._audio import AudioChunk
from junetts._errors import AudioFileError, InvalidRequestError
from junetts._report import SpeechReport
from junetts._speech import Speech
from junetts._wav import wav_header
from junetts._wav_file import WavFile

STDOUT = "-"
COMPRESSED_SUFFIXES = (".flac", ".ogg", ".opus", ".mp3")


class Outlet(Protocol):
    """Takes audio as it is made; ``name`` is what people call it."""

    name: str

    async def write(self, chunk: AudioChunk) -> None:
        """Take a chunk.

        Raises:
            AudioFileError, AudioDeviceError, OSError: if it cannot be taken.
        """

    def finish(self, report: SpeechReport) -> None:
        """End in order after the last chunk, which may have come too early."""


def open_outlet(output: str) -> Outlet:
    """The outlet that ``-o`` names, ready to be written to; nothing is overwritten yet.

    Raises:
        InvalidRequestError: if the name's suffix says no known format, or stdout is a terminal.
        AudioFileError: if it cannot be written.
    """
    if output == STDOUT:
        return _standard_output()
    path = Path(output)
    if path.exists() and not path.is_file() and not path.is_dir():
        return _open_special(path)
    suffix = path.suffix.lower()
    if suffix != ".wav" and suffix not in COMPRESSED_SUFFIXES:
        known = ", ".join((".wav", *COMPRESSED_SUFFIXES))
        raise InvalidRequestError(f"the file's name must end in {known}, not {output!r}")
    _require_writable(path)
    if suffix == ".wav":
        return WavOutlet(output, target=path)
    _require_writable_folder(path)
    return CompressedOutlet(output)


def _standard_output() -> Outlet:
    name = "standard output"
    if sys.stdout is None:
        raise AudioFileError("standard output is closed")
    if sys.stdout.isatty():
        raise InvalidRequestError(
            "-o - would write audio to the terminal; write to a file or into a pipe"
        )
    if _is_pipe(sys.stdout.fileno()):
        return PipeOutlet(name, fd=sys.stdout.fileno())
    return WavOutlet(name, target=sys.stdout.buffer)


def _open_special(path: Path) -> Outlet:
    """A named pipe or a device; opened now, while waiting for a reader can be interrupted."""
    try:
        fd = os.open(path, os.O_WRONLY)
    except OSError as error:
        raise _unwritable(path, error) from error
    if _is_pipe(fd):
        return PipeOutlet(str(path), fd=fd)
    return WavOutlet(str(path), target=open(fd, "wb", buffering=0, closefd=False))


def _is_pipe(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return hasattr(select, "PIPE_BUF") and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))


def _require_writable(path: Path) -> None:
    """Find out before anything is spoken, or paid for; leaves no trace."""
    existed = os.path.lexists(path)
    try:
        with path.open("ab"):
            pass
        if not existed:
            path.unlink()
    except OSError as error:
        raise _unwritable(path, error) from error


def _require_writable_folder(path: Path) -> None:
    """Compressed files are written beside their place and then moved there."""
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> AudioFileError:
    return AudioFileError(f"cannot write {path}: {error.strerror}", errno=error.errno)


class WavOutlet:
    """A WAV file that is valid at every moment, begun with the first audio."""

    def __init__(self, name: str, *, target: Path | BinaryIO) -> None:
        self.name = name
        self._target = target
        self._file: WavFile | None = None

    async def write(self, chunk: AudioChunk) -> None:
        """Append to the file; short writes to a local file, not worth a thread."""
        self._opened(chunk.sample_rate).write(chunk.pcm)

    def finish(self, report: SpeechReport) -> None:
        """Close the file; without any audio it is an empty WAV."""
        self._opened(report.sample_rate).close()

    def _opened(self, sample_rate: int) -> WavFile:
        if self._file is None:
            self._file = WavFile(self._target, sample_rate=sample_rate)
        return self._file


class PipeOutlet:
    """A WAV stream into a pipe, as fast as its reader takes it.

    Never blocks the event loop, so that Ctrl-C is heard while a player plays.
    """

    def __init__(self, name: str, *, fd: int) -> None:
        self.name = name
        self._fd = fd
        self._has_header = False

    async def write(self, chunk: AudioChunk) -> None:
        """Write when the pipe has room; up to PIPE_BUF bytes then cannot block (POSIX)."""
        data = chunk.pcm
        if not self._has_header:
            self._has_header = True
            data = wav_header(None, sample_rate=chunk.sample_rate) + data
        rest = memoryview(data)
        while rest:
            await wait_writable(self._fd)
            rest = rest[os.write(self._fd, rest[: select.PIPE_BUF]) :]

    def finish(self, report: SpeechReport) -> None:
        """Without any audio, write the header of an empty WAV."""
        if not self._has_header:
            self._has_header = True
            os.write(self._fd, wav_header(0, sample_rate=report.sample_rate))


class CompressedOutlet:
    """A flac, ogg, opus or mp3 file, written at the end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._pcm = bytearray()

    async def write(self, chunk: AudioChunk) -> None:
        """Keep the audio."""
        self._pcm += chunk.pcm

    def finish(self, report: SpeechReport) -> None:
        """Write what there is, if there is any or there was nothing to say."""
        _speech(self._pcm, report).save(self.name)


def _speech(pcm: bytearray, report: SpeechReport) -> Speech:
    return Speech(pcm=bytes(pcm), sample_rate=report.sample_rate, report=report)
