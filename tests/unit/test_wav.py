"""The RIFF reader against streams written out byte by byte, and the header writer."""

from __future__ import annotations

import io
import struct
import wave

import pytest

from junetts._audio import PcmFormat
from junetts._errors import RemoteProtocolError
from junetts._wav import RESERVED_HEADER_BYTES, WavReader, reserved_wav_header, wav_header

GUID_SUFFIX = bytes.fromhex("000000001000800000aa00389b71")
UNKNOWN_LENGTHS = (0, 0xFFFFFF00, 0xFFFFFF24, 0xFFFFFFFF)
SOUND = bytes(range(40, 60))
MONO = PcmFormat(sample_rate=16_000)


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    """One RIFF chunk with its pad byte."""
    return struct.pack("<4sI", name, len(body) if size is None else size) + body + pad(body)


def pad(body: bytes) -> bytes:
    """The byte that makes a chunk's length even."""
    return b"\0" * (len(body) % 2)


def fmt(
    *, tag: int = 1, channels: int = 1, rate: int = 16_000, bits: int = 16, extra: bytes = b""
) -> bytes:
    """A format chunk."""
    frame = channels * bits // 8
    body = struct.pack("<HHIIHH", tag, channels, rate, rate * frame, frame, bits)
    return chunk(b"fmt ", body + extra)


def riff(*chunks: bytes, name: bytes = b"RIFF", size: int = 0) -> bytes:
    """A WAV stream of these chunks."""
    return name + struct.pack("<I", size) + b"WAVE" + b"".join(chunks)


def read(stream: bytes, step: int | None = None, *, once: bool = False) -> list[PcmFormat | bytes]:
    """What a reader gives, the stream cut every ``step`` bytes or once; neighbours joined."""
    reader = WavReader()
    step = step or len(stream) or 1
    pieces = [stream[at : at + step] for at in range(0, len(stream), step)]
    parts: list[PcmFormat | bytes] = []
    for piece in [stream[:step], stream[step:]] if once else pieces:
        parts += reader.push(piece)
    parts.append(reader.end())
    joined: list[PcmFormat | bytes] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, bytes) and isinstance(last, bytes):
            joined[-1] = last + part
        elif part:
            joined.append(part)
    return joined


def read_every_cut(stream: bytes) -> list[PcmFormat | bytes]:
    """What a reader gives, the same for every regular cut."""
    whole = read(stream)
    for step in (1, 2, 3, 5, 7, 11, 13, 40):
        assert read(stream, step) == whole, f"cut every {step} bytes"
    for place in range(1, min(len(stream), 200)):
        assert read(stream, place, once=True) == whole, f"cut at {place}"
    return whole


def test_header_is_the_canonical_44_bytes() -> None:
    """The header of known length is spelled out byte by byte."""
    assert wav_header(6, sample_rate=44_100) == (
        b"RIFF\x2a\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x44\xac\0\0\x88\x58\x01\0\x02\0\x10\0"
        b"data\x06\0\0\0"
    )


def test_header_of_unknown_length_has_the_highest_sizes() -> None:
    """A stream's header says 0xFFFFFFFF for both lengths."""
    header = wav_header(None, sample_rate=8000)
    assert len(header) == 44
    assert header[4:8] == header[40:44] == b"\xff\xff\xff\xff"


def test_header_beyond_4_gib_is_rf64() -> None:
    """One byte past what 32 bits can count, the header becomes RF64."""
    most = 0xFFFFFFFF - 36
    assert wav_header(most, sample_rate=8000)[:4] == b"RIFF"
    header = wav_header(most + 1, sample_rate=8000)
    assert header[:4] == b"RF64"
    assert header[12:16] == b"ds64"
    riff_bytes, data_bytes, n_samples = struct.unpack_from("<QQQ", header, 20)
    assert (riff_bytes, data_bytes) == (most + 1 + 72, most + 1)
    assert n_samples == data_bytes // 2
    assert header[-8:] == b"data\xff\xff\xff\xff"


@pytest.mark.parametrize("limit", [0xFFFFFFFF, 50])
def test_reserved_header_is_80_bytes_and_read_back(limit: int) -> None:
    """RIFF and RF64 headers with room to grow have one length, and our reader takes both."""
    header = reserved_wav_header(len(SOUND), sample_rate=16_000, max_riff_bytes=limit)
    assert len(header) == RESERVED_HEADER_BYTES
    assert read_every_cut(header + SOUND) == [MONO, SOUND]


def test_standard_reader_takes_our_headers() -> None:
    """The standard library's wave module reads both kinds of header."""
    for header in (
        wav_header(len(SOUND), sample_rate=16_000),
        reserved_wav_header(len(SOUND), sample_rate=16_000),
    ):
        with wave.open(io.BytesIO(header + SOUND)) as file:
            assert file.getframerate() == 16_000
            assert file.readframes(99) == SOUND


