"""Barge-in: whichever way a listener leaves, nothing more is made, read or heard."""

from __future__ import annotations

import asyncio

import pytest

from fakes import FakeBackend, client, hangs, settled, speaks
from junetts import SpeechStream
from leaving import SENTENCES, TEXT, Endless, Way, assert_left, assert_mute, every_way

pytestmark = pytest.mark.anyio


@every_way
async def test_what_was_made_ahead_is_never_heard(leave: Way) -> None:
    """Chunks that wait are forgotten, and the report counts what was handed out only."""
    backend, source = FakeBackend(speaks(20)), Endless()
    async with client(backend) as tts:
        stream = tts.stream(source.awaited())
        await settled(60)
        assert backend.n_bytes > 10 * 1600
        await leave(stream)
        report = stream.report
        n_given, n_read, n_bytes = len(backend.given), len(source.read), backend.n_bytes
        await assert_mute(stream)
        await settled()
        assert (backend.n_open, source.closed.is_set()) == (0, True)
        assert (len(backend.given), len(source.read), backend.n_bytes) == (n_given, n_read, n_bytes)
        assert stream.report == report
    assert_left(stream, source.text)
    assert report.audio_s == pytest.approx(0.1)
    assert report.segments[0].duration_s == pytest.approx(0.1)


@every_way
async def test_leaving_in_the_second_sentence(leave: Way) -> None:
    """The first sentence, whose chunks were all handed out, is spoken; the second is abandoned."""
    async with client(FakeBackend(hangs(segment=1, after=2))) as tts:
        stream = tts.stream("".join(SENTENCES[:4]))
        for _ in range(3):
            await anext(stream)
        await leave(stream)
    report = stream.report
    assert (report.outcome, report.spoken_text) == ("cancelled", SENTENCES[0])
    assert report.unspoken_text == "".join(SENTENCES[1:4])
    assert [s.state for s in report.segments[:2]] == ["spoken", "abandoned"]
    assert report.audio_s == pytest.approx(0.4)


async def test_a_loop_that_nobody_holds_waits_for_its_chunk() -> None:
    """``await anext(aiter(stream))`` gives the first chunk; dropping the loop is leaving it."""
    backend = FakeBackend(speaks(pause_s=0.001))
    async with client(backend) as tts:
        assert (await anext(aiter(tts.stream(TEXT)))).start_s == 0
        stream = tts.stream(TEXT)
        assert (await anext(aiter(stream))).start_s == 0
        assert stream.report.outcome == "cancelled"
        await stream.aclose()
        assert backend.n_open == 0


async def test_a_traceback_does_not_keep_the_work_alive() -> None:
    """A listener's error that is kept does not keep the loop that it came from."""
    backend = FakeBackend(hangs(after=1))
    kept: list[BaseException] = []

    async def listen(stream: SpeechStream) -> None:
        async for _ in stream:
            pass

    async with client(backend) as tts:
        task = asyncio.create_task(listen(tts.stream(TEXT)))
        await settled()
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as error:
            kept.append(error)
        await settled()
        assert backend.n_open == 0
    assert kept


async def test_a_hundred_leave_in_the_same_round() -> None:
    """Each is released, and who stays hears everything."""
    backend = FakeBackend(speaks(pause_s=0.001))
    async with client(backend) as tts:
        streams = [tts.stream(TEXT) for _ in range(100)]
        stays = tts.stream("".join(SENTENCES[:3]))
        await asyncio.gather(*(anext(stream) for stream in streams))
        for stream in streams:
            stream.cancel()
        await settled()
        assert backend.n_open == 1
        assert (await stays.collect()).report.outcome == "complete"
    assert {stream.report.outcome for stream in streams} == {"cancelled"}
