"""Weight norm, folded into the plain weights that it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from junetts._errors import CheckpointError

# Gain and direction of one weight, as torch spells them: as a parametrization, and before that.
SPELLINGS = (
    (".parametrizations.weight.original0", ".parametrizations.weight.original1"),
    (".weight_g", ".weight_v"),
)


def bake_weight_norm(
    weights: Mapping[str, Tensor], *, path: str | Path | None = None
) -> dict[str, Tensor]:
    """Replace every pair of gain and direction by ``weight = gain * direction / |direction|``.

    The norm is over all dimensions but the first, in float32 (Salimans and Kingma, 2016). Other
    weights are handed through as they are; so is half a pair, for `check_weights` to report.

    Raises:
        CheckpointError: a gain does not fit its direction; ``path`` is named, if given.
    """
    baked: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        partners = _partners(name)
        if partners is None or not all(partner in weights for partner in partners):
            baked[name] = tensor
            continue
        stem, (gain, direction) = _stem(name), partners
        if name == direction:
            baked[f"{stem}.weight"] = _product(weights, gain, direction, path)
    return baked


def _stem(name: str) -> str:
    for spelling in SPELLINGS:
        for ending in spelling:
            name = name.removesuffix(ending)
    return name


def _partners(name: str) -> tuple[str, str] | None:
    """The names of the gain and the direction of the pair that ``name`` belongs to."""
    for gain, direction in SPELLINGS:
        if name.endswith((gain, direction)):
            stem = _stem(name)
            return stem + gain, stem + direction
    return None


def _product(
    weights: Mapping[str, Tensor], gain: str, direction: str, path: str | Path | None
) -> Tensor:
    g, v = weights[gain], weights[direction]  # [n, 1, ...] and [n, ...]
    wanted = [v.shape[0], *[1] * (v.dim() - 1)] if v.dim() > 1 else None
    if list(g.shape) != wanted:
        place = "" if path is None else f" in {path}"
        raise CheckpointError(
            f"tensor {gain!r}{place} has shape {list(g.shape)}, "
            f"which does not fit the {list(v.shape)} of {direction!r}",
            path=None if path is None else str(path),
            tensor=gain,
        )
    v32 = v.float()
    norm = torch.linalg.vector_norm(v32, dim=tuple(range(1, v.dim())), keepdim=True)
    product: Tensor = v32 * (g.float() / norm)
    return product
