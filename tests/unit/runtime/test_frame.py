"""Frames: parity with the real implementation, and utterances that do not disturb each other."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from junetts._runtime.dual_ar import DualAR
from junetts._runtime.frame import (
    NO_FRAME,
    FrameState,
    _move_on,
    _Sampler,
    _Window,
    first_frame,
    next_frame,
)
from junetts._runtime.sampling import DEFAULTS, SamplingParams
from junetts._runtime.sizes import Family
from tiny_models import (
    FAST,
    SLOW,
    TOKENS,
    begin,
    golden,
    golden_model,
    golden_prompts,
    new_cache,
    random_model,
    random_prompt,
    sizes,
    speak_alone,
)

GREEDY = SamplingParams(temperature=0, top_p=1.0)


@pytest.mark.parametrize("name", ["s1-tiny", "s2-tiny"])
@pytest.mark.parametrize("case", range(4))
def test_greedy_frames_are_those_of_the_real_implementation(name: str, case: int) -> None:
    """Every column of every case, the end token's included."""
    arrays = golden(name, "greedy")
    wanted = torch.as_tensor(arrays[f"c{case}_tokens"]).long()
    penalty = float(arrays["repetition_penalty"][case]) if name == "s1-tiny" else 1.0
    found = speak_alone(
        golden_model(name),
        golden_prompts(name)[str(arrays["names"][case])],
        replace(GREEDY, repetition_penalty=penalty),
        n_frames=wanted.shape[1],
    )
    assert torch.equal(found, wanted)


def sampled(model: DualAR, seed: int) -> SamplingParams:
    """The family's defaults."""
    return replace(DEFAULTS[model.sizes.family], seed=seed)


