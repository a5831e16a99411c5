"""A stream of codes: its state is a value of fixed size."""

from __future__ import annotations

import pytest
import torch

from codec_reference import ODD_SIZES, SIZES, random_codec, random_codes
from junetts._errors import InvalidRequestError
from junetts._runtime.codec import CodecStream
from junetts._runtime.codec.past import Past
from junetts._runtime.codec.stream import BLOCK_FRAMES
from junetts._runtime.codec.transformer import WindowedTransformer
from junetts._runtime.sizes import CodecSizes


def shapes(stream: CodecStream) -> list[tuple[torch.Size, int]]:
    """Shape of every tensor of the state, and the bytes it holds on to."""
    return [(t.shape, t.untyped_storage().nbytes()) for t in stream.past.tensors]


@pytest.mark.parametrize("sizes", [SIZES, ODD_SIZES])
def test_state_never_grows(sizes: CodecSizes) -> None:
    """No push, long or short, changes a shape or keeps more memory than the shapes need."""
    stream = random_codec(sizes).stream()
    fresh, n_bytes = shapes(stream), stream.past.n_bytes
    for n_frames in (1, 3, BLOCK_FRAMES + 1):
        stream.push(random_codes(sizes, n_frames))
        assert shapes(stream) == fresh
    assert stream.past.n_bytes == n_bytes == sum(held for _, held in fresh)


def test_forks_go_their_own_ways() -> None:
    """Each fork continues as if it had been alone from the start."""
    codec = random_codec()
    head, left, right = (random_codes(SIZES, 9, seed=seed) for seed in range(3))
    stream = codec.stream()
    stream.push(head)
    fork = stream.fork()
    ends = [stream.push(left), fork.push(right)]
    for tail, end in zip((left, right), ends, strict=True):
        alone = codec.decode(torch.cat((head, tail), 1))[-len(end) :]
        torch.testing.assert_close(end, alone, atol=1e-5, rtol=0)


def test_streams_begin_alike() -> None:
    """What one stream did does not reach the next."""
    codec, codes = random_codec(), random_codes(SIZES, 5)
    first = codec.stream().push(codes)
    torch.testing.assert_close(codec.stream().push(codes), first, atol=0, rtol=0)


def test_refused_codes_leave_the_stream_alone() -> None:
    """After an error the stream continues where it was."""
    codec, codes = random_codec(), random_codes(SIZES, 6)
    stream = codec.stream()
    head = stream.push(codes[:, :3])
    with pytest.raises(InvalidRequestError):
        stream.push(-codes - 1)
    assert stream.push(codes[:, :0]).shape == (0,)
    both = torch.cat((head, stream.push(codes[:, 3:])))
    torch.testing.assert_close(both, codec.decode(codes), atol=1e-5, rtol=0)


def test_several_streams_side_by_side() -> None:
    """The network decodes several streams in one step, each as if it were alone."""
    codec = random_codec()
    codes = torch.stack([random_codes(SIZES, 8, seed=seed) for seed in range(3)])
    with torch.inference_mode():
        past = Past.of(codec.decoding, n_streams=3)
        steps = torch.split(codes, 4, dim=-1)
        together = torch.cat([codec.decoding(step, past) for step in steps], -1)
    for one, wave in zip(codes, together, strict=True):
        torch.testing.assert_close(wave, codec.decode(one), atol=1e-5, rtol=0)


def test_rotation_equals_a_table_at_any_position() -> None:
    """RoPE is computed where it is needed, to the bit as in a table of all positions."""
    transformer = WindowedTransformer(SIZES.post_transformer, n_outside=12)
    frequencies = 1.0 / (10_000 ** (torch.arange(0, 8, 2).float() / 8))
    angles = torch.outer(torch.arange(100_000), frequencies)
    table = torch.view_as_real(torch.polar(torch.ones_like(angles), angles)).bfloat16().float()
    for start, n_new in ((0, 1), (1, 3), (4037, 5), (99_990, 10)):
        rotation = transformer._rotation(torch.tensor([start]), n_new)[0, :, 0, 0]
        torch.testing.assert_close(rotation, table[start : start + n_new], atol=0, rtol=0)
