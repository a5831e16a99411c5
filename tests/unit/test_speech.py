"""Finished audio: views, files in five formats, atomicity, readable failures."""

from __future__ import annotations

import dataclasses
import errno
import io
import os
import stat
import threading
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

from junetts import _playback, _speech
from junetts._errors import AudioFileError, InvalidRequestError, JuneTtsError
from junetts._report import SpeechReport
from junetts._speech import Speech

REPORT = SpeechReport(
    outcome="complete",
    spoken_text="Hello.",
    unspoken_text="",
    segments=(),
    attempts=(),
    handovers=(),
    backend="demo",
    sample_rate=44_100,
    ttfa_s=0.1,
    rtf=0.1,
    audio_s=1.0,
    characters=6,
    utf8_bytes=6,
    cost_usd=0.0,
)


def speech(sample_rate: int = 44_100, duration_s: float = 0.5) -> Speech:
    """A sine of 440 Hz."""
    time_s = np.arange(int(sample_rate * duration_s)) / sample_rate
    pcm = (12_000 * np.sin(2 * np.pi * 440 * time_s)).astype("<i2").tobytes()
    return Speech(pcm=pcm, sample_rate=sample_rate, report=REPORT)


def test_views() -> None:
    """Samples, duration and bytes are of the same sound."""
    short = Speech(pcm=b"\0\x80\0\0\xff\x7f", sample_rate=3, report=REPORT)
    assert short.samples.dtype == np.float32
    assert short.samples.tolist() == [-1.0, 0.0, 32767 / 32768]
    assert short.duration_s == 1.0


def test_wav_is_right_to_the_byte() -> None:
    """A header of 44 bytes and the samples; two readers agree."""
    spoken = speech()
    assert len(spoken.wav) == 44 + len(spoken.pcm)
    with wave.open(io.BytesIO(spoken.wav)) as file:
        assert file.getparams()[:4] == (1, 2, 44_100, len(spoken.pcm) // 2)
        assert file.readframes(10**6) == spoken.pcm
    samples, rate = soundfile.read(io.BytesIO(spoken.wav), dtype="int16")
    assert (samples.tobytes(), rate) == (spoken.pcm, 44_100)


def test_repr_is_short() -> None:
    """An hour of sound does not fill the terminal."""
    assert repr(speech()) == "<Speech: 0.50 s at 44100 Hz, complete>"


def test_is_immutable() -> None:
    """Finished means finished."""
    with pytest.raises(AttributeError):
        speech().pcm = b""  # type: ignore[misc]


@pytest.mark.parametrize(
    ("suffix", "sample_rate", "saved_rate", "kind"),
    [
        ("wav", 44_100, 44_100, ("WAV", "PCM_16")),
        ("WAV", 96_000, 96_000, ("WAV", "PCM_16")),
        ("flac", 44_100, 44_100, ("FLAC", "PCM_16")),
        ("Ogg", 44_100, 44_100, ("OGG", "VORBIS")),
        ("ogg", 250_000, 192_000, ("OGG", "VORBIS")),
        ("flac", 200_000, 192_000, ("FLAC", "PCM_16")),
        ("opus", 44_100, 48_000, ("OGG", "OPUS")),
        ("opus", 22_050, 24_000, ("OGG", "OPUS")),
        ("opus", 16_000, 16_000, ("OGG", "OPUS")),
        ("mp3", 44_100, 44_100, ("MP3", "MPEG_LAYER_III")),
        ("mp3", 96_000, 48_000, ("MP3", "MPEG_LAYER_III")),
        ("MP3", 9_000, 8_000, ("MP3", "MPEG_LAYER_III")),
    ],
)
def test_save(
    tmp_path: Path, suffix: str, sample_rate: int, saved_rate: int, kind: tuple[str, str]
) -> None:
    """The suffix chooses the format; the sound read back is the sound saved."""
    path = tmp_path / f"hello.there.{suffix}"
    speech(sample_rate).save(path)
    info = soundfile.info(str(path))
    assert (info.format, info.subtype) == kind
    assert info.samplerate == saved_rate
    assert abs(info.duration - 0.5) < 2 / saved_rate
    samples, _ = soundfile.read(str(path))
    peak = np.abs(np.fft.rfft(samples)).argmax() / info.duration
    assert abs(peak - 440) < 4
    assert 0.3 < np.abs(samples[100:-100]).max() < 0.45
    assert os.listdir(tmp_path) == [path.name]


def test_lossless_formats_are_exact(tmp_path: Path) -> None:
    """WAV and FLAC give back every sample."""
    for name in ("a.wav", "a.flac"):
        spoken = speech()
        spoken.save(str(tmp_path / name))
        samples, _ = soundfile.read(str(tmp_path / name), dtype="int16")
        assert samples.tobytes() == spoken.pcm


def test_long_speech_is_encoded(tmp_path: Path) -> None:
    """Minutes of sound go through every encoder."""
    for suffix in ("ogg", "opus"):
        path = tmp_path / f"long.{suffix}"
        speech(8000, duration_s=120).save(path)
        assert abs(soundfile.info(str(path)).duration - 120) < 0.1


@pytest.mark.parametrize("name", ["x.txt", "x", ".wav.bak", "wav", "x.wav "])
def test_unknown_suffix_names_the_known_ones(tmp_path: Path, name: str) -> None:
    """The error says what would have worked, and nothing is written."""
    with pytest.raises(InvalidRequestError, match=r"\.wav, \.flac, \.ogg, \.opus, \.mp3") as caught:
        speech().save(tmp_path / name)
    assert caught.value.field == "path"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("path", [None, 3, b"x.wav", "x\0.wav"])
def test_path_must_be_a_file_name(path: object) -> None:
    """Other things are refused before anything is done."""
    with pytest.raises(InvalidRequestError, match="path must be a file name"):
        speech().save(path)  # type: ignore[arg-type]


def test_missing_directory_is_named(tmp_path: Path) -> None:
    """The error says which directory is missing, and is an OSError too."""
    with pytest.raises(AudioFileError, match=r"there is no directory .*missing") as caught:
        speech().save(tmp_path / "missing" / "x.wav")
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, JuneTtsError)
    assert caught.value.errno == errno.ENOENT


