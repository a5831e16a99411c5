"""RIFF/WAVE in and out: an incremental reader, and the headers of s16le mono files."""

from __future__ import annotations

import re
import struct
from enum import Enum, auto
from typing import TYPE_CHECKING

from junetts._audio import BYTES_PER_SAMPLE, SAMPLE_BYTES, PcmFormat, SampleEncoding
from junetts._errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

RIFF_SIGNATURES = (b"RIFF", b"RF64")
MAX_RIFF_BYTES = 0xFFFF_FFFF  # a RIFF size field counts all that follows it
RESERVED_HEADER_BYTES = 80

_UNKNOWN = 0xFFFF_FFFF
_UNKNOWN_FROM = 0xFFFF_FF00  # streaming encoders write 0, or a placeholder from here on
_UNKNOWN_64_FROM = 2**63
_RIFF_HEADER_BYTES, _CHUNK_HEADER_BYTES = 12, 8
_FMT_BYTES, _FMT_EXTENSIBLE_BYTES, _MAX_FMT_BYTES = 16, 40, 1024
_DS64_BYTES, _DS64_READ_BYTES = 28, 16

_TAG_PCM, _TAG_FLOAT, _TAG_EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
_SUBFORMAT_SUFFIX = bytes.fromhex("000000001000800000aa00389b71")
_ENCODINGS: dict[tuple[int, int], SampleEncoding] = {
    (_TAG_PCM, 8): "u8",
    (_TAG_PCM, 16): "s16",
    (_TAG_PCM, 24): "s24",
    (_TAG_PCM, 32): "s32",
    (_TAG_FLOAT, 32): "f32",
    (_TAG_FLOAT, 64): "f64",
}

_HEADER = re.compile(rb"R(?:IFF|F64).{4}WAVE", re.DOTALL)
_HEADER_BEGUN = re.compile(
    rb"R(?:I|IF|F|F6)?\Z|R(?:IFF|F64)(?:.{0,4}|.{4}(?:W|WA|WAV))\Z", re.DOTALL
)


def wav_header(n_bytes: int | None, *, sample_rate: int) -> bytes:
    """The header of ``n_bytes`` of s16le mono samples; None is a length not known yet.

    It has 44 bytes; beyond 4 GiB it is an RF64 header of 80.
    """
    if n_bytes is None:
        return _plain_header(_UNKNOWN, _UNKNOWN, sample_rate)
    if n_bytes + 36 > MAX_RIFF_BYTES:
        return reserved_wav_header(n_bytes, sample_rate=sample_rate)
    return _plain_header(n_bytes + 36, n_bytes, sample_rate)


def reserved_wav_header(
    n_bytes: int, *, sample_rate: int, max_riff_bytes: int = MAX_RIFF_BYTES
) -> bytes:
    """A header of 80 bytes whatever the length, to be overwritten in place as a file grows.

    A JUNK chunk keeps the room that RF64's 64 bit sizes take beyond 4 GiB (EBU Tech 3306). It
    stands behind the format, because some readers look for that at a fixed place.
    """
    riff_bytes = n_bytes + RESERVED_HEADER_BYTES - 8
    if riff_bytes > max_riff_bytes:
        sizes = struct.pack(
            "<4sIQQQI", b"ds64", _DS64_BYTES, riff_bytes, n_bytes, n_bytes // BYTES_PER_SAMPLE, 0
        )
        plain = _plain_header(_UNKNOWN, _UNKNOWN, sample_rate)
        return b"RF64" + plain[4:12] + sizes + plain[12:]
    plain = _plain_header(riff_bytes, n_bytes, sample_rate)
    return plain[:-8] + struct.pack("<4sI28x", b"JUNK", _DS64_BYTES) + plain[-8:]


def _plain_header(riff_bytes: int, n_bytes: int, sample_rate: int) -> bytes:
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        riff_bytes,
        b"WAVE",
        b"fmt ",
        _FMT_BYTES,
        _TAG_PCM,
        1,
        sample_rate,
        sample_rate * BYTES_PER_SAMPLE,
        BYTES_PER_SAMPLE,
        8 * BYTES_PER_SAMPLE,
        b"data",
        n_bytes,
    )


class _State(Enum):
    """What the next byte belongs to."""

    HEADER = auto()  # RIFF, size, WAVE
    CHUNK = auto()  # a chunk's name and size
    FMT = auto()
    DS64 = auto()
    SKIP = auto()  # a chunk of no interest
    PAD = auto()  # the byte after a chunk of odd length
    DATA = auto()  # samples, of known length
    OPEN_DATA = auto()  # samples, until the end or the next header


