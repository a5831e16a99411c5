"""Barge-in as the other side sees it: the cloud, a server, the model in its thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

import junetts
from fakes import settled
from junetts import TTS, Sampling
from junetts._config import CloudSection, ServerSection
from junetts._config_sections import LocalSection
from junetts._runtime import scheduler
from junetts.backends.cloud import CloudBackend
from junetts.backends.local import LocalBackend
from junetts.backends.server import ServerBackend
from junetts.testing import CloudServer, CloudSession, FishServer, PeerLeftError, ServerCall
from leaving import SENTENCES, TEXT, Endless, Way, assert_left, assert_mute, every_way

pytestmark = pytest.mark.anyio

CHECKPOINT = Path(__file__).parents[1] / "data" / "s1-tiny"
SOUND = b"\x01\x02" * 4_000
MAX_ROUNDS = 6  # of the event loop: a task wakes up, one that it owns, the library's; no waiting


@asynccontextmanager
async def cloud(server: CloudServer) -> AsyncIterator[tuple[TTS, CloudBackend]]:
    """A client of a loopback cloud."""
    async with server:
        values = {"url": server.url, "api_keys": ["k"]}
        backend = CloudBackend(CloudSection.model_validate(values))
        async with TTS({"backends": [backend]}) as tts:
            yield tts, backend


@asynccontextmanager
async def fish(server: FishServer) -> AsyncIterator[tuple[TTS, ServerBackend]]:
    """A client of a loopback fish-speech server."""
    async with server:
        backend = ServerBackend(ServerSection.model_validate({"url": server.url}))
        async with TTS({"backends": [backend]}) as tts:
            yield tts, backend


@every_way
async def test_the_clouds_sockets_are_closed_at_once(leave: Way) -> None:
    """After one round of the event loop both are closing; the server gets no more text."""

    async def script(session: CloudSession) -> None:
        await session.receive_request()
        await session.send_audio(SOUND)
        with pytest.raises(PeerLeftError):
            await session.receive()
        left.append(session.index)

    left: list[int] = []
    server, source = CloudServer(keys={"k"}, script=script), Endless()
    async with cloud(server) as (tts, backend):
        stream = tts.stream(source.awaited())
        await server.until(lambda: sum(r.is_stopped for r in server.requests) == 2)
        sockets = tuple(backend._pool._in_use)
        await leave(stream)
        await asyncio.sleep(0)
        assert len(sockets) == 2
        assert all(socket.connection.transport.is_closing() for socket in sockets)
        assert backend._pool._in_use == set()
        assert backend._pool.n_idle == 0
        await server.until(lambda: server.n_open == 0)
        assert [r.text for r in server.requests] == SENTENCES[:2]
        assert sorted(left) == [0, 1]
        await assert_mute(stream)
    assert_left(stream, source.text)
    assert source.closed.is_set()


@every_way
async def test_the_servers_request_is_dropped_at_once(leave: Way) -> None:
    """After a few rounds of the event loop the connection is gone; no further request is made."""

    async def script(call: ServerCall) -> None:
        await call.begin()
        await call.send(SOUND)
        await call.until_left()

    server, source = FishServer(script=script), Endless()
    async with fish(server) as (tts, backend):
        stream = tts.stream(source.awaited())
        await server.until(lambda: bool(server.calls))
        await leave(stream)
        await settled(MAX_ROUNDS)
        assert backend._link._client._lent.client._transport._pool.connections == []  # type: ignore[attr-defined]
        await server.until(lambda: server.n_open == 0)
        assert server.texts == SENTENCES[:1]
        assert server.calls[0].state == "left"
        await assert_mute(stream)
    assert_left(stream, source.text)
    assert source.closed.is_set()


async def rounds_until(condition: Callable[[], bool]) -> int:
    """How often the event loop goes round before something is true."""
    n_rounds = 0
    while not condition():
        await asyncio.sleep(0)
        n_rounds += 1
        assert n_rounds < 50
    return n_rounds


@pytest.mark.parametrize("n_rounds", range(60))
async def test_leaving_the_cloud_at_any_moment(n_rounds: int) -> None:
    """Dialling, sending, receiving: no text is taken afterwards, and no socket remains in use."""
    server = CloudServer(keys={"k"}, frame_bytes=4_000)
    async with cloud(server) as (tts, backend):
        stream = tts.stream(TEXT)
        await settled(n_rounds)
        feed = stream._source._speaking._feed  # type: ignore[attr-defined]
        n_handed_out = feed.n_handed_out
        stream.cancel()
        assert await rounds_until(lambda: not backend._pool._in_use) <= MAX_ROUNDS
        await stream.aclose()
        assert feed.n_handed_out == n_handed_out
        report = stream.report
        assert (report.outcome, report.spoken_text + report.unspoken_text) == ("cancelled", TEXT)
        assert (await tts.synthesize("Hello.")).report.outcome == "complete"
    texts = [request.text for request in server.requests]
    n_asked = len(texts) - 1
    assert texts == [*SENTENCES[:n_asked], "Hello."]
    assert n_asked <= n_handed_out


@pytest.mark.parametrize("n_rounds", range(60))
async def test_leaving_the_server_at_any_moment(n_rounds: int) -> None:
    """Connecting, asking, receiving: no further request is made, and others are heard."""
    server = FishServer(chunk_bytes=4_000)
    async with fish(server) as (tts, _):
        stream = tts.stream(TEXT)
        await settled(n_rounds)
        feed = stream._source._speaking._feed  # type: ignore[attr-defined]
        n_handed_out = feed.n_handed_out
        stream.cancel()
        await stream.aclose()
        assert feed.n_handed_out == n_handed_out
        report = stream.report
        assert (report.outcome, report.spoken_text + report.unspoken_text) == ("cancelled", TEXT)
        assert (await tts.synthesize("Hello.")).report.outcome == "complete"
    n_asked = len(server.texts) - 1
    assert server.texts == [*SENTENCES[:n_asked], "Hello."]
    assert n_asked <= n_handed_out


class FrameGate:
    """Lets the model make frames one by one, and counts those that it began."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, n_free: int) -> None:
        self.n_begun = 0
        self.removed = threading.Event()
        self.in_hand = threading.Event()
        self._n_free = n_free
        self._go_on = threading.Event()
        self._next_frame = scheduler.next_frame
        self._remove = scheduler.Scheduler._remove
        monkeypatch.setattr(scheduler, "next_frame", self.next_frame)
        monkeypatch.setattr(scheduler.Scheduler, "_remove", lambda *args: self.remove(*args))

    def next_frame(self, *args: object, **options: object) -> object:
        """In the model's thread: a frame, when it may be made."""
        self.n_begun += 1
        if self.n_begun > self._n_free:
            self.in_hand.set()
            assert self._go_on.wait(10)
        return self._next_frame(*args, **options)  # type: ignore[arg-type]

    def remove(self, *args: object) -> None:
        """In the model's thread: somebody's utterance is over."""
        self._remove(*args)  # type: ignore[arg-type]
        self.removed.set()

    def open(self) -> None:
        """Have it make as many as it likes."""
        self._go_on.set()


