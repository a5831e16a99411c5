"""Damaged, foreign and hostile checkpoints: each is one readable, typed error, and runs nothing."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from checkpoint_files import S1, S2, copy_of, edit_json, edit_torch, shapes
from junetts._errors import CheckpointError
from junetts._runtime.checkpoint import check_weights, open_checkpoint
from junetts._runtime.checkpoint_file import DOWNLOAD_AGAIN

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3980\n"
SHARD = "model-00001-of-00002.safetensors"
INDEX = "model.safetensors.index.json"

Damage = Callable[[Path], None]


class Canary:
    """Unpickled the careless way, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def use(directory: Path, original: Path) -> None:
    """Read everything of a checkpoint, strictly, as the engine does."""
    checkpoint = open_checkpoint(directory)
    checkpoint.load_tokenizer()
    whole = open_checkpoint(original)
    for part in ("model", "codec"):
        path = getattr(checkpoint, f"{part}_path")
        expected = shapes(getattr(whole, f"{part}_weights")())
        check_weights(expected, getattr(checkpoint, f"{part}_weights")(), path=path)


def write(name: str, content: bytes) -> Damage:
    """Replace a file's content."""
    return lambda directory: (directory / name).write_bytes(content) and None


def remove(name: str) -> Damage:
    """Leave out a file."""
    return lambda directory: (directory / name).unlink()


def cut(name: str, share: float) -> Damage:
    """Keep only the beginning of a file, as a broken download does."""

    def damage(directory: Path) -> None:
        content = (directory / name).read_bytes()
        (directory / name).write_bytes(content[: int(len(content) * share)])

    return damage


def fields(name: str, **changes: object) -> Damage:
    """Change fields of a JSON file."""
    return lambda directory: edit_json(directory / name, **changes)


def tensors(name: str, **changes: torch.Tensor | None) -> Damage:
    """Change tensors of a torch file."""
    return lambda directory: edit_torch(directory / name, **changes)


def saved(name: str, content: object) -> Damage:
    """Save something else with torch."""

    def damage(directory: Path) -> None:
        (directory / name).unlink()
        torch.save(content, directory / name)

    return damage


def replaced_by_directory(name: str) -> Damage:
    """Put a directory where a file should be."""

    def damage(directory: Path) -> None:
        (directory / name).unlink()
        (directory / name).mkdir()

    return damage


def replaced_by_link(name: str, target: str) -> Damage:
    """Put a symbolic link where a file should be."""

    def damage(directory: Path) -> None:
        (directory / name).unlink()
        (directory / name).symlink_to(target)

    return damage


def replaced_by_pipe(directory: Path) -> None:
    """Put a pipe, which would be waited for, where the model should be."""
    (directory / "model.pth").unlink()
    os.mkfifo(directory / "model.pth")


def compressed(directory: Path) -> None:
    """Pack the model again, compressed, as no torch file is."""
    path = directory / "model.pth"
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def repacked(change: Callable[[str, bytes], bytes | None]) -> Damage:
    """Change the parts of the model's archive; None leaves one out."""

    def damage(directory: Path) -> None:
        path = directory / "model.pth"
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in parts.items():
                changed = change(name, content)
                if changed is not None:
                    archive.writestr(name, changed)

    return damage


def torchscript(directory: Path) -> None:
    """A program in torch's own format."""
    with zipfile.ZipFile(directory / "model.pth", "w") as archive:
        archive.writestr("model/constants.pkl", b"")
        archive.writestr("model/data.pkl", b"")


def tar(directory: Path) -> None:
    """The format of torch before 0.4."""
    with tarfile.open(directory / "model.pth", "w") as archive:
        archive.addfile(tarfile.TarInfo("pickle"), io.BytesIO(b""))


def special_tokens(change: Callable[[dict[str, int]], object]) -> Damage:
    """Change the list of S1's special tokens."""

    def damage(directory: Path) -> None:
        path = directory / "special_tokens.json"
        names = json.loads(path.read_text())
        path.write_text(json.dumps(change(names)))

    return damage


def without(name: str) -> Callable[[dict[str, int]], dict[str, int]]:
    """Leave out one special token."""
    return lambda names: {key: value for key, value in names.items() if key != name}


def swapped(names: dict[str, int]) -> list[str]:
    """Exchange two neighbouring semantic tokens."""
    order = list(names)
    at = order.index("<|semantic:7|>")
    order[at], order[at + 1] = order[at + 1], order[at]
    return order


def added_tokens(change: Callable[[list[dict[str, object]]], object]) -> Damage:
    """Change the added tokens of S2's tokenizer, and have no other file list them."""

    def damage(directory: Path) -> None:
        path = directory / "tokenizer.json"
        content = json.loads(path.read_text())
        content["added_tokens"] = change(content["added_tokens"])
        path.write_text(json.dumps(content))
        (directory / "tokenizer_config.json").unlink()

    return damage


