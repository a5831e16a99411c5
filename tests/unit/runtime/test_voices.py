"""Codes of voices: encoded once, kept in memory and on disk, never trusted blindly."""

from __future__ import annotations

import io
import logging
import os
import pickle
import stat
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import torch

from junetts._errors import CheckpointError, InvalidRequestError
from junetts._runtime import voices as voices_module
from junetts._runtime.voices import Voices, fingerprint_of
from junetts._utterance import ReferenceClip

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

RATE = 16_000


def clip(frequency_hz: float = 440, *, seconds: float = 1, text: str = "Hello.") -> ReferenceClip:
    """A recording of a tone."""
    times_s = np.arange(round(seconds * RATE)) / RATE
    file = io.BytesIO()
    soundfile.write(file, np.sin(2 * np.pi * frequency_hz * times_s), RATE, format="WAV")
    return ReferenceClip(audio=file.getvalue(), text=text)


class FakeCodec:
    """Makes codes of samples in a way that tells them apart, and counts how often."""

    def __init__(self) -> None:
        self.n_calls = 0

    def encode(self, samples: Tensor) -> Tensor:
        """Three rows, a column for each hundredth of a second."""
        self.n_calls += 1
        assert samples.dtype == torch.float32
        frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)
        energy = (frames.abs().mean(1) * 1000).long()
        return torch.stack([energy, energy + 1, torch.full_like(energy, len(samples))])


@pytest.fixture
def codec() -> FakeCodec:
    """A codec that counts."""
    return FakeCodec()


@pytest.fixture
def voices(codec: FakeCodec, tmp_path: Path) -> Callable[..., Voices]:
    """Makes caches over that codec, on a directory that does not exist yet."""

    def make(
        *,
        fingerprint: str = "f",
        directory: Path | None = tmp_path / "a" / "voices",
        max_bytes: int = voices_module.MAX_BYTES,
    ) -> Voices:
        return Voices(
            codec.encode,
            sample_rate=RATE,
            fingerprint=fingerprint,
            directory=directory,
            max_bytes=max_bytes,
        )

    return make


def only_file(folder: Path) -> Path:
    """The one file that is there."""
    (file,) = folder.iterdir()
    return file


