"""``junetts download``: the weights of a published model, with their licence before they come."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from junetts._assembly import missing_for_local
from junetts._config import LocalSection
from junetts._errors import CheckpointError, InvalidRequestError, JuneTtsError
from junetts.cli.failures import FAILED, INTERRUPTED, say_on_stderr
from junetts.cli.hub import RESUME, no_room, translated

LISTING_TIMEOUT_S = 20.0
_GB = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A published model.

    Attributes:
        terms: its licence in one line; ``licence_url`` has all of it.
        files: patterns of what the engine needs; there must be at least one file of each.
        extra_files: patterns of what is good to have beside them.
    """

    repository: str
    directory: str
    size_gb: float
    terms: str
    licence_url: str
    files: tuple[str, ...]
    extra_files: tuple[str, ...] = ("LICENSE*", "codec_config.json")

    @property
    def page(self) -> str:
        """The model's page, for people."""
        return f"https://huggingface.co/{self.repository}"


MODELS = {
    "s1-mini": Weights(
        repository="fishaudio/openaudio-s1-mini",
        directory="checkpoints/openaudio-s1-mini",
        size_gb=3.6,
        terms="CC-BY-NC-SA-4.0: no commercial use, credit, share alike",
        licence_url="https://creativecommons.org/licenses/by-nc-sa/4.0/",
        files=(
            "config.json",
            "model.pth",
            "tokenizer.tiktoken",
            "special_tokens.json",
            "codec.pth",
        ),
    ),
    "s2-pro": Weights(
        repository="fishaudio/s2-pro",
        directory="checkpoints/s2-pro",
        size_gb=11.0,
        terms="Fish Audio Research License: commercial use needs a separate licence of Fish Audio",
        licence_url="https://huggingface.co/fishaudio/s2-pro/blob/main/LICENSE.md",
        files=(
            "config.json",
            "model*.safetensors",
            "model.safetensors.index.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
            "codec.pth",
        ),
    ),
}


def download(name: str, *, to: str | None, is_agreed: bool) -> int:
    """Download a model after telling its licence; the exit status.

    Raises:
        InvalidRequestError: if there is no such model, or nobody can be asked.
        JuneTtsError: if it cannot be had, or is not what it should be.
    """
    weights = _known(name)
    target = Path(os.path.expanduser(to or weights.directory))
    _require_hub()
    _announce(name, weights, target)
    if not is_agreed and not _agrees():
        say_on_stderr("nothing was downloaded")
        return FAILED
    try:
        with translated(weights.page, target):
            _fetch(weights, target)
    except KeyboardInterrupt:
        say_on_stderr(f"interrupted; {RESUME}")
        return INTERRUPTED
    _check(target)
    say_on_stderr(f"to speak with it: {_next_command(target)}")
    return 0


def _known(name: str) -> Weights:
    if name not in MODELS:
        raise InvalidRequestError(f"the model must be {' or '.join(MODELS)}, not {name!r}")
    return MODELS[name]


def _require_hub() -> None:
    if importlib.util.find_spec("huggingface_hub") is None:
        raise JuneTtsError(
            "downloading needs the package huggingface_hub", hint='pip install "junetts[download]"'
        )


def _announce(name: str, weights: Weights, target: Path) -> None:
    say_on_stderr(f"{name}: {weights.page}, about {weights.size_gb:g} GB, to {target}")
    say_on_stderr(f"licence of the weights: {weights.terms}")
    say_on_stderr(f"in full: {weights.licence_url}")


def _agrees() -> bool:
    """Ask; anything but a yes is a no."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise InvalidRequestError("there is no terminal to ask on: --yes accepts the licence")
    sys.stderr.write("Accept the licence, and download? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _fetch(weights: Weights, target: Path) -> None:
    """One file after the other: unlike several in threads, that ends at once on Ctrl-C."""
    from huggingface_hub import HfApi

    # Asked for first, as the hub's library would take an incomplete directory for a complete
    # one if it were offline; and pinned, so that all files are of one version.
    hub = HfApi()
    info = hub.model_info(weights.repository, files_metadata=True, timeout=LISTING_TIMEOUT_S)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    names = _needed(weights, list(sizes))
    _require_room(target, {name: sizes[name] for name in names})
    for position, name in enumerate(names, start=1):
        size = f", {sizes[name] / _GB:.2g} GB" if sizes[name] > _GB / 100 else ""
        say_on_stderr(f"file {position} of {len(names)}: {name}{size}")
        hub.hf_hub_download(weights.repository, name, revision=info.sha, local_dir=target)


def _needed(weights: Weights, names: list[str]) -> list[str]:
    """The files to have, of those in the repository.

    Raises:
        CheckpointError: if one is not there that the engine needs.
    """
    names = [name for name in names if "/" not in name]
    for pattern in weights.files:
        if not any(fnmatch(name, pattern) for name in names):
            raise CheckpointError(f"{weights.page} has no file {pattern}")
    patterns = (*weights.files, *weights.extra_files)
    return [name for name in names if any(fnmatch(name, pattern) for pattern in patterns)]


def _require_room(target: Path, sizes: dict[str, int]) -> None:
    missing = sum(size for name, size in sizes.items() if not (target / name).exists())
    target.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target).free
    if missing > free:
        raise no_room(target, f"{missing / _GB:.1f} GB are needed, {free / _GB:.1f} GB are free")


def _check(target: Path) -> None:
    """Look whether it can be loaded, as far as that can be known here.

    Raises:
        CheckpointError: if something is missing or damaged.
    """
    if missing_for_local():
        say_on_stderr('to speak on this machine: pip install "junetts[local]"')
        return
    from junetts._runtime.checkpoint import open_checkpoint

    open_checkpoint(target).load_tokenizer()


def _next_command(target: Path) -> str:
    """What to type, with the setting that leads to the directory unless it is the default."""
    command = 'junetts say --backend local "Hello"'
    if target == Path(str(LocalSection.model_fields["checkpoint"].default)):
        return command
    return f"JUNETTS_LOCAL__CHECKPOINT={shlex.quote(str(target))} {command}"
