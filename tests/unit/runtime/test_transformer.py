"""The transformer's parts: RoPE's table, norms, and products that suit the machine."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from junetts._runtime import linear
from junetts._runtime.kv_cache import Run
from junetts._runtime.linear import Linear, project
from junetts._runtime.transformer import RmsNorm, Rope, run_pass, scattered_pass


def test_rope_is_rounded_to_bfloat16() -> None:
    """The table holds the values that the models were trained with."""
    rope = Rope(5000, head_dim=8, base=10_000.0)
    cos, sin = rope.at(torch.tensor([4321]))
    angle = torch.tensor(4321.0) / 10_000.0 ** (torch.tensor([0.0, 2, 4, 6]) / 8)
    assert torch.equal(cos[0, ::2], angle.cos().to(torch.bfloat16).float())
    assert torch.equal(sin[0, 1::2], angle.sin().to(torch.bfloat16).float())
    assert torch.equal(sin[0, ::2], -sin[0, 1::2])


def test_rope_keeps_its_precision_when_the_model_is_built_on_meta() -> None:
    """The table is real where parameters are placeholders."""
    with torch.device("meta"):
        rope = Rope(10, head_dim=4, base=100.0)
    assert rope.at(torch.tensor([3]))[0].isfinite().all()


def test_rope_moves_to_where_it_is_asked_for() -> None:
    """A device gets its own table, once."""
    rope = Rope(10, head_dim=4, base=100.0)
    elsewhere = torch.tensor([3], device="meta")
    assert rope.at(elsewhere)[0].device.type == "meta"
    assert rope.at(elsewhere)[0].shape == (1, 4)


def test_norm_is_rounded_before_it_is_weighted() -> None:
    """In half precision the order of rounding is the published one."""
    norm = RmsNorm(64, eps=1e-6)
    norm.weight = torch.nn.Parameter(torch.linspace(0.5, 2, 64).bfloat16())
    x = torch.randn(3, 64, generator=torch.Generator().manual_seed(1)).bfloat16()
    exact = x.float() / (x.float().square().mean(-1, keepdim=True) + 1e-6).sqrt()
    assert torch.equal(norm(x), exact.bfloat16() * norm.weight)


def test_columns_see_themselves_and_what_was_before() -> None:
    """The bias hides later columns, for each of the queries that share a head."""
    rope = Rope(10, head_dim=4, base=100.0)
    run = Run(slots=slice(0, 1), start=1)
    now = run_pass(rope, run, n_columns=2, group=2, like=torch.zeros(1))
    assert now.bias is not None
    assert (now.bias[0, 0] == 0).tolist() == [[True, True, False]] * 2 + [[True] * 3] * 2
    assert run_pass(rope, run, n_columns=1, group=2, like=torch.zeros(1)).bias is None


def test_slots_see_up_to_their_own_position() -> None:
    """Spans are rounded up to whole blocks; what is beyond is hidden."""
    rope = Rope(40, head_dim=4, base=100.0)
    now = scattered_pass(rope, torch.tensor([0, 4]), span=5, dtype=torch.float32)
    assert now.bias is not None
    assert (now.bias == 0).sum(-1).flatten().tolist() == [1, 5]
    assert now.bias.shape[-1] == 16


@pytest.mark.parametrize("shape", [(32, 24), (2048, 600)])
@pytest.mark.parametrize("n_rows", [1, 2, 3, 4, 5, 33])
@pytest.mark.parametrize("has_bias", [False, True])
def test_all_products_are_products(shape: tuple[int, int], n_rows: int, has_bias: bool) -> None:
    """Whichever kernel is chosen, the numbers are right."""
    n_in, n_out = shape
    generator = torch.Generator().manual_seed(n_rows)
    layer = Linear(n_in, n_out, has_bias=has_bias)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    x = torch.randn(2, n_rows, n_in, generator=generator)
    with torch.inference_mode():
        found = layer(x)
        assert layer.bias is None or has_bias
        wanted = functional.linear(x, layer.weight, layer.bias)
    assert (layer.weight.numel() >= linear.LARGE) == (n_in == 2048)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-3)


def test_products_without_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build of torch without oneDNN multiplies, too."""
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    weight, x = torch.randn(1024, 1024), torch.randn(1, 1024)
    assert torch.equal(project(x, weight), functional.linear(x, weight))


def test_half_precision_is_left_to_torch() -> None:
    """Other dtypes go the usual way."""
    weight, x = torch.randn(8, 16).bfloat16(), torch.randn(3, 16).bfloat16()
    assert torch.equal(project(x, weight), functional.linear(x, weight))


def test_a_row_of_a_small_product_does_not_depend_on_the_others() -> None:
    """On a processor, in float32, an utterance is rounded alike in every batch."""
    generator = torch.Generator().manual_seed(0)
    weight, x = torch.randn(96, 40, generator=generator), torch.randn(9, 40, generator=generator)
    everything = project(x, weight)
    for n_rows in range(1, 9):
        assert torch.equal(project(x[:n_rows], weight), everything[:n_rows])
