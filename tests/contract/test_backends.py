"""What every backend promises, asked of each of them over its real transport."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from junetts import (
    BackendAudio,
    JuneTtsError,
    Sampling,
    Segment,
    TtsBackend,
    UnknownVoiceError,
    Utterance,
)
from junetts._config import Config
from junetts._guard import GuardedBackend
from junetts.backends.cloud import CloudBackend
from junetts.backends.demo import DemoBackend
from junetts.backends.local import LocalBackend
from junetts.backends.server import ServerBackend
from junetts.testing import CloudServer, FishServer

pytestmark = pytest.mark.anyio

CHECKPOINT = Path(__file__).parents[1] / "data" / "s1-tiny"
SENTENCES = ("Hello from June. ", "This is the second. ", "And a third.")
Made = Callable[[], AbstractAsyncContextManager[TtsBackend]]


@asynccontextmanager
async def cloud() -> AsyncIterator[TtsBackend]:
    """The cloud backend and a cloud to speak to."""
    async with CloudServer(keys={"k"}) as server:
        config = Config.model_validate({"cloud": {"url": server.url, "api_keys": ["k"]}})
        yield CloudBackend(config.cloud)


@asynccontextmanager
async def server() -> AsyncIterator[TtsBackend]:
    """The server backend and a server to speak to."""
    async with FishServer(voices=["june"]) as running:
        config = Config.model_validate({"server": {"url": running.url}})
        yield ServerBackend(config.server)


@asynccontextmanager
async def demo() -> AsyncIterator[TtsBackend]:
    """The demo voice."""
    yield DemoBackend(Config().demo)


@asynccontextmanager
async def local() -> AsyncIterator[TtsBackend]:
    """The model in this process, with a tiny checkpoint that rarely comes to an end."""
    section = {"checkpoint": str(CHECKPOINT), "voice_cache": "", "max_new_tokens": 30}
    yield LocalBackend(Config.model_validate({"local": section}).local)


@pytest.fixture(params=[cloud, server, local, demo], ids=["cloud", "server", "local", "demo"])
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[TtsBackend]:
    """Each backend in turn, as a client would have it, and closed afterwards."""
    made: Made = request.param
    async with made() as raw:
        guarded = GuardedBackend(raw, sample_rate=44_100)
        yield guarded
        await guarded.aclose()


async def given(*texts: str) -> AsyncIterator[Segment]:
    """Segments that are all there."""
    for index, text in enumerate(texts):
        yield Segment(index=index, text=text)


async def heard(backend: TtsBackend, *texts: str) -> list[BackendAudio]:
    """Everything that the backend yields for those segments, the same each time."""
    sampling = Sampling(seed=1 if backend.capabilities.seed else None)
    async with backend.speak(Utterance(sampling=sampling), given(*texts)) as audio:
        return [item async for item in audio]


def lengths(items: list[BackendAudio]) -> dict[int, int]:
    """Bytes of audio by segment."""
    totals: dict[int, int] = {}
    for item in items:
        totals[item.segment] = totals.get(item.segment, 0) + len(item.data)
    return totals


def about(expected: dict[int, int]) -> object:
    """As long, but for what a synthesiser carries over from what it spoke before."""
    return pytest.approx(expected, rel=0.05)


async def test_it_is_a_backend(backend: TtsBackend) -> None:
    """It has the protocol's members, and says what it can do."""
    assert isinstance(backend, TtsBackend)
    assert backend.capabilities.sample_rate >= 8000
    assert backend.name in ("cloud", "server", "local", "demo")


async def test_segments_come_in_order_and_each_is_closed(backend: TtsBackend) -> None:
    """Audio of one segment is consecutive, ends with `end`, and is never mixed."""
    items = await heard(backend, *SENTENCES)
    assert [item.segment for item in items if item.end] == [0, 1, 2]
    assert [item.segment for item in items] == sorted(item.segment for item in items)
    assert all(n_bytes > 0 for n_bytes in lengths(items).values())


async def test_no_text_is_no_audio(backend: TtsBackend) -> None:
    """Nothing to say is success."""
    assert await heard(backend) == []


async def test_utterances_at_once_do_not_mix(backend: TtsBackend) -> None:
    """Several at once each get what they would get alone."""
    alone = [lengths(await heard(backend, text)) for text in SENTENCES]
    together = await asyncio.gather(*(heard(backend, text) for text in SENTENCES))
    assert [lengths(items) for items in together] == [about(one) for one in alone]


async def test_text_may_come_late(backend: TtsBackend) -> None:
    """Audio of the first segment is handed out while the second is still being written."""
    written = asyncio.Event()

    async def writing() -> AsyncIterator[Segment]:
        yield Segment(index=0, text=SENTENCES[0])
        await written.wait()
        yield Segment(index=1, text=SENTENCES[1])

    async with backend.speak(Utterance(), writing()) as audio:
        async for item in audio:
            if item.end and item.segment == 0:
                written.set()
    assert item.segment == 1
    assert item.end is not None


@pytest.mark.parametrize("n_items", [0, 1, 3])
async def test_leaving_early_is_barge_in(backend: TtsBackend, n_items: int) -> None:
    """After leaving at any point the backend speaks the next utterance, whole and unmixed."""
    whole = lengths(await heard(backend, SENTENCES[1]))
    async with backend.speak(Utterance(), given(*SENTENCES)) as audio:
        for _ in range(n_items):
            await anext(audio)
    assert lengths(await heard(backend, SENTENCES[1])) == about(whole)


async def test_being_cancelled_is_barge_in(backend: TtsBackend) -> None:
    """Cancellation at each of the first steps of the event loop leaves it usable."""
    whole = lengths(await heard(backend, SENTENCES[0]))
    for n_steps in range(12):
        task = asyncio.create_task(heard(backend, *SENTENCES))
        for _ in range(n_steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    assert lengths(await heard(backend, SENTENCES[0])) == about(whole)


async def test_an_unknown_voice_is_refused(backend: TtsBackend) -> None:
    """A voice that is nothing to this backend is never replaced by another."""
    from junetts import Voice

    elsewhere = Voice(language="en") if backend.name != "demo" else Voice(cloud_id="c")
    with pytest.raises(UnknownVoiceError):
        async with backend.speak(Utterance(voice=elsewhere), given("Hello.")):
            pass


async def test_a_probe_sends_no_text_and_finds_it_well(backend: TtsBackend) -> None:
    """Health is found out cheaply."""
    health = await backend.probe()
    assert health.status == "ok", health


async def test_warmup_then_close_twice(backend: TtsBackend) -> None:
    """Warming up is optional and closing idempotent; a closed backend refuses, readably."""
    await backend.warmup()
    assert lengths(await heard(backend, SENTENCES[0]))[0] > 0
    await backend.aclose()
    await backend.aclose()
    with pytest.raises(JuneTtsError):
        await heard(backend, SENTENCES[0])
