"""The memory of keys and values: snapshots, copies, and what it costs."""

from __future__ import annotations

from dataclasses import replace

import psutil
import pytest
import torch

from junetts._runtime.kv_cache import KvCache, Run, Scattered
from tiny_models import SLOW, sizes


def cache_with_noise(*, dtype: torch.dtype = torch.float32) -> KvCache:
    """Three slots of twenty columns, all different."""
    cache = KvCache(sizes("s1"), n_slots=3, context=20, device="cpu", dtype=dtype)
    for buffer in (cache.keys, cache.values):
        buffer.copy_(torch.randn(buffer.shape))
    return cache


def test_a_new_cache_is_zero() -> None:
    """Nothing that was never written can be anything but a number."""
    cache = KvCache(sizes("s1"), n_slots=2, context=20, device="cpu", dtype=torch.bfloat16)
    assert cache.keys.count_nonzero() == cache.values.count_nonzero() == 0
    assert cache.keys.dtype == torch.bfloat16
    assert cache.spare_column == 20


def test_other_devices_get_ordinary_buffers() -> None:
    """Where there is no lazy memory, there is memory."""
    cache = KvCache(sizes("s1"), n_slots=2, context=20, device="meta", dtype=torch.float16)
    assert cache.keys.shape == (2, 2, 2, 32, 8)
    assert cache.keys.device.type == "meta"


def test_unused_context_takes_no_memory() -> None:
    """Gigabytes of context can be had for the asking, on a processor."""
    shape = replace(sizes("s1"), slow=replace(SLOW, n_layers=16, n_kv_heads=8, head_dim=128))
    before = psutil.Process().memory_info().rss
    cache = KvCache(shape, n_slots=2, context=2**14, device="cpu", dtype=torch.float32)
    cache.keys[:, 1, :, :10] = 1.0
    assert cache.snapshot(1, 20).keys.sum() == 16 * 8 * 10 * 128
    assert cache.n_bytes > 2 * 16 * 2 * 8 * 2**14 * 128 * 4
    assert psutil.Process().memory_info().rss - before < 100 * 2**20


def test_a_column_costs_nothing_but_itself() -> None:
    """Writing one touches no other, in any dtype: some of torch's ways copy the whole buffer."""
    shape = replace(sizes("s1"), slow=replace(SLOW, n_layers=1, n_kv_heads=8, head_dim=128))
    cache = KvCache(shape, n_slots=4, context=2**16, device="cpu", dtype=torch.bfloat16)
    before = psutil.Process().memory_info().rss
    here = Scattered(positions=torch.tensor([7, 70, 700, 7000]), span=7001)
    here.write(cache.layers[0].keys, torch.ones(4, 1, 8, 128).bfloat16())
    assert cache.keys.nbytes > 500 * 2**20
    assert psutil.Process().memory_info().rss - before < 100 * 2**20


def test_what_cannot_be_had_is_a_memory_error() -> None:
    """Asking for more addresses than there are is no operating system error."""
    with pytest.raises(MemoryError, match="bytes of address space"):
        KvCache(sizes("s1"), n_slots=2**20, context=2**30, device="cpu", dtype=torch.float32)


def test_a_snapshot_comes_back() -> None:
    """In another slot, of another cache, and without what was behind it."""
    cache, other = cache_with_noise(), cache_with_noise()
    snapshot, untouched = cache.snapshot(1, 7), other.snapshot(2, 20)
    cache.keys.zero_()  # a snapshot is a copy
    other.restore(2, snapshot)
    found = other.snapshot(2, 20)
    assert snapshot.n_columns == 7
    assert torch.equal(found.keys[:, :, :7], snapshot.keys)
    assert torch.equal(found.values[:, :, :7], snapshot.values)
    assert torch.equal(found.keys[:, :, 7:], untouched.keys[:, :, 7:])
    assert snapshot.keys.count_nonzero() > 0


def test_a_snapshot_knows_its_size() -> None:
    """Layers, heads, columns and head dimension, keys and values, two bytes each."""
    assert cache_with_noise(dtype=torch.float16).snapshot(0, 5).n_bytes == 2 * 2 * 2 * 5 * 8 * 2


def test_columns_can_be_copied_between_slots() -> None:
    """Only the range, and to the same place."""
    cache = cache_with_noise()
    before = cache.snapshot(2, 20)
    cache.copy(0, 2, start=3, stop=9)
    source, found = cache.snapshot(0, 20), cache.snapshot(2, 20)
    assert torch.equal(found.keys[:, :, 3:9], source.keys[:, :, 3:9])
    assert torch.equal(found.values[:, :, 3:9], source.values[:, :, 3:9])
    assert torch.equal(found.keys[:, :, :3], before.keys[:, :, :3])
    assert torch.equal(found.keys[:, :, 9:], before.keys[:, :, 9:])


@pytest.mark.parametrize(("slot", "n_columns"), [(3, 1), (-1, 1), (0, 21), (0, -1)])
def test_what_is_not_there_is_refused(slot: int, n_columns: int) -> None:
    """Slots and columns outside are errors, not surprises."""
    with pytest.raises(IndexError):
        cache_with_noise().snapshot(slot, n_columns)


def test_a_run_writes_consecutive_columns() -> None:
    """What it may see ends with what it wrote."""
    cache = cache_with_noise()
    new = torch.randn(1, 3, 2, 8)
    seen = Run(slots=slice(1, 2), start=4).write(cache.layers[0].keys, new)
    assert seen.shape == (1, 2, 7, 8)
    assert torch.equal(seen[:, :, 4:], new.transpose(1, 2))
    assert torch.equal(cache.keys[0, 1, :, 4:7], new[0].transpose(0, 1))


def test_scattered_columns_go_where_each_slot_stands() -> None:
    """One column per slot, the rest untouched; the spare column can be written."""
    cache = cache_with_noise()
    before, new = cache.keys[1].clone(), torch.randn(3, 1, 2, 8)
    positions = torch.tensor([0, 5, cache.spare_column])
    seen = Scattered(positions=positions, span=6).write(cache.layers[1].keys, new)
    changed = (cache.keys[1] != before).any(-1).any(1).nonzero().tolist()
    assert changed == [[0, 0], [1, 5], [2, 20]]
    assert torch.equal(seen[1, :, 5], new[1, 0])
    assert seen.shape == (3, 2, 6, 8)


def test_a_slot_can_be_wiped() -> None:
    """What is not a number goes, in the first columns of that slot alone."""
    cache = cache_with_noise()
    kept = cache.keys.clone(), cache.values.clone()
    cache.keys[:, 1, :, :5] = float("nan")
    cache.values[:, 1, :, :5] = float("nan")
    cache.wipe(1, 5)
    for buffer, before in zip((cache.keys, cache.values), kept, strict=True):
        before[:, 1, :, :5] = 0
        assert torch.equal(buffer, before)
