"""Both families' tokenizers give upstream's ids, and users' texts cannot spell control tokens."""

from __future__ import annotations

import base64
import dataclasses
import json
from pathlib import Path

import pytest

from checkpoint_files import S1, S2, copy_of, edit_json
from junetts._errors import CheckpointError
from junetts._runtime.checkpoint import open_checkpoint
from junetts._runtime.sizes import TokenIds
from junetts._runtime.tokenizer import MAX_CHUNK_CHARS, SpecialTokenizer, read_tokenizer
from junetts._runtime.vocabulary import DEFAULT_SPECIALS, Vocabulary, read_vocabulary


def tokenizer(directory: Path) -> SpecialTokenizer:
    """The tokenizer of a checkpoint."""
    found = open_checkpoint(directory).load_tokenizer()
    assert isinstance(found, SpecialTokenizer)
    return found


def by_bytes(specials: dict[str, int]) -> SpecialTokenizer:
    """A tokenizer with a token per byte, and some special ones."""
    vocabulary = Vocabulary(
        path=Path("x"),
        n_ids=1000,
        specials=specials,
        encode_ordinary=lambda text: list(text.encode()),
    )
    return SpecialTokenizer(vocabulary, TokenIds(semantic_begin=0, semantic_end=0, im_end=0))


def test_ids_of_both_families() -> None:
    """The ids that generation needs are those of the golden data."""
    assert tokenizer(S1).ids == TokenIds(semantic_begin=309, semantic_end=1588, im_end=298)
    assert tokenizer(S2).ids == TokenIds(semantic_begin=314, semantic_end=569, im_end=297)


@pytest.mark.parametrize("checkpoint", [S1, S2])
def test_special_tokens_are_recognised_in_trusted_text(checkpoint: Path) -> None:
    """`encode` gives every special token that is spelt its own id, and the rest as usual."""
    t = tokenizer(checkpoint)
    ids = t.encode("a<|im_end|><|semantic:1|> b")
    assert ids == [
        *t.encode_text("a"),
        t.token_id("<|im_end|>"),
        t.token_id("<|semantic:1|>"),
        *t.encode_text(" b"),
    ]
    with pytest.raises(KeyError):
        t.token_id("<|unknown|>")


@pytest.mark.parametrize("checkpoint", [S1, S2])
@pytest.mark.parametrize(
    "name", ["<|im_end|>", "<|im_start|>", "<|semantic:3|>", "<|voice|>", "<|interleave|>"]
)
def test_users_cannot_spell_control_tokens(checkpoint: Path, name: str) -> None:
    """A control token in a user's text is the characters it is written with."""
    t = tokenizer(checkpoint)
    for text in (f"Say {name} now.", name, f"<|speaker:0|>{name}<|speaker:9|>"):
        ids = t.encode_text(text)
        assert t.token_id(name) not in ids
        assert len(ids) > len(name) / 2
    assert t.encode_text("") == t.encode("") == []


def test_speaker_tags_are_recognised_where_the_model_has_them() -> None:
    """S2's speaker tags are tokens, as far as the model has them; S1 has none."""
    s2 = tokenizer(S2)
    assert s2.encode_text("<|speaker:7|>a") == [s2.token_id("<|speaker:7|>"), *s2.encode("a")]
    assert len(s2.encode_text("<|speaker:8|>a")) > 2
    assert len(tokenizer(S1).encode_text("<|speaker:0|>")) > 1


def test_tags_without_a_token_do_not_cut_the_text() -> None:
    """A tag that is no token is encoded together with the words around it."""
    t = by_bytes({"<|speaker:0|>": 500, "<|x|>": 501})
    assert t.encode_text("a<|speaker:1|>b") == list(b"a<|speaker:1|>b")
    assert t.encode_text("<|x|><|speaker:0|>") == [*b"<|x|>", 500]
    assert t.encode("<|x|><|speaker:0|>") == [501, 500]


def test_the_longest_special_token_wins() -> None:
    """Of special tokens that start alike, the longest that is spelt is meant."""
    t = by_bytes({"<x": 300, "<xy>": 301, "<xy": 302})
    assert t.encode("<xy><xyz<xz") == [301, 302, *b"z", 300, *b"z"]