def no_im_end(tokens: list[dict[str, object]]) -> list[dict[str, object]]:
    """Rename the end token, so that all ids stay."""
    return [t | {"content": "<|end|>"} if t["content"] == "<|im_end|>" else t for t in tokens]


def no_semantic(tokens: list[dict[str, object]]) -> list[dict[str, object]]:
    """Leave out the semantic tokens."""
    return [t for t in tokens if "semantic" not in str(t["content"])]


def misnumbered(tokens: list[dict[str, object]]) -> list[dict[str, object]]:
    """Leave out one semantic token; the later ones move up."""
    return [t for t in tokens if t["content"] != "<|semantic:5|>"]


def shard_in(name: object) -> Damage:
    """Let the index say that a tensor is in another file."""

    def damage(directory: Path) -> None:
        weight_map = json.loads((directory / INDEX).read_text())["weight_map"]
        weight_map["text_model.model.norm.weight"] = name
        edit_json(directory / INDEX, weight_map=weight_map)

    return damage


S1_DAMAGE = {
    "model cut at the end": (cut("model.pth", 0.99), "model.pth", "not a complete torch file"),
    "model cut early": (cut("model.pth", 0.1), "model.pth", "not a complete torch file"),
    "model of zero bytes": (write("model.pth", b""), "model.pth", "is empty"),
    "model is text": (write("model.pth", b"<!DOCTYPE html>"), "model.pth", "not a zip archive"),
    "model is an lfs pointer": (write("model.pth", LFS), "model.pth", "git-lfs pointer"),
    "codec is an lfs pointer": (write("codec.pth", LFS), "codec.pth", "git-lfs pointer"),
    "config is an lfs pointer": (write("config.json", LFS), "config.json", "git-lfs pointer"),
    "model missing": (remove("model.pth"), "s1-tiny", "has no language model weights: model.pth"),
    "codec missing": (remove("codec.pth"), "s1-tiny", "has no codec weights: codec.pth"),
    "codec cut": (cut("codec.pth", 0.5), "codec.pth", "not a complete torch file"),
    "model is a directory": (replaced_by_directory("model.pth"), "model.pth", "is not a file"),
    "config is a directory": (replaced_by_directory("config.json"), "config.json", "not a file"),
    "model is a pipe": (replaced_by_pipe, "model.pth", "is not a file"),
    "model is a dead link": (replaced_by_link("model.pth", "gone"), "model.pth", "does not exist"),
    "model is a loop": (replaced_by_link("model.pth", "model.pth"), "model.pth", "cannot be read"),
    "model compressed": (compressed, "model.pth", "compressed archive"),
    "model's table cut": (
        repacked(lambda name, part: part[:99] if name.endswith("data.pkl") else part),
        "model.pth",
        "is damaged, or holds other things than tensors; nothing in it was run",
    ),
    "model's numbers missing": (
        repacked(lambda name, part: None if name.endswith("/data/3") else part),
        "model.pth",
        "not a complete torch file",
    ),
    "model is a program": (torchscript, "model.pth", "TorchScript program"),
    "model is a tar archive": (tar, "model.pth", "not a zip archive"),
    "model is a list": (saved("model.pth", [1]), "model.pth", "no table of tensors, but a list"),
    "model of numbers": (saved("model.pth", {"a": 1}), "model.pth", "'a' in .* is no tensor"),
    "model unnamed": (saved("model.pth", {1: torch.ones(1)}), "model.pth", "holds 1 where a"),
    "model in integers": (
        tensors("model.pth", model__norm__weight=torch.zeros(32, dtype=torch.int8)),
        "model.pth",
        "'norm.weight' .* has dtype int8",
    ),
    "model sparse": (
        tensors("model.pth", model__norm__weight=torch.zeros(32).to_sparse()),
        "model.pth",
        "not stored densely",
    ),
    "model elsewhere": (
        tensors("model.pth", model__norm__weight=torch.zeros(32, device="meta")),
        "model.pth",
        "'model.norm.weight' .* not stored densely .*meta",
    ),
    "tensor renamed": (
        tensors("model.pth", model__norm__weight=None, model__nrom__weight=torch.zeros(32)),
        "model.pth",
        r"'norm.weight' of shape \[32\] is missing in .*; 2 tensors do not fit",
    ),
    "tensor misshapen": (
        tensors("model.pth", model__norm__weight=torch.zeros(31)),
        "model.pth",
        r"'norm.weight' in .* has shape \[31\], expected \[32\]",
    ),
    "tensor surplus": (
        tensors("model.pth", model__extra=torch.zeros(31)),
        "model.pth",
        r"'extra' of shape \[31\] in .* is not part of the model",
    ),
    "config missing": (remove("config.json"), "s1-tiny", "has no config.json"),
    "config malformed": (write("config.json", b'{"dim": '), "config.json", "not valid JSON"),
    "config empty": (write("config.json", b""), "config.json", "is empty"),
    "config of bytes": (write("config.json", b"\xff\xfe\x00"), "config.json", "not a UTF-8"),
    "config is a list": (write("config.json", b"[1]"), "config.json", "must hold a JSON object"),
    "config is deep": (write("config.json", b"[" * 10**6), "config.json", "nested too deeply"),
    "config unknown": (fields("config.json", model_type="x"), "config.json", "'x', which is not"),
    "other codebooks": (
        fields("codec_config.json", num_codebooks=9, n_residual_codebooks=8),
        "codec_config.json",
        "has 9 codebooks, but .*config.json 10",
    ),
    "larger codebooks": (
        fields("codec_config.json", semantic_codebook_size=1281),
        "codec_config.json",
        "codebooks of 1281 entries, but .* has room for 1280",
    ),
    "codec config malformed": (write("codec_config.json", b"{"), "codec_config.json", "JSON"),
    "tokenizer missing": (remove("tokenizer.tiktoken"), "s1-tiny", "has no tokenizer"),
    "tokenizer malformed": (
        write("tokenizer.tiktoken", b"IQ== 0\nno rank\n"),
        "tokenizer.tiktoken",
        "line 2 of",
    ),
    "tokenizer too small": (
        write("tokenizer.tiktoken", b"IQ== 0\n"),
        "tokenizer.tiktoken",
        "lacks tokens for single bytes",
    ),
    "tokenizer is an lfs pointer": (
        write("tokenizer.tiktoken", LFS),
        "tokenizer.tiktoken",
        "git-lfs pointer",
    ),
    "no end token": (
        special_tokens(without("<|im_end|>")),
        "tokenizer.tiktoken",
        r"has no token '<\|im_end\|>'",
    ),
    "no semantic tokens": (
        special_tokens(lambda names: [n for n in names if "semantic" not in n]),
        "tokenizer.tiktoken",
        "has no semantic tokens",
    ),
    "a semantic token missing": (
        special_tokens(without("<|semantic:1279|>")),
        "tokenizer.tiktoken",
        "has 1279 semantic tokens; the codec has 1280",
    ),
    "semantic tokens out of order": (
        special_tokens(swapped),
        "tokenizer.tiktoken",
        "'<.semantic:7.>' the id 316, not 317",
    ),
    "special tokens missing": (
        remove("special_tokens.json"),
        "tokenizer.tiktoken",
        "has 1024 semantic tokens; the codec has 1280",
    ),
    "special tokens are a number": (
        special_tokens(lambda names: 3),
        "special_tokens.json",
        "must hold an object of tokens",
    ),
    "vocabulary too small": (
        fields("config.json", vocab_size=1588),
        "tokenizer.tiktoken",
        "has ids up to 1588, the model has 1588 tokens",
    ),
}

