"""Sampling: parity with the real implementations, defaults, and how draws are distributed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from junetts._errors import InvalidRequestError
from junetts._runtime import sampling
from junetts._runtime.noise import Streams, exponential
from junetts._runtime.sampling import (
    ALL_TOKENS,
    Nucleus,
    Ranking,
    SamplingParams,
    as_computed,
    choose_repetition_aware,
    draw,
    draw_from_many,
    penalised,
    probabilities,
    resolve,
)
from junetts._runtime.sizes import Family
from junetts._utterance import MAX_SEED, Sampling
from tiny_models import golden, golden_model


def nucleus(logits: Tensor, *, top_p: float, top_k: int = ALL_TOKENS) -> Nucleus:
    """The same parameters for every row."""
    ones = torch.ones(logits.shape[0])
    return Ranking.of(logits).nucleus(ones * top_p, torch.full_like(ones, top_k).long())


def params(top_p: float = 1.0, temperature: float = 1.0, top_k: int = ALL_TOKENS) -> SamplingParams:
    """No penalty."""
    return SamplingParams(temperature=temperature, top_p=top_p, top_k=top_k)


@pytest.mark.parametrize("family", ["s1", "s2"])
@pytest.mark.parametrize("case", range(12))
def test_probabilities_are_those_of_the_real_implementation(family: Family, case: int) -> None:
    """Within 1e-6, and with exactly the same tokens left out."""
    arrays = {key: torch.as_tensor(a) for key, a in golden(f"{family}-tiny", "sampling").items()}
    previous = None
    if family == "s1" and arrays["previous_tokens"][case, 0] >= 0:
        previous = arrays["previous_tokens"][case].long()
    penalties, top_ks = arrays.get("repetition_penalty"), arrays.get("top_k")
    given = SamplingParams(
        temperature=float(arrays["temperature"][case]),
        top_p=float(arrays["top_p"][case]),
        top_k=ALL_TOKENS if top_ks is None else int(top_ks[case]),
        repetition_penalty=1.0 if penalties is None else float(penalties[case]),
    )
    found = probabilities(arrays["logits"][case], given, previous, family)
    wanted = arrays["probs"][case]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    assert torch.equal(found == 0, wanted == 0)


def test_repetition_aware_choices_are_those_of_the_real_implementation() -> None:
    """Exactly."""
    arrays = {key: torch.as_tensor(a) for key, a in golden("s2-tiny", "sampling").items()}
    usual = arrays["ras_normal"]
    chosen = choose_repetition_aware(
        usual,
        arrays["ras_high"],
        arrays["ras_window"],
        is_semantic=golden_model("s2-tiny").is_semantic(usual),
    )
    assert torch.equal(chosen, arrays["ras_chosen"])


def test_the_token_that_crosses_top_p_is_left_out() -> None:
    """Half, a quarter, an eighth: at 0.8 there are two left, at 0.1 still the best."""
    logits = torch.tensor([0.125, 0.5, 0.25, 0.125]).log()
    assert probabilities(logits, params(0.8), None, "s2").tolist() == pytest.approx(
        [0, 2 / 3, 1 / 3, 0]
    )
    assert probabilities(logits, params(0.1), None, "s2").tolist() == [0, 1, 0, 0]
    assert probabilities(logits, params(0.0), None, "s2").tolist() == [0, 1, 0, 0]


def test_temperature_comes_after_top_p() -> None:
    """It sharpens what is left, and does not decide what is left."""
    logits = torch.tensor([0.5, 0.25, 0.25]).log()
    assert probabilities(logits, params(0.8, 0.5), None, "s2").tolist() == pytest.approx(
        [0.8, 0.2, 0]
    )


@pytest.mark.parametrize("family", ["s1", "s2"])
def test_both_families_have_top_k(family: Family) -> None:
    """Equals are kept by their ids, the smaller first."""
    logits = torch.tensor([1.0, 2.0, 1.0, 1.0])
    found = probabilities(logits, params(top_k=3), None, family)
    assert (found > 0).tolist() == [True, True, True, False]


def test_equals_at_the_edge_of_the_nucleus() -> None:
    """A flat distribution is cut where it says, and not all or nothing."""
    found = probabilities(torch.zeros(10), params(0.55), None, "s2")
    assert (found > 0).tolist() == [True] * 5 + [False] * 5


@pytest.mark.parametrize("family", ["s1", "s2"])
def test_temperature_zero_is_greedy(family: Family) -> None:
    """The best token alone, whatever else is asked for."""
    logits = torch.tensor([1.0, 3.0, 2.0, 3.0])
    greedy = SamplingParams(temperature=0, top_p=1.0, top_k=50)
    assert probabilities(logits, greedy, None, family).tolist() == [0, 1, 0, 0]


def test_s1_rounds_to_bfloat16() -> None:
    """S2 does not."""
    given = SamplingParams(temperature=0.7, top_p=0.8, repetition_penalty=1.1)
    rounded, exact = as_computed(given, "s1"), as_computed(given, "s2")
    assert (rounded.temperature, rounded.top_p) == (0.69921875, 0.80078125)
    assert rounded.repetition_penalty == 1.1015625
    assert (exact.temperature, exact.top_p, exact.repetition_penalty) == (0.7, 0.8, 1.0)


def test_tiny_temperatures_are_bounded() -> None:
    """Nothing is divided by next to nothing."""
    assert as_computed(params(temperature=1e-9), "s1").temperature == 1e-5


def test_penalty_makes_less_likely_whatever_the_sign() -> None:
    """Positive logits are divided, negative ones multiplied, repeated ids once."""
    logits = torch.tensor([[2.0, -2.0, 4.0]])
    found = penalised(logits, torch.tensor([[0, 1, 0]]), torch.tensor([2.0]))
    assert found.tolist() == [[1.0, -4.0, 4.0]]
    assert logits.tolist() == [[2.0, -2.0, 4.0]]


def test_s2_knows_no_penalty() -> None:
    """Its way of avoiding repetition is another one."""
    given = SamplingParams(temperature=1, top_p=1, repetition_penalty=2)
    logits, previous = torch.tensor([1.0, 2.0]), torch.tensor([1])
    assert torch.equal(
        probabilities(logits, given, previous, "s2"), probabilities(logits, given, None, "s2")
    )


def test_defaults_differ_by_family() -> None:
    """What is not given is the family's."""
    s1 = resolve(Sampling(seed=1), "s1")
    s2 = resolve(Sampling(seed=1), "s2")
    assert (s1.temperature, s1.top_p, s1.repetition_penalty, s1.top_k) == (
        0.8,
        0.8,
        1.1,
        ALL_TOKENS,
    )
    assert (s2.temperature, s2.top_p, s2.top_k) == (0.7, 0.9, 30)


