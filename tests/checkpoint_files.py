"""Copies of the tiny checkpoints, to be changed or damaged by a test."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

DATA = Path(__file__).parent / "data"
S1 = DATA / "s1-tiny"
S2 = DATA / "s2-tiny"
EXPECTED = DATA / "expected"


def copy_of(checkpoint: Path, directory: Path) -> Path:
    """A copy of a checkpoint below `directory`, with files of its own."""
    return Path(shutil.copytree(checkpoint, directory / checkpoint.name))


def edit_json(path: Path, **changes: object) -> None:
    """Set fields of a JSON object; `...` removes one."""
    fields = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in fields.items() if value != ...}))


def stored(path: Path) -> dict[str, Tensor]:
    """The tensors of a torch file, unwrapped."""
    content = torch.load(path, weights_only=True)
    return dict(content.get("state_dict", content))


def edit_torch(path: Path, **changes: Tensor | None) -> None:
    """Set tensors of a torch file; None removes one. `__` in a name stands for a dot."""
    weights: dict[str, object] = dict(stored(path))
    for name, tensor in changes.items():
        weights.pop(name.replace("__", "."), None)
        if tensor is not None:
            weights[name.replace("__", ".")] = tensor
    path.unlink()
    torch.save(weights, path)


def shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """What a module that has exactly these weights expects."""
    return {name: tensor.shape for name, tensor in weights.items()}
