"""However codes are cut into pushes, the samples are those of decoding them at once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec_reference import (
    ODD_SIZES,
    SIZES,
    WholeDecoder,
    load,
    random_codec,
    random_codes,
    random_weights,
)
from junetts._runtime.codec import Codec, CodecStream
from junetts._runtime.sizes import CodecSizes

ATOL = 1e-5
CODECS = {sizes.n_codebooks: (sizes, random_codec(sizes)) for sizes in (SIZES, ODD_SIZES)}

codecs = st.sampled_from(list(CODECS.values()))
schedules = st.lists(st.integers(0, 12) | st.sampled_from([16, 70]), min_size=1, max_size=12)
seeds = st.integers(0, 2**32)


def pushed(stream: CodecStream, codes: torch.Tensor, schedule: list[int]) -> torch.Tensor:
    """Push the codes in pieces of these lengths."""
    return torch.cat([stream.push(piece) for piece in codes.split(schedule, dim=1)])


def check_schedule(codec: tuple[CodecSizes, Codec], schedule: list[int], seed: int) -> None:
    """Compare a stream with one decode."""
    sizes, network = codec
    codes = random_codes(sizes, sum(schedule), seed=seed)
    samples = pushed(network.stream(), codes, schedule)
    torch.testing.assert_close(samples, network.decode(codes), atol=ATOL, rtol=0)


@given(codec=codecs, schedule=schedules, seed=seeds)
@settings(max_examples=50, deadline=None)
def test_stream_equals_decode(
    codec: tuple[CodecSizes, Codec], schedule: list[int], seed: int
) -> None:
    """Streamed samples, joined, are the offline decode."""
    check_schedule(codec, schedule, seed)


@pytest.mark.long
@pytest.mark.timeout(0)
@given(codec=codecs, schedule=schedules, seed=seeds)
@settings(max_examples=100_000, deadline=None)
def test_stream_equals_decode_long(
    codec: tuple[CodecSizes, Codec], schedule: list[int], seed: int
) -> None:
    """The same with very many schedules."""
    check_schedule(codec, schedule, seed)


@given(schedule=schedules, seed=st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_stream_equals_a_plain_decode(schedule: list[int], seed: int) -> None:
    """Streamed samples are those of an independent decode of the whole, for any weights."""
    weights = random_weights(SIZES, seed=seed)
    codes = random_codes(SIZES, sum(schedule) + 1, seed=seed)
    samples = pushed(load(weights, SIZES).stream(), codes, [*schedule, 1])
    plain = WholeDecoder(weights, SIZES)(codes)
    torch.testing.assert_close(samples.double(), plain, atol=ATOL, rtol=0)


@given(codec=codecs, head=schedules, tails=st.lists(schedules, min_size=1, max_size=3), seed=seeds)
@settings(max_examples=25, deadline=None)
def test_forks(
    codec: tuple[CodecSizes, Codec], head: list[int], tails: list[list[int]], seed: int
) -> None:
    """A fork continues what was before it, whatever its siblings were given."""
    sizes, network = codec
    stream = network.stream()
    start = random_codes(sizes, sum(head), seed=seed)
    pushed(stream, start, head)
    for number, tail in enumerate(tails):
        codes = random_codes(sizes, sum(tail), seed=seed + number + 1)
        samples = pushed(stream.fork(), codes, tail)
        whole = network.decode(torch.cat((start, codes), 1))
        expected = whole[start.shape[1] * sizes.frame_length :]
        torch.testing.assert_close(samples, expected, atol=ATOL, rtol=0)
