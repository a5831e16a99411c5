"""Seats and slots, voices' prefixes, and what of a prompt need not be read."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from junetts._runtime.kv_cache import KvCache, KvSnapshot
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


def test_who_was_quiet_for_longest_gives_way(cache: KvCache) -> None:
    """Not one who has just ended a sentence and will go on at once."""
    slots, first, second = Slots(cache), seat(1), seat(2)
    for one in (second, first):
        assert slots.take(one)
        one.is_idle = True
    slots.take(second)
    second.is_idle = True
    assert slots.take(seat())
    assert (first.slot, second.slot) == (None, 0)


def test_only_so_much_is_saved(cache: KvCache) -> None:
    """Conversations beyond that begin anew: who lost the slot first, first."""
    slots = Slots(cache, max_saved_bytes=5 * COLUMN_BYTES)
    crowd = [seat(1, 2, 3), seat(4, 5), seat(6, 7), seat()]
    for one in crowd:
        assert slots.take(one)
        one.is_idle = True
        fill(cache, 0, 3, 1.0)
    for one in crowd[2:]:  # both slots are theirs, and they are busy
        slots.take(one)
    assert slots.n_saved_bytes == 5 * COLUMN_BYTES
    slots.release(crowd[3])
    last = seat()
    crowd[2].is_idle = True
    assert slots.take(last)
    assert slots.take(seat())
    assert slots.n_saved_bytes == 4 * COLUMN_BYTES
    assert crowd[0].saved is None
    assert crowd[0].columns.shape == (3, 0)
    assert crowd[1].saved is not None
    slots.release(crowd[1])
    assert slots.n_saved_bytes == 2 * COLUMN_BYTES


def test_without_memory_for_a_copy_a_conversation_begins_anew(
    cache: KvCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than the newcomer failing."""

    def full(slot: int, n_columns: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    slots, quiet = Slots(cache), seat(1, 2, 3)
    assert slots.take(quiet)
    assert slots.take(seat())
    quiet.is_idle = True
    monkeypatch.setattr(cache, "snapshot", full)
    assert slots.take(seat())
    assert quiet.saved is None
    assert quiet.columns.shape[1] == 0


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


def test_what_will_not_be_kept_is_not_copied(
    cache: KvCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither where the store is switched off, nor for a voice that it has."""
    n_copies = 0
    snapshot = cache.snapshot

    def counting(slot: int, n_columns: int) -> KvSnapshot:
        nonlocal n_copies
        n_copies += 1
        return snapshot(slot, n_columns)

    monkeypatch.setattr(cache, "snapshot", counting)
    off, on = PrefixStore(0), PrefixStore(10**9)
    for store in (off, on, on):
        one = Seat(columns=prompt(), slot=0)
        reading = Reading(prompt(1, 2, 3), n_voice=2, seat=one, prefixes=store, cache=cache)
        read_all(reading, cache)
    assert n_copies == 1
    both = [
        Reading(
            prompt(7, 2, 3),
            n_voice=2,
            seat=Seat(columns=prompt(), slot=slot),
            prefixes=on,
            cache=cache,
        )
        for slot in (0, 1)
    ]
    for slot, reading in enumerate(both):  # neither knew of the other
        read_all(reading, cache, slot)
    assert n_copies == 2


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