S2_DAMAGE = {
    "shard cut": (cut(SHARD, 0.5), SHARD, "not a complete safetensors file"),
    "shard cut in its header": (cut(SHARD, 0.001), SHARD, "not a complete safetensors file"),
    "shard with a bad header": (
        write(SHARD, b"\xff" * 8 + b"{}"),
        SHARD,
        "not a complete safetensors file",
    ),
    "shard missing": (remove("model-00002-of-00002.safetensors"), "model-00002", "does not exist"),
    "shard is an lfs pointer": (write(SHARD, LFS), SHARD, "git-lfs pointer"),
    "shard outside": (shard_in(f"../{SHARD}"), INDEX, "not a plain file name"),
    "shard above": (shard_in(".."), INDEX, "not a plain file name"),
    "shard anywhere": (shard_in("/etc/passwd"), INDEX, "not a plain file name"),
    "shard on a drive": (shard_in("C:\\x.safetensors"), INDEX, "not a plain file name"),
    "shard unnamed": (shard_in(""), INDEX, "not a plain file name"),
    "shard is a number": (shard_in(3), INDEX, "3, which is not a plain file name"),
    "shard of zeros": (shard_in("a\0b"), INDEX, "not a plain file name"),
    "shard with a long name": (shard_in("x" * 300), "xxx", "cannot be read"),
    "index malformed": (write(INDEX, b"{"), INDEX, "not valid JSON"),
    "index without a map": (fields(INDEX, weight_map=...), INDEX, "weight_map .* must be"),
    "index with an empty map": (fields(INDEX, weight_map={}), INDEX, "weight_map .* must be"),
    "tokenizer missing": (remove("tokenizer.json"), "s2-tiny", "has no tokenizer"),
    "tokenizer malformed": (write("tokenizer.json", b"{}"), "tokenizer.json", "not a usable"),
    "tokenizer cut": (cut("tokenizer.json", 0.5), "tokenizer.json", "not a usable tokenizer"),
    "no end token": (added_tokens(no_im_end), "tokenizer.json", r"no token '<\|im_end\|>'"),
    "no semantic tokens": (added_tokens(no_semantic), "tokenizer.json", "no semantic tokens"),
    "a semantic token missing": (
        added_tokens(misnumbered),
        "tokenizer.json",
        r"must give '<\|semantic:5\|>' the id 319, not None",
    ),
    "other semantic ids": (
        fields("config.json", semantic_start_token_id=313),
        "tokenizer.json",
        r"has semantic ids 314 to 569, the config says \(313, 569\)",
    ),
}