def test_directory_in_the_way(tmp_path: Path) -> None:
    """A directory of that name is not replaced."""
    (tmp_path / "x.wav").mkdir()
    with pytest.raises(AudioFileError, match="it is a directory"):
        speech().save(tmp_path / "x.wav")
    assert os.listdir(tmp_path) == ["x.wav"]


def test_system_errors_are_readable(tmp_path: Path) -> None:
    """Whatever else the system says stands in the message."""
    with pytest.raises(AudioFileError, match="File name too long"):
        speech().save(tmp_path / ("x" * 300 + ".wav"))


def test_empty_speech(tmp_path: Path) -> None:
    """Nothing spoken is a WAV of nothing; other formats say that they cannot."""
    empty = Speech(pcm=b"", sample_rate=44_100, report=REPORT)
    empty.save(tmp_path / "x.wav")
    assert soundfile.info(str(tmp_path / "x.wav")).frames == 0
    for suffix in ("flac", "ogg", "opus", "mp3"):
        with pytest.raises(AudioFileError, match="there is no audio"):
            empty.save(tmp_path / f"y.{suffix}")
    assert os.listdir(tmp_path) == ["x.wav"]


def test_encoder_failure_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the encoder refuses is a readable error."""
    bold = dataclasses.replace(_speech._CODECS["flac"], rates=range(700_001))
    monkeypatch.setitem(_speech._CODECS, "flac", bold)
    with pytest.raises(AudioFileError, match=r"cannot encode flac at 700000 Hz: .*sample rate"):
        speech(700_000, duration_s=0.01).save(tmp_path / "x.flac")


def test_existing_file_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure while writing leaves the old file and no temporary one."""
    path = tmp_path / "x.wav"
    path.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(AudioFileError, match="No space left") as caught:
            speech().save(path)
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.wav"]
    speech().save(path)
    assert path.read_bytes() == speech().wav


def test_interruption_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C during a save cleans up, and stays Ctrl-C."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        speech().save(tmp_path / "x.wav")
    assert os.listdir(tmp_path) == []


def test_permissions_are_what_the_umask_says(tmp_path: Path) -> None:
    """A saved file is no more private than any other new file."""
    other = tmp_path / "other"
    other.touch()
    speech().save(tmp_path / "x.wav")
    assert stat.S_IMODE((tmp_path / "x.wav").stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o664])
def test_permissions_of_an_existing_file_are_kept(tmp_path: Path, mode: int) -> None:
    """Who has made a file private, or shared it, finds it so after it was saved again."""
    path = tmp_path / "x.wav"
    path.touch()
    path.chmod(mode)
    speech().save(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_bytes() == speech().wav


def test_symbolic_link_is_followed(tmp_path: Path) -> None:
    """Saving to a link writes the file that it points to."""
    (tmp_path / "there").mkdir()
    link = tmp_path / "x.wav"
    link.symlink_to(tmp_path / "there" / "y.wav")
    speech().save(link)
    assert link.is_symlink()
    assert (tmp_path / "there" / "y.wav").read_bytes() == speech().wav


def test_pipe_is_written_and_not_replaced(tmp_path: Path) -> None:
    """A named pipe stays one, and its reader gets the file."""
    path = tmp_path / "x.wav"
    os.mkfifo(path)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(path.read_bytes()))
    reader.start()
    speech().save(path)
    reader.join()
    assert received == [speech().wav]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_every_known_codec_is_in_this_libsndfile() -> None:
    """The installed encoder knows all formats that are promised."""
    for codec in _speech._CODECS.values():
        assert soundfile.check_format(codec.format, codec.subtype)


def test_play_plays_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loudspeaker gets this sound at its rate."""
    played: list[tuple[bytes, int]] = []
    monkeypatch.setattr(
        _playback, "play_pcm", lambda pcm, *, sample_rate: played.append((pcm, sample_rate))
    )
    spoken = speech()
    spoken.play()
    assert played == [(spoken.pcm, 44_100)]
