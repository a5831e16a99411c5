"""Faults in the audio of a backend that has no wire, item by item."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from fakes import audio, speaks
from junetts._backend import BackendAudio
from junetts._errors import (
    BackendBusyError,
    BackendUnavailableError,
    JuneTtsError,
    RateLimitedError,
    RemoteProtocolError,
)
from junetts._report import WordTime
from junetts._utterance import Segment
from junetts.testing import (
    AFTER_END,
    AT_END,
    BEFORE_ANSWER,
    BEFORE_SOUND,
    Fault,
    FaultKind,
    FaultPlan,
    FaultRule,
    Where,
    after_bytes,
    after_events,
    faulty,
)
from virtual_time import VIRTUAL_TIME

pytestmark = pytest.mark.anyio

SEGMENT = Segment(index=4, text="Some words.")
PARTS = [bytes([i]) * 10 for i in range(1, 5)]
ALL = b"".join(PARTS)
WORDS = (WordTime(text="Some", start_s=0.0, end_s=0.2, provenance="aligned"),)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """No test here waits for real time."""
    return VIRTUAL_TIME


@dataclass
class Source:
    """A segment's audio; the last item has both sound and the end."""

    n_taken: int = 0
    is_closed: bool = False

    async def items(self) -> AsyncIterator[BackendAudio]:
        """Ten bytes an item."""
        try:
            for part in PARTS[:-1]:
                self.n_taken += 1
                yield audio(SEGMENT, part)
            self.n_taken += 1
            yield audio(SEGMENT, PARTS[-1], end="truncated", words=WORDS)
        finally:
            self.is_closed = True


@dataclass
class Heard:
    """What came through."""

    items: list[BackendAudio] = field(default_factory=list)
    error: BaseException | None = None
    took_s: float = 0.0
    times_s: list[float] = field(default_factory=list)

    @property
    def pcm(self) -> bytes:
        """All audio."""
        return b"".join(item.data for item in self.items)

    @property
    def is_ended(self) -> bool:
        """Whether the end came, as it was, and last."""
        return [item.end for item in self.items if item.end] == ["truncated"] and bool(
            self.items[-1].end
        )


async def hear(fault: Fault | None, source: Source | None = None) -> Heard:
    """Everything, for at most 1000 s."""
    heard, loop = Heard(), asyncio.get_running_loop()
    plan = FaultPlan() if fault is None else FaultPlan(fault)
    began_s = loop.time()
    try:
        async with asyncio.timeout(1000):
            async for item in faulty(plan)(SEGMENT, (source or Source()).items()):
                heard.items.append(item)
                heard.times_s.append(loop.time() - began_s)
    except (JuneTtsError, TimeoutError) as error:
        heard.error = error
    heard.took_s = loop.time() - began_s
    return heard


WHERE = [
    pytest.param(BEFORE_ANSWER, 0, id="before the answer"),
    pytest.param(BEFORE_SOUND, 0, id="before sound"),
    pytest.param(after_bytes(13), 13, id="after bytes"),
    pytest.param(after_bytes(20), 20, id="after whole items"),
    pytest.param(after_events(2), 20, id="after events"),
    pytest.param(AT_END, 40, id="at the end"),
    pytest.param(after_bytes(1000), 40, id="after more than there is"),
]
ERRORS: dict[FaultKind, type[BaseException]] = {
    FaultKind.REFUSE: BackendUnavailableError,
    FaultKind.STATUS: BackendBusyError,
    FaultKind.CLOSE: RemoteProtocolError,
    FaultKind.DROP: RemoteProtocolError,
    FaultKind.RESET: BackendUnavailableError,
    FaultKind.FINISH_ERROR: BackendUnavailableError,
    FaultKind.ERROR_EVENT: RateLimitedError,
    FaultKind.NEVER_ACCEPT: TimeoutError,
    FaultKind.NEVER_ANSWER: TimeoutError,
    FaultKind.HALF_OPEN: TimeoutError,
    FaultKind.STALL: TimeoutError,
    FaultKind.OK_THEN_NOTHING: TimeoutError,
}


