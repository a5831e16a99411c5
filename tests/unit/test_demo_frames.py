"""The frames between the demo voice and its child process."""

from __future__ import annotations

import pytest

from junetts.backends._demo_frames import MAX_PAYLOAD_BYTES, Frame, FrameDecoder, Kind, encode_frame


def test_layout() -> None:
    """A frame is its kind, its request and its length, little-endian, then the payload."""
    assert encode_frame(Frame(Kind.AUDIO, 258, b"pcm")) == b"\x05\x02\x01\0\0\x03\0\0\0pcm"


def test_unknown_kind() -> None:
    """A kind that does not exist is refused."""
    with pytest.raises(ValueError, match="99"):
        FrameDecoder().feed(b"\x63" + bytes(8))


def test_impossible_length() -> None:
    """A length that no frame has is refused before anything is collected."""
    too_long = (MAX_PAYLOAD_BYTES + 1).to_bytes(4, "little")
    with pytest.raises(ValueError, match="bytes"):
        FrameDecoder().feed(b"\x05" + bytes(4) + too_long)
