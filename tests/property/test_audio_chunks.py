"""Chunk invariance: however a byte stream is cut, the same samples come out."""

from __future__ import annotations

import contextlib
import io
import itertools
import struct
import tempfile
import wave
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import soxr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from junetts._audio import AudioFormat
from junetts._canonical import CanonicalPcm
from junetts._errors import JuneTtsError
from junetts._report import SpeechReport
from junetts._speech import Speech
from junetts._wav import WavReader
from junetts._wav_file import WavFile

RATES = (8000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000)
SUBTYPES = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
LENGTHS: tuple[int | str, ...] = ("right", 0, 0xFFFFFF00, 0xFFFFFF24, 0xFFFFFFFF)
GUID_SUFFIX = bytes.fromhex("000000001000800000aa00389b71")
REPORT = SpeechReport(
    outcome="complete",
    spoken_text="",
    unspoken_text="",
    segments=(),
    attempts=(),
    handovers=(),
    backend=None,
    sample_rate=44_100,
    ttfa_s=None,
    rtf=None,
    audio_s=0.0,
    characters=0,
    utf8_bytes=0,
    cost_usd=0.0,
)


@dataclass(frozen=True)
class Case:
    """A byte stream and, found by other means, the samples that it means."""

    stream: bytes
    audio_format: AudioFormat
    target_rate: int
    samples: npt.NDArray[np.int16]


def canonical_reference(
    sound: npt.NDArray[np.float64], source: int, target: int
) -> npt.NDArray[np.int16]:
    """Whole sound, full scale 1.0, shape ``[frame, channel]``: mixed, resampled, rounded."""
    mono: npt.NDArray[np.float64] = sound.mean(axis=1)
    if source != target:
        mono = soxr.resample(mono.astype(np.float32), source, target, quality="HQ")
    samples: npt.NDArray[np.int16] = np.clip(np.rint(mono * 32768), -32768, 32767).astype(np.int16)
    return samples


def with_length(wav: bytes, length: int | str) -> bytes:
    """The file with its data length replaced, and what follows the data dropped if unknown."""
    at = wav.index(b"data") + 4
    (right,) = struct.unpack_from("<I", wav, at)
    if length == "right":
        return wav
    return wav[:at] + struct.pack("<I", length) + wav[at + 4 : at + 4 + right]


def with_chunk(wav: bytes, name: bytes, body: bytes) -> bytes:
    """The file with another chunk before its format."""
    pad = b"\0" * (len(body) % 2)
    return wav[:12] + name + struct.pack("<I", len(body)) + body + pad + wav[12:]


def trailing(name: bytes, body: bytes) -> bytes:
    """A chunk behind the data."""
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


