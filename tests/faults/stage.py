"""One case played: a faulty backend, a healthy one behind it, and all that can be noticed of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import psutil

from faults.axes import Case
from faults.story import PIECES, SENTENCES, TEXT, VOICE, middle_of
from junetts import TTS
from junetts._backend import TtsBackend
from junetts._errors import JuneTtsError
from junetts._events import Event
from junetts._report import SpeechReport
from junetts.testing import CloudServer, FaultPlan, FaultRule, FishServer, ToneBackend, faulty
from junetts.testing.faults import Wire
from junetts.testing.virtual_time import run

LIMIT_S = 120.0  # of virtual time, for a case with all its deadlines
HANG_S = 5.0  # of real time, for one in which nothing is scheduled
RELEASE_S = 70.0  # of virtual time: a server that is late notices only then who has gone
PIECE_S = 0.05  # between two pieces of text
PORTION_S = 0.1  # of sound in one event or chunk
LATE_S = 4.0  # until the next backend has sound: too late, if it were not the last one left
RATES_HZ: dict[Wire, int] = {"cloud": 8_000, "server": 44_100, "backend": 8_000}
PREFERRED: dict[Wire, str] = {"cloud": "cloud", "server": "server", "backend": "stand-in"}
NEXT: dict[Wire, str] = {"cloud": "spare", "server": "spare", "backend": "cloud"}

Pace = Callable[..., Awaitable[None]]

_process = psutil.Process()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One piece of a stream, its sound apart."""

    segment: int
    start_s: float
    n_samples: int


@dataclass(slots=True, kw_only=True)
class Performance:
    """What was noticed of a case.

    Attributes:
        pcm: what the listener was handed.
        chunks: the same as a stream had it, without the sound.
        report: the utterance's.
        written: the text, as far as it was asked for.
        error: what the listener was told instead of an end.
        events: what `on_event` was told.
        silence_s: the longest time in which a stream had nothing to hear.
        took_s: how long the utterance took.
        is_next_asked: whether the backend behind the faulty one had anything to do.
        n_strikes: how often the fault struck.
        leaks: what was left behind, in words.
    """

    sample_rate: int
    pcm: bytes = b""
    chunks: list[Chunk] = field(default_factory=list)
    report: SpeechReport | None = None
    written: str = ""
    error: JuneTtsError | None = None
    events: list[Event] = field(default_factory=list)
    silence_s: float = 0.0
    took_s: float = 0.0
    is_next_asked: bool = False
    n_strikes: int = 0
    leaks: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """A backend that can be asked: its settings, and whether an utterance holds it now."""

    backend: str | TtsBackend
    settings: Mapping[str, object]
    is_held: Callable[[], bool]


Entrance = AbstractAsyncContextManager[Stand]


def play(case: Case) -> Performance:
    """Speak the text once, in virtual time."""
    before = _footprint()
    performance = run(_play(case), limit_s=LIMIT_S, hang_s=HANG_S)
    after = _footprint()
    performance.leaks += [
        f"{after[what] - n} {what}" for what, n in before.items() if after[what] > n
    ]
    return performance


def _footprint() -> dict[str, int]:
    return {"file descriptors": _process.num_fds(), "threads": threading.active_count()}


async def _play(case: Case) -> Performance:
    rate = RATES_HZ[case.wire]
    performance = Performance(sample_rate=rate)
    plan = FaultPlan(_rule(case, rate))
    async with (
        _STANDS[case.wire](plan, performance) as faulty_one,
        _NEXT[case.wire](_late(faulty_one.is_held, performance), performance) as next_one,
    ):
        config = {
            "backends": [faulty_one.backend, next_one.backend],
            "sample_rate": rate,
            "fallback": {"on_partial": case.policy},
            **faulty_one.settings,
            **next_one.settings,
        }
        async with TTS(config, on_event=performance.events.append) as tts:
            await _listen(tts, case, performance)
            if next_one.is_held():
                performance.leaks.append("the next backend, when the utterance ended")
    performance.n_strikes = len(plan.strikes)
    await _look_for_tasks(performance)
    return performance


def _late(is_held: Callable[[], bool], performance: Performance) -> Pace:
    """Let the next backend take its time once, as the last one may; and look whether it is alone.

    ``is_held`` says whether the one before is still in use.
    """

    async def pace(*_: object) -> None:
        if performance.is_next_asked:
            return
        performance.is_next_asked = True
        if is_held():
            performance.leaks.append("the faulty backend, when the next one spoke")
        await asyncio.sleep(LATE_S)

    return pace


def _rule(case: Case, rate: int) -> FaultRule:
    fault = case.fault(middle_of(case.struck, sample_rate=rate))
    if case.place == "at the door":
        return FaultRule(fault=fault)
    text = SENTENCES[case.struck].strip()
    return FaultRule(fault=fault, when=lambda asked: asked.strip() == text)