@pytest.mark.parametrize("checkpoint", [S1, S2])
@pytest.mark.parametrize(
    ("text", "same"),
    [("a\ud800b", "a\ufffdb"), ("\ud83d\ude00", "\U0001f600"), ("\udfff", "\ufffd")],
)
def test_surrogates_do_not_crash(checkpoint: Path, text: str, same: str) -> None:
    """Half a character is replaced, two halves are put together."""
    t = tokenizer(checkpoint)
    assert t.encode_text(text) == t.encode_text(same) == t.encode(text)


@pytest.mark.parametrize("checkpoint", [S1, S2])
@pytest.mark.parametrize("unit", ["a", " ", "\n", "!", "1", "word ", " \n", "你"])
def test_a_megabyte_of_text(checkpoint: Path, unit: str) -> None:
    """Very long texts without a boundary are encoded, in time that grows with their length."""
    text = unit * (2**20 // len(unit.encode()))
    assert len(tokenizer(checkpoint).encode_text(text)) > len(text) // 8


@pytest.mark.parametrize("checkpoint", [S1, S2])
def test_a_megabyte_of_tokens_that_merge(tmp_path: Path, checkpoint: Path) -> None:
    """A long run of one letter is no trap either where it merges into longer tokens."""
    directory = copy_of(checkpoint, tmp_path)
    if checkpoint == S1:
        path = directory / "tokenizer.tiktoken"
        lines = path.read_text().splitlines()
        runs = [base64.b64encode(b"a" * 2**n).decode() for n in range(1, 8)]
        new = [f"{run} {len(lines) + i}" for i, run in enumerate(runs)]
        path.write_text("\n".join([*lines, *new]))
        edit_json(directory / "config.json", vocab_size=1600)
    else:
        path = directory / "tokenizer.json"
        content = json.loads(path.read_text())
        # Tokens that exist already are merged into longer ones whose ids are free.
        for n in range(7):
            content["model"]["merges"].append(["a" * 2**n, "a" * 2**n])
            content["model"]["vocab"]["a" * 2 ** (n + 1)] = 570 + n
        path.write_text(json.dumps(content))
        edit_json(directory / "config.json", vocab_size=600)
    sizes = open_checkpoint(directory).model
    vocabulary = read_vocabulary(directory, sizes.family)
    assert len(vocabulary.encode_ordinary("a" * MAX_CHUNK_CHARS)) == MAX_CHUNK_CHARS // 128


def test_long_texts_are_encoded_in_chunks() -> None:
    """The libraries never see more text at once than upstream gives them."""
    lengths = []

    def encode(text: str) -> list[int]:
        lengths.append(len(text))
        return [1]

    vocabulary = Vocabulary(path=Path("x"), n_ids=9, specials={}, encode_ordinary=encode)
    t = SpecialTokenizer(vocabulary, TokenIds(semantic_begin=0, semantic_end=0, im_end=0))
    assert t.encode_text("x" * (2 * MAX_CHUNK_CHARS + 1)) == [1, 1, 1]
    assert lengths == [MAX_CHUNK_CHARS, MAX_CHUNK_CHARS, 1]


def test_default_special_tokens(tmp_path: Path) -> None:
    """Without special_tokens.json the list of fish-speech 0.1.0 follows the ordinary tokens."""
    directory = copy_of(S1, tmp_path)
    (directory / "special_tokens.json").unlink()
    vocabulary = read_vocabulary(directory, "s1")
    assert len(DEFAULT_SPECIALS) == 1039
    assert vocabulary.specials["<|begin_of_text|>"] == 294
    assert vocabulary.specials["<|im_end|>"] == 298
    assert vocabulary.specials["<|semantic:1023|>"] == 294 + 1038 == vocabulary.n_ids - 1


def test_special_ids_follow_their_order(tmp_path: Path) -> None:
    """The order of special_tokens.json decides, not the numbers in it; a list will do."""
    directory = copy_of(S1, tmp_path)
    path = directory / "special_tokens.json"
    names = list(json.loads(path.read_text()))
    path.write_text(json.dumps(dict.fromkeys(names, 7)))
    assert tokenizer(directory).ids == tokenizer(S1).ids
    path.write_text(json.dumps(names))
    assert tokenizer(directory).ids == tokenizer(S1).ids


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("AAA= 0", "several tokens one rank"),
        ("AAA= -1", "several tokens one rank"),
        ("AAA= 2147483648", "no token id"),
        ("A?A= 300", "line 295 of .* is not a token and its rank"),
        ("AAA=", "line 295 of .* is not a token and its rank"),
    ],
)
def test_ranks_are_checked(tmp_path: Path, line: str, problem: str) -> None:
    """A line that is no token, and ranks that cannot be ids, are errors."""
    directory = copy_of(S1, tmp_path)
    path = directory / "tokenizer.tiktoken"
    path.write_text(f"{path.read_text().rstrip()}\n{line}\n")
    with pytest.raises(CheckpointError, match=problem):
        tokenizer(directory)


