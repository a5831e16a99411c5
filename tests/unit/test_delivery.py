"""One backend's delivery, in the caller's task or in its own: entered, taken, left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from anyio import CancelScope

from fakes import FakeBackend, Hook, Performance, audio, breaks, hangs, settled, speaks, tone_pcm
from junetts._backend import BackendAudio
from junetts._breaker import Use
from junetts._delivery import (
    CLEANUP_TIMEOUT_S,
    READ_AHEAD_ITEMS,
    Delivery,
    InlineDelivery,
    TaskDelivery,
)
from junetts._errors import AuthenticationError, BackendUnavailableError
from junetts._replay import Replay
from junetts._utterance import Segment, Utterance
from virtual_time import VIRTUAL_TIME

pytestmark = pytest.mark.anyio

Kind = Callable[..., Delivery]
GONE = BackendUnavailableError("gone")
USE = Use(era=0, is_trial=False)
both_kinds = pytest.mark.parametrize("kind", [InlineDelivery, TaskDelivery])


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """No test here waits for real time."""
    return VIRTUAL_TIME


async def sentences() -> AsyncIterator[Segment]:
    """Two of them."""
    for index in range(2):
        yield Segment(index=index, text="Some words.")


def delivery_of(backend: FakeBackend, kind: Kind = TaskDelivery) -> Delivery:
    """A delivery that is about to start."""
    return kind(
        backend,
        Utterance(),
        Replay(sentences()).reader(),
        is_hurried=True,
        in_own_voice=False,
        use=USE,
    )


async def items_of(delivery: Delivery) -> list[BackendAudio]:
    """All that it yields."""
    return [item async for item in delivery.audio]


class Opening(asyncio.Event):
    """What a backend waits for before it has sound."""

    async def __call__(self) -> None:
        """Wait."""
        await self.wait()


@both_kinds
async def test_everything_is_delivered_in_order(kind: Kind) -> None:
    """All items of all segments, then the end, as often as one asks."""
    backend = FakeBackend(name="b")
    delivery = delivery_of(backend, kind)
    assert (delivery.backend, delivery.is_hurried, delivery.in_own_voice) == ("b", True, False)
    assert delivery.use is USE
    await delivery.start()
    items = await items_of(delivery)
    assert [(item.segment, item.end) for item in items] == [
        (index, end) for index in (0, 1) for end in (None, None, None, "complete")
    ]
    for _ in range(3):
        with pytest.raises(StopAsyncIteration):
            await anext(delivery.audio)
    await delivery.aclose()
    assert backend.n_open == 0


@both_kinds
async def test_why_there_is_no_sound_is_raised_at_the_start(kind: Kind) -> None:
    """And the backend is left by then, or at the latest when it is closed."""
    refusal = AuthenticationError("no")
    backend = FakeBackend(refuses=refusal)
    delivery = delivery_of(backend, kind)
    with pytest.raises(AuthenticationError) as caught:
        await delivery.start()
    assert caught.value is refusal
    await delivery.aclose()
    assert backend.n_open == 0


@both_kinds
async def test_what_fails_after_sound_is_raised_after_the_audio(kind: Kind) -> None:
    """Starting raises nothing, however long ago it failed."""
    delivery = delivery_of(FakeBackend(breaks(GONE, after=1)), kind)
    await settled()
    await delivery.start()
    await settled()
    assert (await anext(delivery.audio)).data
    with pytest.raises(BackendUnavailableError) as caught:
        await anext(delivery.audio)
    assert caught.value is GONE
    await delivery.aclose()


@both_kinds
async def test_closing_leaves_the_backend_where_it_is(kind: Kind) -> None:
    """In the middle of its audio, and more than once."""
    backend = FakeBackend(hangs(after=1))
    before = asyncio.all_tasks()
    delivery = delivery_of(backend, kind)
    await delivery.start()
    await anext(delivery.audio)
    await settled()
    assert backend.n_open == 1
    await delivery.aclose()
    await delivery.aclose()
    assert backend.n_open == 0
    assert asyncio.all_tasks() == before


async def test_inline_nothing_happens_before_the_start() -> None:
    """The backend is not entered until then."""
    backend = FakeBackend()
    delivery = delivery_of(backend, InlineDelivery)
    await settled()
    assert backend.utterances == []
    await delivery.aclose()
    assert backend.utterances == []


async def test_only_a_few_items_are_made_ahead() -> None:
    """A queue of two, and one in the hand."""
    backend = FakeBackend(speaks(100))
    delivery = delivery_of(backend)
    await delivery.start()
    await settled(500)
    assert backend.n_bytes == (READ_AHEAD_ITEMS + 1) * len(tone_pcm())
    await anext(delivery.audio)
    await settled(500)
    assert backend.n_bytes == (READ_AHEAD_ITEMS + 2) * len(tone_pcm())
    await delivery.aclose()


async def test_it_is_known_when_there_is_sound_or_none() -> None:
    """Not before."""
    opening = Opening()
    delivery = delivery_of(FakeBackend(enter=opening))
    refused = delivery_of(FakeBackend(enter=opening, refuses=GONE))
    assert isinstance(delivery, TaskDelivery)
    assert isinstance(refused, TaskDelivery)
    await settled()
    assert not delivery.known.done()
    assert not refused.known.done()
    opening.set()
    await settled()
    assert delivery.known.done()
    assert refused.known.done()
    await delivery.aclose()
    await refused.aclose()


async def test_a_starter_that_is_cancelled_leaves_the_delivery_alone() -> None:
    """Whoever waits next is told."""
    opening = Opening()
    delivery = delivery_of(FakeBackend(enter=opening))
    starting = asyncio.create_task(delivery.start())
    await settled()
    starting.cancel()
    await settled()
    opening.set()
    await delivery.start()
    assert len(await items_of(delivery)) == 8
    await delivery.aclose()


@pytest.mark.parametrize("when", ["at once", "before sound", "after sound"])
async def test_cancelling_stops_it_at_once(when: str) -> None:
    """It is not entered any more, or left in the next step."""
    backend = FakeBackend(hangs(after=1))
    delivery = delivery_of(backend)
    assert isinstance(delivery, TaskDelivery)
    if when != "at once":
        await settled()
    if when == "after sound":
        await delivery.start()
    delivery.cancel()
    await settled()
    assert backend.n_open == 0
    assert len(backend.utterances) == (when != "at once")
    await delivery.aclose()


@pytest.mark.parametrize("performance", [speaks(100), breaks(GONE, after=5)])
async def test_closing_one_whose_audio_nobody_takes(performance: Performance) -> None:
    """That its queue is full keeps nothing from ending."""
    loop, before = asyncio.get_running_loop(), asyncio.all_tasks()
    delivery = delivery_of(FakeBackend(performance))
    await delivery.start()
    await settled()
    await delivery.aclose()
    assert loop.time() == 0
    assert asyncio.all_tasks() == before


class TurnsCancellationIntoError(FakeBackend):
    """As a third party's may."""

    @asynccontextmanager
    async def speak(
        self, utterance: Utterance, segments: AsyncIterable[Segment]
    ) -> AsyncIterator[AsyncIterator[BackendAudio]]:
        """Speak."""
        try:
            async with super().speak(utterance, segments) as made:
                yield made
        except asyncio.CancelledError:
            raise OSError("who are you to cancel me") from None


