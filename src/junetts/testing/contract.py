"""What every backend promises, as tests that your own backend can be put through.

With pytest, whatever its plugins are::

    from junetts.testing import BackendContract

    class TestBeeper(BackendContract):
        def backend(self):
            return Beeper()

If it needs something to speak to, make ``backend`` an async context manager that yields it::

    class TestBeeper(BackendContract):
        @asynccontextmanager
        async def backend(self):
            async with BeepingServer() as server:
                yield Beeper(server.url)

Without pytest, all checks at once::

    asyncio.run(check_backend(Beeper))

Each check has a backend of its own, in an event loop of its own; it is closed afterwards and must
not leave a task behind. What breaks a promise is a `ContractError` that says which.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from junetts._backend import TtsBackend
from junetts._utterance import Voice
from junetts.testing import _contract_checks as checks
from junetts.testing._contract_checks import CHECKS, Check, ContractError, Subject

__all__ = ["BackendContract", "ContractError", "check_backend"]

LIMIT_S = 15.0
TASKS_END_WITHIN_S = 1.0
UNKNOWN_VOICE = Voice(language="x-unknown")

Made = TtsBackend | AbstractAsyncContextManager[TtsBackend]


async def check_backend(
    make: Callable[[], Made], *, unknown_voice: Voice = UNKNOWN_VOICE, limit_s: float = LIMIT_S
) -> None:
    """Put a backend through all checks, each with a newly made one.

    Args:
        make: gives a backend, or an async context manager that does.
        unknown_voice: one that the backend does not know; by default a `Voice` without an id and
            without a recording.
        limit_s: how long one check may take, by the event loop's clock.

    Raises:
        ContractError: with every promise that is broken.
    """
    broken: list[str] = []
    for check in CHECKS:
        try:
            await _run(check, make, unknown_voice, limit_s)
        except ContractError as error:
            broken.append(f"  {error}")
    if broken:
        lines = [f"{len(broken)} of {len(CHECKS)} promises are broken:", *broken]
        raise ContractError("\n".join(lines))


class BackendContract:
    """To be subclassed by a test class, with ``backend``; pytest finds the tests by itself.

    The tests are plain functions that run an event loop each, so they need no plugin.

    Attributes:
        unknown_voice: one that the backend does not know.
        limit_s: how long one check may take, by the event loop's clock.
    """

    unknown_voice: Voice = UNKNOWN_VOICE
    limit_s: float = LIMIT_S

    def backend(self) -> Made:
        """A new backend, or an async context manager that gives one."""
        raise NotImplementedError("a subclass of BackendContract must define `backend`")

    def event_loop(self) -> asyncio.AbstractEventLoop:
        """A new event loop for one check."""
        return asyncio.new_event_loop()

    def check(self, check: Check) -> None:
        """Run one check."""
        with asyncio.Runner(loop_factory=self.event_loop) as runner:
            runner.run(_run(check, self.backend, self.unknown_voice, self.limit_s))

    def test_it_is_a_backend(self) -> None:
        """It has the protocol's members, and says what it can do."""
        self.check(checks.it_is_a_backend)

    def test_segments_come_in_order_and_each_is_closed(self) -> None:
        """Audio of one segment is consecutive, ends with `end`, and is never mixed."""
        self.check(checks.segments_come_in_order_and_each_is_closed)

    def test_no_text_is_no_audio(self) -> None:
        """Nothing to say is success."""
        self.check(checks.no_text_is_no_audio)

    def test_utterances_at_once_do_not_mix(self) -> None:
        """Several at once each get what they would get alone."""
        self.check(checks.utterances_at_once_do_not_mix)

    def test_text_may_come_late(self) -> None:
        """Audio of the first segment is handed out while the second is still being written."""
        self.check(checks.text_may_come_late)

    def test_leaving_early_is_barge_in(self) -> None:
        """Left at any point, it reads no more text and speaks the next utterance whole."""
        self.check(checks.leaving_early_is_barge_in)

    def test_being_cancelled_is_barge_in(self) -> None:
        """Cancellation at each of the first steps of the event loop leaves it usable."""
        self.check(checks.being_cancelled_is_barge_in)

    def test_failing_text_is_survived(self) -> None:
        """A text source that raises ends the utterance with an error, and nothing else."""
        self.check(checks.failing_text_is_survived)

    def test_unspeakable_text_is_no_failure(self) -> None:
        """A segment without a letter or digit is closed like any other, with or without audio."""
        self.check(checks.unspeakable_text_is_no_failure)

    def test_an_unknown_voice_is_refused(self) -> None:
        """A voice that is nothing to this backend is never replaced by another."""
        self.check(checks.an_unknown_voice_is_refused)

    def test_a_probe_finds_it_well(self) -> None:
        """Health is found out, and is good: what is checked is able to speak."""
        self.check(checks.a_probe_finds_it_well)

    def test_warming_up_is_optional_and_harmless(self) -> None:
        """It speaks the same before and after."""
        self.check(checks.warming_up_is_optional_and_harmless)

    def test_closing_is_final_and_may_be_repeated(self) -> None:
        """A closed backend refuses with an error of ours."""
        self.check(checks.closing_is_final_and_may_be_repeated)

    def test_a_seed_is_honoured(self) -> None:
        """If it says that it can, the same seed gives the same speech, but for rounding."""
        self.check(checks.a_seed_is_honoured)

    def test_word_times_are_told(self) -> None:
        """If it says that it can, words come in order, within their segment's audio."""
        self.check(checks.word_times_are_told)


async def _run(
    check: Check, make: Callable[[], Made], unknown_voice: Voice, limit_s: float
) -> None:
    """Run one check in time, and see that nothing of it is left.

    Raises:
        ContractError: naming the check.
    """
    name = getattr(check, "__name__", repr(check)).replace("_", " ")
    before = asyncio.all_tasks()
    task = asyncio.create_task(_checked(check, make, unknown_voice))
    try:
        await asyncio.wait([task], timeout=limit_s)
        if not task.done():
            task.cancel()  # which it may not let happen
            await asyncio.wait([task], timeout=TASKS_END_WITHIN_S)
            raise ContractError(f"this took more than {limit_s:g} s")
        task.result()
        await _tasks_ended(before)
    except ContractError as error:
        raise ContractError(f"{name}: {error}") from error
    except Exception as error:
        raise ContractError(f"{name}: it raised {type(error).__name__}: {error}") from error
    finally:
        task.cancel()


async def _checked(check: Check, make: Callable[[], Made], unknown_voice: Voice) -> None:
    async with _made(make()) as backend:
        await check(Subject(backend=backend, unknown_voice=unknown_voice))


@asynccontextmanager
async def _made(made: Made) -> AsyncIterator[TtsBackend]:
    """The backend, closed afterwards."""
    if isinstance(made, AbstractAsyncContextManager):
        async with made as backend:
            try:
                yield backend
            finally:
                await backend.aclose()
        return
    try:
        yield made
    finally:
        await made.aclose()


async def _tasks_ended(before: set[asyncio.Task[object]]) -> None:
    left = asyncio.all_tasks() - before
    if left:
        _, left = await asyncio.wait(left, timeout=TASKS_END_WITHIN_S)
    if left:
        names = ", ".join(sorted(repr(task.get_coro()) for task in left))
        raise ContractError(f"closed, it left tasks behind: {names}")