class WavReader:
    """Reads a WAV stream that arrives in any cut, whatever its headers claim.

    Guarantees: it raises only `RemoteProtocolError`; it holds back at most 40 bytes; a length of
    0 or from 0xFFFFFF00 means samples until the end or the next header; samples never depend
    on the cut.
    """

    def __init__(self) -> None:
        self._state = _State.HEADER
        self._held = b""
        self._format: PcmFormat | None = None
        self._left = 0  # bytes of the current chunk still to come
        self._is_odd = False  # the current chunk is followed by a pad byte
        self._data_bytes_64: int | None = None  # RF64's length of the data chunk
        self._had_data = False

    def push(self, data: bytes) -> list[PcmFormat | bytes]:
        """Take some bytes; give the samples in them, and a format at each header."""
        if self._state is _State.OPEN_DATA and not self._held and _has_no_header(data):
            return [data]
        parts: list[PcmFormat | bytes] = []
        data = self._held + data
        self._held = b""
        at = 0
        while at < len(data):
            before = at, self._state
            at = _STEPS[self._state](self, data, at, parts)
            if (at, self._state) == before:
                self._held = data[at:]
                break
        return parts

    def end(self) -> bytes:
        """Say that the stream is over; give the last samples, if any were held back.

        Raises:
            RemoteProtocolError: if a header or samples that were announced are missing.
        """
        if self._state is _State.OPEN_DATA:
            return self._held
        if self._state is _State.DATA:
            raise RemoteProtocolError(
                f"the WAV data ended {self._left} bytes before the length in its header"
            )
        in_header = self._state is _State.HEADER or self._held.startswith(RIFF_SIGNATURES)
        if in_header or not self._had_data:
            raise RemoteProtocolError("the stream ended inside a WAV header")
        return b""

    def _read_header(self, data: bytes, at: int, parts: list[PcmFormat | bytes]) -> int:
        header = data[at : at + _RIFF_HEADER_BYTES]
        if len(header) < _RIFF_HEADER_BYTES:
            return at
        if header[:4] not in RIFF_SIGNATURES or header[8:] != b"WAVE":
            raise RemoteProtocolError(f"not a WAV header: {header!r}")
        self._state = _State.CHUNK
        self._format = self._data_bytes_64 = None
        self._had_data = False
        return at + _RIFF_HEADER_BYTES

    def _read_chunk(self, data: bytes, at: int, parts: list[PcmFormat | bytes]) -> int:
        if len(data) - at < _CHUNK_HEADER_BYTES:
            return at
        name, size = struct.unpack_from("<4sI", data, at)
        if name in RIFF_SIGNATURES:
            self._state = _State.HEADER
            return at
        if not all(0x20 <= byte < 0x7F for byte in name):
            raise RemoteProtocolError(f"not the name of a WAV chunk: {name!r}")
        self._begin_chunk(name, size, parts)
        return at + _CHUNK_HEADER_BYTES

    def _begin_chunk(self, name: bytes, size: int, parts: list[PcmFormat | bytes]) -> None:
        if name == b"data":
            self._begin_data(size, parts)
            return
        self._left, self._is_odd = size, bool(size & 1)
        if name == b"fmt ":
            _require_size("fmt", size, _FMT_BYTES, _MAX_FMT_BYTES)
            self._state = _State.FMT
        elif name == b"ds64":
            _require_size("ds64", size, _DS64_READ_BYTES, MAX_RIFF_BYTES)
            self._state = _State.DS64
        elif size:
            self._state = _State.SKIP

    def _begin_data(self, size: int, parts: list[PcmFormat | bytes]) -> None:
        if self._format is None:
            raise RemoteProtocolError("WAV data came before its format")
        unknown_from = _UNKNOWN_FROM
        if size == _UNKNOWN and self._data_bytes_64 is not None:
            size, unknown_from = self._data_bytes_64, _UNKNOWN_64_FROM
        self._left, self._is_odd = size, bool(size & 1)
        self._state = _State.DATA if 0 < size < unknown_from else _State.OPEN_DATA
        if not self._had_data:
            parts.append(self._format)
        self._had_data = True

    def _read_fmt(self, data: bytes, at: int, parts: list[PcmFormat | bytes]) -> int:
        n_bytes = min(self._left, _FMT_EXTENSIBLE_BYTES)
        if len(data) - at < n_bytes:
            return at
        self._format = _parse_fmt(data[at : at + n_bytes])
        return self._take(n_bytes, at)

    def _read_ds64(self, data: bytes, at: int, parts: list[PcmFormat | bytes]) -> int:
        if len(data) - at < _DS64_READ_BYTES:
            return at
        _, self._data_bytes_64 = struct.unpack_from("<QQ", data, at)
        return self._take(_DS64_READ_BYTES, at)

    def _skip(self, data: bytes, at: int, parts: list[PcmFormat | bytes]) -> int:
        return self._take(min(self._left, len(data) - at), at)

    def _take(self, n_bytes: int, at: int) -> int:
        """Count bytes of the current chunk as read; skip what is left of it."""
        self._left -= n_bytes
        self._state = _State.SKIP if self._left else self._after_chunk()
        return at + n_bytes

    def _after_chunk(self) -> _State:
        return _State.PAD if self._is_odd else _State.CHUNK

    def _read_pad(self, data: bytes, at: int, parts: list[PcmFormat | bytes]) -> int:
        self._state = _State.CHUNK
        is_name = 0x20 <= data[at] < 0x7F  # some writers forget the pad byte
        return at if is_name else at + 1

    def _read_data(self, data: bytes, at: int, parts: list[PcmFormat | bytes]) -> int:
        n_bytes = min(self._left, len(data) - at)
        parts.append(data[at : at + n_bytes])
        self._left -= n_bytes
        if not self._left:
            self._state = self._after_chunk()
        return at + n_bytes

    def _read_open_data(self, data: bytes, at: int, parts: list[PcmFormat | bytes]) -> int:
        found = _HEADER.search(data, at)
        if found:
            self._state = _State.HEADER
        else:
            found = _HEADER_BEGUN.search(data, max(at, len(data) - _RIFF_HEADER_BYTES + 1))
        end = found.start() if found else len(data)
        if end > at:
            parts.append(data[at:end])
        return end