@every_way
async def test_the_model_stops_within_one_frame(
    leave: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The frame in hand is finished, no other is begun, and the slot is free again."""
    gate = FrameGate(monkeypatch, n_free=3)
    section = LocalSection(
        checkpoint=str(CHECKPOINT), device="cpu", voice_cache="", max_new_tokens=200, max_batch=1
    )
    source = Endless()
    async with TTS({"backends": [LocalBackend(section)]}) as tts:
        stream = tts.stream(source.awaited(), sampling=Sampling(seed=1))
        assert await asyncio.to_thread(gate.in_hand.wait, 10)
        await leave(stream)
        await asyncio.sleep(0)
        gate.open()
        assert await asyncio.to_thread(gate.removed.wait, 10)
        assert gate.n_begun == 4
        await assert_mute(stream)
        short = Sampling(seed=1, max_new_tokens=3)
        chunks = [chunk async for chunk in tts.stream("Hello.", sampling=short)]
        assert chunks
    assert_left(stream, source.text)
    assert source.closed.is_set()


def test_leaving_a_plain_loop_closes_the_clouds_socket() -> None:
    """The blocking API as well: after ``break`` the server's sockets are closed."""

    async def script(session: CloudSession) -> None:
        await session.receive_request()
        await session.send_audio(SOUND)
        with suppress(PeerLeftError):
            await session.receive()
        left.release()

    left = threading.Semaphore(0)
    source: list[str] = []

    def pieces() -> Iterator[str]:
        try:
            for sentence in SENTENCES:
                source.append(sentence)
                yield sentence
        finally:
            source.append("closed")

    with CloudServer(keys={"k"}, script=script).in_thread() as server:
        config = {"backends": ["cloud"], "cloud": {"url": server.url, "api_keys": ["k"]}}
        stream = junetts.stream(pieces(), config=config)
        for _ in stream:
            break
        assert left.acquire(timeout=10)
        assert source[-1] == "closed"
        assert stream.report.outcome == "cancelled"
        assert stream.report.spoken_text + stream.report.unspoken_text == "".join(source[:-1])