async def _listen(tts: TTS, case: Case, performance: Performance) -> None:
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    try:
        if case.call == "synthesize":
            await _listen_to_all(tts, performance)
        else:
            await _listen_as_it_comes(tts, performance)
    except JuneTtsError as error:
        performance.error = error
        performance.report = performance.report or error.report
        if case.call == "synthesize" and error.speech is not None:
            performance.pcm = error.speech.pcm
    performance.took_s = loop.time() - begun_s


async def _listen_to_all(tts: TTS, performance: Performance) -> None:
    performance.written = TEXT
    speech = await tts.synthesize(TEXT)
    performance.pcm, performance.report = speech.pcm, speech.report


async def _listen_as_it_comes(tts: TTS, performance: Performance) -> None:
    """Hear chunk by chunk what is written piece by piece."""
    loop, pcm = asyncio.get_running_loop(), bytearray()
    last_s = loop.time()
    async with tts.stream(_written(performance)) as stream:
        try:
            async for chunk in stream:
                performance.silence_s = max(performance.silence_s, loop.time() - last_s)
                last_s = loop.time()
                pcm += chunk.pcm
                performance.chunks.append(
                    Chunk(
                        segment=chunk.segment,
                        start_s=chunk.start_s,
                        n_samples=len(chunk.pcm) // 2,
                    )
                )
        finally:
            performance.silence_s = max(performance.silence_s, loop.time() - last_s)
            performance.pcm, performance.report = bytes(pcm), stream.report


async def _written(performance: Performance) -> AsyncIterator[str]:
    for piece in PIECES:
        performance.written += piece
        yield piece
        await asyncio.sleep(PIECE_S)


async def _look_for_tasks(performance: Performance) -> None:
    for _ in range(5):
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    performance.leaks += [f"the task {task.get_name()}" for task in left]


def _never() -> bool:
    """A pool's sockets may stay open: what counts is what is left when the client has gone."""
    return False


@asynccontextmanager
async def _cloud(
    plan: FaultPlan | None, performance: Performance, *, rate: int = 8_000, pace: Pace | None = None
) -> AsyncIterator[Stand]:
    async with CloudServer(
        keys={"k"},
        audio=VOICE.for_cloud,
        frame_bytes=int(PORTION_S * rate) * 2,
        faults=plan,
        pace=pace,
    ) as server:
        section = {"url": server.url, "api_keys": ["k"], "sample_rate": rate}
        yield Stand(backend="cloud", settings={"cloud": section}, is_held=_never)
        await _look_for_connections(server, plan, performance)


@asynccontextmanager
async def _server(plan: FaultPlan, performance: Performance) -> AsyncIterator[Stand]:
    chunk_bytes = int(PORTION_S * RATES_HZ["server"]) * 2
    async with FishServer(audio=VOICE.for_server, chunk_bytes=chunk_bytes, faults=plan) as server:
        yield Stand(backend="server", settings={"server": {"url": server.url}}, is_held=_never)
        await _look_for_connections(server, plan, performance)


@asynccontextmanager
async def _backend(plan: FaultPlan, performance: Performance) -> AsyncIterator[Stand]:
    backend = ToneBackend(VOICE, name=PREFERRED["backend"], perform=faulty(plan))
    yield Stand(backend=backend, settings={}, is_held=lambda: backend.n_open > 0)
    if (backend.n_open, backend.n_closed) != (0, 1):
        performance.leaks.append(f"the backend: {backend.n_open} open, {backend.n_closed} closed")


@asynccontextmanager
async def _spare(pace: Pace, performance: Performance, *, rate: int) -> AsyncIterator[Stand]:
    backend = ToneBackend(VOICE, name=NEXT["cloud"], sample_rate=rate, pace=pace)
    yield Stand(backend=backend, settings={}, is_held=lambda: backend.n_open > 0)


@asynccontextmanager
async def _next_cloud(pace: Pace, performance: Performance) -> AsyncIterator[Stand]:
    async with _cloud(None, performance, rate=RATES_HZ["backend"], pace=pace) as stand:
        yield stand


_STANDS: Mapping[Wire, Callable[[FaultPlan, Performance], Entrance]] = {
    "cloud": _cloud,
    "server": _server,
    "backend": _backend,
}
_NEXT: Mapping[Wire, Callable[[Pace, Performance], Entrance]] = {
    "cloud": partial(_spare, rate=RATES_HZ["cloud"]),
    "server": partial(_spare, rate=RATES_HZ["server"]),
    "backend": _next_cloud,
}
_CANNOT_NOTICE = frozenset({"half-open", "never accept"})  # such a server does not look any more


async def _look_for_connections(
    server: CloudServer | FishServer, plan: FaultPlan | None, performance: Performance
) -> None:
    """After the client was closed; what stays open on its side is left to the footprint."""
    strikes = () if plan is None else plan.strikes
    if any(strike.fault.kind.value in _CANNOT_NOTICE for strike in strikes):
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(RELEASE_S):
            await server.until(lambda: server.n_open == 0)
    if server.n_open:
        performance.leaks.append(f"{server.n_open} connections")