def test_reader_takes_right_lengths() -> None:
    """A plain WAV gives its format and samples."""
    assert read_every_cut(wav_header(len(SOUND), sample_rate=16_000) + SOUND) == [MONO, SOUND]


@pytest.mark.parametrize("length", UNKNOWN_LENGTHS)
def test_unknown_length_reads_to_the_end(length: int) -> None:
    """A placeholder length means all that follows."""
    assert read_every_cut(riff(fmt(), chunk(b"data", SOUND, length))) == [MONO, SOUND]


@pytest.mark.parametrize("length", UNKNOWN_LENGTHS)
@pytest.mark.parametrize("second", [b"RIFF", b"RF64"])
def test_unknown_length_ends_at_the_next_header(length: int, second: bytes) -> None:
    """A header within data of unknown length begins another run of samples."""
    first = riff(fmt(), chunk(b"data", SOUND, length))
    other = riff(fmt(rate=8000), chunk(b"data", b"abcd", length), name=second)
    assert read_every_cut(first + other) == [MONO, SOUND, PcmFormat(sample_rate=8000), b"abcd"]


def test_unknown_length_may_be_followed_by_a_header_that_starts_with_another_chunk() -> None:
    """A header is known by RIFF and WAVE, whichever chunk comes first."""
    first = riff(fmt(), chunk(b"data", SOUND, 0))
    other = riff(chunk(b"LIST", b"INFO"), fmt(), chunk(b"data", SOUND, 0))
    assert read_every_cut(first + other) == [MONO, SOUND, MONO, SOUND]


def test_header_is_found_at_any_place_of_two_chunks() -> None:
    """A header that begins in one chunk of sound and ends in the next is no sound."""
    stream = SOUND + riff(fmt(), chunk(b"data", SOUND, 0))
    for place in range(len(stream)):
        reader = WavReader()
        reader.push(wav_header(None, sample_rate=16_000))
        parts = [*reader.push(stream[:place]), *reader.push(stream[place:]), reader.end()]
        assert b"".join([part for part in parts if isinstance(part, bytes)]) == SOUND * 2


@pytest.mark.parametrize(
    "sound",
    [
        b"R",
        b"RI",
        b"RIFF",
        b"RIFFabcdWAV",
        b"RIFFabcdWAVX",
        b"RFFF",
        b"RF6 ",
        b"xxRIFFxxRIFFabcdWAVx",
        b"WAVEWAVE",
        b"RRRRRRRRRRRRRRRR",
    ],
)
def test_samples_that_look_like_a_header_are_kept(sound: bytes) -> None:
    """What merely begins like a header is sound after all, also at the end."""
    stream = riff(fmt(), chunk(b"data", b"", 0)) + sound
    assert read_every_cut(stream) == [MONO, sound]
    assert read_every_cut(stream + SOUND) == [MONO, sound + SOUND]


def test_plain_chunks_are_handed_through_untouched() -> None:
    """Samples of unknown length without any R at the end are the same object again."""
    reader = WavReader()
    reader.push(wav_header(None, sample_rate=16_000))
    assert reader.push(SOUND)[0] is SOUND


def test_other_chunks_are_skipped() -> None:
    """Chunks before and after, of even and odd length, are not sound."""
    stream = riff(
        chunk(b"LIST", b"odd"),
        chunk(b"JUNK", b""),
        fmt(extra=b"\0\0"),
        chunk(b"fact", b"1234"),
        chunk(b"data", SOUND),
        chunk(b"LIST", b"after"),
        chunk(b"id3 ", b"x" * 100),
    )
    assert read_every_cut(stream) == [MONO, SOUND]


def test_known_length_may_be_followed_by_another_file() -> None:
    """Whole files one behind the other, odd lengths and trailing chunks included."""
    one = riff(fmt(bits=8), chunk(b"data", b"abc"))
    two = riff(fmt(), chunk(b"data", SOUND), chunk(b"LIST", b"x"))
    eight = PcmFormat(sample_rate=16_000, encoding="u8")
    assert read_every_cut(one + two + one) == [eight, b"abc", MONO, SOUND, eight, b"abc"]


def test_missing_pad_byte_is_forgiven() -> None:
    """Some writers do not pad odd data; the next name tells."""
    one = riff(fmt(bits=8), struct.pack("<4sI", b"data", 3) + b"abc")
    eight = PcmFormat(sample_rate=16_000, encoding="u8")
    assert read_every_cut(one + one) == [eight, b"abc", eight, b"abc"]


def test_second_data_chunk_continues_the_first() -> None:
    """Data in two chunks is one run of samples."""
    stream = riff(fmt(), chunk(b"data", SOUND), chunk(b"data", b"ab"))
    assert read_every_cut(stream) == [MONO, SOUND + b"ab"]


