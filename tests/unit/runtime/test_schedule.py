"""How many frames make a chunk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from junetts._runtime.schedule import ChunkSchedule

FRAME_S = 2048 / 44_100


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def chunks(
    n_frames: int, *, seconds_per_frame: float, max_frames: int = 16, clock: Clock | None = None
) -> list[int]:
    """The chunks in which so many frames go out, made at a steady speed."""
    clock = clock or Clock()
    schedule = ChunkSchedule(frame_s=FRAME_S, max_frames=max_frames, clock=clock)
    sizes, n_waiting = [], 0
    for _ in range(n_frames):
        clock.now += seconds_per_frame
        schedule.made()
        n_waiting += 1
        if schedule.is_due(n_waiting):
            schedule.handed_out(n_waiting)
            sizes.append(n_waiting)
            n_waiting = 0
    return sizes


def test_a_fast_engine_doubles() -> None:
    """Chunks grow to the longest one, and stay there."""
    assert chunks(64, seconds_per_frame=FRAME_S / 50) == [1, 2, 4, 8, 16, 16, 16]


def test_the_longest_chunk_can_be_set() -> None:
    """No chunk is longer than asked for."""
    assert chunks(20, seconds_per_frame=FRAME_S / 50, max_frames=4) == [1, 2, 4, 4, 4, 4]


def test_an_engine_slower_than_speech_saves_work_where_it_can() -> None:
    """The listener waits in any case; the first sound comes as early, the last one earlier."""
    assert chunks(15, seconds_per_frame=FRAME_S * 1.2) == [1, 2, 4, 4, 4]
    assert chunks(5, seconds_per_frame=FRAME_S * 1.2, max_frames=2) == [1, 2, 2]


def test_an_engine_hardly_faster_than_speech_grows_late() -> None:
    """A chunk may only use up half of what the listener still has."""
    sizes = chunks(400, seconds_per_frame=FRAME_S * 0.8)
    assert sizes[:4] == [1, 1, 1, 1]
    assert max(sizes) > 1


@given(
    speed=st.floats(0.01, 0.98),
    n_frames=st.integers(1, 300),
    max_frames=st.sampled_from([1, 3, 16, 64]),
)
def test_the_listener_never_runs_dry_and_chunks_never_more_than_double(
    speed: float, n_frames: int, max_frames: int
) -> None:
    """At any steady speed above that of speech, each chunk comes before the last one is over."""
    clock = Clock()
    schedule = ChunkSchedule(frame_s=FRAME_S, max_frames=max_frames, clock=clock)
    n_waiting, last, heard_until = 0, 0, None
    for _ in range(n_frames):
        clock.now += FRAME_S * speed
        schedule.made()
        n_waiting += 1
        if schedule.is_due(n_waiting):
            schedule.handed_out(n_waiting)
            if heard_until is None:
                heard_until = clock.now
                assert n_waiting == 1
            else:
                assert n_waiting <= 2 * last
                assert clock.now <= heard_until + 1e-9
            assert n_waiting <= max_frames
            heard_until += n_waiting * FRAME_S
            n_waiting, last = 0, n_waiting


def test_pauses_do_not_count_as_slowness() -> None:
    """An hour in which nothing was to be made says nothing about speed."""
    clock = Clock()
    schedule = ChunkSchedule(frame_s=FRAME_S, clock=clock)
    sizes, n_waiting = [], 0
    for index in range(40):
        if index == 20:
            schedule.pause()
            clock.now += 3600
        clock.now += FRAME_S / 50
        schedule.made()
        n_waiting += 1
        if schedule.is_due(n_waiting):
            schedule.handed_out(n_waiting)
            sizes.append(n_waiting)
            n_waiting = 0
    assert sizes == [1, 2, 4, 8, 6, 12]


def test_after_running_dry_it_holds_back_little() -> None:
    """A listener who waits gets the next frames soon, and the buffer is counted anew."""
    clock = Clock()
    schedule = ChunkSchedule(frame_s=FRAME_S, clock=clock)
    schedule.made()
    schedule.handed_out(1)
    clock.now += 10
    schedule.made()
    assert not schedule.is_due(1)
    assert schedule.is_due(2)
    schedule.handed_out(2)
    clock.now += 0.001
    schedule.made()
    assert schedule.is_due(4)


@pytest.mark.parametrize("n_waiting", [1, 2])
def test_a_clock_that_stands_still_is_no_division_by_zero(n_waiting: int) -> None:
    """Frames that took no time at all may be collected."""
    schedule = ChunkSchedule(frame_s=FRAME_S, clock=lambda: 5.0)
    for _ in range(3):
        schedule.made()
    schedule.handed_out(1)
    schedule.made()
    assert schedule.is_due(n_waiting) == (n_waiting == 2)
