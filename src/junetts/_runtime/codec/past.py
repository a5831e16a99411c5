"""What the layers of one stream remember of what came before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn


@runtime_checkable
class LooksBack(Protocol):
    """A layer whose output depends on earlier input, as far as a fixed distance back."""

    slot: int

    def initial_past(self, n_streams: int) -> Tensor:
        """Return what is before the first input: ``[stream, ...]``, zeros, of fixed shape."""
        ...


class Past:
    """The past of one stream, or of several side by side: one tensor per layer that looks back.

    Guarantees: shapes never change, and no tensor shares storage with anything larger, so that
    the size is fixed. Tensors are replaced, never written to, so that a fork costs nothing and
    neither side sees what the other does.
    """

    def __init__(self, tensors: list[Tensor]) -> None:
        self.tensors = tensors

    @classmethod
    def of(cls, network: nn.Module, *, n_streams: int = 1) -> Past:
        """Return the past before the first input of a network whose slots are numbered."""
        return cls([layer.initial_past(n_streams) for layer in layers_looking_back(network)])

    def fork(self) -> Past:
        """Return the same past, to be continued in another way."""
        return Past(list(self.tensors))

    def extend(self, slot: int, x: Tensor, *, dim: int) -> Tensor:
        """Put the slot's past before ``x`` along ``dim``, and remember the end of both."""
        before = self.tensors[slot]
        n_back = before.shape[dim]
        if n_back == 0:
            return x
        both = torch.cat((before, x), dim)
        self.tensors[slot] = both.narrow(dim, both.shape[dim] - n_back, n_back).clone()
        return both

    @property
    def n_bytes(self) -> int:
        """Memory of all tensors."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors)


def layers_looking_back(network: nn.Module) -> Iterator[LooksBack]:
    """Return the layers of a network that need a slot, always in the same order."""
    return (layer for layer in network.modules() if isinstance(layer, LooksBack))


def number_slots(network: nn.Module) -> None:
    """Tell every layer that looks back which tensor of the past is its own."""
    for slot, layer in enumerate(layers_looking_back(network)):
        layer.slot = slot
