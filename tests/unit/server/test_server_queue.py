"""Several utterances take turns at a server that does one thing at a time."""

from __future__ import annotations

import asyncio

import pytest

from junetts._errors import BackendBusyError
from junetts._utterance import Segment, Utterance
from junetts.testing import FishServer, ServerCall


class Gate:
    """Lets answers through one by one."""

    def __init__(self) -> None:
        self.server = FishServer(script=self.answer)
        self._permits = asyncio.Semaphore(0)

    async def answer(self, call: ServerCall) -> None:
        """Answer when let through."""
        if call.path == "/v1/tts":
            await self._permits.acquire()
        await call.answer()

    def open(self, n: int = 100) -> None:
        """Let some through."""
        for _ in range(n):
            self._permits.release()


@pytest.fixture
def gate() -> Gate:
    """A server that waits to be told."""
    return Gate()


async def settle() -> None:
    """Let every task run until it waits for something outside."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.anyio
async def test_one_request_at_a_time(fish) -> None:
    """However many speak, the server hears one after another, and all are heard."""
    async with fish() as it:
        spoken = await asyncio.gather(*(it.speak(f"{n}.", f"{n}, again.") for n in range(10)))
        assert it.server.most_at_once == 1
    assert len(it.server.texts) == 20
    assert all([item.end for item in items].count("complete") == 2 for items in spoken)


@pytest.mark.anyio
async def test_sentences_of_several_speakers_alternate(fish, gate) -> None:
    """First come, first served: nobody speaks twice while another waits."""
    async with fish(gate.server) as it:
        first = asyncio.create_task(it.speak("A1.", "A2.", "A3."))
        await it.server.until(lambda: it.server.texts == ["A1."])
        second = asyncio.create_task(it.speak("B1.", "B2."))
        await settle()
        gate.open()
        await asyncio.gather(first, second)
    assert it.server.texts == ["A1.", "B1.", "A2.", "B2.", "A3."]


@pytest.mark.anyio
@pytest.mark.parametrize("limit", [0, 1, 3])
async def test_a_full_line_turns_newcomers_away_at_once(fish, gate, limit) -> None:
    """They hear how long the line is, and can go elsewhere."""
    async with fish(gate.server, queue_limit=limit) as it:
        admitted = [asyncio.create_task(it.speak("Hi.")) for _ in range(limit + 1)]
        await it.server.until(lambda: bool(it.server.calls))
        await settle()
        with pytest.raises(BackendBusyError, match=f"{limit} already wait") as caught:
            await it.speak("Me too.")
        gate.open()
        assert all(await asyncio.gather(*admitted))
    assert caught.value.retryable
    assert "queue_limit" in (caught.value.hint or "")


@pytest.mark.anyio
async def test_who_has_begun_is_never_turned_away(fish, gate) -> None:
    """A second sentence joins the line, full or not."""
    async with fish(gate.server, queue_limit=1) as it:
        first = asyncio.create_task(it.speak("A1.", "A2."))
        await it.server.until(lambda: bool(it.server.calls))
        second = asyncio.create_task(it.speak("B1.", "B2."))
        await settle()
        gate.open()
        await asyncio.gather(first, second)
    assert it.server.texts == ["A1.", "B1.", "A2.", "B2."]


@pytest.mark.anyio
async def test_waiting_too_long_for_a_turn_is_busy(fish, gate) -> None:
    """The reason is told a moment before the deadline for the first sound."""
    async with fish(gate.server) as it:
        first = asyncio.create_task(it.speak("A."))
        await it.server.until(lambda: bool(it.server.calls))
        with pytest.raises(BackendBusyError, match=r"no turn within 0.05 s.*and 1 came before"):
            await it.speak("B.", first_audio_timeout_s=0.05)
        gate.open()
        await first
        assert await it.speak("C.")


@pytest.mark.anyio
async def test_a_pause_in_the_text_leaves_the_server_to_others(fish) -> None:
    """Who has nothing to say yet holds no turn."""
    more = asyncio.Event()

    async def trickle():
        yield Segment(index=0, text="A1.")
        await more.wait()
        yield Segment(index=1, text="A2.")

    async def listen() -> None:
        async with it.backend.speak(Utterance(), trickle()) as audio:
            async for _ in audio:
                pass

    async with fish() as it:
        first = asyncio.create_task(listen())
        await it.server.until(lambda: bool(it.server.calls))
        await it.speak("B.")
        more.set()
        await first
    assert it.server.texts == ["A1.", "B.", "A2."]


@pytest.mark.anyio
async def test_leaving_the_line_makes_room(fish, gate) -> None:
    """Who is cancelled while waiting neither speaks nor blocks."""
    async with fish(gate.server) as it:
        first = asyncio.create_task(it.speak("A."))
        await it.server.until(lambda: bool(it.server.calls))
        second, third = (asyncio.create_task(it.speak(text)) for text in ("B.", "C."))
        await settle()
        second.cancel()
        await asyncio.wait([second])
        gate.open()
        await asyncio.gather(first, third)
    assert second.cancelled()
    assert it.server.texts == ["A.", "C."]
