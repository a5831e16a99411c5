"""Speech out of the loudspeaker while it is made, through whichever player is installed."""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from anyio import sleep
from anyio.to_thread import run_sync

from junetts._audio import BYTES_PER_SAMPLE, AudioChunk
from junetts._errors import AudioDeviceError

if TYPE_CHECKING:
    from junetts._report import SpeechReport

PLAYERS = ("miniaudio", "sounddevice")
AHEAD_S = 1.0  # of sound in the buffer: enough for a hiccup, little enough to stop soon
_POLL_S = 0.05
_BUFFER_MS = 100
_HINT = "write a file with -o hello.wav, or connect a sound device"


class Player(Protocol):
    """A sound device that is open for one stream of samples."""

    async def write(self, pcm: bytes) -> None:
        """Play samples after those before; returns when more are wanted."""

    def drain(self) -> None:
        """Return when everything has been heard."""

    def close(self) -> None:
        """Be silent and release the device."""


class Loudspeaker:
    """Plays chunks as they come; the device is opened for the first one."""

    name = "played"

    def __init__(self) -> None:
        if installed_player() is None:
            raise AudioDeviceError(
                "playing needs a player",
                hint='pip install "junetts[play]", or write a file with -o hello.wav',
            )
        self._player: Player | None = None

    async def write(self, chunk: AudioChunk) -> None:
        """Play a chunk.

        Raises:
            AudioDeviceError: if there is no sound device, or it fails.
        """
        if self._player is None:
            self._player = _open_player(chunk.sample_rate)
        await self._player.write(chunk.pcm)

    def finish(self, report: SpeechReport) -> None:
        """Play the rest; after an interruption be silent at once."""
        if self._player is None:
            return
        try:
            if report.outcome != "cancelled":
                self._player.drain()
        finally:
            self._player.close()


def installed_player() -> str | None:
    """The package that would play, if one is installed."""
    return next((name for name in PLAYERS if importlib.util.find_spec(name)), None)


def _open_player(sample_rate: int) -> Player:
    with _quiet_libraries():
        if installed_player() == "miniaudio":
            return MiniaudioPlayer(sample_rate=sample_rate)
        return SounddevicePlayer(sample_rate=sample_rate)


class MiniaudioPlayer:
    """Plays through miniaudio, whose own thread fetches samples from a buffer."""

    def __init__(self, *, sample_rate: int) -> None:
        import miniaudio

        self._bytes_per_s = sample_rate * BYTES_PER_SAMPLE
        self._lock = threading.Lock()
        self._buffer = bytearray()
        self._is_over = False
        self._heard = threading.Event()
        source = self._frames()
        next(source)  # the device sends frame counts to a generator that has been started
        try:
            self._device = miniaudio.PlaybackDevice(
                output_format=miniaudio.SampleFormat.SIGNED16,
                nchannels=1,
                sample_rate=sample_rate,
                buffersize_msec=_BUFFER_MS,
                app_name="junetts",
            )
            if self._device.backend == "Null":
                self._device.close()
                raise AudioDeviceError("no sound device was found", hint=_HINT)
            self._device.start(source)
        except miniaudio.MiniaudioError as error:
            raise _device_error(error) from error

    async def write(self, pcm: bytes) -> None:
        """Add samples; wait while more than a second of them is left."""
        with self._lock:
            self._buffer += pcm
        # Polled, because what would wake us is the sound card's thread.
        while len(self._buffer) > AHEAD_S * self._bytes_per_s:  # noqa: ASYNC110
            await sleep(_POLL_S)

    def drain(self) -> None:
        """Wait until the buffer, and the device's own, have been heard."""
        self._is_over = True
        while not self._heard.wait(timeout=0.2):  # a timeout, so that Ctrl-C is heard everywhere
            pass

    def close(self) -> None:
        """Stop the device."""
        self._device.close()

    def _frames(self) -> Generator[bytes, int, None]:
        """As many frames as are asked for, silence where there are none."""
        silence_left = self._bytes_per_s * 3 * _BUFFER_MS // 1000
        n_frames = yield b""
        while True:
            n_bytes = n_frames * BYTES_PER_SAMPLE
            with self._lock:
                piece = bytes(self._buffer[:n_bytes])
                del self._buffer[:n_bytes]
            if self._is_over:
                silence_left -= n_bytes - len(piece)
                if silence_left <= 0:
                    self._heard.set()
            n_frames = yield piece.ljust(n_bytes, b"\0")


class SounddevicePlayer:
    """Plays through PortAudio, whose writes block until there is room."""

    def __init__(self, *, sample_rate: int) -> None:
        self._block_bytes = sample_rate * BYTES_PER_SAMPLE * _BUFFER_MS // 1000 // 2 * 2
        try:
            import sounddevice
        except OSError as error:  # the package is installed, but the PortAudio library is not
            raise _device_error(error) from error
        self._error: type[Exception] = sounddevice.PortAudioError
        try:
            self._stream = sounddevice.RawOutputStream(
                samplerate=sample_rate, channels=1, dtype="int16"
            )
            self._stream.start()
        except self._error as error:
            raise _device_error(error) from error

    async def write(self, pcm: bytes) -> None:
        """Play samples, in blocks short enough for Ctrl-C."""
        for at in range(0, len(pcm), self._block_bytes):
            try:
                await run_sync(self._stream.write, pcm[at : at + self._block_bytes])
            except self._error as error:
                raise _device_error(error) from error

    def drain(self) -> None:
        """Wait until PortAudio has played what it holds."""
        self._stream.stop()

    def close(self) -> None:
        """Drop the rest."""
        self._stream.abort()
        self._stream.close()


def _device_error(error: Exception) -> AudioDeviceError:
    reason = error.args[0] if error.args else type(error).__name__
    return AudioDeviceError(f"sound cannot be played: {reason}", hint=_HINT)


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Drop what sound libraries print by themselves: pages of it where there is no device."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
