"""Text that is given again: to whom, from where, and with which tags in front."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from fakes import settled
from junetts._replay import Reader, Replay
from junetts._utterance import Segment

pytestmark = pytest.mark.anyio


def replay_of(*texts: str, indices: list[int] | None = None) -> Replay:
    """A replay of segments that are all there."""

    async def segments() -> AsyncIterator[Segment]:
        for index, text in zip(indices or range(len(texts)), texts, strict=True):
            yield Segment(index=index, text=text)

    return Replay(segments())


async def texts_of(reader: Reader) -> list[str]:
    """All that a reader is still given."""
    return [segment.text async for segment in reader]


class Source:
    """Segments that come one by one, when they are told to."""

    def __init__(self) -> None:
        self.coming: asyncio.Queue[Segment | None] = asyncio.Queue()
        self.n_waiting = 0

    def __aiter__(self) -> Source:
        return self

    async def __anext__(self) -> Segment:
        assert self.n_waiting == 0
        self.n_waiting += 1
        try:
            segment = await self.coming.get()
        finally:
            self.n_waiting -= 1
        if segment is None:
            raise StopAsyncIteration
        return segment

    def come(self, *texts: str) -> None:
        """Let these arrive."""
        for index, text in enumerate(texts):
            self.coming.put_nowait(Segment(index=index, text=text))


async def test_every_reader_gets_everything_that_is_not_finished() -> None:
    """Side by side, and whoever comes later, from the first unfinished segment on."""
    replay = replay_of("a", "b", "c")
    first, second = replay.reader(), replay.reader()
    assert (await anext(first)).text == "a"
    assert await texts_of(second) == ["a", "b", "c"]
    assert await texts_of(first) == ["b", "c"]
    replay.finished(0)
    assert await texts_of(replay.reader()) == ["b", "c"]
    replay.finished(2)
    assert await texts_of(replay.reader()) == []


async def test_a_reader_keeps_its_place_while_others_finish() -> None:
    """What is forgotten shifts nothing."""
    replay = replay_of("a", "b", "c", "d")
    reader, ahead = replay.reader(), replay.reader()
    assert [(await anext(reader)).text for _ in range(2)] == ["a", "b"]
    assert (await anext(ahead)).text == "a"
    replay.finished(0)
    assert (await anext(reader)).text == "c"
    assert (await anext(ahead)).text == "b"


async def test_who_is_overtaken_gets_nothing_more() -> None:
    """Its segment was finished by another, so that it is too late to speak it."""
    replay = replay_of("a", "b", "c")
    late, quick = replay.reader(), replay.reader()
    assert await texts_of(quick) == ["a", "b", "c"]
    replay.finished(1)
    assert await texts_of(late) == []


async def test_indices_may_have_gaps() -> None:
    """Unspeakable segments are left out; finishing one finishes those before it, and no other."""
    replay = replay_of("a", "b", "c", indices=[0, 3, 7])
    assert await replay.has_more()
    await texts_of(replay.reader())
    assert replay.index == 0
    replay.finished(2)
    assert replay.index == 3
    assert await texts_of(replay.reader()) == ["b", "c"]
    replay.finished(6)
    assert await texts_of(replay.reader()) == ["c"]
    replay.finished(7)
    assert not await replay.has_more()


async def test_whether_there_is_more_is_known_when_the_text_says_so() -> None:
    """It waits for text; asking takes nothing away."""
    source = Source()
    replay = Replay(source)
    asking = asyncio.create_task(replay.has_more())
    await settled(5)
    assert not asking.done()
    source.come("a")
    assert await asking
    assert await replay.has_more()
    assert (await anext(replay.reader())).text == "a"
    replay.finished(0)
    source.coming.put_nowait(None)
    assert not await replay.has_more()


async def test_two_readers_who_wait_do_not_take_text_from_each_other() -> None:
    """The source is read by one at a time, and each gets every segment."""
    source = Source()
    replay = Replay(source)
    both = [asyncio.create_task(texts_of(replay.reader())) for _ in range(2)]
    await settled(5)
    source.come("a", "b", "c")
    source.coming.put_nowait(None)
    source.coming.put_nowait(None)
    assert await asyncio.gather(*both) == [["a", "b", "c"]] * 2


async def test_a_reader_that_is_cancelled_while_it_waits_loses_no_text() -> None:
    """The next one gets what it waited for."""
    source = Source()
    replay = Replay(source)
    leaving = asyncio.create_task(texts_of(replay.reader()))
    staying = asyncio.create_task(texts_of(replay.reader()))
    await settled(5)
    leaving.cancel()
    await settled(5)
    source.come("a", "b")
    source.coming.put_nowait(None)
    assert await staying == ["a", "b"]


async def test_a_reader_overtaken_while_it_waits_gets_nothing() -> None:
    """Neither what it waited for, nor an error."""
    source = Source()
    replay = Replay(source)
    source.come("a")
    quick, late = replay.reader(), replay.reader()
    assert [(await anext(one)).text for one in (quick, late)] == ["a", "a"]
    both = [asyncio.create_task(texts_of(one)) for one in (quick, late)]
    await settled(5)
    source.coming.put_nowait(Segment(index=1, text="b"))
    await settled(1)  # it has come, and one of them has it
    assert source.coming.empty()
    replay.finished(1)
    source.coming.put_nowait(None)
    source.coming.put_nowait(None)
    assert await both[0] == ["b"]
    assert await both[1] == []


async def test_a_sentence_goes_on_where_it_broke_off() -> None:
    """Only the first one of a reader, and again from there if it breaks off a second time."""
    replay = replay_of("one two three. ", "four. ")
    reader = replay.reader()
    await texts_of(reader)
    assert (replay.offset, replay.unfinished) == (0, "one two three. ")
    replay.resume_after(4)
    assert (replay.offset, replay.unfinished) == (4, "two three. ")
    assert await texts_of(replay.reader()) == ["two three. ", "four. "]
    replay.resume_after(4)
    assert (replay.offset, replay.unfinished) == (8, "three. ")
    assert await texts_of(replay.reader()) == ["three. ", "four. "]
    replay.finished(0)
    assert (replay.offset, replay.unfinished) == (0, "four. ")
    assert await texts_of(replay.reader()) == ["four. "]
    replay.finished(1)
    assert (replay.offset, replay.unfinished) == (0, "")


async def test_what_is_given_again_is_the_segment_itself() -> None:
    """With its own index; unchanged, unless something is left out or put in front."""
    replay = replay_of("one two. ", indices=[5])
    segment = await anext(replay.reader())
    assert segment == Segment(index=5, text="one two. ")
    assert await anext(replay.reader()) is segment
    replay.resume_after(4)
    assert await anext(replay.reader()) == Segment(index=5, text="two. ")


async def test_the_speaker_goes_along() -> None:
    """Whoever spoke last, however long ago that was said; but not twice, and not in between."""
    replay = replay_of("<|speaker:1|>One. ", "Two. ", "Three. ", " <|speaker:0|>Four. ", "Five. ")
    whole = await texts_of(replay.reader())
    assert whole[1:3] == ["Two. ", "Three. "]
    replay.finished(0)
    assert (await texts_of(replay.reader()))[:2] == ["<|speaker:1|>Two. ", "Three. "]
    replay.finished(1)
    assert (await texts_of(replay.reader()))[0] == "<|speaker:1|>Three. "
    replay.finished(2)
    assert (await texts_of(replay.reader()))[0] == " <|speaker:0|>Four. "
    replay.finished(3)
    assert await texts_of(replay.reader()) == ["<|speaker:0|>Five. "]


async def test_tags_inside_the_sentence_go_along() -> None:
    """A mood that coloured what was heard colours the rest."""
    replay = replay_of("[happy] One two. ")
    await texts_of(replay.reader())
    replay.resume_after(len("[happy] One "))
    assert await texts_of(replay.reader()) == ["[happy] two. "]
