"""Listeners who stop, forget or look from another thread: bounded memory and a true report."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading

import pytest

import junetts
from fakes import FakeBackend, client, hangs, settled, speaks
from junetts import SpeechStream
from junetts._journal import Journal
from junetts.testing import CloudServer, CloudSession, FishServer, PeerLeftError, ServerCall
from leaving import TEXT, Endless, both_kinds

pytestmark = pytest.mark.anyio


@both_kinds
async def test_a_listener_who_stops_bounds_everything(kind: str) -> None:
    """Text is read and audio is made only as far as the listener may be behind."""
    source, backend = Endless(), FakeBackend(speaks(5))
    async with client(backend, ahead_s=2.0) as tts:
        stream = tts.stream(source.source(kind))
        await anext(stream)
        before = -1
        while before < backend.n_bytes:
            before = backend.n_bytes
            await other_threads_had_a_turn()
        assert backend.n_bytes <= (2.0 + 0.3) * 16_000
        assert len(source.read) <= 8
        await stream.aclose()
    assert_exact(stream, source)


async def other_threads_had_a_turn() -> None:
    """Let a source that is read in a thread go on as far as it may."""
    for _ in range(100):
        await asyncio.to_thread(settle_nothing)
        await settled()


def settle_nothing() -> None:
    """Take a turn."""


def assert_exact(stream: SpeechStream, source: Endless) -> None:
    """What was read of the source is the text, once."""
    report = stream.report
    assert report.spoken_text + report.unspoken_text == source.text


async def test_a_listener_who_stops_holds_the_cloud_back() -> None:
    """Megabytes stay on the server's side of the socket."""
    sent = 0

    async def script(session: CloudSession) -> None:
        nonlocal sent
        await session.receive_request()
        try:
            while True:
                await session.send_audio(b"\x01\x02" * 32_768)
                sent += 65_536
        except PeerLeftError:
            pass

    async with CloudServer(keys={"k"}, script=script) as server:
        config = {"backends": ["cloud"], "cloud": {"url": server.url, "api_keys": ["k"]}}
        async with junetts.TTS(config, ahead_s=1.0) as tts:
            stream = tts.stream(TEXT)
            await anext(stream)
            before = -1
            while before < sent:
                before = sent
                await settled(100)
            assert sent < 60_000_000  # of two sockets, most of it in the kernel
            await stream.aclose()
            await server.until(lambda: server.n_open == 0)


async def test_a_listener_who_stops_holds_the_server_back() -> None:
    """A long answer is read ahead, an endless one is not."""
    sent = 0

    async def script(call: ServerCall) -> None:
        nonlocal sent
        await call.begin()
        try:
            while True:
                await call.send(b"\x01\x02" * 32_768)
                sent += 65_536
        except OSError:
            pass

    async with FishServer(script=script) as server:
        config = {"backends": ["server"], "server": {"url": server.url}}
        async with junetts.TTS(config, ahead_s=1.0) as tts:
            stream = tts.stream(TEXT)
            await anext(stream)
            before = -1
            while before < sent:
                before = sent
                await settled(100)
            assert sent < 60_000_000
            await stream.aclose()
            await server.until(lambda: server.n_open == 0)


async def test_a_listener_who_forgets_while_waiting() -> None:
    """A task that waits for a chunk and is dropped with its stream leaves nothing behind."""
    backend = FakeBackend(hangs())
    async with client(backend) as tts:
        waiting = asyncio.ensure_future(anext(aiter(tts.stream(TEXT))))
        await settled()
        assert backend.n_open == 1
        waiting.cancel()
        del waiting
        await settled()
        gc.collect()
        await settled()
        assert backend.n_open == 0


def test_a_report_may_be_read_in_another_thread() -> None:
    """At any moment the spoken and the unspoken text are the beginning of the text, once."""
    whole = "".join(f"This is sentence number {n}. " for n in range(80))
    config = {"backends": [FakeBackend(speaks(1))], "sample_rate": 8000}
    stream = junetts.stream((whole[i : i + 5] for i in range(0, len(whole), 5)), config=config)
    wrong: list[str] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            report = stream.report
            text = report.spoken_text + report.unspoken_text
            if not whole.startswith(text) or len(text) != report.characters:
                wrong.append(text)

    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        n_chunks = sum(1 for _ in stream)
    finally:
        done.set()
        watcher.join()
        sys.setswitchinterval(interval_s)
    assert (n_chunks, stream.report.outcome) == (80, "complete")
    assert wrong == []


async def test_what_a_report_tells_changes_under_its_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text that arrives, is taken, heard, ended or abandoned: never in the middle of a report."""
    moves: dict[str, set[bool]] = {}

    def watch(name: str) -> None:
        original = getattr(Journal, name)

        def watched(*args: object, **options: object) -> object:
            moves.setdefault(name, set()).add(is_held(lock))
            return original(*args, **options)

        monkeypatch.setattr(Journal, name, watched)

    for name in ("add", "heard", "ended", "close"):
        watch(name)
    async with client(FakeBackend(hangs(segment=1))) as tts:
        stream = tts.stream(TEXT)
        lock = stream._source._speaking._feed.lock  # type: ignore[attr-defined]
        for _ in range(3):
            await anext(stream)
        await settled()
        await stream.aclose()
    assert moves == {name: {True} for name in ("add", "heard", "ended", "close")}


def is_held(lock: threading.RLock) -> bool:  # type: ignore[valid-type]
    """Whether another thread would have to wait for the lock."""
    got: list[bool] = []

    def try_it() -> None:
        got.append(lock.acquire(blocking=False))  # type: ignore[attr-defined]
        if got[0]:
            lock.release()  # type: ignore[attr-defined]

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    return not got[0]