@pytest.mark.parametrize(
    ("original", "damage", "name", "message"),
    [
        *(pytest.param(S1, *case, id=f"s1: {what}") for what, case in S1_DAMAGE.items()),
        *(pytest.param(S2, *case, id=f"s2: {what}") for what, case in S2_DAMAGE.items()),
    ],
)
def test_damage_is_one_readable_error(
    tmp_path: Path, original: Path, damage: Damage, name: str, message: str
) -> None:
    """Whatever is wrong with a checkpoint, the error says what, and in which file."""
    directory = copy_of(original, tmp_path)
    damage(directory)
    with pytest.raises(CheckpointError, match=message) as caught:
        use(directory, original)
    error = caught.value
    assert error.path is not None
    assert error.path.startswith(str(directory))
    assert name in error.path
    assert error.path in str(error)
    assert "\n" not in error.message
    assert not error.retryable


@pytest.mark.parametrize(("original", "name"), [(S1, "model.pth"), (S1, "codec.pth")])
@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("is_hidden", [True, False])
def test_no_code_is_run(
    tmp_path: Path, original: Path, name: str, *, is_zip: bool, is_hidden: bool
) -> None:
    """A pickle that would run code is refused, in both of torch's formats, and runs nothing."""
    directory = copy_of(original, tmp_path)
    bomb = Canary(tmp_path / "canary")
    content = {"norm.weight": torch.zeros(3), "x": bomb} if is_hidden else bomb
    (directory / name).unlink()
    torch.save(content, directory / name, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(CheckpointError, match=name) as caught:
        use(directory, original)
    assert caught.value.hint is not None
    assert "run" in caught.value.hint
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("original", "name"),
    [(S1, "model.pth"), (S1, "codec.pth"), (S2, "model-00001-of-00002.safetensors")],
)
def test_files_that_break_off_are_found_at_once(tmp_path: Path, original: Path, name: str) -> None:
    """A weight file that is not whole is found by looking at a checkpoint, as `doctor` does."""
    directory = copy_of(original, tmp_path)
    whole = (directory / name).read_bytes()
    (directory / name).unlink()
    (directory / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=f"{name} is not a complete") as caught:
        open_checkpoint(directory)
    assert caught.value.hint == DOWNLOAD_AGAIN


def test_the_canary_sings(tmp_path: Path) -> None:
    """The pickle of the test above does run code where it is read carelessly."""
    pickle.loads(pickle.dumps(Canary(tmp_path / "canary")))  # noqa: S301
    assert (tmp_path / "canary").exists()


def test_modules_are_not_unpickled(tmp_path: Path) -> None:
    """A whole saved module, rather than its weights, is refused."""
    directory = copy_of(S1, tmp_path)
    saved("model.pth", nn.Linear(2, 2))(directory)
    with pytest.raises(CheckpointError, match="holds other things than tensors"):
        open_checkpoint(directory).model_weights()


@pytest.mark.parametrize("kind", ["missing", "file", "empty", "null"])
def test_paths_that_are_no_checkpoint(tmp_path: Path, kind: str) -> None:
    """A wrong path is said to be wrong, and what a checkpoint is."""
    path = str(tmp_path / kind)
    if kind == "file":
        Path(path).write_text("x")
    if kind == "empty":
        Path(path).mkdir()
    if kind == "null":
        path = f"{tmp_path}/a\0b"
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    assert path in str(caught.value)
    assert caught.value.hint is not None
    assert "a checkpoint is a directory" in caught.value.hint


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs an unreadable file")
@pytest.mark.parametrize("name", ["model.pth", "config.json", "tokenizer.tiktoken"])
def test_unreadable_files(tmp_path: Path, name: str) -> None:
    """A file that the system fails to read is said to be so, with the system's reason."""
    directory = copy_of(S1, tmp_path)
    replaced_by_link(name, "/proc/self/mem")(directory)
    with pytest.raises(CheckpointError, match=f"{name} cannot be read: Input/output error"):
        use(directory, S1)


def test_a_directory_in_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tilde in the path is the home directory."""
    monkeypatch.setenv("HOME", str(S1.parent))
    assert open_checkpoint("~/s1-tiny").directory == S1