@pytest.mark.parametrize("family", ["s1", "s2"])
def test_a_seed_reproduces_an_utterance(family: Family) -> None:
    """And another seed gives another one."""
    model = random_model(sizes(family))
    prompt = random_prompt(model.sizes, 9)
    one, same, other = (
        speak_alone(model, prompt, sampled(model, seed), n_frames=20) for seed in (5, 5, 6)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("family", ["s1", "s2"])
def test_an_utterance_does_not_depend_on_its_company(family: Family) -> None:
    """Alone, or among five that come, pause and go, it is the same."""
    model = random_model(sizes(family))
    n_frames, chance = 24, random.Random(3)
    prompts = [random_prompt(model.sizes, 5 + 7 * i % 40, seed=i) for i in range(12)]
    alone = [
        speak_alone(model, prompt, sampled(model, i), n_frames=n_frames)
        for i, prompt in enumerate(prompts)
    ]
    cache, state = new_cache(model, n_slots=5), FrameState(model.sizes, n_slots=5, device="cpu")
    waiting, speaking, spoken = (
        list(range(12)),
        dict[int, list[Tensor]](),
        dict[int, list[Tensor]](),
    )
    slots = dict[int, int]()
    while waiting or speaking:
        for slot in {0, 1, 2, 3, 4} - set(slots.values()):
            if waiting and chance.random() < 0.3:
                i = waiting.pop()
                slots[i] = slot
                speaking[i] = [begin(model, cache, state, slot, prompts[i], sampled(model, i))]
        listening = [i for i in speaking if chance.random() < 0.8]
        if not listening:
            continue
        state.activate([slots[i] for i in listening])
        span = max(prompts[i].shape[1] + len(speaking[i]) for i in listening)
        n = max(slots[i] for i in listening) + 1
        columns = next_frame(model, cache, state, n=n, span=span)
        for i in listening:
            speaking[i].append(columns[slots[i]])
            if len(speaking[i]) == n_frames:
                spoken[i] = speaking.pop(i)
                state.clear(slots.pop(i))
    for i, wanted in enumerate(alone):
        assert torch.equal(torch.stack(spoken[i], dim=1), wanted)


def test_idle_slots_do_not_change() -> None:
    """Whatever is in their memory and state stays, though they are computed."""
    model = random_model(sizes("s1"))
    cache, state = new_cache(model, n_slots=2), FrameState(model.sizes, n_slots=2, device="cpu")
    for slot in (0, 1):
        begin(model, cache, state, slot, random_prompt(model.sizes, 9), sampled(model, slot))
    kept, before = cache.snapshot(0, cache.context), rows_of(state, 0)
    state.activate([1])
    next_frame(model, cache, state, n=2, span=10)
    assert all(map(torch.equal, rows_of(state, 0), before))
    assert torch.equal(cache.snapshot(0, cache.context).keys, kept.keys)
    assert state.position.tolist() == [9, 10]
    assert state.frame.tolist() == [1, 2]


def rows_of(state: FrameState, slot: int) -> list[Tensor]:
    """What the state holds of one slot."""
    buffers = (state.column, state.window, state.position, state.frame, state.seed)
    return [buffer[slot].clone() for buffer in buffers]


def test_buffers_stay_where_they_are() -> None:
    """A captured graph could be replayed after anything that is done to a state."""
    model = random_model(sizes("s2"))
    cache, state = new_cache(model), FrameState(model.sizes, n_slots=1, device="cpu")
    tensors = {k: v for k, v in vars(state).items() if isinstance(v, Tensor)}
    addresses = {name: tensor.data_ptr() for name, tensor in tensors.items()}
    begin(model, cache, state, 0, random_prompt(model.sizes, 9), sampled(model, 1))
    state.activate([0])
    next_frame(model, cache, state, n=1, span=10)
    state.clear(0)
    assert {name: getattr(state, name).data_ptr() for name in addresses} == addresses


def test_beginning_again_forgets_the_last_utterance() -> None:
    """Repetitions of the one before do not count."""
    model = random_model(sizes("s1"))
    prompt, params = random_prompt(model.sizes, 9), sampled(model, 1)
    wanted = speak_alone(model, prompt, params, n_frames=6)
    cache, state = new_cache(model), FrameState(model.sizes, n_slots=1, device="cpu")
    for _ in range(2):
        frames = [begin(model, cache, state, 0, prompt, params)]
        state.activate([0])
        frames += [next_frame(model, cache, state, n=1, span=9 + k)[0] for k in range(1, 6)]
        state.clear(0)
    assert torch.equal(torch.stack(frames, dim=1), wanted)


def test_clear_frees_the_slot() -> None:
    """It is not active any more; others are."""
    state = FrameState(sizes("s1"), n_slots=3, device="cpu")
    state.activate([0, 2])
    state.park(2, position=9)
    state.clear(2)
    assert state.active.tolist() == [True, False, False]
    assert state.position.tolist() == [0, 0, 0]


def test_the_ring_holds_the_last_frames() -> None:
    """The one from the prompt is not entered; the oldest is replaced."""
    state = FrameState(sizes("s2"), n_slots=2, device="cpu")
    state.frame[:] = 1
    active = torch.tensor([True, False])
    for token in range(1, 14):
        _move_on(state, torch.full((2, 5), token), active)
    assert sorted(state.window[0, :, 0].tolist()) == list(range(4, 14))
    assert state.window[1].count_nonzero() == 0


def test_s1_penalises_what_the_published_code_penalises() -> None:
    """For the token, all rows of the oldest frame; zeros as long as there is none."""
    state = FrameState(sizes("s1"), n_slots=1, device="cpu")
    state.frame[:] = 1
    seen = [_Window.of(state, slice(0, 1)).tokens[0].tolist()]
    for token in range(1, 20):
        _move_on(state, torch.full((1, 5), token), torch.tensor([True]))
        seen.append(_Window.of(state, slice(0, 1)).tokens[0].tolist())
    oldest = [0] + [1] * 16 + [2, 3, 4]
    assert seen == [[token] * 5 for token in oldest]


def test_s2_draws_again_where_it_repeats_itself() -> None:
    """With one token far ahead of the others, only the wider draw gets past it."""
    slow = replace(SLOW, n_layers=1)
    model = random_model(replace(sizes("s2"), slow=slow))
    head = model.head.clone()
    head[TOKENS.im_end] = 0  # it could end at any time otherwise
    model.output.weight.data = head * 0.05
    prompt = random_prompt(model.sizes, 9)
    few = SamplingParams(temperature=0.01, top_p=0.05, top_k=30)
    tokens = speak_alone(model, prompt, few, n_frames=30)[0]
    greedy = speak_alone(model, prompt, GREEDY, n_frames=30)[0]
    assert len(set(tokens.tolist())) > 10
    assert len(set(greedy.tolist())) < len(set(tokens.tolist()))


def test_the_second_draw_is_another_one() -> None:
    """With the same parameters it is as likely to find the same token as chance has it."""
    state = FrameState(sizes("s2"), n_slots=500, device="cpu")
    for slot in range(500):
        state.begin(slot, SamplingParams(temperature=1, top_p=0.9, seed=slot))
    usual, wider = _Sampler.of(state, slice(0, 500)).token_and_wider(torch.zeros(500, 21))
    assert 5 < int((usual == wider).sum()) < 70


@pytest.mark.parametrize("token", [3, 99])
def test_a_text_token_of_s1_does_not_break_the_fast_ar(token: int) -> None:
    """Ids on both sides of the semantic ones have a frame, too, and can be read back."""
    model = random_model(sizes("s1"))
    cache, state = new_cache(model), FrameState(model.sizes, n_slots=1, device="cpu")
    slow = model.prefill(random_prompt(model.sizes, 4), cache, slot=0)
    head = torch.zeros_like(slow.head)
    head[token] = slow.normed[0]  # no other is the best
    state.park(0, position=4)
    state.begin(0, GREEDY)
    column = first_frame(model, replace(slow, head=head), state, slot=0)
    assert column[:2].tolist() == [token, 0 if token == 3 else model.sizes.codebook_size - 1]
    state.activate([0])
    next_frame(model, cache, state, n=1, span=5)


@pytest.mark.parametrize("n_codebooks", [1, 2, 11])
@pytest.mark.parametrize("family", ["s1", "s2"])
def test_any_number_of_codebooks(n_codebooks: int, family: Family) -> None:
    """Down to a single one."""
    model = random_model(replace(sizes(family), n_codebooks=n_codebooks))
    frames = speak_alone(model, random_prompt(model.sizes, 9), sampled(model, 1), n_frames=20)
    assert frames.shape == (1 + n_codebooks, 20)
    assert (frames[1:] < model.sizes.codebook_size).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_speaks(dtype: torch.dtype) -> None:
    """Frames of all legal values, in any dtype."""
    model = random_model(replace(sizes("s2"), fast=replace(FAST, dim=24)), dtype=dtype)
    frames = speak_alone(model, random_prompt(model.sizes, 9), sampled(model, 1), n_frames=20)
    is_legal = model.is_semantic(frames[0]) | (frames[0] == TOKENS.im_end)
    assert is_legal.all()


@pytest.mark.parametrize("family", ["s1", "s2"])
def test_numbers_that_are_none_make_no_frame(family: Family) -> None:
    """Neither from a prompt nor later; the others' frames are not affected, and no id is wild."""
    model = random_model(sizes(family))
    cache, state = new_cache(model, n_slots=2), FrameState(model.sizes, n_slots=2, device="cpu")
    for slot in (0, 1):
        begin(model, cache, state, slot, random_prompt(model.sizes, 9), sampled(model, 1))
    state.activate([0, 1])
    cache.values[:, 0, :, :9] = float("nan")
    columns = next_frame(model, cache, state, n=2, span=10)
    assert columns[0].tolist() == [NO_FRAME] * columns.shape[1]
    assert int(columns[1].min()) >= 0
    assert int(state.column.min()) >= 0
    slow = model.prefill(random_prompt(model.sizes, 2), cache, slot=0, start=9)
    assert int(first_frame(model, slow, state, slot=0).max()) == NO_FRAME
    assert int(state.column.min()) >= 0
