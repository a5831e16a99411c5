"""Finished audio, and what can be done with it."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from junetts._audio import BYTES_PER_SAMPLE
from junetts._errors import AudioFileError, InvalidRequestError
from junetts._wav import wav_header

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from junetts._report import SpeechReport


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Speech:
    """Audio that was spoken, with the report of how.

    Attributes:
        pcm: signed 16 bit little-endian mono samples.
        sample_rate: samples per second.
        report: what was and was not spoken, and how long it took.
    """

    pcm: bytes
    sample_rate: int
    report: SpeechReport

    def __repr__(self) -> str:
        return f"<Speech: {self.duration_s:.2f} s at {self.sample_rate} Hz, {self.report.outcome}>"

    @property
    def samples(self) -> npt.NDArray[np.float32]:
        """The audio as float32 in [-1, 1), shape ``[n_samples]``."""
        import numpy as np

        return np.frombuffer(self.pcm, dtype="<i2").astype(np.float32) / np.float32(32768)

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.pcm) / (BYTES_PER_SAMPLE * self.sample_rate)

    @property
    def wav(self) -> bytes:
        """The audio as the bytes of a WAV file."""
        return wav_header(len(self.pcm), sample_rate=self.sample_rate) + self.pcm

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a sound file: wav, flac, ogg, opus or mp3, by the suffix of its name.

        The file appears complete or not at all. Opus and mp3 know few sample rates; other
        audio is resampled to the nearest.

        Raises:
            InvalidRequestError: if the suffix is not one of these.
            AudioFileError: if the file cannot be written.
        """
        name = _file_name(path)
        suffix = os.path.splitext(name)[1].lower().removeprefix(".")
        if suffix != "wav" and suffix not in _CODECS:
            raise InvalidRequestError(
                f"path must end in .wav, .{', .'.join(_CODECS)}, not {name!r}", field="path"
            )
        data = self.wav if suffix == "wav" else _encode(self.pcm, self.sample_rate, suffix)
        try:
            _write_atomically(name, data)
        except OSError as error:
            raise _save_error(name, error) from error

    def play(self) -> None:
        """Play the audio and return when it is over; Ctrl-C stops it.

        Raises:
            AudioDeviceError: if no player is installed, or there is no sound device.
        """
        from junetts._playback import play_pcm

        play_pcm(self.pcm, sample_rate=self.sample_rate)


@dataclass(frozen=True, slots=True)
class _Codec:
    """How libsndfile names a format, and the sample rates that it can encode."""

    format: str
    subtype: str
    rates: Sequence[int]


_CODECS = {
    "flac": _Codec("FLAC", "PCM_16", range(1, 192_001)),
    "ogg": _Codec("OGG", "VORBIS", range(8_000, 192_001)),  # far beyond, the encoder crashes
    "opus": _Codec("OGG", "OPUS", (8000, 12000, 16000, 24000, 48000)),
    "mp3": _Codec(
        "MP3",
        "MPEG_LAYER_III",
        (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
    ),
}
_BLOCK_SAMPLES = 65_536  # libsndfile's Vorbis encoder overflows its stack on very long blocks


def _file_name(path: object) -> str:
    name = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(name, str) or "\0" in name:
        raise InvalidRequestError(f"path must be a file name, not {path!r}", field="path")
    return name


def _encode(pcm: bytes, sample_rate: int, suffix: str) -> bytes:
    """S16le mono as the bytes of a compressed file."""
    import io

    import numpy as np
    import soundfile

    codec = _CODECS[suffix]
    rate = sample_rate
    if rate not in codec.rates:
        from junetts._pcm import resample_pcm

        rate = min(codec.rates, key=lambda known: abs(known - sample_rate))
        pcm = resample_pcm(pcm, source_rate=sample_rate, target_rate=rate)
    samples = np.frombuffer(pcm, dtype="<i2")
    if not len(samples):
        raise AudioFileError(f"cannot encode {suffix}: there is no audio; only wav can be empty")
    encoded = io.BytesIO()
    try:
        with soundfile.SoundFile(
            encoded, "w", rate, 1, format=codec.format, subtype=codec.subtype
        ) as file:
            for at in range(0, len(samples), _BLOCK_SAMPLES):
                file.write(samples[at : at + _BLOCK_SAMPLES])
    except soundfile.SoundFileError as error:
        raise AudioFileError(f"cannot encode {suffix} at {rate} Hz: {error}") from error
    return encoded.getvalue()


def _write_atomically(name: str, data: bytes) -> None:
    """Write beside the file and move into place; a pipe or device is written directly."""
    if os.path.exists(name) and not os.path.isfile(name):
        with open(name, "wb") as special:
            special.write(data)
        return
    name = os.path.realpath(name)  # through a symbolic link, rather than over it
    temporary = os.path.join(os.path.dirname(name), f".junetts-{os.urandom(8).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            _copy_mode(name, temporary)  # before there is anything to read
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # else a crash could leave an empty file under the name
        os.replace(temporary, name)
    except BaseException:
        _remove(temporary)
        raise


def _copy_mode(name: str, temporary: str) -> None:
    """Give the file that replaces another one its permissions."""
    with contextlib.suppress(FileNotFoundError):  # there is none to replace
        os.chmod(temporary, stat.S_IMODE(os.stat(name).st_mode))


def _remove(name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.remove(name)


def _save_error(name: str, error: OSError) -> AudioFileError:
    directory = os.path.dirname(os.path.realpath(name))
    if os.path.isdir(name):
        reason = "it is a directory"
    elif not os.path.isdir(directory):
        reason = f"there is no directory {directory}"
    else:
        reason = error.strerror or str(error)
    return AudioFileError(f"cannot save {name}: {reason}", errno=error.errno)
