"""The clock that jumps: what it waits for, and what it says when nothing will ever happen."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from functools import partial

import anyio
import pytest
from anyio import CapacityLimiter, from_thread, to_thread

from junetts.testing import VIRTUAL_TIME, StuckError, VirtualTimeLoop, virtual_time

WORK_S = 0.05  # real seconds in which a thread does something


def work() -> str:
    """Keep a thread busy for a while of real time."""
    time.sleep(WORK_S)
    return "done"


def run_patiently(main: asyncio.Future[object] | object, **settings: float) -> object:
    """Run a coroutine on a loop with settings that `run` does not have."""
    with asyncio.Runner(loop_factory=partial(VirtualTimeLoop, **settings)) as runner:
        return runner.run(main)  # type: ignore[arg-type]


def test_an_hour_passes_at_once_and_in_order() -> None:
    """Timers run when they are due by the loop's clock, which costs less time than a test may."""

    async def main() -> list[tuple[str, float]]:
        loop, rang = asyncio.get_running_loop(), list[tuple[str, float]]()

        async def ring(name: str, after_s: float) -> None:
            await asyncio.sleep(after_s)
            rang.append((name, loop.time()))

        await asyncio.gather(ring("late", 3600.0), ring("soon", 1.0), ring("later", 3600.5))
        return rang

    rang = virtual_time.run(main(), limit_s=4000.0)
    assert rang == [("soon", 1.0), ("late", 3600.0), ("later", 3600.5)]


def test_what_it_runs_gives_and_raises() -> None:
    """The coroutine's result is given, and its error raised."""

    async def fails() -> None:
        await asyncio.sleep(1)
        raise KeyError("lost")

    assert virtual_time.run(asyncio.sleep(1, "slept"), limit_s=2.0) == "slept"
    with pytest.raises(KeyError, match="lost"):
        virtual_time.run(fails(), limit_s=2.0)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back whatever comes."""
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


def test_a_socket_of_the_same_loop_is_quicker_than_any_deadline() -> None:
    """Bytes that are under way are dealt with before the clock jumps to a deadline."""

    async def main() -> int:
        n_bytes = 0
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for _ in range(50):
                async with asyncio.timeout(0.001):
                    writer.write(b"x" * 10_000)
                    n_bytes += len(await reader.readexactly(10_000))
            writer.close()
            await writer.wait_closed()
        assert asyncio.get_running_loop().time() == 0
        return n_bytes

    assert virtual_time.run(main(), limit_s=1.0) == 500_000


def test_a_silent_socket_does_not_keep_the_clock() -> None:
    """A deadline passes over a connection on which nothing comes."""

    async def main() -> float:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(30):
                    await reader.read(1)
            writer.close()
            await writer.wait_closed()
        return asyncio.get_running_loop().time()

    assert virtual_time.run(main(), limit_s=31.0) == pytest.approx(30)


def test_sockets_are_given_time_to_settle() -> None:
    """What a peer in another thread answers within the settling time comes before a deadline."""

    async def main() -> bytes:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            address = server.sockets[0].getsockname()
            reader, writer = await asyncio.open_connection(*address)
            loop = asyncio.get_running_loop()
            threading.Timer(
                WORK_S, lambda: loop.call_soon_threadsafe(writer.write, b"late")
            ).start()
            async with asyncio.timeout(1):
                received = await reader.read(4)
            writer.close()
            await writer.wait_closed()
        return received

    assert virtual_time.run(main(), limit_s=2.0, settle_s=1.0) == b"late"


@pytest.mark.parametrize(
    "start",
    [
        lambda: asyncio.to_thread(work),
        lambda: asyncio.get_running_loop().run_in_executor(None, work),
        lambda: to_thread.run_sync(work),
        lambda: to_thread.run_sync(work, abandon_on_cancel=True, limiter=CapacityLimiter(1)),
    ],
    ids=["asyncio.to_thread", "executor", "anyio", "anyio with a limiter"],
)
def test_the_clock_stands_still_while_a_thread_works(start: object) -> None:
    """A deadline does not pass over work in a thread, however it was started."""

    async def main() -> float:
        for _ in range(2):  # the second time in a thread that had been idle
            async with asyncio.timeout(0.001):
                assert await start() == "done"  # type: ignore[operator]
        return asyncio.get_running_loop().time()

    assert virtual_time.run(main(), limit_s=1.0) == 0


def test_an_idle_thread_does_not_keep_the_clock() -> None:
    """Once its work is done, a pooled thread is nothing to wait for."""

    async def main() -> None:
        await to_thread.run_sync(work)
        await asyncio.to_thread(work)
        await asyncio.sleep(100)

    run_patiently(main(), thread_patience_s=60.0)


def test_a_thread_that_waits_for_the_clock_is_given_up() -> None:
    """After some patience the clock goes on without a thread that gives no sign."""

    async def main() -> float:
        def waits() -> None:
            from_thread.run(anyio.sleep, 100)

        await to_thread.run_sync(waits)
        return asyncio.get_running_loop().time()

    assert run_patiently(main(), thread_patience_s=0.02) == pytest.approx(100)


def test_a_thread_is_given_up_but_once() -> None:
    """The patience is not spent again at each jump, which would take longer than a test may."""
    release = threading.Event()

    async def main() -> None:
        with anyio.move_on_after(1):
            await to_thread.run_sync(release.wait, abandon_on_cancel=True)
        for _ in range(200):
            await asyncio.sleep(1)
        release.set()

    run_patiently(main(), thread_patience_s=0.2)


def test_a_thread_that_was_given_up_is_waited_for_again() -> None:
    """What a pooled thread does later is other work."""
    release = threading.Event()

    async def main() -> float:
        with anyio.move_on_after(1):
            await to_thread.run_sync(release.wait, abandon_on_cancel=True)
        release.set()
        await asyncio.to_thread(work)  # meanwhile the other thread comes to rest
        with anyio.fail_after(0.001):
            await to_thread.run_sync(work)
        return asyncio.get_running_loop().time()

    assert run_patiently(main(), thread_patience_s=0.2) == 1


def test_a_thread_of_ones_own_can_hold_the_clock() -> None:
    """What the loop cannot see, a test can tell it."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        done = asyncio.Event()

        def own() -> None:
            work()
            loop.call_soon_threadsafe(done.set)

        with loop.held():
            threading.Thread(target=own).start()
            async with asyncio.timeout(0.001):
                await done.wait()
        held_until = loop.time()
        await asyncio.sleep(1)  # the hold is over
        return held_until

    assert run_patiently(main(), thread_patience_s=60.0) == 0


