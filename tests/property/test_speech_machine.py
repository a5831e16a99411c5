"""Journal, breakers and handover together: whatever backends do in whatever order, step by step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fakes import CHUNK_S, RATE_HZ, audio, settled, tone_pcm
from junetts import TTS, JuneTtsError, SpeechStream
from junetts._backend import BackendAudio, Capabilities, Health
from junetts._errors import AuthenticationError, BackendUnavailableError, RateLimitedError
from junetts._utterance import Segment, Utterance
from junetts.testing import VirtualTimeLoop

SENTENCES = [f"This is sentence number {n}. " for n in range(4)]
TEXT = "".join(SENTENCES)
NAMES = ("a", "b", "c")
TRIES = 2
WELL = Health(status="ok", detail="well")
ILL = Health(status="unavailable", detail="ill")
ERRORS = st.sampled_from(
    [
        BackendUnavailableError("gone"),
        AuthenticationError("no"),
        RateLimitedError("limit", retry_after_s=3.0),
    ]
)


@dataclass(eq=False)
class Part:
    """One backend's part in an utterance, which does what it is told."""

    name: str
    utterance: int
    orders: asyncio.Queue[JuneTtsError | bool] = field(default_factory=asyncio.Queue)
    segment: Segment | None = None  # the one that it speaks
    has_sound: bool = False  # in that segment
    given: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    failed_after_sound: bool = False

    async def audio(self, segments: AsyncIterable[Segment]) -> AsyncGenerator[BackendAudio, None]:
        """A chunk for each false, the end for true, and errors as they are."""
        async for segment in segments:
            self.segment, self.has_sound = segment, False
            self.given.append(segment.index)
            while self.segment is not None:
                order = await self.orders.get()
                if isinstance(order, JuneTtsError):
                    raise order
                self.has_sound = self.has_sound or not order
                if order:
                    self.segment = None
                    self.ended += [segment.index] * self.has_sound
                    yield audio(segment, end="complete")
                else:
                    yield audio(segment, tone_pcm())


