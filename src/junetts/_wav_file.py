"""A WAV file that grows while it is spoken."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, BinaryIO, Protocol

from junetts._audio import BYTES_PER_SAMPLE
from junetts._errors import AudioFileError
from junetts._wav import MAX_RIFF_BYTES, RESERVED_HEADER_BYTES, reserved_wav_header, wav_header

if TYPE_CHECKING:
    from types import TracebackType


class _Target(Protocol):
    """What is used of a binary file."""

    def write(self, data: memoryview, /) -> int | None: ...
    def seek(self, offset: int, /) -> int: ...
    def tell(self) -> int: ...
    def seekable(self) -> bool: ...
    def fileno(self) -> int: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


class WavFile:
    """Writes s16le mono samples to a path, an open binary file or a pipe.

    Guarantees: a seekable file is a valid WAV of all samples written so far after every write,
    even if the process is killed inside it; beyond 4 GiB it becomes RF64. What cannot seek,
    such as a pipe, gets one header of unknown length, with the first samples or at the end.
    An open file is written from its current position and left open. Failure to write is an
    `AudioFileError`, with the system's ``errno``.

    Args:
        target: a path, which is overwritten, or an open binary file.
        sample_rate: of the samples, in Hz.
        max_riff_bytes: where RF64 begins.
    """

    def __init__(
        self,
        target: str | os.PathLike[str] | BinaryIO,
        *,
        sample_rate: int,
        max_riff_bytes: int = MAX_RIFF_BYTES,
    ) -> None:
        self._sample_rate = sample_rate
        self._max_riff_bytes = max_riff_bytes
        self._n_bytes = 0
        self._needs_header = False
        self._is_closed = False
        self._is_ours = isinstance(target, (str, os.PathLike))
        self._name = os.fspath(target) if isinstance(target, (str, os.PathLike)) else "the output"
        try:
            self._file = _open(target)
            self._begin()
        except OSError as error:
            raise self._failure(error) from error

    def write(self, pcm: bytes) -> None:
        """Append samples; whole ones, in any amount."""
        if self._is_closed:
            raise AudioFileError(f"cannot write to {self._name}: it is closed")
        try:
            self._write_pending_header()
            self._append(pcm)
        except OSError as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Finish the file; may be called more than once."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._write_pending_header()
            self._patch_header()
        except OSError as error:
            raise self._failure(error) from error
        finally:
            if self._is_ours:
                self._file.close()

    def __enter__(self) -> WavFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _begin(self) -> None:
        """Look what the target can do; what can seek is a valid file from here on."""
        self._start = self._file.tell() if _can_patch(self._file) else None
        self._needs_header = self._start is None
        self._patch_header()

    def _write_pending_header(self) -> None:
        if self._needs_header:
            self._needs_header = False
            self._write_all(wav_header(None, sample_rate=self._sample_rate))
            self._file.flush()

    def _append(self, pcm: bytes) -> None:
        """Samples first, then the sizes: a header never promises what is not there."""
        if self._start is None:
            self._write_all(pcm)
            self._file.flush()
            return
        # Seek anew, as an interrupted write may have left the position anywhere.
        self._file.seek(self._start + RESERVED_HEADER_BYTES + self._n_bytes)
        self._write_all(pcm)
        self._file.flush()
        self._n_bytes += len(pcm)
        self._patch_header()

    def _patch_header(self) -> None:
        if self._start is None:
            return
        n_bytes = self._n_bytes - self._n_bytes % BYTES_PER_SAMPLE
        header = reserved_wav_header(
            n_bytes, sample_rate=self._sample_rate, max_riff_bytes=self._max_riff_bytes
        )
        self._file.seek(self._start)
        self._write_all(header)
        self._file.seek(self._start + len(header) + self._n_bytes)
        self._file.flush()

    def _write_all(self, data: bytes) -> None:
        """Write everything: an unbuffered file may take less at a time."""
        rest = memoryview(data)
        while rest:
            n_written = self._file.write(rest)
            if not n_written:
                raise BlockingIOError("the output does not take more data now")
            rest = rest[n_written:]

    def _failure(self, error: OSError) -> AudioFileError:
        reason = error.strerror or str(error)
        return AudioFileError(f"cannot write {self._name}: {reason}", errno=error.errno)


def _open(target: str | os.PathLike[str] | BinaryIO) -> _Target:
    """The target as a file; a path is opened unbuffered, so that nothing dies with the process."""
    if isinstance(target, (str, os.PathLike)):
        return open(target, "wb", buffering=0)
    return target


def _can_patch(file: _Target) -> bool:
    """Whether the header can be overwritten later: not in a pipe, nor in append mode."""
    return file.seekable() and not _appends(file)


def _appends(file: _Target) -> bool:
    """Whether the system moves every write to the end, as after the shell's ``>>``."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        return bool(fcntl.fcntl(file.fileno(), fcntl.F_GETFL) & os.O_APPEND)
    except OSError:  # not a file of the system's, but one in memory
        return False
