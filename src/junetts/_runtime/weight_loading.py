"""Weights on their way into a module: checked strictly, then moved one tensor at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from junetts._errors import CheckpointError
from junetts._runtime.memory import translated_out_of_memory


def check_weights(
    expected: Mapping[str, torch.Size], weights: Mapping[str, Tensor], *, path: str | Path
) -> None:
    """Check that ``weights`` are exactly the ``expected`` tensors, in name and shape.

    Raises:
        CheckpointError: naming the first tensor that is missing, surplus or misshapen, both shapes
            where there are two, and how many others do not fit.
    """
    missing = [name for name in expected if name not in weights]
    misshapen = [n for n in expected if n in weights and weights[n].shape != expected[n]]
    surplus = [name for name in weights if name not in expected]
    wrong = [*misshapen, *missing, *surplus]
    if not wrong:
        return
    first = wrong[0]
    counts = ((misshapen, "misshapen"), (missing, "missing"), (surplus, "surplus"))
    total = (
        ""
        if len(wrong) == 1
        else f"; {len(wrong)} tensors do not fit: "
        + ", ".join(f"{len(names)} {kind}" for names, kind in counts if names)
    )
    raise CheckpointError(
        _complaint(first, expected, weights, path) + total,
        path=str(path),
        tensor=first,
        hint="the weights belong to another model than the config files beside them, "
        "or were changed; download the checkpoint again",
    )


def _complaint(
    name: str, expected: Mapping[str, torch.Size], weights: Mapping[str, Tensor], path: str | Path
) -> str:
    if name not in weights:
        return f"tensor {name!r} of shape {list(expected[name])} is missing in {path}"
    found = list(weights[name].shape)
    if name not in expected:
        return f"tensor {name!r} of shape {found} in {path} is not part of the model"
    return f"tensor {name!r} in {path} has shape {found}, expected {list(expected[name])}"


def load_into(
    module: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    device: torch.device | str,
    dtype: torch.dtype,
    path: str | Path,
) -> None:
    """Give ``module``, built under ``torch.device("meta")``, its parameters.

    Each tensor is converted and moved by itself, so that no second copy of all of them exists. On
    the CPU a tensor that already has ``dtype`` is used as it is: mapped from the file, its pages
    read when they are needed. Buffers are left alone.

    Raises:
        CheckpointError: the weights are not exactly the module's parameters.
        OutOfMemoryError: they do not fit on the device.
    """
    expected = {name: parameter.shape for name, parameter in module.named_parameters()}
    check_weights(expected, weights, path=path)
    with translated_out_of_memory(f"loading {path}"):
        for name in expected:
            tensor = weights[name].detach().to(device=device, dtype=dtype).contiguous()
            owner, _, leaf = name.rpartition(".")
            parameter = nn.Parameter(tensor, requires_grad=False)
            module.get_submodule(owner).register_parameter(leaf, parameter)
