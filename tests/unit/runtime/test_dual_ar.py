"""The language model: parity with the real implementation, and shapes it was not tried with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from junetts._runtime import dual_ar
from junetts._runtime.dual_ar import DualAR, Slow
from tiny_models import (
    FAST,
    SLOW,
    TOKENS,
    golden,
    golden_model,
    golden_prompts,
    new_cache,
    random_model,
    random_prompt,
    sizes,
)

NAMES = ["s1-tiny", "s2-tiny"]


def relative(found: Tensor, wanted: np.ndarray | Tensor) -> float:
    """The largest difference, relative to the largest value."""
    wanted = torch.as_tensor(wanted)
    return float((found - wanted).abs().max() / wanted.abs().max())


def fast_rows(model: DualAR, slow: Slow, codes: Tensor) -> Tensor:
    """Logits at every position of the fast AR, one at a time."""
    memory, x, rows = model.fast_memory(1), model.fast_input(slow)[:, None], []
    for position, code in enumerate(codes):
        rows.append(model.fast_logits(model.fast(x, memory, start=position))[0])
        x = model.fast_embeddings(code)[None, None]
    return torch.stack(rows)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", [0, 1])
@torch.inference_mode()
def test_forward_is_that_of_the_real_implementation(name: str, case: int) -> None:
    """Logits and hidden states of both transformers are the golden ones."""
    model, wanted = golden_model(name), golden(name, "forward")
    prompt = golden_prompts(name)[str(wanted["prompt_names"][case])]
    slow = model.prefill(prompt, new_cache(model, context=400), slot=0)
    assert relative(slow.logits[0], wanted[f"p{case}_slow_logits"]) < 1e-5
    assert relative(slow.hidden[0], wanted[f"p{case}_slow_before_norm"]) < 1e-5
    assert relative(slow.normed[0], wanted[f"p{case}_slow_after_norm"]) < 1e-5
    assert relative(model.fast_input(slow)[0], wanted[f"p{case}_fast_input"]) < 1e-5
    rows = fast_rows(model, slow, torch.as_tensor(wanted[f"p{case}_codes"]))
    assert relative(rows, wanted[f"p{case}_fast_logits"]) < 1e-5


@pytest.mark.parametrize("cuts", [(1,), (17, 18), (16, 32), (39,)])
def test_a_prompt_may_be_read_in_pieces(cuts: tuple[int, ...]) -> None:
    """Wherever a prompt is cut, what follows it is the same up to rounding."""
    model = random_model(sizes("s1"))
    prompt = random_prompt(model.sizes, 40)
    whole = model.prefill(prompt, new_cache(model), slot=0)
    cache = new_cache(model, n_slots=3)
    for start, stop in zip((0, *cuts), (*cuts, 40), strict=True):
        slow = model.prefill(prompt[:, start:stop], cache, slot=2, start=start)
    assert relative(slow.hidden, whole.hidden) < 1e-5


def test_a_long_prompt_is_read_in_pieces_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays bounded, and the result is the same."""
    model = random_model(sizes("s2"))
    prompt = random_prompt(model.sizes, 40)
    whole = model.prefill(prompt, new_cache(model), slot=0)
    monkeypatch.setattr(dual_ar, "PREFILL_COLUMNS", 7)
    assert relative(model.prefill(prompt, new_cache(model), slot=0).hidden, whole.hidden) < 1e-5


def test_decode_continues_a_prefill() -> None:
    """Columns read one at a time, in several slots, give what they give when read at once."""
    model = random_model(sizes("s1"))
    prompts = [random_prompt(model.sizes, n, seed=n) for n in (12, 30)]
    cache = new_cache(model, n_slots=2)
    for slot, prompt in enumerate(prompts):
        model.prefill(prompt[:, :-3], cache, slot=slot)
    for back in (-3, -2, -1):
        columns = torch.stack([prompt[:, back] for prompt in prompts])
        positions = torch.tensor([prompt.shape[1] + back for prompt in prompts])
        slow = model.decode(columns, positions, cache, span=31 + back)
    for slot, prompt in enumerate(prompts):
        alone = model.prefill(prompt, new_cache(model), slot=0)
        assert relative(slow.logits[slot], alone.logits[0]) < 1e-5


def test_idle_slots_leave_their_columns_alone() -> None:
    """A slot that stands at the spare column is not written to."""
    model = random_model(sizes("s1"))
    cache = new_cache(model, n_slots=2)
    model.prefill(random_prompt(model.sizes, 9), cache, slot=1)
    before = cache.snapshot(1, cache.context)
    positions = torch.tensor([0, cache.spare_column])
    model.decode(random_prompt(model.sizes, 2).T, positions, cache, span=1)
    after = cache.snapshot(1, cache.context)
    assert torch.equal(before.keys, after.keys)
    assert torch.equal(before.values, after.values)


def test_only_semantic_columns_have_codes() -> None:
    """Codes beside a text token, or an end token, change nothing."""
    model = random_model(sizes("s2"))
    columns = torch.tensor([[5, 1, 2, 3, 4], [TOKENS.im_end, 1, 2, 3, 4], [20, 1, 2, 3, 4]])
    silent = columns.clone()
    silent[:, 1:] = 0
    assert (model.embed(columns) == model.embed(silent)).all(1).tolist() == [True, True, False]


def test_only_legal_rows_of_the_head_are_read_in_s2() -> None:
    """The sliced head gives the full one's logits, in the order of their token ids."""
    model = random_model(sizes("s2"))
    slow = model.prefill(random_prompt(model.sizes, 9), new_cache(model), slot=0)
    logits = model.main_logits(slow)
    tokens = model.main_tokens(torch.arange(logits.shape[1]))
    assert tokens.tolist() == [*range(20, 84), TOKENS.im_end]
    torch.testing.assert_close(logits, slow.logits[:, tokens])


