"""Leaving early: nothing more is sent, nothing is left, wherever we were."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from junetts._utterance import ReferenceClip, Segment, Utterance, Voice
from junetts.testing import CloudServer, CloudSession, Knock, PeerLeftError

pytestmark = pytest.mark.anyio


async def sentences(n_segments: int) -> AsyncIterator[Segment]:
    """Many sentences, all there."""
    for index in range(n_segments):
        yield Segment(index=index, text=f"Sentence {index}.")


def blaring(text: str, request: object) -> bytes:
    """Far more audio than any queue or socket holds."""
    return b"\x01" * 64_000_000


async def test_barge_in(cloud) -> None:
    """Leaving the loop closes both sockets in that tick, and no more text is sent."""
    async with cloud(CloudServer(audio=blaring)) as c:
        async with c.backend.speak(Utterance(), sentences(100)) as audio:
            async for item in audio:
                assert item.data
                await c.server.until(lambda: len(c.server.requests) == 2)
                break
        await c.server.until(lambda: c.server.n_open == 0)
        assert [r.text for r in c.server.requests] == ["Sentence 0.", "Sentence 1."]
        assert c.backend._pool.n_idle == 0


async def test_listener_that_raises(cloud) -> None:
    """The listener's own exception comes out as it is."""
    async with cloud(CloudServer(audio=blaring)) as c:

        async def listen() -> None:
            async with c.backend.speak(Utterance(), sentences(3)) as audio:
                await anext(audio)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await listen()
        await c.server.until(lambda: c.server.n_open == 0)


async def test_slow_listener(cloud) -> None:
    """A listener who does not read holds the server back instead of filling memory."""
    sent = 0

    async def script(session: CloudSession) -> None:
        nonlocal sent
        await session.receive_request()
        while True:
            await session.send_audio(b"\x01" * 65_536)
            sent += 1

    async with (
        cloud(CloudServer(script=script)) as c,
        c.backend.speak(Utterance(), sentences(1)) as audio,
    ):
        await anext(audio)
        before = -1
        while before < sent:  # until the server makes no progress any more
            before = sent
            for _ in range(50):
                await asyncio.sleep(0)
        assert sent < 1000


async def test_closing_the_backend_in_the_middle(cloud) -> None:
    """`aclose` ends what is being spoken, may be called twice, and nothing can be begun after."""
    async with cloud(CloudServer(audio=blaring)) as c:
        async with c.backend.speak(Utterance(), sentences(2)) as audio:
            await anext(audio)
            await c.backend.aclose()
            await c.backend.aclose()
            await c.server.until(lambda: c.server.n_open == 0)
        with pytest.raises(RuntimeError, match="is closed"):
            await c.speak("Hello.")


async def cancel_when(task: asyncio.Task[object], condition) -> None:
    """Cancel a task once a condition holds; it must end as cancelled."""
    await condition
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_while_dialling(cloud) -> None:
    """Cancelled in the handshake, before anything was sent."""
    knocked = asyncio.Event()

    async def doorman(knock: Knock) -> None:
        knocked.set()
        await asyncio.Event().wait()

    async with cloud(CloudServer(doorman=doorman)) as c:
        await cancel_when(asyncio.create_task(c.speak("Hi.")), knocked.wait())


async def test_cancelled_while_waiting_for_text(cloud) -> None:
    """Cancelled with a socket open and nothing to say: the socket goes back to the pool."""
    asked = asyncio.Event()

    async def endless() -> AsyncIterator[Segment]:
        asked.set()
        await asyncio.Event().wait()
        yield Segment(index=0, text="never")

    async def listen(backend) -> None:
        async with backend.speak(Utterance(), endless()) as audio:
            await anext(audio)

    async with cloud() as c:
        await cancel_when(asyncio.create_task(listen(c.backend)), asked.wait())
        await c.speak("Hi.")
        assert c.server.n_connections == 1


async def test_cancelled_while_waiting_for_audio(cloud) -> None:
    """Cancelled between `stop` and the first audio."""

    async def script(session: CloudSession) -> None:
        await session.receive_request()
        await session.receive()

    async with cloud(CloudServer(script=script)) as c:
        stopped = c.server.until(lambda: sum(r.is_stopped for r in c.server.requests) == 2)
        await cancel_when(asyncio.create_task(c.speak("One.", "Two.", "Three.")), stopped)
        await c.server.until(lambda: c.server.n_open == 0)


async def test_cancelled_while_sending(cloud) -> None:
    """Cancelled with megabytes unsent to a server that does not read."""
    accepted = asyncio.Event()

    async def script(session: CloudSession) -> None:
        accepted.set()
        await session.send_audio(b"")
        await gate.wait()
        with pytest.raises(PeerLeftError):
            await session.receive()

    gate = asyncio.Event()
    voice = Voice(clips=(ReferenceClip(audio=b"?" * 30_000_000, text="t"),))
    async with cloud(CloudServer(script=script)) as c:
        speaking = asyncio.create_task(c.speak("Hi.", utterance=Utterance(voice=voice)))
        await cancel_when(speaking, accepted.wait())
        gate.set()
        assert c.server.requests == []


async def test_cancelled_while_dialling_anew(cloud) -> None:
    """Cancelled in the middle of replacing a socket that the server had given up."""
    knocked = asyncio.Event()
    leave = asyncio.Event()

    async def doorman(knock: Knock) -> None:
        if c.server.n_connections:
            knocked.set()
            await asyncio.Event().wait()

    async def script(session: CloudSession) -> None:
        await leave.wait()
        session.abort()

    async with cloud(CloudServer(script=script, doorman=doorman)) as c:
        await c.backend.warmup()
        speaking = asyncio.create_task(c.speak("Hi."))
        await asyncio.sleep(0)
        leave.set()
        await cancel_when(speaking, knocked.wait())


@pytest.mark.parametrize("ticks", range(1, 60))
async def test_cancelled_at_any_tick(cloud, ticks: int) -> None:
    """Cancelled after any number of the event loop's rounds, nothing is left behind."""
    async with cloud(CloudServer(frame_bytes=20_000)) as c:
        speaking = asyncio.create_task(c.speak("One, two, three.", "Four.", "Five."))
        for _ in range(ticks):
            await asyncio.sleep(0)
        speaking.cancel()
        await asyncio.wait([speaking])
        assert (await c.speak("Hello."))[-1].end == "complete"
