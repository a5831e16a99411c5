"""Every fault, everywhere, against junetts's own clients: the right error, or the truth."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from fakes import RATE_HZ, FakeBackend, settled, speaks
from junetts._backend import BackendAudio, TtsBackend
from junetts._config import CloudSection, ServerSection
from junetts._errors import (
    AuthenticationError,
    BackendBusyError,
    BackendTimeoutError,
    BackendUnavailableError,
    JuneTtsError,
    NoAudioError,
    QuotaError,
    RateLimitedError,
    RemoteProtocolError,
)
from junetts._guard import GuardedBackend
from junetts._utterance import Segment, Utterance
from junetts.backends.cloud import CloudBackend
from junetts.backends.server import ServerBackend
from junetts.testing import (
    AFTER_END,
    AT_END,
    BEFORE_ANSWER,
    BEFORE_SOUND,
    CloudServer,
    Detection,
    Fault,
    FaultKind,
    FaultPlan,
    FaultRule,
    FishServer,
    after_bytes,
    faulty,
)
from junetts.testing.faults import Wire
from virtual_time import VIRTUAL_TIME

pytestmark = pytest.mark.anyio

TEXTS = ("Hi one.", "Hi two.", "Hi six.")
FIRST_AUDIO_S, STALL_S, CONNECT_S = 3.0, 2.0, 5.0
UTTERANCE = Utterance(first_audio_timeout_s=FIRST_AUDIO_S, stall_timeout_s=STALL_S)
SLACK_S = 0.5  # virtual: no work takes time, so this is for what waits on purpose
WIRES: tuple[Wire, ...] = ("cloud", "server", "backend")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """No test here waits for real time."""
    return VIRTUAL_TIME


@dataclass
class Heard:
    """What an utterance was: audio by segment, which of them ended, and what was raised."""

    pcm: dict[int, bytes] = field(default_factory=dict)
    ended: list[int] = field(default_factory=list)
    error: JuneTtsError | None = None
    is_before_sound: bool = True
    silence_s: float = 0.0

    @property
    def is_whole(self) -> bool:
        """Whether it claims to be complete."""
        return self.error is None and self.ended == [0, 1, 2]


async def segments_of(*texts: str) -> AsyncIterator[Segment]:
    """Segments that are all there at once."""
    for index, text in enumerate(texts):
        yield Segment(index=index, text=text)


async def speak(backend: TtsBackend, *texts: str) -> Heard:
    """Everything that is heard, and how long the longest silence was."""
    heard, loop = Heard(), asyncio.get_running_loop()
    last_s = loop.time()
    try:
        async with backend.speak(UTTERANCE, segments_of(*(texts or TEXTS))) as audio:
            heard.is_before_sound = False
            async for item in audio:
                heard.silence_s = max(heard.silence_s, loop.time() - last_s)
                last_s = loop.time()
                note(heard, item)
    except JuneTtsError as error:
        heard.error = error
    heard.silence_s = max(heard.silence_s, loop.time() - last_s)
    return heard


def note(heard: Heard, item: BackendAudio) -> None:
    """Put an item where it belongs."""
    heard.pcm[item.segment] = heard.pcm.get(item.segment, b"") + item.data
    if item.end is not None:
        heard.ended.append(item.segment)


@dataclass
class Subject:
    """A backend as it is assembled, and how to let it in again."""

    backend: GuardedBackend
    mend: Callable[[], object]


@asynccontextmanager
async def cloud(plan: FaultPlan) -> AsyncIterator[Subject]:
    """The cloud backend and its server."""
    async with CloudServer(faults=plan, frame_bytes=1024) as server:
        section = CloudSection.model_validate(
            {
                "url": server.url,
                "api_keys": ["k"],
                "sample_rate": RATE_HZ,
                "connect_timeout_s": CONNECT_S,
            }
        )
        guarded = GuardedBackend(CloudBackend(section), sample_rate=RATE_HZ)
        try:
            yield Subject(guarded, server.mend)
        finally:
            await guarded.aclose()


@asynccontextmanager
async def fish(plan: FaultPlan) -> AsyncIterator[Subject]:
    """The server backend and its server."""
    async with FishServer(faults=plan, chunk_bytes=4096) as server:
        section = ServerSection.model_validate({"url": server.url, "connect_timeout_s": CONNECT_S})
        guarded = GuardedBackend(ServerBackend(section), sample_rate=44_100)
        try:
            yield Subject(guarded, server.mend)
        finally:
            await guarded.aclose()


@asynccontextmanager
async def in_process(plan: FaultPlan) -> AsyncIterator[Subject]:
    """A backend without any wire."""
    interfere, perform = faulty(plan), speaks(n_chunks=10)
    backend = FakeBackend(lambda segment: interfere(segment, perform(segment)))

    async def mend() -> None:
        """There is no door."""

    yield Subject(GuardedBackend(backend, sample_rate=RATE_HZ), mend)


SUBJECTS = {"cloud": cloud, "server": fish, "backend": in_process}


# What changes audio, or is late with the end, strikes at the end instead.
NEVER_AFTER_END = {kind for kind in FaultKind if not Fault(kind=kind, where=AFTER_END).is_after_end}
_usual: dict[Wire, Mapping[int, bytes]] = {}


@pytest.fixture
async def usual(wire: Wire) -> Mapping[int, bytes]:
    """What is heard when nothing goes wrong."""
    if wire not in _usual:
        _usual[wire] = await heard_usually(wire)
    return _usual[wire]


async def heard_usually(wire: Wire) -> Mapping[int, bytes]:
    """The same, which is always the same."""
    async with SUBJECTS[wire](FaultPlan()) as subject:
        heard = await speak(subject.backend)
    assert heard.is_whole
    return heard.pcm


PLACES = {
    "before the answer": BEFORE_ANSWER,
    "before sound": BEFORE_SOUND,
    "after a byte": after_bytes(1),
    "mid-segment": after_bytes(4097),
    "at the end": AT_END,
}


def longest_silence_s(kind: FaultKind) -> float:
    """How long a client may take to give up, or to hear all of it."""
    return max(FIRST_AUDIO_S, CONNECT_S, 64 * 0.2 if kind is FaultKind.TRICKLE else 0) + SLACK_S


@pytest.mark.parametrize("struck", [0, 1])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", FaultKind)
@pytest.mark.parametrize("wire", WIRES)
async def test_a_fault_that_stays_is_told(
    wire: Wire, kind: FaultKind, place: str, struck: int, usual: Mapping[int, bytes]
) -> None:
    """What comes before it is heard, nothing of the segment after it, and the ending is honest."""
    fault = Fault(kind=kind, where=PLACES[place])
    plan = FaultPlan(FaultRule(fault=fault, when=lambda text: text == TEXTS[struck]))
    before = asyncio.all_tasks()
    async with SUBJECTS[wire](plan) as subject:
        heard = await speak(subject.backend)
    await settled()
    assert asyncio.all_tasks() == before
    assert plan.strikes
    assert heard.silence_s <= longest_silence_s(kind)
    for index in range(struck):
        assert heard.pcm[index] == usual[index]
    if fault.detection(wire) is Detection.FAILURE:
        require_failure(heard, fault, struck, usual)
    elif fault.detection(wire) is Detection.HARMLESS:
        assert heard.is_whole
        assert heard.pcm == usual
    else:
        assert heard.is_whole or heard.error is not None


def require_failure(heard: Heard, fault: Fault, struck: int, usual: Mapping[int, bytes]) -> None:
    """The struck segment is not claimed, what is heard of it is right, and an error says why."""
    assert isinstance(heard.error, BackendUnavailableError)
    assert heard.error.backend
    assert heard.ended == list(range(struck))
    assert set(heard.pcm) <= {*range(struck), struck}
    assert usual[struck].startswith(heard.pcm.get(struck, b""))
    if fault.where.is_before_sound and fault.kind is not FaultKind.LATE_FINISH:
        assert not heard.pcm.get(struck)
        assert heard.is_before_sound == (struck == 0)
    if fault.where.point == "end" and fault.kind is not FaultKind.RESET:
        assert heard.error is not None


@pytest.mark.parametrize("place", ["before sound", "mid-segment", "at the end"])
@pytest.mark.parametrize("kind", FaultKind)
@pytest.mark.parametrize("wire", WIRES)
async def test_a_fault_that_passes_leaves_a_backend_that_works(
    wire: Wire, kind: FaultKind, place: str, usual: Mapping[int, bytes]
) -> None:
    """Struck once it fails or has got over it; then everything is as usual again."""
    fault = Fault(kind=kind, where=PLACES[place])
    plan = FaultPlan(FaultRule(fault=fault, segment=1, times=1))
    async with SUBJECTS[wire](plan) as subject:
        heard = await speak(subject.backend)
        if fault.detection(wire) is not Detection.IMPOSSIBLE and heard.error is None:
            assert heard.is_whole
            assert heard.pcm == usual
        await subject.mend()
        await asyncio.sleep(fault.delay_s)  # a server that is late is busy until then
        again = await speak(subject.backend)
    assert len(plan.strikes) == 1
    assert again.is_whole
    assert again.pcm == usual


@pytest.mark.parametrize("struck", [0, 2])
@pytest.mark.parametrize("kind", sorted(set(FaultKind) - NEVER_AFTER_END, key=lambda k: k.value))
@pytest.mark.parametrize("wire", WIRES)
async def test_between_segments(
    wire: Wire, kind: FaultKind, struck: int, usual: Mapping[int, bytes]
) -> None:
    """What was finished stays so; after it, speech goes on, or an error says why not."""
    fault = Fault(kind=kind, where=AFTER_END)
    plan = FaultPlan(FaultRule(fault=fault, when=lambda text: text == TEXTS[struck]))
    before = asyncio.all_tasks()
    async with SUBJECTS[wire](plan) as subject:
        heard = await speak(subject.backend)
    await settled()
    assert asyncio.all_tasks() == before
    assert plan.strikes
    assert heard.silence_s <= longest_silence_s(kind)
    assert heard.ended == list(range(len(heard.ended)))
    assert len(heard.ended) > struck
    assert all(heard.pcm[index] == usual[index] for index in heard.ended)
    assert heard.error is not None or heard.is_whole
    if struck == 2 and wire != "backend":
        assert heard.is_whole


AT_ONCE: Mapping[tuple[Wire, FaultKind], type[JuneTtsError]] = {
    ("cloud", FaultKind.REFUSE): BackendUnavailableError,
    ("cloud", FaultKind.NEVER_ACCEPT): BackendTimeoutError,
    ("cloud", FaultKind.NEVER_ANSWER): BackendTimeoutError,
    ("cloud", FaultKind.STATUS): BackendBusyError,
    ("server", FaultKind.REFUSE): BackendUnavailableError,
    ("server", FaultKind.NEVER_ACCEPT): BackendTimeoutError,
    ("server", FaultKind.NEVER_ANSWER): BackendTimeoutError,
    ("server", FaultKind.STATUS): BackendBusyError,
}


@pytest.mark.parametrize(("wire", "kind"), AT_ONCE)
async def test_a_door_that_is_shut_from_the_beginning(wire: Wire, kind: FaultKind) -> None:
    """Nobody gets so far as to ask for anything, and each way has its error."""
    plan = FaultPlan(Fault(kind=kind))
    async with SUBJECTS[wire](plan) as subject:
        heard = await speak(subject.backend)
    assert type(heard.error) is AT_ONCE[wire, kind]
    assert heard.is_before_sound
    assert heard.pcm == {}
    assert heard.silence_s <= CONNECT_S + SLACK_S


ERRORS: Mapping[FaultKind, type[JuneTtsError]] = {
    FaultKind.CLOSE: RemoteProtocolError,
    FaultKind.DROP: RemoteProtocolError,
    FaultKind.TRUNCATE: RemoteProtocolError,
    FaultKind.HALF_OPEN: BackendTimeoutError,
    FaultKind.STALL: BackendTimeoutError,
    FaultKind.OK_THEN_NOTHING: BackendTimeoutError,
    FaultKind.CORRUPT: RemoteProtocolError,
    FaultKind.ZEROS: NoAudioError,
    FaultKind.NO_AUDIO: NoAudioError,
    FaultKind.FINISH_ERROR: BackendUnavailableError,
    FaultKind.LATE_FINISH: BackendTimeoutError,
}


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("wire", WIRES)
async def test_each_kind_has_its_error(wire: Wire, kind: FaultKind) -> None:
    """What is raised says what was wrong, and all of these may pass."""
    async with SUBJECTS[wire](FaultPlan(FaultRule(fault=Fault(kind=kind), segment=0))) as subject:
        heard = await speak(subject.backend)
    assert type(heard.error) is ERRORS[kind]
    assert heard.error.retryable


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, AuthenticationError),
        (402, QuotaError),
        (429, RateLimitedError),
        (503, BackendBusyError),
    ],
)
@pytest.mark.parametrize("wire", WIRES)
async def test_each_status_has_its_error(
    wire: Wire, status: int, error: type[JuneTtsError]
) -> None:
    """The status and the time to wait are told."""
    fault = Fault(kind=FaultKind.STATUS, status=status, retry_after_s=9)
    async with SUBJECTS[wire](FaultPlan(fault)) as subject:
        heard = await speak(subject.backend)
    assert type(heard.error) is error
    assert (heard.error.status, heard.error.retry_after_s) == (status, 9)


@pytest.mark.parametrize("wire", WIRES)
async def test_a_plan_at_random_is_survived(wire: Wire) -> None:
    """Whatever strikes, an utterance is whole or an error, and its audio is never wrong."""
    plan = FaultPlan.random(7, wire=wire, rate=0.4)
    outcomes = []
    async with SUBJECTS[wire](plan) as subject:
        for i in range(40):
            text = f"Hi {i:03}."
            heard = await speak(subject.backend, text)
            assert heard.silence_s <= 64 * 0.2 + SLACK_S
            outcomes.append(heard.error is None)
            is_whole = heard.error is None or plan.strikes[-1].fault.is_after_end
            assert heard.ended == ([0] if is_whole else [])
            await asyncio.sleep(6)
    assert 5 < outcomes.count(False) < 30
    assert len(plan.strikes) >= outcomes.count(False)
