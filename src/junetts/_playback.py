"""Sound out of the loudspeaker, through whichever player is installed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from junetts._audio import BYTES_PER_SAMPLE
from junetts._errors import AudioDeviceError

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import ModuleType

_BUFFER_MS = 100
_TURN_S = 0.2
_PATIENCE_S = 10.0  # beyond the audio's length, for devices that are slow to start
_NO_DEVICE_HINT = "connect or enable a sound device, or save to a file instead"


def play_pcm(pcm: bytes, *, sample_rate: int) -> None:
    """Play s16le mono samples to their end; Ctrl-C stops at once.

    Raises:
        AudioDeviceError: if no player is installed, or there is no sound device.
    """
    try:
        import miniaudio
    except ImportError:
        _play_with_sounddevice(pcm, sample_rate)
    else:
        _play_with_miniaudio(miniaudio, pcm, sample_rate)


def _play_with_miniaudio(miniaudio: ModuleType, pcm: bytes, sample_rate: int) -> None:
    finished = threading.Event()
    source = _frames(pcm, sample_rate, finished)
    next(source)  # the device sends frame counts to a generator that has been started
    try:
        with miniaudio.PlaybackDevice(
            output_format=miniaudio.SampleFormat.SIGNED16,
            nchannels=1,
            sample_rate=sample_rate,
            buffersize_msec=_BUFFER_MS,
            app_name="junetts",
        ) as device:
            if device.backend == "Null":
                raise AudioDeviceError("no sound device was found", hint=_NO_DEVICE_HINT)
            device.start(source)
            _wait(finished, len(pcm) / (BYTES_PER_SAMPLE * sample_rate))
    except miniaudio.MiniaudioError as error:
        raise _device_error(error) from error


def _frames(pcm: bytes, sample_rate: int, finished: threading.Event) -> Generator[bytes, int, None]:
    """Hand out as many frames as are asked for, then silence until the buffer has drained."""
    n_frames = yield b""
    at = 0
    silence_left = BYTES_PER_SAMPLE * sample_rate * 3 * _BUFFER_MS // 1000
    while silence_left > 0:
        n_bytes = n_frames * BYTES_PER_SAMPLE
        piece = pcm[at : at + n_bytes]
        at += len(piece)
        silence_left -= n_bytes - len(piece)
        n_frames = yield piece.ljust(n_bytes, b"\0")
    finished.set()
    while True:
        n_frames = yield bytes(n_frames * BYTES_PER_SAMPLE)


def _wait(finished: threading.Event, duration_s: float) -> None:
    """Wait in short turns, so that Ctrl-C is heard on every system."""
    for _ in range(int((duration_s + _PATIENCE_S) / _TURN_S)):
        if finished.wait(_TURN_S):
            return
    raise AudioDeviceError("the sound device stopped taking audio", hint=_NO_DEVICE_HINT)


def _play_with_sounddevice(pcm: bytes, sample_rate: int) -> None:
    try:
        import sounddevice
    except ImportError as error:
        raise _no_player() from error
    except OSError as error:  # it is installed, but the PortAudio library is not
        raise _device_error(error) from error
    try:
        with sounddevice.RawOutputStream(
            samplerate=sample_rate, channels=1, dtype="int16"
        ) as stream:
            block_bytes = BYTES_PER_SAMPLE * sample_rate * _BUFFER_MS // 1000
            block_bytes -= block_bytes % BYTES_PER_SAMPLE
            for at in range(0, len(pcm), block_bytes):  # short blocks, so that Ctrl-C is heard
                stream.write(pcm[at : at + block_bytes])
    except sounddevice.PortAudioError as error:
        raise _device_error(error) from error


def _no_player() -> AudioDeviceError:
    return AudioDeviceError(
        'playing needs a player: pip install "junetts[play]"', hint='pip install "junetts[play]"'
    )


def _device_error(error: Exception) -> AudioDeviceError:
    reason = ", ".join(str(part) for part in error.args)
    return AudioDeviceError(f"sound cannot be played: {reason}", hint=_NO_DEVICE_HINT)