@pytest.mark.parametrize(
    ("tag", "bits", "encoding"),
    [(1, 8, "u8"), (1, 16, "s16"), (1, 24, "s24"), (1, 32, "s32"), (3, 32, "f32"), (3, 64, "f64")],
)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_encodings(tag: int, bits: int, encoding: str, channels: int) -> None:
    """Every supported layout is recognised, plain and extensible."""
    extra = struct.pack("<HHIH", 22, bits, 0, tag) + GUID_SUFFIX
    for header in (
        fmt(tag=tag, bits=bits, channels=channels),
        fmt(tag=0xFFFE, bits=bits, channels=channels, extra=extra),
    ):
        found = read_every_cut(riff(header, chunk(b"data", SOUND)))[0]
        assert isinstance(found, PcmFormat)
        assert (found.encoding, found.channels) == (encoding, channels)


@pytest.mark.parametrize("length", [0xFFFFFFFF, len(SOUND)])
def test_rf64_takes_the_length_from_ds64(length: int) -> None:
    """The 64 bit length ends the data, so that chunks behind it are not sound."""
    ds64 = chunk(b"ds64", struct.pack("<QQQI", 0, len(SOUND), 0, 0))
    stream = riff(ds64, fmt(), struct.pack("<4sI", b"data", length) + SOUND, name=b"RF64")
    assert read_every_cut(stream + chunk(b"LIST", b"abc")) == [MONO, SOUND]


@pytest.mark.parametrize("length", [0, 2**63, 2**64 - 1])
def test_rf64_of_unknown_length_reads_to_the_end(length: int) -> None:
    """A 64 bit placeholder is a placeholder too."""
    ds64 = chunk(b"ds64", struct.pack("<QQQI", 0, length, 0, 0))
    stream = riff(ds64, fmt(), chunk(b"data", SOUND, 0xFFFFFFFF), name=b"RF64")
    assert read_every_cut(stream) == [MONO, SOUND]


@pytest.mark.parametrize(
    ("stream", "complaint"),
    [
        (b"RIFX\0\0\0\0WAVE", "not a WAV header"),
        (riff(name=b"RIFF")[:8] + b"AVI ", "not a WAV header"),
        (riff(chunk(b"\0\1\2\3", b"")), "not the name of a WAV chunk"),
        (riff(chunk(b"data", SOUND)), "before its format"),
        (riff(chunk(b"fmt ", b"short")), "16 to 1024 bytes, not 5"),
        (riff(struct.pack("<4sI", b"fmt ", 0x7FFFFFFF)), "not 2147483647"),
        (riff(chunk(b"ds64", b"short"), name=b"RF64"), "ds64 chunk"),
        (riff(fmt(tag=7, bits=8)), "0x0007 and 8 bits"),
        (riff(fmt(bits=12)), "12 bits"),
        (riff(fmt(tag=0xFFFE)), "extensible"),
        (riff(fmt(tag=0xFFFE, extra=bytes(24))), "extensible"),
        (riff(fmt(rate=0)), "1000 to 768000 Hz, not 0"),
        (riff(fmt(rate=0x7FFFFFFF)), "not 2147483647"),
        (riff(fmt(channels=0)), "1 to 32 channels, not 0"),
        (riff(fmt(channels=33)), "not 33"),
        (riff(chunk(b"fmt ", struct.pack("<HHIIHH", 1, 2, 8000, 0, 2, 16))), "contradicts"),
    ],
)
def test_malformed_streams_are_refused(stream: bytes, complaint: str) -> None:
    """A broken header is the peer's fault, and the message says what is wrong."""
    for step in (1, len(stream)):
        with pytest.raises(RemoteProtocolError, match=complaint):
            read(stream, step)


@pytest.mark.parametrize("length", range(44))
def test_stream_that_ends_inside_its_header_is_refused(length: int) -> None:
    """No prefix of a header passes for an empty sound; nor does one in a second header."""
    header = wav_header(None, sample_rate=16_000)
    with pytest.raises(RemoteProtocolError, match="inside a WAV header"):
        read(header[:length])
    whole = wav_header(len(SOUND), sample_rate=16_000) + SOUND
    if length >= 4:
        with pytest.raises(RemoteProtocolError, match="inside a WAV header"):
            read(whole + header[:length])


def test_missing_samples_are_refused() -> None:
    """Samples that the header promised and that did not come are an error, not silence."""
    with pytest.raises(RemoteProtocolError, match="ended 3 bytes before the length"):
        read(wav_header(len(SOUND) + 3, sample_rate=16_000) + SOUND)


def test_skipping_holds_nothing() -> None:
    """A chunk of 4 GiB of no interest passes without being kept."""
    reader = WavReader()
    reader.push(riff(struct.pack("<4sI", b"JUNK", 0xFFFFFFFE)))
    for _ in range(100):
        assert reader.push(bytes(10_000)) == []
        assert len(reader._held) == 0


def test_many_small_chunks_are_read_in_linear_time() -> None:
    """A megabyte of empty chunks is no way to keep the reader busy for minutes."""
    stream = riff(chunk(b"JUNK", b"") * 130_000, fmt(), chunk(b"data", SOUND))
    assert read(stream) == [MONO, SOUND]
