"""Seats and slots, voices' prefixes, and what of a prompt need not be read."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from junetts._runtime.kv_cache import KvCache
from junetts._runtime.prefixes import PrefixStore
from junetts._runtime.reading import PIECE_COLUMNS, Reading
from junetts._runtime.sizes import ModelSizes, TransformerSizes
from junetts._runtime.slots import Seat, Slots, n_common_columns

STACK = TransformerSizes(
    n_layers=2, dim=8, n_heads=2, n_kv_heads=1, head_dim=4, ffn_dim=8, rope_base=1e4, norm_eps=1e-6
)
SIZES = ModelSizes(
    family="s1",
    slow=STACK,
    fast=STACK,
    vocab_size=16,
    codebook_size=8,
    n_codebooks=2,
    context=1024,
    is_head_tied=True,
    scales_embeddings=False,
    norms_fast_input=False,
)
COLUMN_BYTES = 2 * 2 * 1 * 4 * 4  # keys and values, layers, heads, head_dim, float32


@pytest.fixture
def cache() -> KvCache:
    """Memory of two utterances."""
    return KvCache(SIZES, n_slots=2, context=1024, device=torch.device("cpu"), dtype=torch.float32)


def fill(cache: KvCache, slot: int, n_columns: int, value: float) -> None:
    """Write something recognisable into a slot."""
    for layer in (*cache.keys, *cache.values):
        layer[slot, :, :n_columns] = value


def held(cache: KvCache, slot: int, n_columns: int) -> set[float]:
    """What stands in a slot."""
    return {float(x) for layer in cache.keys for x in layer[slot, :, :n_columns].unique()}


def prompt(*ids: int) -> Tensor:
    """A prompt whose columns are told apart by their id."""
    return torch.tensor([ids, [0] * len(ids), [0] * len(ids)])


def seat(*ids: int) -> Seat:
    """A seat whose KV was computed from those columns."""
    return Seat(columns=prompt(*ids))


def test_the_lowest_free_slot_is_given(cache: KvCache) -> None:
    """Slots in use stay together at the beginning."""
    slots, first, second = Slots(cache), seat(), seat()
    assert slots.take(first)
    assert slots.take(second)
    assert (first.slot, second.slot) == (0, 1)
    slots.release(first)
    third = seat()
    assert slots.take(third)
    assert third.slot == 0


def test_a_busy_seat_keeps_its_slot(cache: KvCache) -> None:
    """Who finds no slot waits."""
    slots = Slots(cache)
    assert slots.take(seat())
    assert slots.take(seat())
    assert not slots.take(seat())


def test_an_idle_seat_finds_its_kv_again(cache: KvCache) -> None:
    """Another one had the slot meanwhile; what was there comes back, into whatever slot."""
    slots, quiet, busy, third = Slots(cache), seat(1, 2, 3), seat(), seat()
    assert slots.take(quiet)
    assert slots.take(busy)
    fill(cache, 0, 3, 7.0)
    quiet.is_idle = True
    assert slots.take(third)
    assert (third.slot, quiet.slot) == (0, None)
    fill(cache, 0, 1024, -1.0)
    slots.release(busy)
    assert slots.take(quiet)
    assert quiet.slot == 1
    assert held(cache, 1, 3) == {7.0}
    assert quiet.saved is None


def test_taking_again_changes_nothing(cache: KvCache) -> None:
    """A seat that has a slot keeps it."""
    slots, one = Slots(cache), seat()
    assert slots.take(one)
    one.is_idle = True
    assert slots.take(one)
    assert one.slot == 0
    assert not one.is_idle


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [((), (1,), 0), ((1, 2), (1, 2), 2), ((1, 2, 3), (1, 2), 2), ((1, 5), (1, 6, 7), 1)],
)
def test_common_columns(one: tuple[int, ...], other: tuple[int, ...], expected: int) -> None:
    """Columns are the same as long as no row differs."""
    assert n_common_columns(prompt(*one), prompt(*other)) == expected
    codes_differ = prompt(*other)
    codes_differ[1] = 1
    assert n_common_columns(prompt(*one), codes_differ) == 0


def test_the_least_recently_used_voice_goes_first(cache: KvCache) -> None:
    """The store keeps within its bytes."""
    store = PrefixStore(2 * 3 * COLUMN_BYTES)
    for first in (1, 2):
        store.keep(prompt(first, 0, 0), cache.snapshot(0, 3))
    assert store.find(prompt(1, 0, 0)) is not None
    store.keep(prompt(3, 0, 0), cache.snapshot(0, 3))
    assert store.find(prompt(2, 0, 0)) is None
    assert store.find(prompt(1, 0, 0)) is not None
    assert len(store) == 2
    assert store.n_bytes == 2 * 3 * COLUMN_BYTES


def test_what_is_too_large_or_known_is_not_kept_again(cache: KvCache) -> None:
    """One voice that would fill the store does not push all others out."""
    store = PrefixStore(3 * COLUMN_BYTES)
    store.keep(prompt(1), cache.snapshot(0, 1))
    store.keep(prompt(1), cache.snapshot(0, 1))
    store.keep(prompt(2, 0, 0, 0), cache.snapshot(0, 4))
    assert len(store) == 1
    assert store.n_bytes == COLUMN_BYTES


def read_all(reading: Reading, cache: KvCache, slot: int = 0) -> list[int]:
    """The sizes of the pieces that were to be read."""
    sizes = []
    while not reading.is_complete:
        piece = reading.next_piece()
        fill(cache, slot, 1, 1.0)
        sizes.append(piece.shape[1])
        reading.was_read(piece)
    return sizes


def test_a_new_voice_is_read_by_itself_and_kept(cache: KvCache) -> None:
    """A second utterance in this voice only reads what is behind it, in the same pieces."""
    store = PrefixStore(10**9)
    text = list(range(PIECE_COLUMNS + 40))
    long_prompt = prompt(*[9] * 300, *text)
    sizes = []
    for slot in (0, 1):
        one = Seat(columns=prompt(), slot=slot)
        reading = Reading(long_prompt, n_voice=300, seat=one, prefixes=store, cache=cache)
        sizes.append(read_all(reading, cache, slot))
    assert sizes == [[256, 44, 256, 40], [256, 40]]


def test_a_conversation_goes_on_where_it_was(cache: KvCache) -> None:
    """Only what is new is read; the last column always is."""
    store = PrefixStore(0)
    one = Seat(columns=prompt(1, 2, 3, 4), slot=0)
    reading = Reading(prompt(1, 2, 3, 5, 6), n_voice=2, seat=one, prefixes=store, cache=cache)
    assert read_all(reading, cache) == [2]
    again = Reading(prompt(1, 2, 3, 5, 6), n_voice=2, seat=one, prefixes=store, cache=cache)
    assert read_all(again, cache) == [1]


def test_without_a_voice_nothing_is_kept(cache: KvCache) -> None:
    """There is no prefix to keep."""
    store = PrefixStore(10**9)
    one = Seat(columns=prompt(), slot=0)
    reading = Reading(prompt(1, 2, 3), n_voice=0, seat=one, prefixes=store, cache=cache)
    assert read_all(reading, cache) == [3]
    assert len(store) == 0
