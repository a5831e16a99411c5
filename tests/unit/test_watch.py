"""When time counts against a backend: while it owes audio, or leaves text lying."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from junetts._errors import BackendTimeoutError, BackendUnavailableError
from junetts._utterance import Segment, Utterance
from junetts._watch import Watch
from virtual_time import VIRTUAL_TIME

pytestmark = pytest.mark.anyio

FIRST_AUDIO_S, STALL_S, LONG_S = 3.0, 2.0, 1000.0


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """No test here waits for real time."""
    return VIRTUAL_TIME


async def segments(n: int = 2, *, pause_s: float = 0.0) -> AsyncIterator[Segment]:
    """Text that takes its time."""
    for index in range(n):
        await asyncio.sleep(pause_s)
        yield Segment(index=index, text="Some words.")
    await asyncio.sleep(pause_s)


def watching(n: int = 2, *, pause_s: float = 0.0) -> Watch:
    """A watch over a backend that is handed these segments."""
    utterance = Utterance(first_audio_timeout_s=FIRST_AUDIO_S, stall_timeout_s=STALL_S)
    return Watch(utterance, segments(n, pause_s=pause_s), backend="slow")


async def seconds_allowed(watch: Watch) -> float:
    """How long a step may take that does nothing; `LONG_S` if for ever."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    try:
        await watch.limit(asyncio.sleep(LONG_S))
    except BackendTimeoutError:
        pass
    finally:
        watch.close()
    return loop.time() - began_s


async def finish(watch: Watch) -> None:
    """Take a segment, and finish it."""
    segment = await anext(watch)
    watch.heard = True
    del watch.owed[segment.index]


async def test_before_it_asks_for_text_it_may_have_to_connect() -> None:
    """For that it has as long as for the first sound."""
    assert await seconds_allowed(watching()) == FIRST_AUDIO_S


async def test_the_first_sound_and_the_next() -> None:
    """Each has its time, once there is text."""
    watch = watching()
    await anext(watch)
    assert await seconds_allowed(watch) == FIRST_AUDIO_S
    watch = watching()
    await anext(watch)
    watch.heard = True
    assert await seconds_allowed(watch) == STALL_S


async def test_between_segments_it_must_take_the_next() -> None:
    """One that has finished what it was given, and asks for no more, hangs."""
    watch = watching()
    await finish(watch)
    assert await seconds_allowed(watch) == STALL_S


async def test_after_the_last_segment_it_must_end() -> None:
    """It was told that there is no more text."""
    watch = watching(1)
    await finish(watch)
    with pytest.raises(StopAsyncIteration):
        await anext(watch)
    assert await seconds_allowed(watch) == STALL_S


@pytest.mark.parametrize("n", [0, 1, 2])
async def test_waiting_for_text_does_not_count(n: int) -> None:
    """However long it takes to come, or not to come."""

    async def take_all() -> None:
        for _ in range(n):
            await finish(watch)
        with pytest.raises(StopAsyncIteration):
            await anext(watch)

    watch = watching(n, pause_s=LONG_S)
    await watch.limit(take_all())
    watch.close()


async def test_asking_late_is_asking_in_time() -> None:
    """Another task may take the text while a step is waited for."""

    async def ask_later() -> None:
        await asyncio.sleep(STALL_S / 2)
        await anext(watch)

    watch = watching(2, pause_s=10.0)
    await finish(watch)
    asker = asyncio.create_task(ask_later())
    assert await seconds_allowed(watch) == STALL_S / 2 + 10.0 + STALL_S
    await asker


async def test_without_any_text_it_must_end() -> None:
    """No sound is due then, so that the end is no first sound."""
    watch = watching(0)
    with pytest.raises(StopAsyncIteration):
        await anext(watch)
    assert await seconds_allowed(watch) == STALL_S


async def test_asking_for_more_does_not_stop_the_clock() -> None:
    """Who owes sound owes it, whatever else it waits for."""
    watch = watching(2, pause_s=10.0)
    await anext(watch)
    with pytest.raises(BackendTimeoutError, match="no sound came for 3 s"):
        await watch.limit(anext(watch))
    watch.close()
    watch = watching(2, pause_s=10.0)
    await anext(watch)
    watch.heard = True
    asker = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    assert await seconds_allowed(watch) == STALL_S
    await asker


async def test_taking_more_does_not_restart_the_clock() -> None:
    """Neither before the first sound nor after it."""

    async def take_and_hang(watch: Watch) -> None:
        await asyncio.sleep(1.0)
        await anext(watch)
        await asyncio.sleep(LONG_S)

    loop = asyncio.get_running_loop()
    for heard, allowed_s in ((False, FIRST_AUDIO_S), (True, STALL_S)):
        watch = watching(2)
        await anext(watch)
        watch.heard = heard
        began_s = loop.time()
        with pytest.raises(BackendTimeoutError):
            await watch.limit(take_and_hang(watch))
        watch.close()
        assert loop.time() - began_s == allowed_s
    watch = watching(2)
    await anext(watch)
    await asyncio.sleep(1.0)
    await anext(watch)
    assert await seconds_allowed(watch) == FIRST_AUDIO_S - 1.0


async def test_when_the_text_has_ended_it_must_come_to_an_end() -> None:
    """From the moment that it is told, in the middle of a step."""

    async def take_all_and_hang() -> None:
        with pytest.raises(StopAsyncIteration):
            await anext(watch)
        await asyncio.sleep(LONG_S)

    watch = watching(0, pause_s=10.0)
    began_s = asyncio.get_running_loop().time()
    with pytest.raises(BackendTimeoutError):
        await watch.limit(take_all_and_hang())
    watch.close()
    assert asyncio.get_running_loop().time() - began_s == 10.0 + STALL_S


async def test_who_has_paid_its_debt_may_wait_for_text() -> None:
    """Even if it asked while it owed something, and had a deadline."""
    watch = watching(2, pause_s=10.0)
    segment = await anext(watch)
    watch.heard = True
    asker = asyncio.ensure_future(anext(watch))
    await watch.limit(asyncio.sleep(1.0))
    del watch.owed[segment.index]
    await watch.limit(asyncio.sleep(5.0))
    watch.close()
    await asker


@pytest.mark.parametrize("pause_s", [0.0, 10.0])
async def test_each_step_has_its_own_deadline(pause_s: float) -> None:
    """It is no later for an earlier one that was kept, nor for a pause, which has none."""
    complaints: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    watch = watching()
    await anext(watch)
    watch.heard = True
    await watch.limit(asyncio.sleep(1.5))
    await asyncio.sleep(pause_s)
    assert await seconds_allowed(watch) == STALL_S
    watch = watching(2, pause_s=10.0)
    await watch.limit(anext(watch))
    watch.close()
    assert not complaints


async def test_one_that_was_cancelled_before_can_still_be_late() -> None:
    """The last thing that a task does may be a step, too."""

    async def last_step() -> float:
        try:
            await asyncio.sleep(LONG_S)
        except asyncio.CancelledError:
            return await seconds_allowed(watching())
        raise AssertionError

    task = asyncio.create_task(last_step())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == FIRST_AUDIO_S


async def test_what_cancels_itself_has_failed_for_good() -> None:
    """Nobody cancelled the one who waits, so that it is no barge-in."""
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    gone.cancel()
    watch = watching()
    with pytest.raises(BackendUnavailableError, match="cancelled itself") as raised:
        await watch.limit(gone)
    watch.close()
    assert not raised.value.retryable
