"""Audio in portions, divided where a fault strikes and changed by it; without I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from junetts.testing.faults import RESHAPING, Fault, FaultKind, Where

T = TypeVar("T")
Change = Callable[[bytes], bytes]

BYTES_PER_SAMPLE = 2
WAV_HEADER_BYTES = 44
N_TRICKLED = 64  # portions of a trickle, after which the rest comes as usual


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion(Generic[T]):
    """How a kind of portion holds its audio."""

    data: Callable[[T], bytes]
    with_data: Callable[[T, bytes], T]


RAW: Portion[bytes] = Portion(data=lambda portion: portion, with_data=lambda _, data: data)


def divided(portions: Sequence[T], fault: Fault, portion: Portion[T]) -> tuple[list[T], list[T]]:
    """What is sent before the fault strikes, and what it strikes."""
    if fault.kind is FaultKind.LATE_FINISH:
        return list(portions), []
    before, struck = _at(list(portions), fault.where, portion)
    if struck or fault.kind not in RESHAPING:
        return before, struck
    before = _in_two(before, portion)
    first_of_last = (_audible(before, portion) or [0])[-2:][0]
    return before[:first_of_last], before[first_of_last:]


def reshaped(
    before: Sequence[T], struck: Sequence[T], fault: Fault, portion: Portion[T]
) -> list[T]:
    """The struck portions as one of the `RESHAPING` kinds sends them."""
    if fault.kind is FaultKind.NO_AUDIO:
        return []
    if fault.kind in _CHANGES:
        n_before = sum(len(portion.data(one)) for one in before)
        return _changed(struck, _CHANGES[fault.kind], n_before=n_before, portion=portion)
    sent = _in_two(struck, portion) if fault.kind is FaultKind.REORDER else list(struck)
    places = _audible(sent, portion)
    if fault.kind is FaultKind.DUPLICATE and places:
        sent.insert(places[0], sent[places[0]])
    if fault.kind is FaultKind.REORDER and len(places) > 1:
        first, second = places[:2]
        sent[first], sent[second] = sent[second], sent[first]
    return sent


def trickled(struck: Sequence[T], fault: Fault, portion: Portion[T]) -> tuple[list[T], list[T]]:
    """The first few bytes in tiny portions, each to be waited for, and the rest as it was."""
    tiny: list[T] = []
    rest = list(struck)
    while rest and len(tiny) < N_TRICKLED:
        head, rest = _at(rest, Where(point="bytes", n=fault.trickle_bytes), portion)
        tiny += head
    return tiny, rest


def _at(portions: list[T], where: Where, portion: Portion[T]) -> tuple[list[T], list[T]]:
    if where.is_before_sound:
        return [], portions
    if where.point in ("end", "after"):
        return portions, []
    if where.point == "events":
        return portions[: where.n], portions[where.n :]
    return _after_bytes(portions, where.n, portion)


def _after_bytes(portions: list[T], n: int, portion: Portion[T]) -> tuple[list[T], list[T]]:
    before: list[T] = []
    for i, one in enumerate(portions):
        data = portion.data(one)
        if n < len(data):
            head, tail = data[:n], data[n:]
            if head:
                before.append(portion.with_data(one, head))
            return before, [portion.with_data(one, tail), *portions[i + 1 :]]
        before.append(one)
        n -= len(data)
    return before, []


def _audible(portions: Sequence[T], portion: Portion[T]) -> list[int]:
    """Where the portions with audio are: others carry word times alone."""
    return [i for i, one in enumerate(portions) if portion.data(one)]


def _in_two(portions: Sequence[T], portion: Portion[T]) -> list[T]:
    """The portions, at least two of them if there is audio for two."""
    places = _audible(portions, portion)
    if len(places) != 1:
        return list(portions)
    place = places[0]
    n_samples = len(portion.data(portions[place])) // BYTES_PER_SAMPLE
    if n_samples < 2:
        return list(portions)
    where = Where(point="bytes", n=n_samples // 2 * BYTES_PER_SAMPLE)
    head, tail = _at(list(portions[place:]), where, portion)
    return [*portions[:place], *head, *tail]


def _changed(
    portions: Sequence[T], change: Change, *, n_before: int, portion: Portion[T]
) -> list[T]:
    """The portions with their joint audio changed; it may become shorter."""
    audio = b"".join(portion.data(one) for one in portions)
    is_wav = not n_before and audio.startswith(b"RIFF")
    n_kept = WAV_HEADER_BYTES if is_wav else n_before % BYTES_PER_SAMPLE
    audio = audio[:n_kept] + change(audio[n_kept:])
    changed: list[T] = []
    for one in portions:
        size = len(portion.data(one))
        if audio or not size:
            changed.append(portion.with_data(one, audio[:size]))
        audio = audio[size:]
    return changed


def _at_half_rate(pcm: bytes) -> bytes:
    samples = memoryview(pcm[: len(pcm) // BYTES_PER_SAMPLE * BYTES_PER_SAMPLE]).cast("h")
    return samples[::2].tobytes()


def _silent(pcm: bytes) -> bytes:
    return bytes(len(pcm))


_CHANGES: Mapping[FaultKind, Change] = {
    FaultKind.WRONG_RATE: _at_half_rate,
    FaultKind.ZEROS: _silent,
}
