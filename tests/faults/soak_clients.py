"""A client among flaky backends, from its beginning to its end, after which nothing is left."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from random import Random

from fakes import settled
from faults.soak_listener import Hearing, hear
from faults.soak_plan import VOICE, BackendPlan, ClientPlan
from faults.soak_texts import RATE_HZ, tone_voice
from junetts import TTS, Event
from junetts._backend import BackendAudio
from junetts.testing import (
    CloudServer,
    FaultPlan,
    FishServer,
    ToneBackend,
    ToneVoice,
    faulty,
    virtual_time,
)

N_AT_ONCE = 8
LOOK_EVERY_S = 1.0  # somebody looks at the health, which brings back whose key was refused
LIFE_S = 100_000.0  # virtual; far more than all the utterances of a client take


@dataclass(kw_only=True)
class Life:
    """What a client did.

    Attributes:
        plan: what it was to do.
        voice: what hears it.
        hearings: one for each utterance.
        events: what its listener was told.
    """

    plan: ClientPlan
    voice: ToneVoice = field(default_factory=tone_voice)
    hearings: list[Hearing] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    n_strikes: int = 0


def lived(plan: ClientPlan) -> Life:
    """A client's whole life, in virtual time; nothing of it is left."""
    before = _footprint()
    life = Life(plan=plan)
    virtual_time.run(_live(life), limit_s=LIFE_S)
    assert _footprint() == before
    return life


async def _live(life: Life) -> None:
    tasks, timers = asyncio.all_tasks(), _timers()
    async with AsyncExitStack() as stack:
        world = _World(life, stack)
        config = await world.config()
        async with TTS(config, on_event=life.events.append) as tts:
            await _speak_all(tts, life)
        await settled()
        for backend in world.backends:
            assert (backend.n_open, backend.n_closed) == (0, 1), backend.name
        life.n_strikes = sum(len(faults.strikes) for faults in world.faults)
    await settled()
    assert asyncio.all_tasks() == tasks
    assert _timers() == timers


async def _speak_all(tts: TTS, life: Life) -> None:
    """So many at once, while somebody looks after the backends."""
    waiting = iter(enumerate(life.plan.utterances))

    async def speak() -> None:
        for number, plan in waiting:
            dice = Random(f"{life.plan.number} {number}")
            life.hearings.append(await hear(tts, plan, dice))

    looking = asyncio.create_task(_look_after(tts))
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(N_AT_ONCE):
                group.create_task(speak())
    finally:
        looking.cancel()
        await asyncio.wait([looking])


async def _look_after(tts: TTS) -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        await tts.health()


class _World:
    """The backends of a plan, those in process and those behind sockets."""

    def __init__(self, life: Life, stack: AsyncExitStack) -> None:
        self.backends: list[ToneBackend] = []
        self.faults: list[FaultPlan] = []
        self._life = life
        self._stack = stack

    async def config(self) -> dict[str, object]:
        """The client's settings, for servers that run."""
        plan = self._life.plan
        sections: dict[str, object] = {}
        for one in plan.backends:
            if one.wire == "cloud":
                sections["cloud"] = await self._cloud(self._faults(one))
            elif one.wire == "server":
                sections["server"] = await self._server(self._faults(one))
            else:
                self.backends.append(self._in_process(one))
        own = {backend.name: backend for backend in self.backends}
        return {
            "backends": [own.get(name, name) for name in plan.names],
            "sample_rate": RATE_HZ,
            "ahead_s": plan.ahead_s,
            "fallback": dict(plan.fallback),
            **sections,
        }

    def _faults(self, plan: BackendPlan) -> FaultPlan:
        faults = FaultPlan()
        if plan.seed is not None:
            faults = FaultPlan.random(plan.seed, wire=plan.wire, rate=plan.rate)
        self.faults.append(faults)
        return faults

    def _in_process(self, plan: BackendPlan) -> ToneBackend:
        return ToneBackend(
            self._life.voice,
            name=plan.name,
            sample_rate=plan.sample_rate,
            chunk_s=plan.chunk_s,
            pace=_pace(plan) if plan.pause_s else None,
            word_times=plan.word_times,
            voice_ids={VOICE} if plan.knows_voice else {"somebody else"},
            perform=faulty(self._faults(plan)),
        )

    async def _cloud(self, faults: FaultPlan) -> dict[str, object]:
        server = CloudServer(keys={"k"}, audio=self._life.voice.for_cloud, faults=faults)
        await self._stack.enter_async_context(server)
        return {
            "url": server.url,
            "api_keys": ["k"],
            "sample_rate": RATE_HZ,
            "connect_timeout_s": 2.0,
        }

    async def _server(self, faults: FaultPlan) -> dict[str, object]:
        server = FishServer(
            voices=[VOICE], audio=self._life.voice.for_server, chunk_bytes=8192, faults=faults
        )
        await self._stack.enter_async_context(server)
        return {"url": server.url, "connect_timeout_s": 2.0}


def _pace(plan: BackendPlan) -> Callable[[BackendAudio], Awaitable[object]]:
    dice = Random(plan.seed)
    return lambda _: asyncio.sleep(dice.uniform(0, plan.pause_s))


def _timers() -> int:
    """How many timers are set in the running loop."""
    loop: object = asyncio.get_running_loop()
    scheduled: list[asyncio.TimerHandle] = vars(loop)["_scheduled"]
    return sum(not timer.cancelled() for timer in scheduled)


def _footprint() -> tuple[int, int]:
    """Open files and sockets, and threads."""
    return len(os.listdir("/proc/self/fd")), threading.active_count()
