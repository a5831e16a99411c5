"""WAV files that grow: valid after every write, in pipes, beyond 4 GiB, after SIGKILL."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
import wave
from pathlib import Path
from typing import BinaryIO

import pytest
import soundfile

from junetts._errors import AudioFileError, JuneTtsError
from junetts._wav import wav_header
from junetts._wav_file import WavFile

PIECES = [bytes([n, 0] * (n + 1)) for n in range(1, 20)]


def read_wave(source: Path | bytes) -> bytes:
    """All samples, by the standard library."""
    file: BinaryIO | str = io.BytesIO(source) if isinstance(source, bytes) else str(source)
    with wave.open(file) as reader:
        assert (reader.getframerate(), reader.getnchannels()) == (16_000, 1)
        return bytes(reader.readframes(reader.getnframes()))


def read_soundfile(source: bytes) -> bytes:
    """All samples, by libsndfile."""
    samples, rate = soundfile.read(io.BytesIO(source), dtype="int16")
    assert rate == 16_000
    return bytes(samples.tobytes())


def test_file_is_valid_after_every_write(tmp_path: Path) -> None:
    """At every moment the file on disk holds exactly what was written."""
    path = tmp_path / "out.wav"
    written = b""
    with WavFile(path, sample_rate=16_000) as file:
        assert read_wave(path) == b""
        for piece in PIECES:
            file.write(piece)
            written += piece
            assert read_wave(path) == read_soundfile(path.read_bytes()) == written
    assert read_wave(path) == read_soundfile(path.read_bytes()) == written


class CrashingFile(io.BytesIO):
    """Keeps what was on disk after each single write."""

    def __init__(self) -> None:
        super().__init__()
        self.states: list[bytes] = []

    def write(self, data: object) -> int:
        """Write, and remember."""
        n_written = super().write(data)  # type: ignore[arg-type]
        self.states.append(self.getvalue())
        return n_written


def test_file_is_valid_between_any_two_system_calls() -> None:
    """A kill inside a write leaves all earlier samples readable, and none invented."""
    target = CrashingFile()
    file = WavFile(target, sample_rate=16_000)
    done = [b"", *(b"".join(PIECES[: n + 1]) for n in range(len(PIECES)))]
    for piece in PIECES:
        file.write(piece)
    assert len(target.states) > len(PIECES)
    for state in target.states:
        assert read_wave(state) in done


def test_file_survives_sigkill(tmp_path: Path) -> None:
    """A process killed in the middle of writing leaves a valid WAV of its samples."""
    path = tmp_path / "out.wav"
    script = (
        "import sys; from junetts._wav_file import WavFile\n"
        "file = WavFile(sys.argv[1], sample_rate=16000)\n"
        "for n in range(10**9):\n"
        "    file.write(bytes(range(100)))\n"
        "    if n == 50: print('going', flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    pcm = read_wave(path)
    assert len(pcm) >= 51 * 100
    assert len(pcm) % 100 == 0
    assert pcm == bytes(range(100)) * (len(pcm) // 100)


def test_pipe_gets_one_header_of_unknown_length() -> None:
    """What cannot seek gets a streaming header once, and then nothing but samples."""
    read_end, write_end = os.pipe()
    with open(read_end, "rb") as reader:
        with open(write_end, "wb") as pipe, WavFile(pipe, sample_rate=16_000) as file:
            for piece in PIECES:
                file.write(piece)
        assert reader.read() == wav_header(None, sample_rate=16_000) + b"".join(PIECES)


def test_pipe_without_samples_gets_a_header_at_the_end() -> None:
    """Nothing to say is a WAV of nothing; before that, nothing is written."""
    read_end, write_end = os.pipe()
    with open(read_end, "rb") as reader:
        with open(write_end, "wb", buffering=0) as pipe:
            os.set_blocking(read_end, False)
            file = WavFile(pipe, sample_rate=16_000)
            assert reader.read() is None
            file.close()
        assert reader.read() == wav_header(None, sample_rate=16_000)


def test_append_mode_counts_as_a_pipe(tmp_path: Path) -> None:
    """A shell's >> moves every write to the end, so nothing is patched."""
    path = tmp_path / "out"
    path.write_bytes(b"before")
    with path.open("ab") as target, WavFile(target, sample_rate=16_000) as file:
        file.write(PIECES[0])
        file.write(PIECES[1])
    header = wav_header(None, sample_rate=16_000)
    assert path.read_bytes() == b"before" + header + PIECES[0] + PIECES[1]


