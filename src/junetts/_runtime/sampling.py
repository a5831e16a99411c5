"""How a token is chosen from logits: penalty, top-p, top-k, temperature, and the draw."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from junetts._runtime.noise import Streams
from junetts._runtime.sizes import Family
from junetts._utterance import MAX_SEED, Sampling, require_number

ALL_TOKENS = 2**31 - 1  # a top_k that leaves everything
MIN_TEMPERATURE = 1e-5
MANY_TOKENS = 16_384  # from here on a processor sorts and draws in other ways


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How to draw, with nothing left open.

    Attributes:
        temperature: applied to what top-p and top-k leave; 0 is greedy.
        repetition_penalty: S1's; S2 has repetition-aware sampling instead and ignores it.
        seed: 0 to 2**63 - 1.
    """

    temperature: float
    top_p: float
    top_k: int = ALL_TOKENS
    repetition_penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        require_number("sampling.seed", self.seed, minimum=0, maximum=MAX_SEED, integer=True)


DEFAULTS: dict[Family, SamplingParams] = {
    "s1": SamplingParams(temperature=0.8, top_p=0.8, repetition_penalty=1.1),
    "s2": SamplingParams(temperature=0.7, top_p=0.9, top_k=30),
}
# What S2 draws with instead, where the token it drew has been said a moment ago.
REPETITION_AWARE = SamplingParams(temperature=1.0, top_p=0.9)


def resolve(
    sampling: Sampling,
    family: Family,
    *,
    new_seed: Callable[[int], int] = secrets.randbelow,
) -> SamplingParams:
    """Fill in the family's defaults, and a fresh seed if none is given."""
    given, default = sampling, DEFAULTS[family]
    return SamplingParams(
        temperature=default.temperature if given.temperature is None else given.temperature,
        top_p=default.top_p if given.top_p is None else given.top_p,
        top_k=default.top_k if given.top_k is None else given.top_k,
        repetition_penalty=(
            default.repetition_penalty
            if given.repetition_penalty is None
            else given.repetition_penalty
        ),
        seed=new_seed(MAX_SEED + 1) if given.seed is None else given.seed,
    )


def as_computed(params: SamplingParams, family: Family) -> SamplingParams:
    """The parameters as they enter the arithmetic.

    S1 rounds them to bfloat16. Greedy is the best token alone, so that it needs no path of its
    own.
    """
    temperature, top_p, penalty = (
        _to_bfloat16(value) if family == "s1" else value
        for value in (params.temperature, params.top_p, params.repetition_penalty)
    )
    is_greedy = params.temperature == 0
    return SamplingParams(
        temperature=1.0 if is_greedy else max(temperature, MIN_TEMPERATURE),
        top_p=top_p,
        top_k=1 if is_greedy else params.top_k,
        repetition_penalty=penalty if family == "s1" else 1.0,
        seed=params.seed,
    )


def _to_bfloat16(value: float) -> float:
    return float(torch.tensor(value, dtype=torch.bfloat16, device="cpu"))


def penalised(logits: Tensor, previous: Tensor, penalty: Tensor) -> Tensor:
    """Make ids that were there before less likely: S1's penalty, once per id.

    Args:
        logits: float32 ``[n, vocabulary]``.
        previous: int64 ``[n, any]``.
        penalty: float32 ``[n]``; 1 changes nothing.
    """
    scores = logits.gather(1, previous)
    factor = penalty[:, None]
    return logits.scatter(1, previous, torch.where(scores < 0, scores * factor, scores / factor))


