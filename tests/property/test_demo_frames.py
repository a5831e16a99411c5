"""Frames survive any cutting of the bytes; anything else is refused, not believed."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from junetts.backends._demo_frames import (
    Frame,
    FrameDecoder,
    Kind,
    SpeakRequest,
    WordEvent,
    decode_request,
    decode_words,
    encode_frame,
    encode_request,
    encode_words,
)

UNSIGNED = st.integers(0, 2**32 - 1)
FRAMES = st.lists(st.builds(Frame, st.sampled_from(Kind), UNSIGNED, st.binary(max_size=50)))
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


def _decode(data: bytes, cuts: list[int]) -> list[Frame]:
    decoder = FrameDecoder()
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = (data[start:end] for start, end in pairwise(edges))
    return [frame for piece in pieces for frame in decoder.feed(piece)]


@given(frames=FRAMES, cuts=st.lists(st.integers(0, 10_000)))
def test_any_cut(frames: list[Frame], cuts: list[int]) -> None:
    """However the bytes are cut, the same frames come out."""
    assert _decode(b"".join(map(encode_frame, frames)), cuts) == frames


@pytest.mark.long
@pytest.mark.timeout(1200)
@settings(max_examples=100_000)
@given(frames=FRAMES, cuts=st.lists(st.integers(0, 10_000)))
def test_any_cut_long(frames: list[Frame], cuts: list[int]) -> None:
    """However the bytes are cut, the same frames come out, in many examples."""
    assert _decode(b"".join(map(encode_frame, frames)), cuts) == frames


@given(st.binary(max_size=200))
def test_arbitrary_bytes(data: bytes) -> None:
    """Garbage is frames or a ValueError."""
    with contextlib.suppress(ValueError):
        FrameDecoder().feed(data)


@given(st.builds(SpeakRequest, TEXT, TEXT, st.integers(0, 2**16 - 1)))
def test_requests(request: SpeakRequest) -> None:
    """A request survives its encoding."""
    assert decode_request(encode_request(request)) == request


@given(st.lists(st.builds(WordEvent, UNSIGNED, UNSIGNED, UNSIGNED)))
def test_words(words: list[WordEvent]) -> None:
    """Word events survive their encoding."""
    assert decode_words(encode_words(words)) == words