@pytest.mark.parametrize("family", ["s1", "s2"])
def test_what_is_given_counts(family: Family) -> None:
    """Zero included."""
    given = Sampling(temperature=0, top_p=0, top_k=7, repetition_penalty=1.5, seed=0)
    assert resolve(given, family) == SamplingParams(
        temperature=0, top_p=0, top_k=7, repetition_penalty=1.5, seed=0
    )


def test_a_seed_is_made_where_none_is_given() -> None:
    """From all of the seeds there are."""
    assert resolve(Sampling(), "s1", new_seed=lambda bound: bound - 1).seed == MAX_SEED
    assert resolve(Sampling(), "s1").seed != resolve(Sampling(), "s1").seed


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1])
def test_seeds_out_of_bounds_are_refused(seed: int) -> None:
    """By name."""
    with pytest.raises(InvalidRequestError, match=r"sampling\.seed"):
        SamplingParams(temperature=1, top_p=1, seed=seed)


def test_draws_are_distributed_as_they_should_be() -> None:
    """Thirty thousand draws, compared with the probabilities by chi-square."""
    logits = torch.tensor([0.3, 2.0, -1.0, 1.5, 0.0, 1.0])
    n = 30_000
    wanted = probabilities(logits, params(0.97, 0.8), None, "s2")
    noise = exponential(torch.arange(n), torch.zeros(n).long(), 0, 6)
    rows = logits.expand(n, -1)
    drawn = draw(rows, nucleus(rows, top_p=0.97), torch.full((n,), 0.8), noise)
    counts, kept = drawn.bincount(minlength=6), wanted > 0
    assert counts[~kept].sum() == 0
    error = (counts[kept] - n * wanted[kept]) ** 2 / (n * wanted[kept])
    assert float(error.sum()) < 25


@pytest.mark.parametrize("spread", [0.0, 0.5, 5.0])
@pytest.mark.parametrize("top_k", [1, 40, ALL_TOKENS])
def test_large_vocabularies_are_drawn_from_alike(
    spread: float, top_k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a processor does to save time changes no token, even among equals."""
    generator = torch.Generator().manual_seed(1)
    logits = (torch.randn(3, 20_000, generator=generator) * spread).mul(8).round().div(8)
    streams = Streams.of(torch.arange(3), torch.arange(3), n_draws=1)[:, 0]
    temperature = torch.tensor([0.5, 1.0, 0.7])

    def drawn() -> Tensor:
        chosen = nucleus(logits, top_p=0.8, top_k=top_k)
        return draw_from_many(logits, chosen, temperature, streams)

    by_processor = drawn()
    monkeypatch.setattr(sampling, "MANY_TOKENS", 10**9)
    assert torch.equal(by_processor, drawn())
