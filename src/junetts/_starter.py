"""The search for a backend that has sound: turns, retries, and races for the first sound."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TypeVar

from junetts._backend import TtsBackend
from junetts._config_sections import FallbackSection
from junetts._delivery import Delivery, InlineDelivery, TaskDelivery
from junetts._errors import (
    InvalidRequestError,
    JuneTtsError,
    NoBackendAvailableError,
    UnknownVoiceError,
)
from junetts._events import (
    AttemptFailed,
    BackendChosen,
    Hedged,
    Retrying,
    UtteranceEvent,
    VoiceSubstituted,
)
from junetts._monitor import HealthMonitor
from junetts._replay import Replay
from junetts._report import Attempt, Substitution
from junetts._roster import Roster, Turn
from junetts._utterance import Utterance

D = TypeVar("D", bound=Delivery)


class Starter:
    """Finds who speaks.

    Guarantees: a backend that has no sound is released before the next begins, unless they race;
    who loses a race is cancelled at once and released by `aclose`; the monitor is told of every
    failure that it should know of.
    """

    def __init__(
        self,
        backends: Mapping[str, TtsBackend],
        utterance: Utterance,
        replay: Replay,
        *,
        rules: FallbackSection,
        monitor: HealthMonitor,
        random: Callable[[], float],
    ) -> None:
        self._roster = Roster(
            tuple(backends),
            is_ready=monitor.is_ready,
            tries=rules.tries,
            max_wait_s=rules.patience_s,
            substitutes=rules.on_unknown_voice == "substitute" and utterance.voice is not None,
            random=random,
        )
        self._backends = backends
        self._utterance = utterance
        self._replay = replay
        self._rules = rules
        self._monitor = monitor
        self._clock = asyncio.get_running_loop().time
        self._number = utterance.number
        self._losers: list[TaskDelivery] = []
        self._reasons: dict[str, JuneTtsError] = {}  # the latest of each backend
        self._unknown_voice: dict[str, str] = {}

    async def start(self) -> Delivery:
        """The first delivery that has sound.

        Raises:
            NoBackendAvailableError: if none of several has any.
            JuneTtsError: why the only one has none.
            InvalidRequestError: if what is asked for is beyond every one of them.
        """
        self._roster.begin()
        while (turn := self._roster.take(now=self._clock())) is not None:
            await self._wait_for(turn)
            if self._rules.hedge_after_s and self._roster.has_relief:
                delivery = await self._race(turn)
            else:
                delivery = await self._begin(turn)
            if delivery is not None:
                return delivery
        raise self._verdict()

    def broke_off(self, delivery: Delivery, error: JuneTtsError) -> None:
        """Enter that a backend failed after sound."""
        self._reasons[delivery.backend] = error
        self._monitor.failed(delivery.backend, error, use=delivery.use)
        self._roster.broke_off(delivery.backend)

    def has_others_than(self, name: str) -> bool:
        """Whether anyone else may still speak in this utterance."""
        return any(other != name for other in self._roster.admitted)

    def has_better_than(self, name: str) -> bool:
        """Whether a backend that is preferred to this one may speak and is not known to be down."""
        return any(map(self._monitor.is_ready, self._roster.better_than(name)))

    def call_back(self, name: str) -> None:
        """Let those who are preferred to this one have a turn, if they have recovered."""
        for other in self._roster.better_than(name):
            if self._monitor.is_ready(other):
                self._roster.call_back(other)

    async def aclose(self) -> None:
        """Wait until all who lost a race have released what they held."""
        async with AsyncExitStack() as stack:
            while self._losers:
                stack.push_async_callback(self._losers.pop().aclose)

    async def _wait_for(self, turn: Turn) -> None:
        if turn.number == 1:
            return
        delay_s = max(0.0, turn.not_before - self._clock())
        self._observe(Retrying(utterance=self._number, backend=turn.backend, delay_s=delay_s))
        await asyncio.sleep(delay_s)

    async def _begin(self, turn: Turn) -> Delivery | None:
        """A delivery that has sound, or None and why not is entered."""
        delivery = self._delivery(InlineDelivery, turn)
        try:
            await delivery.start()
        except JuneTtsError as error:
            self._failed(turn, delivery, error)
            return None
        except BaseException:
            self._monitor.left(turn.backend, use=delivery.use)
            raise
        return self._chosen(delivery)

    async def _race(self, turn: Turn) -> Delivery | None:
        """Begin one, and another if that is late; whoever has sound first, if anyone has."""
        racing = {self._delivery(TaskDelivery, turn): turn}
        winner: TaskDelivery | None = None
        try:
            winner = await self._first_of(racing)
        finally:
            for delivery in racing:
                if delivery is not winner:
                    self._overtaken(delivery, by=winner)
        return None if winner is None else self._chosen(winner)

    async def _first_of(self, racing: dict[TaskDelivery, Turn]) -> TaskDelivery | None:
        timeout_s: float | None = self._rules.hedge_after_s
        while racing:
            known = [delivery.known for delivery in racing]
            await asyncio.wait(known, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            for delivery, turn in tuple(racing.items()):
                if delivery.known.done() and await self._has_started(delivery, turn):
                    return delivery
                if delivery.known.done():
                    del racing[delivery]
            if timeout_s is not None and racing:
                self._hedge(racing)
            timeout_s = None
        return None

    async def _has_started(self, delivery: TaskDelivery, turn: Turn) -> bool:
        try:
            await delivery.start()
        except JuneTtsError as error:
            await delivery.aclose()
            self._failed(turn, delivery, error)
            return False
        return True

    def _hedge(self, racing: dict[TaskDelivery, Turn]) -> None:
        """Start the next one beside the one that is late."""
        turn = self._roster.take(now=self._clock())
        assert turn is not None
        (slow,) = racing
        racing[self._delivery(TaskDelivery, turn)] = turn
        self._observe(
            Hedged(utterance=self._number, slow_backend=slow.backend, backend=turn.backend)
        )

    def _overtaken(self, delivery: TaskDelivery, *, by: TaskDelivery | None) -> None:
        delivery.cancel()
        self._losers.append(delivery)
        self._monitor.left(delivery.backend, use=delivery.use)
        if by is not None:
            self._observe_attempt(delivery.backend, f"{by.backend} had sound sooner")

    def _delivery(self, kind: Callable[..., D], turn: Turn) -> D:
        """Begin a turn: with a short deadline if another could take over."""
        is_hurried = self._roster.has_relief
        utterance = self._utterance
        if is_hurried:
            utterance = replace(
                utterance,
                first_audio_timeout_s=self._rules.first_audio_timeout_s,
                stall_timeout_s=self._rules.stall_timeout_s,
            )
        if turn.in_own_voice:
            utterance = replace(utterance, voice=None)
        return kind(
            self._backends[turn.backend],
            utterance,
            self._replay.reader(),
            is_hurried=is_hurried,
            in_own_voice=turn.in_own_voice,
            use=self._monitor.begin(turn.backend),
        )

    def _chosen(self, delivery: D) -> D:
        reason = self._why_another_voice(delivery)
        if reason is not None:
            substitution = Substitution(backend=delivery.backend, reason=reason)
            self._observe(VoiceSubstituted(utterance=self._number, substitution=substitution))
        self._observe(BackendChosen(utterance=self._number, backend=delivery.backend))
        return delivery

    def _why_another_voice(self, delivery: Delivery) -> str | None:
        """Why this is not the voice asked for, or that of the backends before; None if it is."""
        if delivery.in_own_voice:
            return self._unknown_voice[delivery.backend]
        if self._utterance.voice is not None:
            return None
        for name, backend in self._backends.items():
            voice = backend.capabilities.voice
            if name == delivery.backend:
                break
            if voice is not None and self._backends[delivery.backend].capabilities.voice is None:
                return f"no voice is configured for it; {name} has {voice!r}"
        return None

    def _failed(self, turn: Turn, delivery: Delivery, error: JuneTtsError) -> None:
        self._reasons[turn.backend] = error
        if isinstance(error, UnknownVoiceError):
            self._unknown_voice[turn.backend] = error.message
        self._monitor.failed(turn.backend, error, use=delivery.use)
        self._observe_attempt(turn.backend, error.message)
        self._roster.failed(turn, error, now=self._clock(), was_hurried=delivery.is_hurried)

    def _observe_attempt(self, backend: str, reason: str) -> None:
        attempt = Attempt(backend=backend, reason=reason)
        self._observe(AttemptFailed(utterance=self._number, attempt=attempt))

    def _observe(self, event: UtteranceEvent) -> None:
        if self._utterance.observe is not None:
            self._utterance.observe(event)

    def verdict(self, error: JuneTtsError) -> JuneTtsError:
        """What the caller is told of a failure after which nobody goes on: every reason."""
        if len(self._reasons) < 2 or self._rules.on_partial == "fail":
            return error
        verdict = NoBackendAvailableError(tuple(self._reasons.items()))
        verdict.__cause__ = error
        return verdict

    def _verdict(self) -> JuneTtsError:
        """What the caller is told; what no backend can honour is the caller's to mend."""
        errors = tuple(self._reasons.values())
        if len(self._backends) == 1 or all(type(one) is InvalidRequestError for one in errors):
            return errors[0]
        verdict = NoBackendAvailableError(tuple(self._reasons.items()))
        verdict.__cause__ = errors[-1]
        return verdict
