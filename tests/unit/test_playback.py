"""Playing: the whole sound reaches the device, and every failure is readable."""

from __future__ import annotations

import sys
import types
from collections.abc import Generator
from typing import ClassVar

import pytest

from junetts import _playback
from junetts._errors import AudioDeviceError
from junetts._playback import play_pcm

SOUND = bytes(range(1, 255)) * 40


class FakeDevice:
    """A device that plays at once, into a list."""

    backend = "ALSA"
    takes_audio = True
    interrupts = False
    played: ClassVar[list[bytes]] = []
    settings: ClassVar[dict[str, object]] = {}
    n_open: ClassVar[int] = 0

    def __init__(self, **settings: object) -> None:
        type(self).settings = settings

    def __enter__(self) -> FakeDevice:
        FakeDevice.n_open += 1
        return self

    def __exit__(self, *_: object) -> None:
        FakeDevice.n_open -= 1

    def start(self, source: Generator[bytes, int, None]) -> None:
        """Ask for frames, as the device's thread does."""
        if self.interrupts:
            raise KeyboardInterrupt
        for n_frames in (7, 100, 1000) * 20 if self.takes_audio else ():
            data = source.send(n_frames)
            assert len(data) == 2 * n_frames
            self.played.append(data)


class FakeMiniaudioError(Exception):
    """The library's own error."""


class FakeStream(FakeDevice):
    """The other library's device."""

    def write(self, data: bytes) -> None:
        """Play."""
        self.played.append(bytes(data))


class FakePortAudioError(Exception):
    """The other library's own error."""


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> type[FakeDevice]:
    """Miniaudio with a fake device."""
    module = types.ModuleType("miniaudio")
    vars(module).update(
        PlaybackDevice=FakeDevice,
        MiniaudioError=FakeMiniaudioError,
        SampleFormat=types.SimpleNamespace(SIGNED16="s16"),
    )
    monkeypatch.setitem(sys.modules, "miniaudio", module)
    monkeypatch.setattr(FakeDevice, "played", [])
    monkeypatch.setattr(FakeDevice, "n_open", 0)
    return FakeDevice


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> type[FakeStream]:
    """Sounddevice with a fake stream, and no miniaudio."""
    module = types.ModuleType("sounddevice")
    vars(module).update(RawOutputStream=FakeStream, PortAudioError=FakePortAudioError)
    monkeypatch.setitem(sys.modules, "miniaudio", None)
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    monkeypatch.setattr(FakeStream, "played", [])
    monkeypatch.setattr(FakeDevice, "n_open", 0)
    return FakeStream


def test_whole_sound_is_played(device: type[FakeDevice]) -> None:
    """All samples reach the device in order, then silence while its buffer drains."""
    play_pcm(SOUND, sample_rate=8000)
    played = b"".join(device.played)
    assert played.startswith(SOUND)
    assert not any(played[len(SOUND) :])
    assert device.settings["sample_rate"] == 8000
    assert device.settings["nchannels"] == 1
    assert device.n_open == 0


def test_ctrl_c_stops(device: type[FakeDevice], monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt closes the device and goes on."""
    monkeypatch.setattr(device, "interrupts", True)
    with pytest.raises(KeyboardInterrupt):
        play_pcm(SOUND, sample_rate=8000)
    assert device.n_open == 0


def test_null_device_is_no_device(
    device: type[FakeDevice], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Playing into nothing is not reported as played."""
    monkeypatch.setattr(device, "backend", "Null")
    with pytest.raises(AudioDeviceError, match="no sound device") as caught:
        play_pcm(SOUND, sample_rate=8000)
    assert caught.value.hint
    assert device.played == []


def test_broken_device_is_readable(
    device: type[FakeDevice], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library's error becomes ours."""

    def broken(self: FakeDevice, **_: object) -> None:
        raise FakeMiniaudioError("failed to init device", -401)

    monkeypatch.setattr(device, "__init__", broken)
    with pytest.raises(AudioDeviceError, match="cannot be played: failed to init device, -401"):
        play_pcm(SOUND, sample_rate=8000)


def test_device_that_stops_taking_audio(
    device: type[FakeDevice], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that dies is noticed, instead of waiting for ever."""
    monkeypatch.setattr(device, "takes_audio", False)
    monkeypatch.setattr(_playback, "_TURN_S", 0.001)
    monkeypatch.setattr(_playback, "_PATIENCE_S", 0.01)
    with pytest.raises(AudioDeviceError, match="stopped taking audio"):
        play_pcm(b"\0\0", sample_rate=8000)
    assert device.n_open == 0


def test_sounddevice_is_the_second_choice(stream: type[FakeStream]) -> None:
    """Without miniaudio the whole sound goes through sounddevice."""
    play_pcm(SOUND, sample_rate=8001)
    assert b"".join(stream.played) == SOUND
    assert stream.settings == {"samplerate": 8001, "channels": 1, "dtype": "int16"}
    assert stream.n_open == 0


def test_broken_sounddevice_is_readable(
    stream: type[FakeStream], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its error becomes ours too."""

    def broken(self: FakeStream, data: bytes) -> None:
        raise FakePortAudioError("Invalid sample rate")

    monkeypatch.setattr(stream, "write", broken)
    with pytest.raises(AudioDeviceError, match="Invalid sample rate"):
        play_pcm(SOUND, sample_rate=8000)


def test_no_player_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any player the error is the command that helps."""
    monkeypatch.setitem(sys.modules, "miniaudio", None)
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(AudioDeviceError, match=r'pip install "junetts\[play\]"'):
        play_pcm(SOUND, sample_rate=8000)


def test_sounddevice_without_portaudio(monkeypatch: pytest.MonkeyPatch) -> None:
    """A player whose system library is missing is readable as well."""

    class Finder:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "sounddevice":
                raise OSError("PortAudio library not found")

    monkeypatch.setitem(sys.modules, "miniaudio", None)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    with pytest.raises(AudioDeviceError, match="PortAudio library not found"):
        play_pcm(SOUND, sample_rate=8000)
