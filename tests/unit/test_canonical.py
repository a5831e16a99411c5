"""Whatever bytes arrive: sniffing, segments, containers, bounds."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from junetts import _canonical
from junetts._audio import AudioFormat
from junetts._canonical import CanonicalPcm
from junetts._errors import RemoteProtocolError
from junetts._mp3 import _frame_at
from junetts._wav import wav_header

RATE = 44_100
RAW = AudioFormat(sample_rate=RATE)
AS_WAV = AudioFormat(sample_rate=RATE, media_type="audio/wav")
AS_MPEG = AudioFormat(sample_rate=RATE, media_type="Audio/MPEG; charset=x")
SOUND = bytes(range(1, 101))


def whole(stream: bytes, audio_format: AudioFormat, *, step: int | None = None) -> bytes:
    """A segment's canonical samples."""
    canonical = CanonicalPcm(sample_rate=RATE)
    step = step or len(stream) or 1
    pcm = b"".join(
        canonical.push(stream[at : at + step], audio_format) for at in range(0, len(stream), step)
    )
    return pcm + canonical.end_segment()


def sine(rate: int, channels: int = 1) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Half a second of 440 Hz."""
    wave = 0.4 * np.sin(2 * np.pi * 440 * np.arange(rate // 2) / rate)
    return wave if channels == 1 else np.stack([wave] * channels, axis=1)


def encoded(kind: str, subtype: str, *, rate: int = RATE, channels: int = 1) -> bytes:
    """The sine as a file."""
    file = io.BytesIO()
    soundfile.write(file, sine(rate, channels), rate, format=kind, subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize("audio_format", [RAW, AS_WAV])
@pytest.mark.parametrize("step", [None, 1, 2, 3, 7])
def test_raw_samples_pass(audio_format: AudioFormat, step: int | None) -> None:
    """Headerless samples pass unchanged, also under audio/wav, as fish-speech sends them."""
    assert whole(SOUND, audio_format, step=step) == SOUND


def test_canonical_chunks_are_the_same_object() -> None:
    """What is right already is not copied, raw or behind a header."""
    chunk = bytes(4096)
    for header in (b"", wav_header(None, sample_rate=RATE), wav_header(10**9, sample_rate=RATE)):
        canonical = CanonicalPcm(sample_rate=RATE)
        canonical.push(header + chunk, RAW)
        for _ in range(3):
            assert canonical.push(chunk, RAW) is chunk
            assert not canonical.is_buffering


@pytest.mark.parametrize("beginning", [b"R", b"RI", b"RIF", b"RF6", b"fLa", b"Ogg", b"I", b"ID"])
def test_beginning_of_a_signature_is_never_lost(beginning: bytes) -> None:
    """Samples that look like a signature are held back only until that is settled."""
    even = beginning[: len(beginning) // 2 * 2]
    assert whole(beginning, RAW) == even
    assert whole(beginning, RAW, step=1) == even
    stream = beginning + b"\xee" * 7
    assert whole(stream, RAW, step=1) == stream[: len(stream) // 2 * 2]


def test_nothing_else_is_held_back() -> None:
    """A first sample that begins no signature comes out at once."""
    canonical = CanonicalPcm(sample_rate=RATE)
    assert canonical.push(b"", RAW) == b""
    assert canonical.push(b"\1\2", RAW) == b"\1\2"
    assert CanonicalPcm(sample_rate=RATE).push(b"ID\1\1", RAW) == b"ID\1\1"


def test_empty_segment() -> None:
    """No bytes are no samples, however often."""
    canonical = CanonicalPcm(sample_rate=RATE)
    assert canonical.end_segment() == b""
    canonical.push(b"", RAW)
    assert canonical.end_segment() == b""


def test_each_segment_is_recognised_anew() -> None:
    """WAV, raw and compressed segments follow each other, odd bytes dropped between."""
    canonical = CanonicalPcm(sample_rate=RATE)
    header = wav_header(None, sample_rate=RATE)
    pcm = canonical.push(header + SOUND + b"x", RAW) + canonical.end_segment()
    pcm += canonical.push(SOUND + b"y", RAW) + canonical.end_segment()
    pcm += canonical.push(header + SOUND + b"R", RAW) + canonical.end_segment()
    assert pcm == SOUND * 3


def test_half_a_sample_before_a_header_is_dropped() -> None:
    """Every header begins on a whole sample."""
    header = wav_header(None, sample_rate=RATE)
    assert whole(header + SOUND + b"x" + header + SOUND, RAW) == SOUND * 2


def test_wav_sample_held_back_as_a_header_comes_at_the_end() -> None:
    """A last sample that might have begun a header is not lost."""
    canonical = CanonicalPcm(sample_rate=RATE)
    assert canonical.push(wav_header(None, sample_rate=RATE) + b"\1R", RAW) == b""
    assert canonical.end_segment() == b"\1R"


def test_header_is_believed_over_the_description() -> None:
    """Rate and layout come from the WAV header, a new one within the segment included."""
    left = np.frombuffer(SOUND, "<i2")
    stereo = io.BytesIO()
    soundfile.write(stereo, np.stack([left, left], axis=1), RATE, format="WAV", subtype="PCM_16")
    stream = wav_header(len(SOUND), sample_rate=RATE) + SOUND + stereo.getvalue()
    described = AudioFormat(sample_rate=8000, channels=2, media_type="audio/mpeg")
    for step in (1, 3, None):
        assert whole(stream, described, step=step) == SOUND * 2


def test_raw_stereo_at_another_rate() -> None:
    """Raw samples are believed as described, and a changed description is followed."""
    canonical = CanonicalPcm(sample_rate=RATE)
    stereo = AudioFormat(sample_rate=RATE, channels=2)
    assert canonical.push(b"\1\0\3\0" * 2, stereo) == b"\2\0" * 2
    assert canonical.push(b"\1\0\3\0", AudioFormat(sample_rate=RATE)) == b"\1\0\3\0"
    slow = AudioFormat(sample_rate=RATE // 2)
    pcm = canonical.push(bytes(2000), slow) + canonical.end_segment()
    assert len(pcm) == 4000


def test_segment_end_flushes_the_resampler() -> None:
    """All audio of a finished segment is out, and the next starts afresh."""
    canonical = CanonicalPcm(sample_rate=RATE)
    slow = AudioFormat(sample_rate=22_050)
    data = (sine(22_050) * 32767).astype("<i2").tobytes()
    first = canonical.push(data, slow) + canonical.end_segment()
    second = canonical.push(data, slow) + canonical.end_segment()
    assert first == second
    assert len(first) == 2 * len(data)


def test_gain() -> None:
    """The gain applies to whatever arrives."""
    canonical = CanonicalPcm(sample_rate=RATE, gain_db=20.0)
    assert canonical.push(b"\1\0\2\0", RAW) == b"\x0a\0\x14\0"


COMPRESSED = [
    ("FLAC", "PCM_16", RAW),
    ("OGG", "VORBIS", RAW),
    ("OGG", "OPUS", RAW),
    ("MP3", "MPEG_LAYER_III", AS_MPEG),
    ("MP3", "MPEG_LAYER_III", AudioFormat(sample_rate=8000, media_type="audio/mp3")),
]


@pytest.mark.parametrize(("kind", "subtype", "audio_format"), COMPRESSED)
@pytest.mark.parametrize("step", [None, 1000, 3])
def test_compressed_audio_is_decoded_at_the_end(
    kind: str, subtype: str, audio_format: AudioFormat, step: int | None
) -> None:
    """FLAC, Ogg and MP3 become the sound that went in, at the configured rate."""
    stream = encoded(kind, subtype, rate=48_000, channels=2)
    pcm = whole(stream, audio_format, step=step)
    samples = np.frombuffer(pcm, "<i2") / 32768
    expected = sine(RATE)
    assert abs(len(samples) - len(expected)) <= 1
    middle = slice(2000, -2000)
    assert np.abs(samples[: len(expected)][middle] - expected[middle]).max() < 0.05


def test_flac_is_exact() -> None:
    """Lossless in, lossless out."""
    file = io.BytesIO()
    soundfile.write(file, np.frombuffer(SOUND, "<i2"), RATE, format="FLAC", subtype="PCM_16")
    assert whole(file.getvalue(), RAW) == SOUND


def test_mp3_behind_an_id3_tag_needs_no_media_type() -> None:
    """An ID3 tag tells MP3 from samples."""
    mp3 = encoded("MP3", "MPEG_LAYER_III")
    tag = b"ID3\4\0\0\0\0\0\x0a" + bytes(10)
    assert whole(tag + mp3, RAW) == whole(mp3, AS_MPEG)
    assert len(whole(mp3, AS_MPEG)) == RATE // 2 * 2


def test_mp3_without_a_length_tag_is_decoded_to_its_end() -> None:
    """A streaming encoder's MP3, which tells no length, loses nothing."""
    file = io.BytesIO()
    quiet = np.random.default_rng(5).normal(0, 0.1, RATE * 2)
    quiet[RATE // 2 :] = 0
    soundfile.write(file, quiet, RATE, format="MP3", subtype="MPEG_LAYER_III")
    tagged = file.getvalue()
    first = _frame_at(tagged, 0)
    assert first is not None
    assert len(whole(tagged[first.n_bytes :], AS_MPEG)) >= RATE * 2 * 2


def test_mp3_signature_alone_is_plausible_sound() -> None:
    """Without its media type MP3's two bytes are samples."""
    assert whole(b"\xff\xfb\1\2", RAW) == b"\xff\xfb\1\2"


def test_is_buffering_while_a_file_is_collected() -> None:
    """The caller learns that the end will be heavy, and nothing comes before it."""
    canonical = CanonicalPcm(sample_rate=RATE)
    flac = encoded("FLAC", "PCM_16")
    seen = []
    for piece in (b"", flac[:3], flac[3:100], flac[100:]):
        assert canonical.push(piece, RAW) == b""
        seen.append(canonical.is_buffering)
    assert seen == [False, False, True, True]
    assert canonical.end_segment()
    seen.append(canonical.is_buffering)
    assert seen[-1] is False


@pytest.mark.parametrize(
    ("stream", "audio_format"),
    [
        (b"fLaC" + bytes(100), RAW),
        (b"OggS", RAW),
        (b"ID3", RAW),
        (b"not audio at all", AS_MPEG),
        (b"x", AudioFormat(sample_rate=RATE, media_type="audio/ogg")),
    ],
)
def test_undecodable_files_are_refused(stream: bytes, audio_format: AudioFormat) -> None:
    """Broken files are never played as noise, and the next segment is unharmed."""
    canonical = CanonicalPcm(sample_rate=RATE)
    canonical.push(stream, audio_format)
    with pytest.raises(RemoteProtocolError, match="cannot be decoded"):
        canonical.end_segment()
    assert canonical.push(SOUND, RAW) + canonical.end_segment() == SOUND


@pytest.mark.parametrize(
    ("kind", "subtype"), [("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III"), ("OGG", "OPUS")]
)
def test_truncated_files_are_refused(kind: str, subtype: str) -> None:
    """Half a file is not a shorter sound."""
    stream = encoded(kind, subtype, rate=48_000)
    canonical = CanonicalPcm(sample_rate=RATE)
    canonical.push(stream[: len(stream) // 2], AS_MPEG)
    with pytest.raises(RemoteProtocolError):
        canonical.end_segment()


def test_truncated_wav_is_refused_and_the_next_segment_unharmed() -> None:
    """A WAV that ends early is an error at the segment's end."""
    canonical = CanonicalPcm(sample_rate=RATE)
    pcm = canonical.push(wav_header(len(SOUND) + 2, sample_rate=RATE) + SOUND, RAW)
    assert pcm == SOUND
    with pytest.raises(RemoteProtocolError, match="2 bytes before"):
        canonical.end_segment()
    assert canonical.push(SOUND, RAW) + canonical.end_segment() == SOUND


def test_broken_off_segment_gives_its_tail_without_complaint() -> None:
    """After another failure the sound so far is completed, whatever else is missing."""
    canonical = CanonicalPcm(sample_rate=RATE)
    data = (sine(22_050) * 32767).astype("<i2").tobytes()
    pcm = canonical.push(wav_header(len(data) * 2, sample_rate=22_050) + data, RAW)
    pcm += canonical.break_segment()
    assert len(pcm) == 2 * len(data)
    canonical.push(b"fLaC", RAW)
    assert canonical.break_segment() == b""
    assert canonical.push(SOUND, RAW) + canonical.end_segment() == SOUND


def test_collected_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compressed segment without end is refused."""
    monkeypatch.setattr(_canonical, "MAX_COMPRESSED_BYTES", 2**20)
    canonical = CanonicalPcm(sample_rate=RATE)
    canonical.push(b"fLaC" + bytes(2**20 - 4), RAW)
    with pytest.raises(RemoteProtocolError, match="exceeds 1 MiB"):
        canonical.push(b"\0", RAW)


def test_decoded_sound_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file cannot become an endless sound."""
    monkeypatch.setattr(_canonical, "MAX_DECODED_SAMPLES", 2**20 - 1)
    silence = io.BytesIO()
    soundfile.write(silence, np.zeros(2**20), RATE, format="FLAC", subtype="PCM_16")
    canonical = CanonicalPcm(sample_rate=RATE)
    canonical.push(silence.getvalue(), RAW)
    with pytest.raises(RemoteProtocolError, match="longer than 1048575 samples"):
        canonical.end_segment()


@pytest.mark.parametrize(("rate", "channels"), [(0, 1), (44_100, 0), (10**9, 1), (44_100, 1000)])
def test_absurd_descriptions_are_refused(rate: int, channels: int) -> None:
    """Raw samples with an impossible description are the peer's error."""
    with pytest.raises(RemoteProtocolError, match="must"):
        CanonicalPcm(sample_rate=RATE).push(SOUND, AudioFormat(sample_rate=rate, channels=channels))


def test_canonical_sound_needs_no_numpy() -> None:
    """The common path imports nothing heavy."""
    script = (
        "import sys\n"
        "from junetts._audio import AudioFormat\n"
        "from junetts._canonical import CanonicalPcm\n"
        "from junetts._speech import Speech\n"
        "from junetts._wav import wav_header\n"
        "canonical = CanonicalPcm(sample_rate=44100)\n"
        "canonical.push(wav_header(None, sample_rate=44100) + bytes(99),"
        " AudioFormat(sample_rate=44100))\n"
        "canonical.end_segment()\n"
        "assert not {'numpy', 'soxr', 'soundfile', 'miniaudio'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
