"""Calls one after another in a thread: order, callers who leave, the end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from threading import Event, current_thread

import pytest

from junetts import EngineError
from junetts.backends._serial_thread import SerialThread

pytestmark = pytest.mark.anyio


class Gate:
    """A call that says when it has begun, and waits until it is let go."""

    def __init__(self, done: list[str], name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._done = done
        self._name = name
        self.begun = asyncio.Event()
        self.go = Event()

    def __call__(self) -> str:
        """Wait, and give the name."""
        self._loop.call_soon_threadsafe(self.begun.set)
        assert self.go.wait(10)
        self._done.append(self._name)
        return self._name


def noting(done: list[str], name: str) -> Callable[[], str]:
    """A call that is over at once."""

    def call() -> str:
        done.append(name)
        return name

    return call


async def test_calls_are_made_in_order_of_arrival() -> None:
    """Everyone gets the answer to the own call, and no two are made at a time."""
    thread, done = SerialThread("serial"), list[str]()
    gate = Gate(done, "first")
    calls = [thread.call(gate), *(thread.call(noting(done, str(n))) for n in range(3))]
    tasks = [asyncio.ensure_future(call) for call in calls]
    await gate.begun.wait()
    assert done == []
    gate.go.set()
    assert await asyncio.gather(*tasks) == ["first", "0", "1", "2"]
    assert done == ["first", "0", "1", "2"]
    await ended(thread)


async def test_who_leaves_in_the_line_is_not_served() -> None:
    """A call that was given up before its turn is never made."""
    thread, done = SerialThread("serial"), list[str]()
    gate = Gate(done, "first")
    first = asyncio.ensure_future(thread.call(gate))
    leaver = asyncio.ensure_future(thread.call(noting(done, "leaver")))
    last = asyncio.ensure_future(thread.call(noting(done, "last")))
    await gate.begun.wait()
    leaver.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaver
    gate.go.set()
    assert await last == "last"
    assert await first == "first"
    assert done == ["first", "last"]
    await ended(thread)


async def test_who_leaves_during_the_call_is_free_at_once() -> None:
    """The caller does not wait, but the next call does until the one in hand is over."""
    thread, done = SerialThread("serial"), list[str]()
    gate = Gate(done, "first")
    first = asyncio.ensure_future(thread.call(gate))
    await gate.begun.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert done == []
    next_one = asyncio.ensure_future(thread.call(noting(done, "next")))
    gate.go.set()
    assert await next_one == "next"
    assert done == ["first", "next"]
    await ended(thread)


async def test_a_failure_is_the_callers_own() -> None:
    """What a call raises is raised to its caller, and the next call is made all the same."""
    thread, done = SerialThread("serial"), list[str]()
    with pytest.raises(ZeroDivisionError):
        await thread.call(lambda: 1 // 0)
    assert await thread.call(noting(done, "next")) == "next"
    await ended(thread)


async def test_after_closing_no_call_is_made() -> None:
    """Those in the line and those who come later are refused; the one in hand is finished."""
    thread, done = SerialThread("serial"), list[str]()
    gate = Gate(done, "first")
    first = asyncio.ensure_future(thread.call(gate))
    waiting = asyncio.ensure_future(thread.call(noting(done, "waiting")))
    await gate.begun.wait()
    running = thread.close()
    gate.go.set()
    assert await first == "first"
    for refused in (waiting, thread.call(noting(done, "late"))):
        with pytest.raises(EngineError, match="closed"):
            await refused
    assert done == ["first"]
    assert running is not None
    running.join(10)
    assert not running.is_alive()


async def test_the_thread_is_its_own() -> None:
    """Calls are made in one thread of that name, which does not keep the process alive."""
    thread = SerialThread("serial")
    assert thread.close() is None
    thread = SerialThread("serial")
    first, second = await thread.call(current_thread), await thread.call(current_thread)
    assert first is second
    assert (first.name, first.daemon) == ("serial", True)
    await ended(thread)


EXITING = """
import asyncio
from junetts.backends._serial_thread import SerialThread

async def main():
    thread, begun = SerialThread("serial"), asyncio.Event()
    loop = asyncio.get_running_loop()
    def compute():
        loop.call_soon_threadsafe(begun.set)
        while not thread.is_closed:
            pass
        print("ended")
    call = asyncio.ensure_future(thread.call(compute))
    await begun.wait()

asyncio.run(main())
"""


def test_the_interpreter_waits_for_the_call_in_hand() -> None:
    """A thread that came back later, from a library in C++, would take the process down."""
    result = subprocess.run([sys.executable, "-c", EXITING], capture_output=True, check=False)
    assert (result.returncode, result.stdout.split(), result.stderr) == (0, [b"ended"], b"")


async def ended(thread: SerialThread) -> None:
    """Close it, and see it end."""
    running = thread.close()
    assert running is not None
    await asyncio.to_thread(running.join, 10)
    assert not running.is_alive()
