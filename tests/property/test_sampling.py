"""Sampling, for any logits and parameters."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from junetts._runtime import sampling
from junetts._runtime.noise import Streams
from junetts._runtime.sampling import (
    ALL_TOKENS,
    Ranking,
    SamplingParams,
    draw_from_many,
    probabilities,
)
from junetts._runtime.sizes import Family

# Halves and quarters, so that there are equals, and sums are exact whatever their order.
LOGITS = st.lists(st.integers(-40, 40).map(lambda n: n / 4), min_size=1, max_size=40)
PARAMS = st.builds(
    SamplingParams,
    temperature=st.one_of(st.just(0.0), st.floats(0.05, 2.0)),
    top_p=st.floats(0, 1),
    top_k=st.one_of(st.just(ALL_TOKENS), st.integers(1, 50)),
    repetition_penalty=st.floats(0.9, 2.0),
)
FAMILIES = st.sampled_from(["s1", "s2"])


def naively_kept(logits: Tensor, params: SamplingParams, family: Family) -> set[int]:
    """What may be drawn, one token at a time."""
    exact = sampling.as_computed(params, family)
    order = sorted(range(len(logits)), key=lambda token: (-float(logits[token]), token))
    cumulated = logits[order].softmax(-1).cumsum(-1)
    kept = {
        token
        for rank, token in enumerate(order)
        if float(cumulated[rank]) <= torch.tensor(exact.top_p) and rank < exact.top_k
    }
    return kept | {order[0]}


@given(values=LOGITS, params=PARAMS, family=FAMILIES)
def test_probabilities_are_the_definition(
    values: list[float], params: SamplingParams, family: Family
) -> None:
    """They sum to one, leave out what they should, and rank as the logits do."""
    logits = torch.tensor(values)
    found = probabilities(logits, params, None, family)
    kept = naively_kept(logits, params, family)
    assert abs(float(found.sum()) - 1) < 1e-5
    assert float(found.max()) == float(found[logits.argmax()])
    assert {i for i, p in enumerate(found.tolist()) if p > 0} <= kept
    if params.temperature >= 0.5:  # below, the least likely are too small for float32
        assert {i for i, p in enumerate(found.tolist()) if p > 0} == kept


@given(values=LOGITS, params=PARAMS, family=FAMILIES, shift=st.integers(-20, 20))
def test_only_differences_of_logits_count(
    values: list[float], params: SamplingParams, family: Family, shift: int
) -> None:
    """Adding a constant changes nothing, where there is no penalty."""
    logits = torch.tensor(values)
    torch.testing.assert_close(
        probabilities(logits, params, None, family),
        probabilities(logits + shift, params, None, family),
        rtol=1e-4,
        atol=1e-5,
    )


@given(values=LOGITS, params=PARAMS, seed=st.integers(0, 2**63 - 1), frame=st.integers(0, 10**6))
def test_what_is_drawn_has_a_probability(
    values: list[float], params: SamplingParams, seed: int, frame: int
) -> None:
    """Whatever the seed."""
    logits = torch.tensor([values])
    exact = sampling.as_computed(params, "s2")
    nucleus = Ranking.of(logits).nucleus(torch.tensor([exact.top_p]), torch.tensor([exact.top_k]))
    streams = Streams.of(torch.tensor([seed]), torch.tensor([frame]), n_draws=1)[:, 0]
    token = draw_from_many(logits, nucleus, torch.tensor([exact.temperature]), streams)
    assert int(token) in naively_kept(logits[0], params, "s2")
    assert float(probabilities(logits[0], params, None, "s2")[token]) > 0