def test_s1_may_say_anything() -> None:
    """S1's logits are not restricted."""
    model = random_model(sizes("s1"))
    slow = model.prefill(random_prompt(model.sizes, 9), new_cache(model), slot=0)
    assert torch.equal(model.main_logits(slow), slow.logits)
    assert model.main_tokens(torch.arange(100)).tolist() == list(range(100))


def test_any_token_has_a_semantic_code() -> None:
    """Ids beside the semantic ones are clamped on both sides."""
    model = random_model(sizes("s1"))
    assert model.semantic_codes(torch.tensor([0, 20, 83, 84, 99])).tolist() == [0, 0, 63, 63, 63]


def test_s1_cuts_residual_codes() -> None:
    """S1 has at most 1,024 residual codes, S2 as many as the table has."""
    assert golden_model("s1-tiny").n_residual_codes == 1024
    assert golden_model("s1-tiny").sizes.codebook_size == 1280
    assert golden_model("s2-tiny").n_residual_codes == 256


def test_slow_unpacks() -> None:
    """Logits, hidden and normed come in this order."""
    model = random_model(sizes("s1"))
    slow = model.prefill(random_prompt(model.sizes, 3), new_cache(model), slot=0)
    logits, hidden, normed = slow
    assert torch.equal(logits, slow.logits)
    assert hidden is slow.hidden
    assert normed is slow.normed
    assert logits.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_close(dtype: torch.dtype) -> None:
    """Smaller dtypes give about the same logits, and float32 ones."""
    exact, rough = (random_model(sizes("s2"), dtype=d) for d in (torch.float32, dtype))
    prompt = random_prompt(exact.sizes, 20)
    wanted = exact.prefill(prompt, new_cache(exact), slot=0)
    found = rough.prefill(prompt, new_cache(rough), slot=0)
    assert found.hidden.dtype == dtype
    assert found.logits.dtype == torch.float32
    assert relative(found.logits, wanted.logits) < 0.1


@pytest.mark.parametrize("has_qk_norm", [False, True])
@pytest.mark.parametrize("has_biases", [False, True])
@pytest.mark.parametrize("n_kv_heads", [1, 2, 4])
def test_all_layouts_agree_with_a_plain_transformer(
    has_qk_norm: bool, has_biases: bool, n_kv_heads: int
) -> None:
    """One layer equals the textbook's, for all options and ways of sharing keys and values."""
    options = {"qk_norm": has_qk_norm, "qkv_bias": has_biases, "o_bias": has_biases}
    slow = replace(SLOW, n_layers=1, n_kv_heads=n_kv_heads, **options)
    model = random_model(sizes("s1", slow, replace(FAST, n_kv_heads=1, **options)))
    prompt = random_prompt(model.sizes, 11)
    found = model.prefill(prompt, new_cache(model), slot=0)
    torch.testing.assert_close(found.hidden[0], plain_layer(model, prompt), rtol=1e-4, atol=1e-5)


def plain_layer(model: DualAR, prompt: Tensor) -> Tensor:
    """The last column's state after the first layer, written down naively."""
    sizes, weights = model.sizes.slow, dict(model.layers[0].named_parameters())
    x = model.embed(prompt.T)
    n, group = x.shape[0], sizes.n_heads // sizes.n_kv_heads
    qkv = functional.linear(
        plain_norm(x, weights["attention_norm.weight"]),
        weights["attention.wqkv.weight"],
        weights.get("attention.wqkv.bias"),
    )
    heads = list(qkv.view(n, -1, sizes.head_dim).transpose(0, 1))
    qs, ks = heads[: sizes.n_heads], heads[sizes.n_heads : sizes.n_heads + sizes.n_kv_heads]
    vs = heads[-sizes.n_kv_heads :]
    if sizes.qk_norm:
        qs = [plain_norm(q, weights["attention.q_norm.weight"]) for q in qs]
        ks = [plain_norm(k, weights["attention.k_norm.weight"]) for k in ks]
    out = []
    for index, q in enumerate(qs):
        scores = plain_rope(q) @ plain_rope(ks[index // group]).T / sizes.head_dim**0.5
        hidden = torch.ones(n, n).triu(1).bool()
        out.append(scores.masked_fill(hidden, float("-inf")).softmax(-1) @ vs[index // group])
    x = x + functional.linear(
        torch.cat(out, dim=1), weights["attention.wo.weight"], weights.get("attention.wo.bias")
    )
    y = plain_norm(x, weights["ffn_norm.weight"])
    gate = functional.silu(y @ weights["feed_forward.w1.weight"].T)
    return (
        x + (gate * (y @ weights["feed_forward.w3.weight"].T)) @ weights["feed_forward.w2.weight"].T
    )[-1]


def plain_norm(x: Tensor, weight: Tensor) -> Tensor:
    """RMSNorm."""
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight


def plain_rope(x: Tensor) -> Tensor:
    """Rotate pairs of ``[column, head_dim]`` as complex numbers, by rounded angles' values."""
    n, dim = x.shape
    angles = torch.arange(n)[:, None] / 1e4 ** (torch.arange(0, dim, 2) / dim)
    cos, sin = (part.to(torch.bfloat16).float() for part in (angles.cos(), angles.sin()))
    turned = torch.view_as_complex(x.reshape(n, -1, 2).contiguous()) * torch.complex(cos, sin)
    return torch.view_as_real(turned).flatten(1)