_STEPS: dict[_State, Callable[[WavReader, bytes, int, list[PcmFormat | bytes]], int]] = {
    _State.HEADER: WavReader._read_header,
    _State.CHUNK: WavReader._read_chunk,
    _State.FMT: WavReader._read_fmt,
    _State.DS64: WavReader._read_ds64,
    _State.SKIP: WavReader._skip,
    _State.PAD: WavReader._read_pad,
    _State.DATA: WavReader._read_data,
    _State.OPEN_DATA: WavReader._read_open_data,
}


def _has_no_header(data: bytes) -> bool:
    """Whether neither a header nor the beginning of one can be in the data; errs to False."""
    # On every chunk, so rfind: three times as fast as `in` over sound.
    return data.rfind(b"WAVE") < 0 and data.find(b"R", 1 - _RIFF_HEADER_BYTES) < 0


def _require_size(name: str, size: int, least: int, most: int) -> None:
    if not least <= size <= most:
        raise RemoteProtocolError(
            f"the WAV {name} chunk must have {least} to {most} bytes, not {size}"
        )


def _parse_fmt(body: bytes) -> PcmFormat:
    """The format in a ``fmt`` chunk, of which the first 16 to 40 bytes are given."""
    tag, channels, sample_rate, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", body)
    if tag == _TAG_EXTENSIBLE:
        tag = _parse_subformat(body)
    encoding = _ENCODINGS.get((tag, bits))
    if encoding is None:
        raise RemoteProtocolError(
            f"WAV with format tag {tag:#06x} and {bits} bits is not supported; "
            "8, 16, 24 and 32 bit PCM and 32 and 64 bit float are"
        )
    if frame_bytes != channels * SAMPLE_BYTES[encoding]:
        raise RemoteProtocolError(
            f"the WAV header contradicts itself: {frame_bytes} bytes per frame of "
            f"{channels} channels of {bits} bits"
        )
    return PcmFormat(sample_rate=sample_rate, channels=channels, encoding=encoding)


def _parse_subformat(body: bytes) -> int:
    """The format tag inside the GUID of WAVE_FORMAT_EXTENSIBLE."""
    if len(body) < _FMT_EXTENSIBLE_BYTES or body[26:40] != _SUBFORMAT_SUFFIX:
        raise RemoteProtocolError("the WAV header has an unknown extensible sub-format")
    return int.from_bytes(body[24:26], "little")