class TestInMemory:
    """Without a directory."""

    def test_a_clip_is_encoded_once(self, voices: Callable[..., Voices], codec: FakeCodec) -> None:
        """The content counts, not the object and not the words."""
        cache = voices(directory=None)
        codes = cache.codes(clip())
        assert (codes.shape, codes.dtype) == ((3, 100), torch.int64)
        assert cache.codes(clip(text="Other words.")) is codes
        assert codec.n_calls == 1
        assert not torch.equal(cache.codes(clip(220)), codes)
        assert codec.n_calls == 2

    def test_clips_are_resampled(self, voices: Callable[..., Voices]) -> None:
        """The codec gets samples at its own rate."""
        file = io.BytesIO()
        soundfile.write(file, np.full(48_000, 0.5), 48_000, format="WAV")
        codes = voices(directory=None).codes(ReferenceClip(audio=file.getvalue(), text=""))
        assert codes[2, 0] == RATE

    def test_what_was_not_needed_for_longest_goes_first(
        self, voices: Callable[..., Voices], codec: FakeCodec
    ) -> None:
        """Room for two: using one again keeps it."""
        cache = voices(directory=None, max_bytes=2 * 3 * 100 * 8)
        for frequency_hz in (100, 200, 100, 300):
            cache.codes(clip(frequency_hz))
        assert codec.n_calls == 3
        cache.codes(clip(100))
        cache.codes(clip(300))
        assert codec.n_calls == 3
        cache.codes(clip(200))
        assert codec.n_calls == 4

    def test_what_is_larger_than_all_room_is_not_kept(
        self, voices: Callable[..., Voices], codec: FakeCodec
    ) -> None:
        """It is still encoded, and the next one finds the room it needs."""
        cache = voices(directory=None, max_bytes=3 * 100 * 8)
        cache.codes(clip(seconds=2))
        cache.codes(clip(seconds=2))
        assert codec.n_calls == 2
        cache.codes(clip())
        cache.codes(clip())
        assert codec.n_calls == 3

    def test_what_cannot_be_used_is_not_remembered(self, voices: Callable[..., Voices]) -> None:
        """The mistake is told each time."""
        cache = voices()
        for _ in range(2):
            with pytest.raises(InvalidRequestError, match="cannot be decoded"):
                cache.codes(ReferenceClip(audio=b"noise", text=""))

    def test_two_threads_at_once(self, tmp_path: Path) -> None:
        """Both that want a new clip encode it; one result stays, and is counted once."""
        both = threading.Barrier(2, timeout=10)
        codec = FakeCodec()

        def encode(samples: Tensor) -> Tensor:
            both.wait()
            return codec.encode(samples)

        cache = Voices(encode, sample_rate=RATE, fingerprint="f", directory=tmp_path)
        found: list[Tensor] = []
        threads = [
            threading.Thread(target=lambda: found.append(cache.codes(clip()))) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert torch.equal(*found)
        assert cache._n_bytes == found[0].nbytes
        assert cache.codes(clip()) is not None  # without waiting at the barrier
        assert len(list(tmp_path.iterdir())) == 1


class TestOnDisk:
    """With a directory."""

    def test_codes_outlive_the_process(
        self, voices: Callable[..., Voices], codec: FakeCodec
    ) -> None:
        """A new cache finds what an old one has written."""
        codes = voices().codes(clip())
        found = voices().codes(clip())
        assert codec.n_calls == 1
        assert torch.equal(found, codes)
        assert found.dtype == torch.int64

    def test_another_codec_has_other_codes(
        self, voices: Callable[..., Voices], codec: FakeCodec
    ) -> None:
        """The fingerprint is part of the name."""
        voices(fingerprint="f").codes(clip())
        voices(fingerprint="g").codes(clip())
        assert codec.n_calls == 2

    def test_files_are_private(self, voices: Callable[..., Voices], tmp_path: Path) -> None:
        """Neither the voices nor their list are for others on this machine; nothing is left."""
        voices().codes(clip())
        folder = tmp_path / "a" / "voices"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(only_file(folder).stat().st_mode) == 0o600

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda data: b"",
            lambda data: data[:10],
            lambda data: data[:-1],
            lambda data: data + b"\0",
            lambda data: data[:-1] + bytes([data[-1] ^ 1]),
            lambda data: bytes([data[0] ^ 1]) + data[1:],
            lambda data: b"something else entirely",
            lambda data: pickle.dumps(os.getcwd),
            lambda data: b"\0" * (voices_module._MAX_FILE_BYTES + 1),
        ],
    )
    def test_damaged_files_are_rewritten(
        self,
        voices: Callable[..., Voices],
        codec: FakeCodec,
        tmp_path: Path,
        spoil: Callable[[bytes], bytes],
    ) -> None:
        """Whatever is in the file's place, the codes are right, and so is the file afterwards."""
        codes = voices().codes(clip())
        file = only_file(tmp_path / "a" / "voices")
        data = file.read_bytes()
        file.write_bytes(spoil(data))
        assert torch.equal(voices().codes(clip()), codes)
        assert codec.n_calls == 2
        assert file.read_bytes() == data

    def test_another_voices_file_is_not_taken(
        self, voices: Callable[..., Voices], codec: FakeCodec, tmp_path: Path
    ) -> None:
        """A file says whose it is, so that a copy under another name is none."""
        expected = voices().codes(clip(220))
        other = only_file(tmp_path / "a" / "voices").rename(tmp_path / "other")
        voices().codes(clip(440))
        other.rename(only_file(tmp_path / "a" / "voices"))
        assert not torch.equal(voices().codes(clip(440)), expected)
        assert codec.n_calls == 3

    def test_nothing_waits_for_a_pipe(self, voices: Callable[..., Voices], tmp_path: Path) -> None:
        """Something in the file's place that is no file is not opened; it is replaced."""
        codes = voices().codes(clip())
        file = only_file(tmp_path / "a" / "voices")
        file.unlink()
        os.mkfifo(file)
        assert torch.equal(voices().codes(clip()), codes)
        assert file.is_file()

    def test_what_cannot_be_written_is_a_warning_once(
        self,
        voices: Callable[..., Voices],
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """A file in the directory's place: speaking goes on."""
        (tmp_path / "file").touch()
        cache = voices(directory=tmp_path / "file" / "voices")
        with caplog.at_level(logging.WARNING, "junetts"):
            cache.codes(clip(100))
            cache.codes(clip(200))
        (record,) = caplog.records
        assert f"voices are not kept in {tmp_path / 'file' / 'voices'}: " in record.getMessage()

    def test_a_full_disk_leaves_nothing_behind(
        self,
        voices: Callable[..., Voices],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """A file that could not be put in its place is removed."""

        def full(source: str, target: Path) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "replace", full)
        voices().codes(clip())
        assert list((tmp_path / "a" / "voices").iterdir()) == []
        assert "No space left" in caplog.text

    def test_what_cannot_be_read_is_a_warning(
        self,
        voices: Callable[..., Voices],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        codec: FakeCodec,
    ) -> None:
        """A disk that fails is like a cache that is not there."""
        voices().codes(clip())

        def fail(path: Path) -> bytes:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr("pathlib.Path.read_bytes", fail)
        voices().codes(clip())
        assert codec.n_calls == 2
        assert "Input/output error" in caplog.text

    def test_an_interruption_leaves_nothing_behind(
        self, voices: Callable[..., Voices], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Ctrl-C while a file is written."""

        def interrupt(source: str, target: Path) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            voices().codes(clip())
        assert list((tmp_path / "a" / "voices").iterdir()) == []


class TestFingerprint:
    """What tells codec files apart."""

    @pytest.mark.parametrize("n_bytes", [0, 1, 2**20, 2**20 + 1, 3 * 2**20])
    def test_size_and_both_ends_count(self, tmp_path: Path, n_bytes: int) -> None:
        """A byte more, or another one at either end, is another file; the name does not count."""
        file = tmp_path / "codec.pth"
        content = bytearray(n_bytes)
        file.write_bytes(content)
        prints = {fingerprint_of(file)}
        assert fingerprint_of(file.rename(tmp_path / "other.pth")) in prints
        variants = [content + b"\0"]
        for position in {0, n_bytes - 1} if n_bytes else ():
            variants.append(bytearray(content))
            variants[-1][position] = 1
        for variant in variants:
            file.write_bytes(variant)
            prints.add(fingerprint_of(file))
        assert len(prints) == 1 + len(variants)

    def test_only_the_ends_are_read(self, tmp_path: Path) -> None:
        """It is cheap, however large the file: its middle does not count."""
        file = tmp_path / "codec.pth"
        file.write_bytes(bytes(3 * 2**20))
        before = fingerprint_of(file)
        with file.open("r+b") as opened:
            opened.seek(2**20 + 2**19)
            opened.write(b"x")
        assert fingerprint_of(file) == before

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        """It is the checkpoint that is not right."""
        with pytest.raises(CheckpointError, match=r"codec\.pth cannot be read: No such") as raised:
            fingerprint_of(tmp_path / "codec.pth")
        assert raised.value.path == str(tmp_path / "codec.pth")
