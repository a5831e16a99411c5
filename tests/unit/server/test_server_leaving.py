"""Leaving early, wherever that is, closes the connection at once and leaves nothing."""

from __future__ import annotations

import asyncio
import socket

import anyio
import pytest

from junetts._config import ServerSection
from junetts._utterance import ReferenceClip, Segment, Utterance, Voice
from junetts.backends.server import ServerBackend
from junetts.testing import FishServer, ServerCall

PATHS = {"the list of voices": "/v1/references/list", "the head": "/v1/tts"}


class Stall:
    """Stops answering at a stage of the first request for speech; answers later ones."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.is_reached = False
        self.server = FishServer(script=self.script, voices=["june"])

    async def script(self, call: ServerCall) -> None:
        """Get to the stage, and then wait for the client to leave."""
        if self.is_reached or call.path != PATHS.get(self.stage, "/v1/tts"):
            await call.answer()
            return
        self.is_reached = True
        if self.stage in ("audio", "more audio"):
            await call.begin()
        if self.stage == "more audio":
            await call.send(b"abcd")
        await call.until_left()


STAGES = ["the list of voices", "the head", "audio", "more audio"]


@pytest.mark.anyio
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("how", ["cancel", "deadline", "aclose of a task group"])
async def test_cancelled_while_waiting(fish, stage, how) -> None:
    """At each await, by each kind of cancellation; the next one speaks."""
    stall = Stall(stage)

    async def speak() -> None:
        await it.speak("One.", voice=Voice("june"))

    async with fish(stall.server) as it:
        async with anyio.create_task_group() as tasks:
            if how == "cancel":
                task = asyncio.create_task(speak())
                await it.server.until(lambda: stall.is_reached)
                task.cancel()
                await asyncio.wait([task])
                assert task.cancelled()
            elif how == "deadline":
                with anyio.move_on_after(0.05) as scope:
                    await speak()
                assert scope.cancelled_caught
            else:
                tasks.start_soon(speak)
                await it.server.until(lambda: stall.is_reached)
                tasks.cancel_scope.cancel()
        await it.server.until(lambda: it.server.calls[-1].state == "left")
        assert await it.speak("Two.", voice=Voice("june"))


@pytest.mark.anyio
@pytest.mark.parametrize("stage", ["more audio"])
async def test_a_listener_who_leaves(fish, stage) -> None:
    """Barge-in: breaking out of the loop ends the request, and no more text is sent."""
    stall = Stall(stage)
    async with fish(stall.server) as it:
        async with it.listen("One.", "Two.", "Three.") as audio:
            async for _ in audio:
                break
        await it.server.until(lambda: it.server.calls[-1].state == "left")
        assert it.server.texts == ["One."]
        assert await it.speak("Four.")


@pytest.mark.anyio
async def test_a_listener_who_never_listens(fish) -> None:
    """Nothing is sent before someone wants to hear it."""
    async with fish() as it, it.listen("One."):
        pass
    assert it.server.calls == []


@pytest.mark.anyio
async def test_cancelled_while_sending(fish) -> None:
    """A server that does not read its request does not hold the caller."""
    body = Voice(clips=(ReferenceClip(audio=bytes(16 * 2**20), text=""),))
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        backend = ServerBackend(ServerSection(url=url))

        async def segments():
            yield Segment(index=0, text="Hi.")

        async def listen() -> None:
            async with backend.speak(Utterance(voice=body), segments()) as audio:
                await anext(audio)

        with anyio.move_on_after(0.1) as scope:
            await listen()
        assert scope.cancelled_caught
        await backend.aclose()


@pytest.mark.anyio
async def test_cancelled_before_the_work_began(fish) -> None:
    """A task that never ran leaves nothing unclosed."""
    async with fish() as it:
        task = asyncio.create_task(it.speak("One."))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    assert it.server.calls == []


@pytest.mark.anyio
async def test_a_failure_that_nobody_listens_to(fish, caplog) -> None:
    """A request that breaks off behind a listener's back is not complained about later."""

    async def script(call: ServerCall) -> None:
        await call.begin()
        await call.send(b"abcd")
        await call.cut_off()

    async with fish(FishServer(script=script)) as it, it.listen("One.") as audio:
        await anext(audio)
        await it.server.until(lambda: it.server.n_open == 0)
        for _ in range(20):
            await asyncio.sleep(0)
    assert caplog.records == []


@pytest.mark.anyio
async def test_many_leave_and_many_stay(fish) -> None:
    """Of 60 utterances, a third breaks off, a third is cancelled; nothing is left of any."""

    async def listen(n: int) -> None:
        async with it.listen("One.", "Two.") as audio:
            async for _ in audio:
                if n % 3 == 0:
                    break

    async with fish(FishServer(chunk_bytes=512), queue_limit=100) as it:
        tasks = [asyncio.create_task(listen(n)) for n in range(60)]
        for n, task in enumerate(tasks):
            if n % 3 == 1:
                task.cancel()
        await asyncio.wait(tasks)
        assert await it.speak("Three.")
    assert all(task.cancelled() for task in tasks[1::3])
    assert all(task.exception() is None for task in tasks[2::3])


@pytest.mark.anyio
async def test_closing_twice_is_closing_once(fish) -> None:
    """`aclose` may be called again."""
    async with fish() as it:
        await it.backend.aclose()
        await it.backend.aclose()
