"""The loudspeaker, with players that make no sound."""

from __future__ import annotations

import os
import sys
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, NoReturn

import anyio
import anyio.lowlevel
import pytest

from junetts._audio import AudioChunk
from junetts._errors import AudioDeviceError
from junetts.cli import loudspeaker
from junetts.cli.loudspeaker import Loudspeaker, MiniaudioPlayer, SounddevicePlayer

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

RATE = 8000


class FakeError(Exception):
    """What a sound library raises."""


class FakeDevice:
    """A sound card that plays when it is told to."""

    backend = "ALSA"

    def __init__(self, **_: object) -> None:
        FakeDevice.last = self
        self.heard = bytearray()
        self.is_closed = False

    last: FakeDevice

    def start(self, source: Generator[bytes, int, None]) -> None:
        """Take the source of samples."""
        self.source = source

    def play(self, n_frames: int) -> None:
        """Fetch and play samples."""
        self.heard += self.source.send(n_frames)

    def close(self) -> None:
        """Be silent."""
        self.is_closed = True


@pytest.fixture
def miniaudio(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A miniaudio with the fake device."""
    module = SimpleNamespace(
        PlaybackDevice=FakeDevice,
        SampleFormat=SimpleNamespace(SIGNED16=1),
        MiniaudioError=FakeError,
    )
    monkeypatch.setitem(sys.modules, "miniaudio", module)
    return module


@pytest.mark.anyio
async def test_miniaudio_plays_all_in_order(miniaudio: SimpleNamespace) -> None:
    """Samples come out in order, silence where there are none, and draining waits for the last."""
    player = MiniaudioPlayer(sample_rate=RATE)
    device = FakeDevice.last
    device.play(2)
    await player.write(b"\x01\x00\x02\x00\x03\x00")
    device.play(2)
    device.play(2)
    assert device.heard == b"\0\0\0\0\x01\x00\x02\x00\x03\x00\0\0"
    drained = threading.Thread(target=player.drain)
    drained.start()
    drained.join(0.3)  # the device has not asked for more yet
    assert drained.is_alive()
    while drained.is_alive():
        device.play(400)
        drained.join(0.01)
    player.close()
    assert device.is_closed


@pytest.mark.anyio
async def test_miniaudio_holds_a_second(miniaudio: SimpleNamespace) -> None:
    """More than a second of sound waits until some of it is heard."""
    player = MiniaudioPlayer(sample_rate=RATE)
    await player.write(bytes(2 * RATE))
    with anyio.move_on_after(0.01) as scope:
        await player.write(b"\1\0")
    assert scope.cancelled_caught
    async with anyio.create_task_group() as group:
        group.start_soon(player.write, b"\2\0")
        await anyio.lowlevel.checkpoint()
        FakeDevice.last.play(RATE)


@pytest.mark.parametrize("error", [FakeError("failed to init device", -401), FakeError()])
def test_miniaudio_fails(miniaudio: SimpleNamespace, error: FakeError) -> None:
    """A device that cannot be opened is one of our errors."""

    def refuse(**_: object) -> NoReturn:
        raise error

    miniaudio.PlaybackDevice = refuse
    with pytest.raises(AudioDeviceError, match=r"cannot be played: (failed to init|FakeError)"):
        MiniaudioPlayer(sample_rate=RATE)


def test_null_device_is_none(miniaudio: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that only pretends is no device."""
    monkeypatch.setattr(FakeDevice, "backend", "Null")
    with pytest.raises(AudioDeviceError, match="no sound device was found"):
        MiniaudioPlayer(sample_rate=RATE)
    assert FakeDevice.last.is_closed


class FakeStream:
    """PortAudio's stream."""

    def __init__(self, **_: object) -> None:
        FakeStream.last = self
        self.blocks: list[bytes] = []
        self.calls: list[str] = []
        self.error: Exception | None = None

    last: FakeStream

    def write(self, data: bytes) -> None:
        """Play."""
        if self.error is not None:
            raise self.error
        self.blocks.append(data)

    def start(self) -> None:
        """Note the call."""
        self.calls.append("start")

    def stop(self) -> None:
        """Note the call."""
        self.calls.append("stop")

    def abort(self) -> None:
        """Note the call."""
        self.calls.append("abort")

    def close(self) -> None:
        """Note the call."""
        self.calls.append("close")


@pytest.fixture
def sounddevice(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A sounddevice with the fake stream."""
    module = SimpleNamespace(RawOutputStream=FakeStream, PortAudioError=FakeError)
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    return module


@pytest.mark.anyio
async def test_sounddevice(sounddevice: SimpleNamespace) -> None:
    """Samples are written in short blocks; draining stops, closing aborts."""
    player = SounddevicePlayer(sample_rate=RATE)
    await player.write(bytes(4000))
    stream = FakeStream.last
    assert [len(block) for block in stream.blocks] == [1600, 1600, 800]
    player.drain()
    player.close()
    assert stream.calls == ["start", "stop", "abort", "close"]
    stream.error = FakeError("unplugged")
    with pytest.raises(AudioDeviceError, match="cannot be played: unplugged"):
        await player.write(b"\0\0")


def test_sounddevice_fails(sounddevice: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """No device, or no PortAudio library, is one of our errors."""

    def refuse(**_: object) -> NoReturn:
        raise FakeError("no default device")

    sounddevice.RawOutputStream = refuse
    with pytest.raises(AudioDeviceError, match="no default device"):
        SounddevicePlayer(sample_rate=RATE)


def test_sounddevice_without_portaudio(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The package without its library is one of our errors."""
    (tmp_path / "sounddevice.py").write_text('raise OSError("PortAudio library not found")')
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AudioDeviceError, match="PortAudio library not found"):
        SounddevicePlayer(sample_rate=RATE)


def installed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let these packages be installed and no others."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name in names or None)


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["miniaudio", "sounddevice"])
async def test_takes_what_is_installed(
    monkeypatch: pytest.MonkeyPatch,
    miniaudio: SimpleNamespace,
    sounddevice: SimpleNamespace,
    name: str,
) -> None:
    """The loudspeaker opens the player that there is, with the first chunk."""
    installed(monkeypatch, name)
    speaker = Loudspeaker()
    await speaker.write(AudioChunk(pcm=b"\1\0", sample_rate=RATE, start_s=0.0, segment=0))
    wanted = {"miniaudio": MiniaudioPlayer, "sounddevice": SounddevicePlayer}[name]
    assert isinstance(speaker._player, wanted)


def test_nothing_to_play(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a chunk no device is opened, and none closed."""
    installed(monkeypatch, "miniaudio")
    Loudspeaker().finish(SimpleNamespace(outcome="complete"))  # type: ignore[arg-type]


def test_needs_a_player(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing player is told before anything is spoken, with how to get one."""
    installed(monkeypatch)
    with pytest.raises(AudioDeviceError) as caught:
        Loudspeaker()
    assert "junetts[play]" in str(caught.value.hint)


def test_libraries_are_kept_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    """What a library prints while a device is opened goes nowhere; what comes later does not."""
    with loudspeaker._quiet_libraries():
        os.write(2, b"ALSA lib confmisc.c:855")
    os.write(2, b"ours")
    assert capfd.readouterr().err == "ours"
