"""MP3 streams, made readable by a decoder that trusts a length written in front."""

from __future__ import annotations

from typing import NamedTuple

_ID3_HEADER_BYTES = 10
_KBPS_MPEG1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBPS_MPEG2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES_MPEG1 = (44_100, 48_000, 32_000)
_MPEG1, _MPEG2, _MPEG25, _LAYER_3, _MONO = 3, 2, 0, 1, 3
_RATE_DIVISORS = {_MPEG1: 1, _MPEG2: 2, _MPEG25: 4}
_HIGHEST_BITRATE = 14
_XING_HAS_FRAMES = 1


class _Frame(NamedTuple):
    """One frame's header."""

    n_bytes: int
    tag_at: int  # where a length tag stands, from the frame's start: behind the side information


def with_length(data: bytes) -> bytes:
    """The same stream, beginning with a Xing tag that counts all of its frames.

    Without one a decoder estimates the length from the first bitrate, and may stop early. A tag
    that promises as much as there is, or more, is left alone, as it also tells the encoder's
    delay. An ID3 tag is dropped. Anything but MP3 layer 3 is returned unchanged.
    """
    audio = data[_id3_bytes(data) :]
    first = _frame_at(audio, 0)
    if first is None:
        return data
    n_frames = _count_frames(audio)
    tagged = _tagged_frames(audio, first)
    if tagged is None:
        return _tag_frame(audio[:4], n_frames) + audio
    n_frames -= 1  # the tag's own frame is not counted
    if tagged >= n_frames:
        return audio
    return _tag_frame(audio[:4], n_frames) + audio[first.n_bytes :]


def _id3_bytes(data: bytes) -> int:
    """Length of the tag in front; its size field has 7 bits per byte (ID3v2.4, section 3.1)."""
    if not data.startswith(b"ID3") or len(data) < _ID3_HEADER_BYTES:
        return 0
    size = 0
    for byte in data[6:_ID3_HEADER_BYTES]:
        size = size << 7 | byte & 0x7F
    return _ID3_HEADER_BYTES + size


def _frame_at(data: bytes, at: int) -> _Frame | None:
    """The layer 3 frame that begins here, if one does (ISO 11172-3, section 2.4.2.3)."""
    header = data[at : at + 4]
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bitrate, rate = header[2] >> 4, header[2] >> 2 & 3
    if version not in _RATE_DIVISORS or layer != _LAYER_3 or not 0 < bitrate < 15 or rate == 3:
        return None
    kbps = (_KBPS_MPEG1 if version == _MPEG1 else _KBPS_MPEG2)[bitrate]
    rate_hz = _RATES_MPEG1[rate] // _RATE_DIVISORS[version]
    n_bytes = (144_000 if version == _MPEG1 else 72_000) * kbps // rate_hz + (header[2] >> 1 & 1)
    is_mono = header[3] >> 6 == _MONO
    side_bytes = (17 if is_mono else 32) if version == _MPEG1 else (9 if is_mono else 17)
    return _Frame(n_bytes, 4 + side_bytes)


def _count_frames(data: bytes) -> int:
    at = n_frames = 0
    while frame := _frame_at(data, at):
        at += frame.n_bytes
        n_frames += 1
    return n_frames


def _tagged_frames(data: bytes, frame: _Frame) -> int | None:
    """What the first frame says of the number of frames, if it is a tag and does."""
    tag = data[frame.tag_at : frame.tag_at + 12]
    if len(tag) < 12 or tag[:4] not in (b"Xing", b"Info") or not tag[7] & _XING_HAS_FRAMES:
        return None
    return int.from_bytes(tag[8:], "big")


def _tag_frame(like: bytes, n_frames: int) -> bytes:
    """A silent frame with a Xing tag, of the same kind as the frame with the given header."""
    rate_bits = like[2] & 0x0C
    header = bytes((0xFF, like[1] | 1, _HIGHEST_BITRATE << 4 | rate_bits, like[3]))
    frame = _frame_at(header, 0)
    tag = b"Xing" + _XING_HAS_FRAMES.to_bytes(4, "big") + n_frames.to_bytes(4, "big")
    return (header + bytes(frame.tag_at - 4) + tag).ljust(frame.n_bytes, b"\0") if frame else b""
