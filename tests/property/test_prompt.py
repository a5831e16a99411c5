"""Whatever is said in whatever voice: prompts go on from one another, and no word goes missing."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from checkpoint_files import S1, S2
from junetts._runtime.checkpoint import open_checkpoint
from junetts._runtime.prompt import Turn, encode_prompt, split_batches, voice_prefix_length
from junetts._runtime.sizes import ModelSizes
from junetts._runtime.tokenizer import Tokenizer
from junetts._runtime.turns import MAX_TURNS, normalized

TAG = re.compile(r"<\|speaker:\d+\|>")

TAGS = ("<|speaker:0|>", "<|speaker:1|>", "<|speaker:12|>")
CONTROLS = ("<|im_end|>", "<|semantic:5|>", "<|", "|>")
WORDS = ("Hello", " world", ".", "\n", "  ", "你好", "🎉", "\ud800", "'ll", "3:45")
pieces = st.sampled_from((*TAGS, *CONTROLS, *WORDS))
texts = st.one_of(st.text(max_size=30), st.lists(pieces, max_size=10).map("".join))


def rows(n_frames: int) -> st.SearchStrategy[list[list[int]]]:
    """Codes of ten codebooks."""
    row = st.lists(st.integers(0, 255), min_size=n_frames, max_size=n_frames)
    return st.lists(row, min_size=10, max_size=10)


codes = st.integers(0, 5).flatmap(rows)
turns = st.builds(Turn, texts, codes)
references = st.builds(Turn, texts, codes.filter(lambda rows: len(rows[0]) > 0))


@cache
def model(checkpoint: Path) -> tuple[ModelSizes, Tokenizer]:
    """Sizes and tokenizer of a checkpoint."""
    found = open_checkpoint(checkpoint)
    return found.model, found.load_tokenizer()


def check_continuation(checkpoint: Path, voice: list[Turn], history: list[Turn], text: str) -> None:
    """Each turn's prompt starts with the one before and its answer; all share the voice's part."""
    prefix = voice_prefix_length(*model(checkpoint), voice)
    so_far = encode_prompt(*model(checkpoint), "", references=voice)[:, :prefix]
    for index, turn in enumerate([*history, Turn(text, [])]):
        prompt = encode_prompt(
            *model(checkpoint), turn.text, references=voice, history=history[:index]
        )
        n = so_far.shape[1]
        assert torch.equal(prompt[:, :n], so_far)
        if index < len(history):
            frames = torch.tensor(turn.codes).long()
            ids = frames[:1] + model(checkpoint)[1].ids.semantic_begin
            column = torch.cat([ids, frames])
            so_far = torch.cat([prompt, column], dim=1)


def check_columns(checkpoint: Path, voice: list[Turn], history: list[Turn], text: str) -> None:
    """Only frames that were given are semantic columns, and only as many turns end as there are."""
    sizes, tokenizer = model(checkpoint)
    prompt = encode_prompt(sizes, tokenizer, text, references=voice, history=history)
    ids = tokenizer.ids
    is_semantic = (prompt[0] >= ids.semantic_begin) & (prompt[0] <= ids.semantic_end)
    given_codes = [
        torch.tensor(t.codes, dtype=torch.int64).reshape(10, -1) for t in voice + history
    ]
    expected = torch.cat([*given_codes, torch.empty(10, 0, dtype=torch.int64)], dim=1)
    assert torch.equal(prompt[1:, is_semantic], expected)
    assert not prompt[1:, ~is_semantic].any()
    n_ends = len(voice) + len(history) if sizes.family == "s1" else 2 + 2 * len(history)
    assert int((prompt[0] == ids.im_end).sum()) == n_ends
    assert 0 <= int(prompt[0].min()) <= int(prompt[0].max()) < sizes.vocab_size


def check_batches(text: str, max_bytes: int) -> None:
    """No word is lost, batches keep their bounds, and each is normal already."""
    batches = split_batches(text, max_bytes=max_bytes)
    if not TAG.search(text):
        assert batches == [text] == [normalized(text)]
        return
    words = "".join(TAG.sub("", batch) for batch in batches)
    assert "".join(words.split()) == "".join(TAG.sub("", text).split())
    assert "\n".join(batches) == normalized(text)
    for batch in batches:
        n_turns = len(TAG.findall(batch))
        assert TAG.match(batch)
        assert 1 <= n_turns <= MAX_TURNS
        assert n_turns == 1 or len(batch.encode("utf-8", "surrogatepass")) <= max_bytes
        assert normalized(batch) == batch


@pytest.mark.parametrize("checkpoint", [S1, S2])
def test_prompts_continue(checkpoint: Path) -> None:
    """Keys and values can be kept from turn to turn, and the voice's for all texts."""

    @settings(max_examples=60, deadline=None)
    @given(st.lists(references, max_size=2), st.lists(turns, max_size=3), texts)
    def check(voice: list[Turn], history: list[Turn], text: str) -> None:
        check_continuation(checkpoint, voice, history, text)

    check()


@pytest.mark.parametrize("checkpoint", [S1, S2])
def test_prompts_hold_what_was_given(checkpoint: Path) -> None:
    """No text can spell a code or the end of a turn."""

    @settings(max_examples=60, deadline=None)
    @given(st.lists(references, max_size=2), st.lists(turns, max_size=2), texts)
    def check(voice: list[Turn], history: list[Turn], text: str) -> None:
        check_columns(checkpoint, voice, history, text)

    check()


@settings(max_examples=300, deadline=None)
@given(texts, st.integers(1, 200))
def test_batches(text: str, max_bytes: int) -> None:
    """Any text, in batches of any size, is all there."""
    check_batches(text, max_bytes)


@pytest.mark.long
@pytest.mark.timeout(3600)
@settings(max_examples=100_000, deadline=None)
@given(texts, st.integers(1, 200))
def test_batches_long(text: str, max_bytes: int) -> None:
    """The same, for very many texts."""
    check_batches(text, max_bytes)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("checkpoint", [S1, S2])
def test_prompts_long(checkpoint: Path) -> None:
    """Both properties of prompts, for very many conversations."""

    @settings(max_examples=100_000, deadline=None)
    @given(st.lists(references, max_size=2), st.lists(turns, max_size=3), texts)
    def check(voice: list[Turn], history: list[Turn], text: str) -> None:
        check_continuation(checkpoint, voice, history, text)
        check_columns(checkpoint, voice, history, text)

    check()