@st.composite
def sounds(draw: st.DrawFn, channels: int) -> npt.NDArray[np.float64]:
    """Noise with some samples beyond full scale, shape ``[frame, channel]``."""
    n_frames = draw(st.integers(0, 700))
    loudness = draw(st.sampled_from((0.01, 0.3, 1.2)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    return random.normal(0, loudness, (n_frames, channels))


@st.composite
def wavs(draw: st.DrawFn, rate: int) -> tuple[bytes, npt.NDArray[np.float64]]:
    """A WAV stream of any layout, and what libsndfile reads from the original file."""
    channels = draw(st.integers(1, 3))
    original = io.BytesIO()
    soundfile.write(
        original,
        draw(sounds(channels)),
        rate,
        format=draw(st.sampled_from(("WAV", "WAVEX"))),
        subtype=draw(st.sampled_from(SUBTYPES)),
    )
    sound, _ = soundfile.read(io.BytesIO(original.getvalue()), always_2d=True)
    length = draw(st.sampled_from(LENGTHS))
    wav = with_length(original.getvalue(), length)
    if draw(st.booleans()):
        wav = with_chunk(wav, b"LIST", draw(st.binary(max_size=21)))
    if length == "right" and len(sound) and draw(st.booleans()):
        wav += b"\0" * (len(wav) % 2) + trailing(b"LIST", draw(st.binary(max_size=21)))
    return wav, sound


@st.composite
def wav_cases(draw: st.DrawFn) -> Case:
    """One to three WAV streams of one rate, each with its header, in one stream."""
    source, target = draw(st.sampled_from(RATES)), draw(st.sampled_from(RATES))
    parts = draw(st.lists(wavs(source), min_size=1, max_size=3))
    mono = np.concatenate([sound.mean(axis=1) for _, sound in parts])
    stream = b""
    for wav, _ in parts:
        stream += wav
    return Case(
        stream=stream,
        audio_format=AudioFormat(sample_rate=8000, media_type="audio/wav"),
        target_rate=target,
        samples=canonical_reference(mono[:, np.newaxis], source, target),
    )


@st.composite
def raw_cases(draw: st.DrawFn) -> Case:
    """Raw s16le, with or without a byte too many."""
    source, target = draw(st.sampled_from(RATES)), draw(st.sampled_from(RATES))
    channels = draw(st.integers(1, 2))
    pcm = draw(st.binary(max_size=600))
    if pcm.startswith((b"RIFF", b"RF64", b"fLaC", b"OggS", b"ID3")):
        pcm = b""
    whole = len(pcm) // (2 * channels) * 2 * channels
    frames = np.frombuffer(pcm[:whole], "<i2").reshape(-1, channels) / 32768
    return Case(
        stream=pcm,
        audio_format=AudioFormat(
            sample_rate=source,
            channels=channels,
            media_type=draw(st.sampled_from(("audio/pcm", "audio/wav"))),
        ),
        target_rate=target,
        samples=canonical_reference(frames, source, target),
    )


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    """The stream in pieces, some of them empty."""
    inside = sorted(place % (len(stream) + 1) for place in places)
    return [stream[a:b] for a, b in itertools.pairwise([0, *inside, len(stream)])]


CUTS = st.one_of(
    st.lists(st.integers(0, 2**16), max_size=12),
    st.integers(1, 9).map(lambda step: range(0, 2**12, step)),
)


def play(pieces: Iterable[bytes], case: Case) -> list[bytes]:
    """What comes out, push by push."""
    canonical = CanonicalPcm(sample_rate=case.target_rate)
    out = [canonical.push(piece, case.audio_format) for piece in pieces]
    return [*out, canonical.end_segment()]


def check_any_cut(case: Case, places: Iterable[int]) -> None:
    """The samples are the reference's, and every push gives whole ones."""
    out = play(cut(case.stream, places), case)
    assert all(len(pcm) % 2 == 0 for pcm in out)
    assert np.array_equal(np.frombuffer(b"".join(out), "<i2"), case.samples)


def check_only_our_errors(pieces: Iterable[bytes], audio_format: AudioFormat) -> None:
    """Neither the reader nor the stream raises anything but our errors."""
    reader = WavReader()
    canonical = CanonicalPcm(sample_rate=16_000)
    pieces = list(pieces)
    for run in (
        lambda: [*(part for piece in pieces for part in reader.push(piece)), reader.end()],
        lambda: [*(canonical.push(piece, audio_format) for piece in pieces)],
        canonical.end_segment,
    ):
        swallow_ours(run)
    assert len(reader._held) <= 40
    assert canonical.push(b"\1\2\3\4", AudioFormat(sample_rate=16_000)) == b"\1\2\3\4"


def swallow_ours(run: Callable[[], object]) -> None:
    """Call it; a typed error is as good as an answer."""
    with contextlib.suppress(JuneTtsError):
        run()


SIZES = st.one_of(
    st.integers(0, 60), st.sampled_from((2**31, 2**32 - 256, 2**32 - 1)), st.integers(0, 2**32 - 1)
).map(lambda size: struct.pack("<I", size))
FORMATS = st.builds(
    lambda tag, channels, rate, width: struct.pack(
        "<HHIIHH", tag, channels, rate, 0, channels * width & 0xFFFF, 8 * width
    ),
    st.sampled_from((1, 1, 3, 7, 0xFFFE)),
    st.sampled_from((0, 1, 2, 33)),
    st.sampled_from((0, 8000, 44_100, 2**31)),
    st.integers(1, 8),
)
FRAGMENTS = st.one_of(
    st.sampled_from(
        (b"RIFF", b"RF64", b"WAVE", b"fmt ", b"data", b"ds64", b"LIST", b"fmt \x10\0\0\0")
    ),
    st.sampled_from((b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0", b"fLaC\0\0\0\x22", b"OggS\0\2", b"ID3\4")),
    st.sampled_from(
        (b"\xff\xfb\x90\xc4", bytes(417), bytes.fromhex("000000001000800000aa00389b71"))
    ),
    SIZES,
    FORMATS,
    st.binary(max_size=24),
)
ARBITRARY = st.one_of(st.binary(max_size=200), st.lists(FRAGMENTS, max_size=14).map(b"".join))
DESCRIPTIONS = st.builds(
    AudioFormat,
    sample_rate=st.sampled_from((0, 8000, 16_000, 44_100)),
    channels=st.integers(0, 3),
    media_type=st.sampled_from(("audio/pcm", "audio/wav", "audio/mpeg", "audio/ogg", "")),
)


@settings(max_examples=120, deadline=None)
@given(wav_cases(), CUTS)
def test_wav_streams(case: Case, places: Iterable[int]) -> None:
    """Any header, layout, rate and length; header per segment; extra chunks: any cut."""
    check_any_cut(case, places)


@settings(max_examples=120, deadline=None)
@given(raw_cases(), CUTS)
def test_raw_streams(case: Case, places: Iterable[int]) -> None:
    """Raw samples, odd bytes included: any cut."""
    check_any_cut(case, places)


@settings(max_examples=300, deadline=None)
@given(ARBITRARY, CUTS, DESCRIPTIONS)
def test_arbitrary_bytes(stream: bytes, places: Iterable[int], audio_format: AudioFormat) -> None:
    """Whatever a peer sends, the errors are ours and the next segment is unharmed."""
    check_only_our_errors(cut(stream, places), audio_format)


@settings(max_examples=300, deadline=None)
@given(ARBITRARY, CUTS, DESCRIPTIONS)
def test_arbitrary_bytes_mean_the_same_in_any_cut(
    stream: bytes, places: Iterable[int], audio_format: AudioFormat
) -> None:
    """Even nonsense is the same nonsense, or the same error, however it is cut."""

    def outcome(pieces: Iterable[bytes]) -> bytes | str:
        canonical = CanonicalPcm(sample_rate=16_000)
        try:
            pcm = b"".join([canonical.push(piece, audio_format) for piece in pieces])
            return pcm + canonical.end_segment()
        except JuneTtsError as error:
            return str(error)

    assert outcome(cut(stream, places)) == outcome([stream])


@pytest.mark.long
@pytest.mark.timeout(3600)
@settings(max_examples=100_000, deadline=None)
@given(ARBITRARY, CUTS, DESCRIPTIONS)
def test_arbitrary_bytes_at_length(
    stream: bytes, places: Iterable[int], audio_format: AudioFormat
) -> None:
    """100,000 nonsense streams, and still only our errors."""
    check_only_our_errors(cut(stream, places), audio_format)


@pytest.mark.long
@pytest.mark.timeout(3600)
@settings(max_examples=10_000, deadline=None)
@given(st.one_of(wav_cases(), raw_cases()), CUTS)
def test_any_stream_at_length(case: Case, places: Iterable[int]) -> None:
    """10,000 sound streams in any cut."""
    check_any_cut(case, places)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=8), st.booleans())
def test_growing_file_is_valid_at_every_prefix(pieces: list[bytes], is_large: bool) -> None:
    """After each write two other readers find exactly the samples written so far."""
    assume(not b"".join(pieces).startswith((b"OggS", b"wvpk")))  # libsndfile believes the samples
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "out.wav"
        written = b""
        limit = 400 if is_large else 2**32 - 1
        with WavFile(path, sample_rate=24_000, max_riff_bytes=limit) as file:
            for piece in pieces:
                file.write(piece)
                written += piece
                check_file(path.read_bytes(), written[: len(written) // 2 * 2], 24_000)


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(RATES))
def test_speech_wav_is_read_back(pcm: bytes, rate: int) -> None:
    """The bytes of a finished WAV are exactly its samples, for two other readers."""
    pcm = pcm[: len(pcm) // 2 * 2]
    wav = Speech(pcm=pcm, sample_rate=rate, report=REPORT).wav
    assert len(wav) == 44 + len(pcm)
    check_file(wav, pcm, rate)


def check_file(content: bytes, pcm: bytes, rate: int) -> None:
    """Libsndfile and, unless it is RF64, the standard library read these samples."""
    samples, found_rate = soundfile.read(io.BytesIO(content), dtype="int16")
    assert (samples.tobytes(), found_rate) == (pcm, rate)
    if content.startswith(b"RIFF"):
        with wave.open(io.BytesIO(content)) as file:
            assert file.getframerate() == rate
            assert file.readframes(file.getnframes()) == pcm