def test_another_loops_threads_do_not_hold_the_clock() -> None:
    """What works for someone else is nothing to wait for."""
    release, has_begun = threading.Event(), threading.Event()

    def works() -> None:
        has_begun.set()
        release.wait()

    with from_thread.start_blocking_portal() as portal:
        portal.start_task_soon(to_thread.run_sync, works)
        has_begun.wait()
        run_patiently(asyncio.sleep(1), thread_patience_s=60.0)
        release.set()


async def waits_for_ever() -> None:
    """Wait for what nobody will set."""
    await asyncio.Event().wait()


def test_a_hang_says_who_waits_and_where() -> None:
    """With nothing scheduled and no input the run fails, naming tasks and places."""

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(waits_for_ever(), name="the-listener")

    with pytest.raises(StuckError) as stuck:
        virtual_time.run(main(), limit_s=1.0, hang_s=0.05)
    message = str(stuck.value)
    assert message.startswith("nothing is scheduled and no input came for 0.05 s; 2 tasks wait:")
    assert "the-listener: waits_for_ever (test_virtual_time.py:" in message
    assert "> Event.wait (locks.py:" in message


def test_a_hang_lists_only_so_many_tasks() -> None:
    """A message stays readable; a task that has not begun is called that."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(waits_for_ever()) for _ in range(30)]
        await asyncio.wait(tasks)

    with pytest.raises(StuckError, match=r"31 tasks wait:\n(.*\n){20}  and 11 more$"):
        virtual_time.run(main(), limit_s=1.0, hang_s=0.05)


def test_time_beyond_the_limit_is_a_hang_too() -> None:
    """A loop that waits again and again ends; what it holds is cleaned up, in virtual time."""
    cleaned_up: list[float] = []

    async def main() -> None:
        try:
            for _ in itertools.repeat(None):
                await asyncio.sleep(1)
        finally:
            await asyncio.sleep(5)
            cleaned_up.append(asyncio.get_running_loop().time())

    with pytest.raises(StuckError, match="10 s of virtual time are over; 1 tasks wait"):
        virtual_time.run(main(), limit_s=10.0)
    assert cleaned_up == [pytest.approx(15)]


def test_a_deadline_at_the_limit_is_kept() -> None:
    """The limit is the last moment that is reached."""
    virtual_time.run(asyncio.sleep(10), limit_s=10.0)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """As the documentation says."""
    return VIRTUAL_TIME


@pytest.fixture
async def since() -> float:
    """A fixture that takes an hour, in the test's own loop."""
    await anyio.sleep(3600)
    return anyio.current_time()


@pytest.mark.anyio
async def test_anyios_plugin_runs_tests_and_fixtures_in_virtual_time(since: float) -> None:
    """One loop and one clock serve both."""
    with anyio.move_on_after(60):
        await anyio.sleep_forever()
    assert (since, anyio.current_time()) == (3600, 3660)