class Puppet:
    """A backend that does nothing by itself."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.capabilities = Capabilities(sample_rate=RATE_HZ)
        self.health = WELL
        self.open: list[Part] = []
        self.parts: list[Part] = []

    async def warmup(self) -> None:
        """Nothing."""

    async def probe(self) -> Health:
        """As it was told."""
        return self.health

    @asynccontextmanager
    async def speak(
        self, utterance: Utterance, segments: AsyncIterable[Segment]
    ) -> AsyncIterator[AsyncIterator[BackendAudio]]:
        """Wait for orders."""
        part = Part(self.name, utterance.number)
        self.open.append(part)
        self.parts.append(part)
        try:
            async with aclosing(part.audio(segments)) as made:
                yield made
        finally:
            self.open.remove(part)

    async def aclose(self) -> None:
        """Nothing."""


@dataclass(eq=False)
class Listening:
    """One utterance and its listener, who takes everything at once."""

    number: int
    stream: SpeechStream
    task: asyncio.Task[None]
    n_samples: list[int]
    has_left: bool = False


class SpeechMachine(RuleBasedStateMachine):
    """Two utterances at a time; their backends speak, finish, fail, hang, fall ill and recover."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualTimeLoop(limit_s=100_000)
        self.puppets = {name: Puppet(name) for name in NAMES}
        self.listening: list[Listening] = []
        self.leaving = asyncio.Event()
        self.client = TTS(
            {"backends": list(self.puppets.values()), "sample_rate": RATE_HZ},
            fallback={"tries": TRIES},
        )
        self.life = self.loop.create_task(self.live())
        self.let_happen()

    async def live(self) -> None:
        """Keep the client open, in one task."""
        async with self.client:
            await self.leaving.wait()

    def let_happen(self, seconds: float = 0.0) -> None:
        """All that is about to."""

        async def wait() -> None:
            await asyncio.sleep(seconds)
            await settled(80)

        self.loop.run_until_complete(wait())

    def parts(self, number: int) -> list[Part]:
        """All parts in an utterance, in no order across backends."""
        every = [part for puppet in self.puppets.values() for part in puppet.parts]
        return [part for part in every if part.utterance == number]

    @property
    def waiting(self) -> list[Part]:
        """Those who wait for orders."""
        every = [part for puppet in self.puppets.values() for part in puppet.open]
        return [part for part in every if part.segment is not None]

    @property
    def going_on(self) -> list[Listening]:
        """The utterances that have not ended."""
        return [one for one in self.listening if one.stream.report.outcome == "speaking"]

    @precondition(lambda self: len(self.going_on) < 2)
    @rule()
    def utterance_begins(self) -> None:
        """With the first backend that is not known to be down, else with the first of all."""
        ready = [name for name in NAMES if self.client._wiring._monitor.is_ready(name)]
        stream, heard = self.stream()
        number = len(self.listening) + 1
        task = self.loop.create_task(listen(stream, heard))
        self.listening.append(Listening(number, stream, task, heard))
        self.let_happen()
        assert [part.name for part in self.parts(number)] == [*ready, *NAMES][:1]

    def stream(self) -> tuple[SpeechStream, list[int]]:
        """Begin to speak, from within the loop."""

        async def begin() -> SpeechStream:
            return self.client.stream(TEXT)

        return self.loop.run_until_complete(begin()), []

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), n_chunks=st.integers(1, 3), ends=st.booleans())
    def somebody_speaks(self, data: st.DataObject, n_chunks: int, ends: bool) -> None:
        """And may finish the segment."""
        part = data.draw(st.sampled_from(self.waiting))
        for order in [False] * n_chunks + [True] * ends:
            part.orders.put_nowait(order)
        self.let_happen()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def somebody_claims_an_end(self, data: st.DataObject) -> None:
        """Of a segment that was heard, or of one that was not, which is a failure."""
        part = data.draw(st.sampled_from(self.waiting))
        part.failed_after_sound = bool(part.ended) and not part.has_sound
        part.orders.put_nowait(True)
        self.let_happen()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), error=ERRORS)
    def somebody_fails(self, data: st.DataObject, error: JuneTtsError) -> None:
        """Before sound, in the middle, or between two sentences."""
        part = data.draw(st.sampled_from(self.waiting))
        part.failed_after_sound = part.has_sound or bool(part.ended)
        part.orders.put_nowait(error)
        self.let_happen()

    @rule(seconds=st.sampled_from([0.1, 1.0, 2.9, 3.1, 31.0]))
    def time_passes(self, seconds: float) -> None:
        """Which some deadlines do not survive."""
        self.let_happen(seconds)

    @rule(name=st.sampled_from(NAMES), health=st.sampled_from([WELL, ILL]))
    def health_changes(self, name: str, health: Health) -> None:
        """As probes will find."""
        self.puppets[name].health = health

    @rule()
    def somebody_looks(self) -> None:
        """At the health of all, which counts."""
        self.loop.run_until_complete(self.client.health())

    @precondition(lambda self: self.going_on)
    @rule(data=st.data())
    def listener_leaves(self, data: st.DataObject) -> None:
        """Barge-in: nobody speaks for them any more."""
        one = data.draw(st.sampled_from(self.going_on))
        one.has_left = True
        self.loop.run_until_complete(one.stream.aclose())
        assert not [part for part in self.waiting if part.utterance == one.number]

    @invariant()
    def one_speaks_at_a_time(self) -> None:
        """For each utterance, as long as it goes on, and nobody after that."""
        speaking = [part.utterance for puppet in self.puppets.values() for part in puppet.open]
        assert len(speaking) == len(set(speaking))
        assert set(speaking) <= {one.number for one in self.going_on}

    @invariant()
    def every_sentence_is_finished_once_and_in_order(self) -> None:
        """Whoever takes over begins with the first one that is not finished."""
        for one in self.listening:
            ended = sorted(n for part in self.parts(one.number) for n in part.ended)
            assert ended == list(range(len(ended)))
            for part in self.parts(one.number):
                first = part.given[0]
                assert part.given == list(range(first, first + len(part.given)))
                others = [o for o in self.parts(one.number) if o is not part]
                assert set(range(first)) <= {n for other in others for n in other.ended}

    @invariant()
    def the_report_knows(self) -> None:
        """What was finished is spoken, the rest is not, and all samples are counted."""
        for one in self.listening:
            report = one.stream.report
            n_ended = sum(len(part.ended) for part in self.parts(one.number))
            assert report.spoken_text == "".join(SENTENCES[:n_ended])
            assert report.spoken_text + report.unspoken_text == TEXT
            assert round(report.audio_s * RATE_HZ) == sum(one.n_samples)
            if report.outcome == "complete":
                assert n_ended == len(SENTENCES)
            if report.outcome == "cancelled":
                assert one.has_left
            assert sum(one.n_samples) >= n_ended * round(CHUNK_S * RATE_HZ)

    @invariant()
    def who_broke_off_does_not_come_back_soon(self) -> None:
        """Nor more often than it has tries, in the utterance in which that was."""
        for one in self.listening:
            parts = self.parts(one.number)
            for name in NAMES:
                own = [part for part in parts if part.name == name]
                assert sum(part.failed_after_sound for part in own) <= TRIES
                n_starts = 2 + sum(part.failed_after_sound for part in parts)
                assert len(own) <= TRIES * n_starts

    @invariant()
    def nobody_gives_up_too_early(self) -> None:
        """An utterance fails only when each backend has had its chance."""
        for one in self.listening:
            if one.stream.report.outcome == "failed":
                assert {part.name for part in self.parts(one.number)} == set(NAMES)

    def teardown(self) -> None:
        """Nothing is left."""
        self.leaving.set()
        self.loop.run_until_complete(self.life)
        self.let_happen()
        assert not any(puppet.open for puppet in self.puppets.values())
        assert asyncio.all_tasks(self.loop) == set()
        self.loop.close()


async def listen(stream: SpeechStream, n_samples: list[int]) -> None:
    """Take everything; failures stand in the report."""
    with suppress(JuneTtsError):
        async for chunk in stream:
            n_samples.append(len(chunk.samples))  # noqa: PERF401  looked at meanwhile


SpeechMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
TestSpeech = SpeechMachine.TestCase