@dataclass(frozen=True, slots=True, eq=False)
class Nucleus:
    """Which tokens may be drawn: the ``n_kept`` best of each row, int64 ``[n, 1]``.

    Among those with exactly the ``threshold``, float32 ``[n, 1]``, the ones with smaller ids.
    """

    n_kept: Tensor
    threshold: Tensor

    def __getitem__(self, rows: slice) -> Nucleus:
        return Nucleus(self.n_kept[rows], self.threshold[rows])

    def mask(self, logits: Tensor) -> Tensor:
        """Make the logits ``[n, m]`` of all other tokens minus infinity.

        It is enough to give those that are not below the threshold.
        """
        is_above = logits > self.threshold
        is_equal = logits == self.threshold
        n_equal = self.n_kept - is_above.sum(-1, keepdim=True)
        is_kept = is_above | (is_equal & (is_equal.cumsum(-1) <= n_equal))
        return logits.masked_fill(~is_kept, float("-inf"))


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Logits from the best one down, and how likely the best ones are together, ``[n, m]``."""

    descending: Tensor
    cumulated: Tensor

    @classmethod
    def of(cls, logits: Tensor) -> Ranking:
        """Rank float32 logits ``[n, m]``."""
        descending = _descending(logits)
        return cls(descending, descending.softmax(-1).cumsum(-1))

    def nucleus(self, top_p: Tensor, top_k: Tensor) -> Nucleus:
        """Return what may be drawn with parameters ``[n]``.

        The most likely tokens as long as they do not exceed ``top_p`` together, hence without the
        one that crosses it; at most ``top_k``; the best in any case.
        """
        n_likely = (self.cumulated <= top_p[:, None]).sum(-1)
        n_kept = n_likely.minimum(top_k).clamp(min=1)[:, None]
        return Nucleus(n_kept, self.descending.gather(1, n_kept - 1))


def _descending(logits: Tensor) -> Tensor:
    """Sort each row; NumPy's sort of plain numbers is vectorised, and thirty times faster."""
    if logits.device.type == "cpu" and logits.shape[-1] >= MANY_TOKENS:
        return torch.from_numpy(np.sort(logits.neg().numpy())).neg_()
    return logits.sort(-1, descending=True).values


def draw(logits: Tensor, nucleus: Nucleus, temperature: Tensor, exponential: Tensor) -> Tensor:
    """Draw a token from each row of float32 logits ``[n, m]``: int64 ``[n]``.

    The largest of p / Exp(1) is distributed as p. There is one noise value per token, so that it
    does not matter how the others are ordered.

    Args:
        logits: of all tokens.
        nucleus: of these logits.
        temperature: float32 ``[n]``.
        exponential: noise, ``[n, m]``.
    """
    scores = nucleus.mask(logits) / temperature[:, None]
    return (scores.softmax(-1) / exponential).argmax(-1)


def draw_from_many(
    logits: Tensor, nucleus: Nucleus, temperature: Tensor, streams: Streams
) -> Tensor:
    """Draw likewise, where so much noise would cost time; ``streams`` are ``[n]``."""
    if logits.device.type == "cpu" and logits.shape[-1] >= MANY_TOKENS:
        return _draw_from_few(logits, nucleus, temperature, streams)
    places = torch.arange(logits.shape[-1], dtype=torch.int32, device=logits.device)
    return draw(logits, nucleus, temperature, streams.exponential(places))


def _draw_from_few(
    logits: Tensor, nucleus: Nucleus, temperature: Tensor, streams: Streams
) -> Tensor:
    """Draw row by row, and from the tokens that are left: usually a few hundred.

    How many they are is known to a processor for nothing; other devices would have to be waited
    for.
    """
    drawn = []
    for row in range(logits.shape[0]):
        one = slice(row, row + 1)
        ids = (logits[row] >= nucleus.threshold[row]).nonzero()[:, 0]
        exponential = streams[one].exponential(ids.to(torch.int32))
        drawn.append(ids[draw(logits[one, ids], nucleus[one], temperature[one], exponential)])
    return torch.cat(drawn)


def probabilities(
    logits: Tensor, params: SamplingParams, previous: Tensor | None, family: Family
) -> Tensor:
    """What a token is drawn from: float32 ``[vocabulary]``, for logits ``[vocabulary]``.

    Args:
        logits: float32.
        params: before rounding.
        previous: int64, the ids that S1's penalty applies to; None for none.
        family: whose rules.
    """
    exact = as_computed(params, family)
    rows = logits.float()[None]
    if previous is not None and family == "s1":
        rows = penalised(rows, previous[None], rows.new_tensor([exact.repetition_penalty]))
    top_p = rows.new_tensor([exact.top_p])
    top_k = torch.full_like(top_p, exact.top_k, dtype=torch.int64)
    nucleus = Ranking.of(rows).nucleus(top_p, top_k)
    return (nucleus.mask(rows) / exact.temperature).softmax(-1)[0]


def choose_repetition_aware(
    usual: Tensor, wider: Tensor, recent: Tensor, *, is_semantic: Tensor
) -> Tensor:
    """S2's choice between two drawn tokens, ``[n]`` each.

    The wider one is taken where the usual one is among the ``recent`` ones, ``[n, any]``, and
    ``is_semantic`` ``[n]``: an end token may come at any time.
    """
    is_repeated = (recent == usual[:, None]).any(-1) & is_semantic
    return torch.where(is_repeated, wider, usual)
