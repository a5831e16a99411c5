"""Thousands of utterances, many of them left early, leave the process as it was."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import psutil
import pytest

from junetts import TTS
from junetts.testing import CloudServer, FishServer

N_UTTERANCES = int(os.environ.get("LEAK_UTTERANCES", "2000"))
N_LOCAL = N_UTTERANCES // 4  # each is a computation
N_WARMUP = 200
N_AT_ONCE = 8
MEGABYTE = 1 << 20
MAX_GROWTH = 4 * MEGABYTE  # of resident memory, whose grain is coarse
Setting = tuple[dict[str, object], Callable[[], None]]  # and how the server forgets its records
Backend = Callable[[], AbstractAsyncContextManager[Setting]]
ENDINGS = {"cloud": "complete", "server": "complete", "local": "truncated", "demo": "complete"}
CHECKPOINT = Path(__file__).parents[1] / "data" / "s1-tiny"
TEXT = "Hello from June. This is a second sentence."

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900)]


async def finish(tts: TTS) -> None:
    """Hear everything."""
    stream = tts.stream(TEXT)
    async for chunk in stream:
        assert chunk.pcm
    assert stream.report.outcome == ENDINGS[stream.report.backend]


async def break_off(tts: TTS) -> None:
    """Leave after the first chunk."""
    async for chunk in tts.stream(TEXT):
        assert chunk.pcm
        break


async def be_cancelled(tts: TTS) -> None:
    """Be cancelled while waiting for a chunk or between two."""
    heard = asyncio.Event()

    async def listen() -> None:
        async for _ in tts.stream(TEXT):
            heard.set()

    task = asyncio.create_task(listen())
    waiting = asyncio.create_task(heard.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    task.cancel()
    waiting.cancel()
    await asyncio.wait({task, waiting})


async def speak_often(tts: TTS, n_utterances: int, forget: Callable[[], None]) -> None:
    """A third heard, a third left by `break`, a third cancelled; several at once."""
    ways = (finish, break_off, be_cancelled)
    limit = asyncio.Semaphore(N_AT_ONCE)

    async def one(number: int) -> None:
        async with limit:
            await ways[number % len(ways)](tts)

    for start in range(0, n_utterances, 100):
        numbers = range(start, min(start + 100, n_utterances))
        await asyncio.gather(*(one(number) for number in numbers))
        forget()


def footprint() -> dict[str, int]:
    """What a leak would make grow, memory apart."""
    process = psutil.Process()
    for thread in threading.enumerate():
        if thread.name.startswith("waitpid"):  # asyncio's, about to end: its child was reaped
            thread.join()
    return {
        "file descriptors": process.num_fds(),
        "threads": threading.active_count(),
        "children": len(process.children(recursive=True)),
    }


def memory() -> int:
    """Resident bytes, without what the C library's allocator merely keeps for later."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return int(psutil.Process().memory_info().rss)


@asynccontextmanager
async def cloud() -> AsyncIterator[Setting]:
    """Settings for a loopback cloud."""
    async with CloudServer(keys={"k"}) as server:
        cloud = {"url": server.url, "api_keys": ["k"]}
        yield {"backends": ["cloud"], "cloud": cloud}, server.requests.clear


@asynccontextmanager
async def server() -> AsyncIterator[Setting]:
    """Settings for a loopback fish-speech server."""
    async with FishServer() as running:
        yield {"backends": ["server"], "server": {"url": running.url}}, running.calls.clear


@asynccontextmanager
async def local() -> AsyncIterator[Setting]:
    """Settings for the model in this process, whose tiny checkpoint never comes to an end."""
    section = {"checkpoint": str(CHECKPOINT), "voice_cache": "", "max_new_tokens": 6}
    yield {"backends": ["local"], "local": section}, lambda: None


@asynccontextmanager
async def demo() -> AsyncIterator[Setting]:
    """Settings for the demo voice."""
    yield {"backends": ["demo"]}, lambda: None


async def live(backend: Backend, n_utterances: int) -> int:
    """One client's whole life; returns by how many bytes memory grew after the warm-up.

    An allocator may take one step, at whatever time; a leak goes on. So what has grown too much
    is looked at a second time, from there.
    """
    async with backend() as (config, forget), TTS(config) as tts:
        await speak_often(tts, N_WARMUP, forget)
        grown = await growth(tts, n_utterances, forget)
        return grown if grown < MAX_GROWTH else await growth(tts, n_utterances, forget)


async def growth(tts: TTS, n_utterances: int, forget: Callable[[], None]) -> int:
    """By how many bytes memory grows while so much is spoken."""
    before = memory()
    await speak_often(tts, n_utterances, forget)
    return memory() - before


@pytest.mark.parametrize(
    ("backend", "n_utterances"),
    [(cloud, N_UTTERANCES), (server, N_UTTERANCES), (local, N_LOCAL), (demo, N_UTTERANCES)],
    ids=["cloud", "server", "local", "demo"],
)
async def test_utterances_leave_nothing_behind(backend: Backend, n_utterances: int) -> None:
    """Descriptors, tasks, threads, children and memory are back where they were."""
    await live(backend, 0)
    before, tasks_before = footprint(), asyncio.all_tasks()
    grown = await live(backend, n_utterances)
    print(  # noqa: T201
        f"\n{n_utterances} utterances: memory {grown / MEGABYTE:+.1f} MiB, {footprint()}"
    )
    assert asyncio.all_tasks() == tasks_before
    assert footprint() == before
    assert grown < MAX_GROWTH
