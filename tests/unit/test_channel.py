"""The channel: order, bound, ending, and waiters that are cancelled."""

from __future__ import annotations

import asyncio

import pytest

from fakes import audio, settled
from junetts._channel import AudioChannel
from virtual_time import VIRTUAL_TIME


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """No test here waits for real time."""
    return VIRTUAL_TIME


async def fill(channel: AudioChannel, n_items: int) -> None:
    """Put in items of two bytes."""
    for index in range(n_items):
        await channel.put(audio(index, b"xy"))


@pytest.mark.anyio
async def test_the_producer_waits_while_it_is_full() -> None:
    """No more than the bound, and the item that reaches it, is made ahead."""
    channel = AudioChannel(max_bytes=6)
    task = asyncio.create_task(fill(channel, 10))
    await settled()
    assert not task.done()
    heard = []
    while await channel.wait():
        heard.append(channel.take().segment)
        await settled()
        if task.done():
            channel.close()
    assert heard == list(range(10))


@pytest.mark.anyio
async def test_the_bound_holds_while_items_are_taken() -> None:
    """Each item taken makes room for one."""
    channel = AudioChannel(max_bytes=6)
    task = asyncio.create_task(fill(channel, 10))
    await settled()
    assert len(channel.take_all()) == 3
    await settled()
    assert channel.take().segment == 3
    await settled()
    assert len(channel.take_all()) == 3
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.anyio
async def test_markers_do_not_count() -> None:
    """Items without audio are put and recognised, and take no room."""
    channel = AudioChannel(max_bytes=2)
    assert not channel.next_is_marker()
    for _ in range(5):
        await channel.put(audio(0, end="complete"))
    assert channel.next_is_marker()
    await channel.put(audio(0, b"xy"))
    for _ in range(5):
        channel.take()
    assert channel.has_items
    assert not channel.next_is_marker()


@pytest.mark.anyio
async def test_the_error_comes_after_the_last_item_once() -> None:
    """Items first, then the error, then the end for ever."""
    channel = AudioChannel(max_bytes=100)
    await fill(channel, 2)
    channel.close(KeyError("why"))
    channel.close(ValueError("too late"))
    assert channel.is_closed
    assert not channel.is_exhausted
    assert await channel.wait()
    assert len(channel.take_all()) == 2
    assert not channel.is_exhausted
    with pytest.raises(KeyError):
        await channel.wait()
    assert not await channel.wait()
    assert channel.is_exhausted


@pytest.mark.anyio
async def test_closing_wakes_the_consumer() -> None:
    """A consumer that waits is told of the end."""
    channel = AudioChannel(max_bytes=100)
    task = asyncio.create_task(channel.wait())
    await settled()
    channel.close()
    assert await task is False


@pytest.mark.anyio
async def test_discarding_wakes_both_and_forgets() -> None:
    """After `discard` nothing is delivered, errors included, and nothing is taken in."""
    channel = AudioChannel(max_bytes=2)
    producer = asyncio.create_task(fill(channel, 3))
    await settled()
    channel.close(KeyError("why"))
    channel.discard()
    await producer
    assert not await channel.wait()
    await channel.put(audio(0, b"xy"))
    assert not channel.has_items
    waiting = AudioChannel(max_bytes=2)
    consumer = asyncio.create_task(waiting.wait())
    await settled()
    waiting.discard()
    assert await consumer is False


@pytest.mark.anyio
async def test_a_cancelled_wait_does_not_deafen_the_next() -> None:
    """A wait that is cancelled while another begins takes nothing from it."""
    channel = AudioChannel(max_bytes=100)
    first = asyncio.create_task(channel.wait())
    await settled()
    first.cancel()
    second = asyncio.create_task(channel.wait())
    await settled()
    await fill(channel, 1)
    assert await asyncio.wait_for(second, 1)
    assert first.cancelled()