async def test_closing_one_that_answers_a_cancellation_with_an_error() -> None:
    """It is over all the same, though it has audio that nobody takes."""
    loop, before = asyncio.get_running_loop(), asyncio.all_tasks()
    delivery = delivery_of(TurnsCancellationIntoError(speaks(100)))
    await delivery.start()
    await settled()
    await delivery.aclose()
    assert loop.time() == 0
    assert asyncio.all_tasks() == before


def takes(seconds: float) -> Hook:
    """A cleanup that takes its time."""
    return lambda: asyncio.sleep(seconds)


async def test_its_cleanup_is_waited_for_and_not_disturbed() -> None:
    """Also if it was told to stop long before, and if whoever waits is cancelled meanwhile."""
    backend = FakeBackend(hangs(after=1), leave=takes(CLEANUP_TIMEOUT_S - 1))
    delivery = delivery_of(backend)
    assert isinstance(delivery, TaskDelivery)
    await delivery.start()
    delivery.cancel()
    await settled()
    with CancelScope() as scope:
        scope.cancel()
        await delivery.aclose()
    assert backend.n_open == 0


async def test_a_cleanup_that_hangs_is_not_waited_for_for_ever() -> None:
    """The listener has better things to do."""
    loop = asyncio.get_running_loop()
    delivery = delivery_of(FakeBackend(hangs(after=1), leave=takes(100)))
    await delivery.start()
    await delivery.aclose()
    assert loop.time() == pytest.approx(CLEANUP_TIMEOUT_S)
    await asyncio.sleep(100)


async def test_a_backend_that_cancels_itself_has_failed() -> None:
    """Its failure cannot be mended by another try, and is told to whoever takes."""

    async def stray(segment: Segment) -> AsyncIterator[BackendAudio]:
        yield audio(segment, tone_pcm())
        raise asyncio.CancelledError

    delivery = delivery_of(FakeBackend(stray, name="b"))
    await delivery.start()
    await anext(delivery.audio)
    with pytest.raises(BackendUnavailableError, match="b: the backend cancelled itself") as caught:
        await anext(delivery.audio)
    assert not caught.value.retryable
    await delivery.aclose()


async def test_its_task_has_the_backends_name() -> None:
    """So that one who looks at the tasks knows whose it is."""
    delivery = delivery_of(FakeBackend(name="b"))
    assert "junetts b" in {task.get_name() for task in asyncio.all_tasks()}
    await delivery.aclose()


async def test_one_that_is_leaving_by_itself_is_not_disturbed() -> None:
    """Its text is spoken, and its cleanup under way."""
    left = Opening()
    backend = FakeBackend(speaks(1), leave=left)
    delivery = delivery_of(backend)
    await delivery.start()
    for _ in range(4):
        await anext(delivery.audio)
    await settled()
    closing = asyncio.create_task(delivery.aclose())
    await settled()
    assert backend.n_open == 1
    left.set()
    await closing
    assert backend.n_open == 0