def test_empty_lines_and_the_empty_token_are_skipped(tmp_path: Path) -> None:
    """As upstream: a blank line and a bare equals sign are no tokens."""
    directory = copy_of(S1, tmp_path)
    path = directory / "tokenizer.tiktoken"
    path.write_text(f"\n= 900\n{path.read_text()}\n")
    assert tokenizer(directory).ids == tokenizer(S1).ids


def test_either_family_with_the_other_tokenizer(tmp_path: Path) -> None:
    """A tokenizer is recognised by its file, whatever the model's family."""
    directory = copy_of(S1, tmp_path)
    sizes = dataclasses.replace(open_checkpoint(S2).model, family="s1")
    for name in ("tokenizer.tiktoken", "special_tokens.json"):
        (directory / name).unlink()
    (directory / "tokenizer.json").write_bytes((S2 / "tokenizer.json").read_bytes())
    t = read_tokenizer(directory, sizes=sizes, semantic_ids=None, n_semantic=256)
    assert t.ids == tokenizer(S2).ids


@pytest.mark.parametrize("is_listed", [True, False])
def test_special_tokens_beside_the_tokenizer(tmp_path: Path, *, is_listed: bool) -> None:
    """Tokens that only tokenizer_config.json lists are known; odd entries there are not minded."""
    directory = copy_of(S2, tmp_path)
    path = directory / "tokenizer.json"
    content = json.loads(path.read_text())
    content["added_tokens"], last = content["added_tokens"][:-1], content["added_tokens"][-1]
    assert last["content"] == "<|semantic:255|>"
    path.write_text(json.dumps(content))
    listed = {"569": last, "1": {"content": "plain"}, "x": {"content": "<|x|>"}, "2": 3}
    decoder = listed if is_listed else [1]
    edit_json(directory / "tokenizer_config.json", added_tokens_decoder=decoder)
    if is_listed:
        assert tokenizer(directory).ids == tokenizer(S2).ids
    else:
        with pytest.raises(CheckpointError, match="has 255 semantic tokens"):
            tokenizer(directory)


def test_control_tokens_not_marked_special(tmp_path: Path) -> None:
    """A control token is one by its spelling, even where the file does not mark it."""
    directory = copy_of(S2, tmp_path)
    path = directory / "tokenizer.json"
    content = json.loads(path.read_text())
    for token in content["added_tokens"]:
        token["special"] = False
    path.write_text(json.dumps(content))
    t = tokenizer(directory)
    assert t.ids == tokenizer(S2).ids
    for text in ("Say <|im_end|> now.", "<|speaker:1|>a <|semantic:3|>"):
        assert t.encode_text(text) == tokenizer(S2).encode_text(text)
        assert t.encode(text) == tokenizer(S2).encode(text)


def test_truncation_and_padding_are_off(tmp_path: Path) -> None:
    """Settings for training batches in the tokenizer file have no effect here."""
    directory = copy_of(S2, tmp_path)
    edit_json(
        directory / "tokenizer.json",
        truncation={
            "direction": "Right",
            "max_length": 2,
            "strategy": "LongestFirst",
            "stride": 0,
        },
    )
    assert tokenizer(directory).encode_text("Hello there") == tokenizer(S2).encode_text(
        "Hello there"
    )
