"""Text to token ids, with no way for a user's text to spell the model's control tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Protocol

from junetts._errors import CheckpointError
from junetts._runtime.sizes import Family, ModelSizes, TokenIds
from junetts._runtime.vocabulary import Vocabulary, read_vocabulary

IM_START = "<|im_start|>"
IM_END = "<|im_end|>"
INTERLEAVE = "<|interleave|>"
VOICE = "<|voice|>"
CONTROLS: Mapping[Family, tuple[str, ...]] = {
    "s1": (INTERLEAVE, IM_END),
    "s2": (IM_START, IM_END, VOICE),
}

SPEAKER_TAG = re.compile(r"(<\|speaker:\d+\|>)")
SEMANTIC = re.compile(r"<\|semantic:(\d+)\|>")

# As upstream: the libraries below are slow, or worse, on much longer texts without a boundary.
MAX_CHUNK_CHARS = 400_000


class Tokenizer(Protocol):
    """What prompts are made with."""

    @property
    def ids(self) -> TokenIds:
        """The ids that generation needs."""
        ...

    def encode(self, text: str) -> list[int]:
        """Token ids of trusted text: every special token that it spells is recognised."""
        ...

    def encode_text(self, text: str) -> list[int]:
        """Token ids of a user's text: of special tokens, only speaker tags are recognised.

        Any other, such as ``<|im_end|>``, is ordinary text, where fish-speech would let it end the
        turn. A speaker tag that the model has no token for is ordinary text, too.
        """
        ...

    def token_id(self, name: str) -> int:
        """The id of a special token, such as ``<|im_end|>``; KeyError if there is none."""
        ...


class SpecialTokenizer:
    """A `Tokenizer` that finds special tokens itself and leaves the text between to a library."""

    def __init__(self, vocabulary: Vocabulary, ids: TokenIds) -> None:
        self._ordinary = vocabulary.encode_ordinary
        self._specials = vocabulary.specials
        self._ids = ids

    @property
    def ids(self) -> TokenIds:
        """The ids that generation needs."""
        return self._ids

    def encode(self, text: str) -> list[int]:
        """Token ids of trusted text: every special token that it spells is recognised."""
        return self._encode(text, self._special)

    def encode_text(self, text: str) -> list[int]:
        """Token ids of a user's text: of special tokens, only speaker tags are recognised."""
        return self._encode(text, SPEAKER_TAG)

    def token_id(self, name: str) -> int:
        """The id of a special token, such as ``<|im_end|>``; KeyError if there is none."""
        return self._specials[name]

    @cached_property
    def _special(self) -> re.Pattern[str]:
        longest_first = sorted(self._specials, key=len, reverse=True)
        return re.compile(f"({'|'.join(map(re.escape, longest_first))})")

    def _encode(self, text: str, special: re.Pattern[str]) -> list[int]:
        ids: list[int] = []
        ordinary: list[str] = []
        # The pattern's one group makes every other piece a special token's spelling.
        for index, piece in enumerate(special.split(without_surrogates(text))):
            if index % 2 and piece in self._specials:
                ids += self._encode_ordinary("".join(ordinary))
                ids.append(self._specials[piece])
                ordinary.clear()
            else:
                ordinary.append(piece)
        return ids + self._encode_ordinary("".join(ordinary))

    def _encode_ordinary(self, text: str) -> list[int]:
        ids: list[int] = []
        for start in range(0, len(text), MAX_CHUNK_CHARS):
            ids += self._ordinary(text[start : start + MAX_CHUNK_CHARS])
        return ids


def without_surrogates(text: str) -> str:
    """The text with surrogates, which no encoding can hold, paired up or replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def read_tokenizer(
    directory: Path,
    *,
    sizes: ModelSizes,
    semantic_ids: tuple[int, int] | None,
    n_semantic: int,
) -> SpecialTokenizer:
    """Read the tokenizer of a checkpoint, and check that it belongs to the model.

    Args:
        directory: where its files are.
        sizes: of the model.
        semantic_ids: the first and last semantic id according to the config, if it says.
        n_semantic: how many semantic codes the codec has.

    Raises:
        CheckpointError: files are missing or damaged; or a token is missing, its id is beyond the
            vocabulary, or semantic ids are not consecutive or not those of config and codec.
    """
    vocabulary = read_vocabulary(directory, sizes.family)
    begin, end = _semantic_range(vocabulary)
    _check(vocabulary, sizes, (begin, end), n_semantic)
    if semantic_ids not in (None, (begin, end)):
        raise _wrong(
            vocabulary, f"has semantic ids {begin} to {end}, the config says {semantic_ids}"
        )
    im_end = vocabulary.specials[IM_END]
    ids = TokenIds(semantic_begin=begin, semantic_end=end, im_end=im_end)
    return SpecialTokenizer(vocabulary, ids)


def _semantic_range(vocabulary: Vocabulary) -> tuple[int, int]:
    """The first and last id of the semantic tokens; code and id must count up together."""
    ids = {}
    for name, token_id in vocabulary.specials.items():
        if found := SEMANTIC.fullmatch(name):
            ids[int(found[1])] = token_id
    if 0 not in ids:
        raise _wrong(vocabulary, "has no semantic tokens, such as '<|semantic:0|>'")
    begin = ids[0]
    for code in range(len(ids)):
        if ids.get(code) != begin + code:
            raise _wrong(
                vocabulary,
                f"must give '<|semantic:{code}|>' the id {begin + code}, not {ids.get(code)}: "
                "semantic ids are consecutive",
            )
    return begin, begin + len(ids) - 1


def _check(
    vocabulary: Vocabulary, sizes: ModelSizes, semantic: tuple[int, int], n_semantic: int
) -> None:
    for name in CONTROLS[sizes.family]:
        if name not in vocabulary.specials:
            raise _wrong(vocabulary, f"has no token {name!r}")
    if vocabulary.n_ids > sizes.vocab_size:
        raise _wrong(
            vocabulary,
            f"has ids up to {vocabulary.n_ids - 1}, the model has {sizes.vocab_size} tokens",
        )
    n_tokens = semantic[1] - semantic[0] + 1
    if not n_semantic <= n_tokens <= sizes.codebook_size:
        raise _wrong(
            vocabulary,
            f"has {n_tokens} semantic tokens; the codec has {n_semantic} semantic codes, "
            f"the model room for {sizes.codebook_size}",
        )


def _wrong(vocabulary: Vocabulary, problem: str) -> CheckpointError:
    return CheckpointError(
        f"the tokenizer in {vocabulary.path} {problem}",
        path=str(vocabulary.path),
        hint="tokenizer, model and codec belong together; download the checkpoint again",
    )
