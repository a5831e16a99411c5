"""Tokenizer files, of both families' layouts: ordinary text to ids, and the special tokens."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import tiktoken
import tokenizers

from junetts._errors import CheckpointError
from junetts._runtime.checkpoint_file import DOWNLOAD_AGAIN, INCOMPLETE, read_text
from junetts._runtime.json_file import read_json, read_object
from junetts._runtime.sizes import Family

TIKTOKEN = "tokenizer.tiktoken"
SPECIAL_TOKENS = "special_tokens.json"
TOKENIZER_JSON = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"

# How fish-speech 0.1.0 cuts text into words. `\s+(\?!\S)` is a slip there, for a look-ahead that
# was meant; the models were trained with it.
WORDS = "|".join(
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
        r"\p{P}",
        r"[^\r\n\p{L}\p{N}]?\p{L}+",
        r"\p{N}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(\?!\S)",
        r"\s+",
    )
)

# The special tokens of fish-speech 0.1.0, for checkpoints that do not list theirs.
_NAMES = (
    *("begin_of_text", "end_of_text", "pad", "im_start", "im_end"),
    *("phoneme_start", "phoneme_end", "tool_call_start", "tool_call_end"),
    *("text", "voice", "interleave", "audio_start", "audio_end", "audio"),
    *(f"semantic:{code}" for code in range(1024)),
)
DEFAULT_SPECIALS = tuple(f"<|{name}|>" for name in _NAMES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """A tokenizer's content.

    Attributes:
        path: its main file.
        n_ids: one more than the largest id.
        specials: the id of each special token.
        encode_ordinary: token ids of text in which no special token is recognised.
    """

    path: Path
    n_ids: int
    specials: Mapping[str, int]
    encode_ordinary: Callable[[str], list[int]]


def read_vocabulary(directory: Path, family: Family) -> Vocabulary:
    """Read the tokenizer in ``directory``; where there are two, that of the family's own layout.

    Raises:
        CheckpointError: there is none, or its files are damaged.
    """
    names = (TIKTOKEN, TOKENIZER_JSON) if family == "s1" else (TOKENIZER_JSON, TIKTOKEN)
    for name in names:
        if os.path.lexists(directory / name):
            read = _read_tiktoken if name == TIKTOKEN else _read_tokenizer_json
            return read(directory / name)
    raise CheckpointError(
        f"{directory} has no tokenizer: {' or '.join(names)}",
        path=str(directory),
        hint=INCOMPLETE,
    )


def _read_tiktoken(path: Path) -> Vocabulary:
    ranks = _ranks(path)
    specials = {name: len(ranks) + i for i, name in enumerate(_special_names(path.parent))}
    encoding = tiktoken.Encoding(
        name=path.stem, pat_str=WORDS, mergeable_ranks=ranks, special_tokens={}
    )
    return Vocabulary(
        path=path,
        n_ids=max(*ranks.values(), *specials.values()) + 1,
        specials=specials,
        encode_ordinary=encoding.encode_ordinary,
    )


def _ranks(path: Path) -> dict[bytes, int]:
    """The rank, which is the id, of each ordinary token."""
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        token, _, rank = line.partition(" ")
        if token in ("", "="):  # an empty line, or the empty token, which has no use
            continue
        try:
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except ValueError as error:
            raise CheckpointError(
                f"line {number} of {path} is not a token and its rank",
                path=str(path),
                hint=DOWNLOAD_AGAIN,
            ) from error
    _check_ranks(ranks, path)
    return ranks


def _check_ranks(ranks: Mapping[bytes, int], path: Path) -> None:
    if not all(bytes([byte]) in ranks for byte in range(256)):
        problem = "lacks tokens for single bytes"
    elif len(set(ranks.values())) < len(ranks) or not min(ranks.values()) >= 0:
        problem = "gives several tokens one rank"
    elif max(ranks.values()) >= 2**31:
        problem = "holds a rank that is no token id"
    else:
        return
    raise CheckpointError(f"{path} {problem}", path=str(path), hint=DOWNLOAD_AGAIN)


def _special_names(directory: Path) -> Iterable[str]:
    """The special tokens in the order of their ids; what ids the file gives them is not used."""
    path = directory / SPECIAL_TOKENS
    if not os.path.lexists(path):
        return DEFAULT_SPECIALS
    names = read_json(path)
    if not isinstance(names, (dict, list)) or not all(isinstance(n, str) and n for n in names):
        raise CheckpointError(f"{path} must hold an object of tokens and ids", path=str(path))
    return names


def _read_tokenizer_json(path: Path) -> Vocabulary:
    text = read_text(path)
    tokenizer = _tokenizer(text, path)
    if any(_is_control(t.content) and not t.special for t in _added(tokenizer).values()):
        tokenizer = _tokenizer(_with_special_controls(text), path)
    specials = {token.content: i for i, token in _added(tokenizer).items() if token.special}
    for name, token_id in _configured_specials(path.parent).items():
        specials.setdefault(name, token_id)

    def encode_ordinary(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False).ids

    largest = max(*tokenizer.get_vocab(with_added_tokens=True).values(), *specials.values(), 0, 0)
    return Vocabulary(
        path=path, n_ids=largest + 1, specials=specials, encode_ordinary=encode_ordinary
    )


def _tokenizer(text: str, path: Path) -> tokenizers.Tokenizer:
    try:
        tokenizer = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # (noqa: reviewed) the library has no error type of its own
        raise CheckpointError(
            f"{path} is not a usable tokenizer: {error}", path=str(path), hint=DOWNLOAD_AGAIN
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True  # as the ordinary text that they are spelt with
    return tokenizer


def _added(tokenizer: tokenizers.Tokenizer) -> dict[int, tokenizers.AddedToken]:
    added: dict[int, tokenizers.AddedToken] = tokenizer.get_added_tokens_decoder()
    return added


def _is_control(content: str) -> bool:
    return content.startswith("<|") and content.endswith("|>")


def _with_special_controls(text: str) -> str:
    """The tokenizer file with all control tokens marked special, so that no text can spell them."""
    content = json.loads(text)
    for token in content["added_tokens"]:
        token["special"] = token["special"] or _is_control(token["content"])
    return json.dumps(content)


def _configured_specials(directory: Path) -> dict[str, int]:
    """Special tokens that only the file beside the tokenizer lists."""
    path = directory / TOKENIZER_CONFIG
    if not os.path.lexists(path):
        return {}
    listed = read_object(path).get("added_tokens_decoder")
    specials = {}
    for token_id, token in listed.items() if isinstance(listed, dict) else ():
        content = token.get("content") if isinstance(token, dict) else None
        if isinstance(content, str) and _is_control(content) and token_id.isdecimal():
            specials[content] = int(token_id)
    return specials