async def test_nothing_is_changed_without_a_fault() -> None:
    """But that an end is an item of its own."""
    heard = await hear(None)
    assert [item.data for item in heard.items] == [*PARTS, b""]
    assert heard.is_ended
    assert [item.words for item in heard.items] == [None, None, None, WORDS, None]


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_breaking_off_and_hanging(kind: FaultKind, where: Where, n_bytes: int) -> None:
    """Audio comes as far as was said, then the error, or nothing."""
    source = Source()
    heard = await hear(Fault(kind=kind, where=where, retry_after_s=3), source)
    assert heard.pcm == ALL[:n_bytes]
    assert not any(item.end for item in heard.items)
    assert type(heard.error) is ERRORS[kind]
    assert source.n_taken == min(4, -(-n_bytes // 10)) or n_bytes == 40
    await asyncio.sleep(0)
    assert source.is_closed or source.n_taken == 0


async def test_what_is_told_of_an_error() -> None:
    """A status is what it would be over a wire; too many requests are only that with a limit."""
    error = (await hear(Fault(kind=FaultKind.STATUS, status=503, retry_after_s=3))).error
    assert isinstance(error, BackendUnavailableError)
    assert (error.status, error.retry_after_s, error.backend) == (503, 3, None)
    fault = Fault(kind=FaultKind.ERROR_EVENT, max_concurrency=None, message="odd")
    error = (await hear(fault)).error
    assert type(error) is BackendUnavailableError
    assert "odd" in str(error)


@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_stopping_without_an_end(where: Where, n_bytes: int) -> None:
    """Nothing is raised, and nothing claimed."""
    heard = await hear(Fault(kind=FaultKind.TRUNCATE, where=where))
    assert (heard.pcm, heard.error) == (ALL[:n_bytes], None)
    assert not any(item.end for item in heard.items)


@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_audio_of_another_segment(where: Where, n_bytes: int) -> None:
    """One item is of a segment that nobody asked for, between those that are right."""
    heard = await hear(Fault(kind=FaultKind.CORRUPT, where=where))
    (place,) = [i for i, item in enumerate(heard.items) if item.segment != SEGMENT.index]
    assert b"".join(item.data for item in heard.items[:place]) == ALL[:n_bytes]
    del heard.items[place]
    assert heard.pcm == ALL
    assert heard.is_ended


@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_a_late_end(where: Where, n_bytes: int) -> None:
    """All audio comes at once, and the end after its time, wherever the fault is."""
    heard = await hear(Fault(kind=FaultKind.LATE_FINISH, where=where, delay_s=70))
    assert heard.is_ended
    assert heard.pcm == ALL
    assert heard.times_s == [*[0.0] * (len(heard.items) - 1), 70.0]


@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_all_the_rest_at_once(where: Where, n_bytes: int) -> None:
    """One item has it, the end and the word times included."""
    heard = await hear(Fault(kind=FaultKind.HUGE_FRAME, where=where))
    assert heard.pcm == ALL
    assert heard.is_ended
    assert len(heard.items[-1].data) == 40 - n_bytes
    assert [item.words for item in heard.items if item.words] == [WORDS]


@pytest.mark.parametrize(("where", "n_bytes"), WHERE)
async def test_a_trickle(where: Where, n_bytes: int) -> None:
    """The rest comes in portions of a byte, each after a pause; at the end, the last two items."""
    fault = Fault(kind=FaultKind.TRICKLE, where=where, trickle_bytes=1, trickle_pause_s=2)
    heard = await hear(fault)
    assert heard.pcm == ALL
    assert heard.is_ended
    assert heard.took_s == pytest.approx(2 * (40 - n_bytes if n_bytes < 40 else 20))


@pytest.mark.parametrize(
    ("kind", "where", "pcm"),
    [
        (FaultKind.DUPLICATE, BEFORE_SOUND, PARTS[0] + ALL),
        (FaultKind.DUPLICATE, after_bytes(13), ALL[:20] + ALL[13:]),
        (FaultKind.DUPLICATE, AT_END, ALL[:30] + ALL[20:]),
        (FaultKind.REORDER, BEFORE_SOUND, PARTS[1] + PARTS[0] + ALL[20:]),
        (FaultKind.REORDER, after_events(1), PARTS[0] + PARTS[2] + PARTS[1] + PARTS[3]),
        (FaultKind.REORDER, AT_END, ALL[:20] + PARTS[3] + PARTS[2]),
        (FaultKind.ZEROS, after_bytes(13), ALL[:14] + bytes(26)),
        (FaultKind.ZEROS, AT_END, ALL[:20] + bytes(20)),
        (FaultKind.WRONG_RATE, after_bytes(20), ALL[:20] + b"\3\3" * 3 + b"\4\4" * 2),
        (FaultKind.NO_AUDIO, BEFORE_SOUND, b""),
        (FaultKind.NO_AUDIO, after_bytes(13), ALL[:13]),
        (FaultKind.NO_AUDIO, AT_END, ALL[:20]),
    ],
)
async def test_audio_that_is_changed(kind: FaultKind, where: Where, pcm: bytes) -> None:
    """The end comes as if all was well."""
    heard = await hear(Fault(kind=kind, where=where))
    assert heard.pcm == pcm
    assert heard.is_ended


@pytest.mark.parametrize("kind", FaultKind)
async def test_a_segment_without_audio(kind: FaultKind) -> None:
    """There is nothing to strike, but every fault does what it can."""

    async def nothing() -> AsyncIterator[BackendAudio]:
        yield audio(SEGMENT, words=WORDS)
        yield audio(SEGMENT, end="complete")

    for where in (BEFORE_SOUND, after_bytes(3), AT_END):
        fault = Fault(kind=kind, where=where, delay_s=1)
        try:
            async with asyncio.timeout(100):
                items = [item async for item in faulty(FaultPlan(fault))(SEGMENT, nothing())]
        except (JuneTtsError, TimeoutError) as error:
            assert type(error) is ERRORS[kind]  # noqa: PT017
        else:
            assert all(item.data == b"" for item in items if item.segment == SEGMENT.index)


async def test_leaving_closes_the_audio() -> None:
    """In the same step, whatever the fault was at."""
    for fault in (None, Fault(kind=FaultKind.CORRUPT), Fault(kind=FaultKind.DUPLICATE)):
        source = Source()
        plan = FaultPlan() if fault is None else FaultPlan(fault)
        items = faulty(plan)(SEGMENT, source.items())
        await anext(items)
        await anext(items)
        await items.aclose()  # type: ignore[attr-defined]  # an async generator, as its source is
        assert source.is_closed


async def test_a_rule_strikes_as_often_as_it_is_told_to() -> None:
    """By the text, and only so many times."""
    fault = Fault(kind=FaultKind.DROP)
    interfere = faulty(FaultPlan(FaultRule(fault=fault, when=lambda text: "b" in text, times=1)))
    outcomes = []
    for text in ("a", "b", "b"):
        segment = Segment(index=0, text=text)
        try:
            items = [item async for item in interfere(segment, speaks(2)(segment))]
        except RemoteProtocolError:
            outcomes.append(0)
        else:
            outcomes.append(len(items))
    assert outcomes == [3, 0, 3]


@pytest.mark.parametrize("kind", FaultKind)
async def test_after_the_end(kind: FaultKind) -> None:
    """The segment is whole; what it fails with comes after it."""
    fault = Fault(kind=kind, where=AFTER_END)
    heard = await hear(fault)
    if not fault.is_after_end:
        assert heard.items == (await hear(Fault(kind=kind, where=AT_END))).items
        return
    if kind is FaultKind.CORRUPT:
        assert heard.items.pop().segment != SEGMENT.index
    assert heard.is_ended
    assert heard.pcm == ALL
    assert type(heard.error) is ERRORS.get(kind, type(None))