def test_open_file_is_written_from_its_position_and_left_open(tmp_path: Path) -> None:
    """Bytes before the position stay, and the file is the caller's to close."""
    with (tmp_path / "out").open("w+b") as target:
        target.write(b"before")
        with WavFile(target, sample_rate=16_000) as file:
            file.write(PIECES[3])
        target.write(b"after")
        target.seek(0)
        content = target.read()
    assert content.startswith(b"before")
    assert read_wave(content[6:]) == PIECES[3]
    assert content.endswith(PIECES[3] + b"after")


def test_large_file_becomes_rf64(tmp_path: Path) -> None:
    """Beyond the limit the header turns into RF64 in place, and stays right."""
    path = tmp_path / "out.wav"
    written = b""
    kinds = []
    with WavFile(path, sample_rate=16_000, max_riff_bytes=300) as file:
        for piece in PIECES:
            file.write(piece)
            written += piece
            content = path.read_bytes()
            kinds.append(content[:4])
            assert read_soundfile(content) == written
    assert kinds[0] == b"RIFF"
    assert kinds[-1] == b"RF64"


def test_more_than_4_gib_is_rf64(tmp_path: Path) -> None:
    """Real sizes beyond 32 bits, over a hole in the file that takes no room."""
    path = tmp_path / "out.wav"
    with WavFile(path, sample_rate=16_000) as file:
        file._n_bytes = 2**32  # as if 4 GiB had been written: the file system fills in zeros
        file.write(b"\1\2")
    info = soundfile.info(str(path))
    assert (info.format, info.frames) == ("RF64", 2**31 + 1)
    assert path.stat().st_size == 80 + 2**32 + 2


def test_odd_bytes_never_count(tmp_path: Path) -> None:
    """Half a sample is not promised until its other half is there."""
    path = tmp_path / "out.wav"
    with WavFile(path, sample_rate=16_000) as file:
        file.write(b"\1\2\3")
        assert read_wave(path) == b"\1\2"
        file.write(b"\4")
    assert read_wave(path) == b"\1\2\3\4"


def test_close_is_idempotent_and_final(tmp_path: Path) -> None:
    """Closing twice is fine; writing afterwards is a readable error."""
    file = WavFile(tmp_path / "out.wav", sample_rate=16_000)
    file.close()
    file.close()
    with pytest.raises(AudioFileError, match="closed"):
        file.write(b"\0\0")


def test_unwritable_path_is_a_typed_error(tmp_path: Path) -> None:
    """The error names the path and the system's reason, and is an OSError too."""
    with pytest.raises(AudioFileError, match=r"missing/out\.wav: No such file") as caught:
        WavFile(tmp_path / "missing" / "out.wav", sample_rate=16_000)
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, JuneTtsError)
    assert caught.value.errno == errno.ENOENT


def test_closed_pipe_is_a_typed_error() -> None:
    """A listener that went away is an AudioFileError with EPIPE, at every step."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    with open(write_end, "wb", buffering=0) as pipe:
        file = WavFile(pipe, sample_rate=16_000)
        with pytest.raises(AudioFileError) as caught:
            file.write(b"\0\0")
        assert caught.value.errno == errno.EPIPE
        other = WavFile(pipe, sample_rate=16_000)
        with pytest.raises(AudioFileError):
            other.close()


class FullDisk(io.BytesIO):
    """Takes only a few bytes at a time, and at some point none."""

    room = 200

    def write(self, data: object) -> int:
        """Take a little, while there is room or for a header at the start."""
        view = memoryview(data)  # type: ignore[arg-type]
        if self.tell() >= self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(view[:7])


def test_full_disk_keeps_what_was_written() -> None:
    """Short writes are continued, and after a failed one the file is valid without it."""
    target = FullDisk()
    file = WavFile(target, sample_rate=16_000)
    file.write(bytes(range(100)))
    with pytest.raises(AudioFileError, match="No space left") as caught:
        file.write(bytes(100))
    assert caught.value.errno == errno.ENOSPC
    file.close()
    assert read_wave(target.getvalue()) == bytes(range(100))


def test_non_blocking_target_that_is_full_is_an_error() -> None:
    """A raw file that takes nothing now must not spin."""

    class Stuck(io.BytesIO):
        def write(self, data: object) -> int:
            return 0

    with pytest.raises(AudioFileError, match="does not take more"):
        WavFile(Stuck(), sample_rate=16_000)
