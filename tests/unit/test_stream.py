"""Streams and their listeners: every way to leave, and what is left behind."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator

import pytest

from fakes import FakeBackend, audio, breaks, client, hangs, settled, speaks, tone_pcm
from junetts._backend import BackendAudio
from junetts._errors import (
    BackendUnavailableError,
    NoAudioError,
    RemoteProtocolError,
    SynthesisInterruptedError,
    UsageError,
)
from junetts._stream import SpeechStream
from junetts._utterance import Segment
from virtual_time import VIRTUAL_TIME

TEXT = "This is the first sentence. This is the second sentence. This is the third sentence."


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """No test here waits for real time."""
    return VIRTUAL_TIME


async def hear(stream: SpeechStream, n_chunks: int = 1) -> None:
    """Listen to the first chunks."""
    for _ in range(n_chunks):
        await anext(stream)


@pytest.mark.anyio
async def test_a_stream_is_heard_whole() -> None:
    """Chunks are consecutive, in order of segments, and the report is complete."""
    async with client(FakeBackend()) as tts:
        stream = tts.stream(TEXT)
        chunks = [chunk async for chunk in stream]
    assert [chunk.segment for chunk in chunks] == [0] * 3 + [1] * 3 + [2] * 3
    starts = [round(chunk.start_s, 3) for chunk in chunks]
    assert starts == [round(0.1 * i, 3) for i in range(9)]
    report = stream.report
    assert (report.outcome, report.spoken_text, report.unspoken_text) == ("complete", TEXT, "")
    assert report.audio_s == pytest.approx(0.9)
    assert report.backend == "fake"
    assert [segment.state for segment in report.segments] == ["spoken"] * 3


@pytest.mark.anyio
async def test_a_stream_may_live_in_the_loop_alone() -> None:
    """``async for chunk in tts.stream(...)`` needs no variable to keep the stream alive."""
    async with client(FakeBackend()) as tts:
        chunks = [chunk async for chunk in tts.stream(TEXT)]
    assert len(chunks) == 9


@pytest.mark.anyio
async def test_break_stops_the_work_at_once() -> None:
    """After ``break`` the backend is released and the report says what was heard."""
    backend = FakeBackend(speaks(pause_s=0.05))
    async with client(backend) as tts:
        stream = tts.stream(TEXT)
        n_chunks = 0
        async for _ in stream:
            n_chunks += 1
            if n_chunks == 4:
                break
        assert stream.report.outcome == "cancelled"
        await settled()
        assert backend.n_open == 0
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
    report = stream.report
    assert report.spoken_text == "This is the first sentence. "
    assert report.spoken_text + report.unspoken_text == TEXT
    assert report.audio_s == pytest.approx(0.4)
    assert [segment.state for segment in report.segments[:2]] == ["spoken", "abandoned"]


@pytest.mark.anyio
async def test_an_exception_in_the_body_stops_the_work() -> None:
    """An exception in the loop is barge-in, and reaches the caller as it is."""
    backend = FakeBackend(hangs(after=2))
    async with client(backend) as tts:
        stream = tts.stream(TEXT)
        with pytest.raises(ZeroDivisionError):  # noqa: PT012  the loop is the point
            async for _ in stream:
                raise ZeroDivisionError
        await settled()
        assert (backend.n_open, stream.report.outcome) == (0, "cancelled")


@pytest.mark.anyio
async def test_breaking_a_direct_loop_stops_the_work() -> None:
    """``break`` also stops a stream that nobody has a name for."""
    backend = FakeBackend(hangs(after=2))
    async with client(backend) as tts:
        async for _ in tts.stream(TEXT):
            break
        await settled()
        assert backend.n_open == 0


async def _listen(stream: SpeechStream, heard: list[int]) -> None:
    async for chunk in stream:
        heard.append(chunk.segment)  # noqa: PERF401  what was heard before an error counts


@pytest.mark.anyio
@pytest.mark.parametrize("after", [0, 2])
async def test_a_cancelled_listener_stops_the_work(after: int) -> None:
    """A task cancelled while it waits for a chunk, the first or a later one, is barge-in."""
    backend = FakeBackend(hangs(after=after))
    async with client(backend) as tts:
        stream = tts.stream(TEXT)
        heard: list[int] = []
        task = asyncio.create_task(_listen(stream, heard))
        await settled()
        assert (backend.n_open, len(heard)) == (1, after)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await settled()
        assert (backend.n_open, stream.report.outcome) == (0, "cancelled")


@pytest.mark.anyio
async def test_a_listener_cancelled_in_its_body_stops_the_work() -> None:
    """A task cancelled while it plays a chunk is barge-in."""
    backend = FakeBackend(hangs(after=2))
    async with client(backend) as tts:
        stream = tts.stream(TEXT)

        async def play() -> None:
            async for _ in stream:
                await asyncio.get_running_loop().create_future()

        task = asyncio.create_task(play())
        await settled()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await settled()
        assert (backend.n_open, stream.report.outcome) == (0, "cancelled")


@pytest.mark.anyio
async def test_an_unread_stream_that_is_dropped_stops() -> None:
    """Garbage collection of a stream that nobody read stops the work."""
    backend = FakeBackend(hangs(after=2))
    async with client(backend) as tts:
        stream = tts.stream(TEXT)
        await settled()
        assert backend.n_open == 1
        del stream
        gc.collect()
        await settled()
        assert backend.n_open == 0


@pytest.mark.anyio
async def test_a_stream_dropped_in_another_thread_stops() -> None:
    """The last reference may disappear in a thread that has nothing to do with it."""
    backend = FakeBackend(hangs(after=2))
    async with client(backend) as tts:
        held = [tts.stream(TEXT)]
        await settled()
        thread = threading.Thread(target=held.clear)
        thread.start()
        thread.join()
        await settled()
        assert backend.n_open == 0


@pytest.mark.anyio
async def test_polling_loses_no_chunk() -> None:
    """`anext` under a deadline may time out as often as it likes; the stream goes on."""
    async with client(FakeBackend(speaks(pause_s=1.0))) as tts:
        stream = tts.stream(TEXT)
        chunks = []
        n_timeouts = 0
        while True:
            try:
                chunks.append(await asyncio.wait_for(anext(stream), 0.3))
            except TimeoutError:
                n_timeouts += 1
            except StopAsyncIteration:
                break
    assert (len(chunks), stream.report.outcome) == (9, "complete")
    assert n_timeouts >= 20


@pytest.mark.anyio
async def test_a_cancelled_poll_does_not_deafen_the_next() -> None:
    """A new wait that begins before the cancelled one has unwound still hears the next chunk."""
    async with client(FakeBackend(speaks(pause_s=1.0))) as tts:
        stream = tts.stream(TEXT)
        first = asyncio.ensure_future(anext(stream))
        await settled()
        first.cancel()
        chunk = await asyncio.wait_for(anext(stream), 5)
        assert chunk.start_s == 0
        await stream.aclose()


@pytest.mark.anyio
async def test_two_listeners_share_the_chunks() -> None:
    """Two tasks that ask at once get one chunk each, and both see the end."""
    async with client(FakeBackend(speaks(pause_s=1.0))) as tts:
        stream = tts.stream(TEXT)
        starts: list[float] = []

        async def listen() -> None:
            while True:
                try:
                    starts.append((await anext(stream)).start_s)
                except StopAsyncIteration:
                    return

        await asyncio.gather(listen(), listen())
    assert starts == pytest.approx([0.1 * i for i in range(9)])


@pytest.mark.anyio
async def test_a_stream_is_iterated_once() -> None:
    """A second iteration is refused, whether the first has ended or not."""
    async with client(FakeBackend()) as tts:
        stream = tts.stream(TEXT)
        chunks = aiter(stream)
        await anext(chunks)
        with pytest.raises(UsageError, match="spoken once"):
            aiter(stream)
        with pytest.raises(UsageError, match="spoken once"):
            iter(stream)
        assert len([chunk async for chunk in chunks]) == 8
        with pytest.raises(UsageError, match="spoken once"):
            aiter(stream)


@pytest.mark.anyio
async def test_a_loop_may_go_on_after_anext() -> None:
    """The first chunk may be taken with `anext`, the rest in a loop."""
    async with client(FakeBackend()) as tts:
        stream = tts.stream(TEXT)
        first = await anext(stream)
        rest = [chunk async for chunk in stream]
    assert (first.start_s, len(rest)) == (0, 8)


@pytest.mark.anyio
async def test_nothing_is_heard_after_aclose() -> None:
    """`aclose` waits until the backend is released; it may be called again; nothing follows."""
    backend = FakeBackend(hangs(segment=1))
    async with client(backend) as tts:
        stream = tts.stream(TEXT)
        await hear(stream)
        await stream.aclose()
        assert backend.n_open == 0
        await stream.aclose()
        stream.cancel()
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        assert stream.report.outcome == "cancelled"


@pytest.mark.anyio
async def test_a_stream_is_a_context() -> None:
    """Leaving ``async with`` releases the backend."""
    backend = FakeBackend(hangs(segment=1))
    async with client(backend) as tts:
        async with tts.stream(TEXT) as stream:
            await hear(stream)
        assert (backend.n_open, stream.report.outcome) == (0, "cancelled")


@pytest.mark.anyio
async def test_aclose_after_the_end_changes_nothing() -> None:
    """What was complete stays complete."""
    async with client(FakeBackend()) as tts, tts.stream(TEXT) as stream:
        await stream.collect()
    assert stream.report.outcome == "complete"


@pytest.mark.anyio
async def test_leaving_on_the_last_chunk_is_not_an_interruption() -> None:
    """Who was handed everything and leaves without waiting for the end heard it all."""
    async with client(FakeBackend()) as tts:
        stream = tts.stream(TEXT)
        async for chunk in stream:
            await settled()
            if chunk.start_s > 0.79:
                break
        assert (stream.report.outcome, stream.report.unspoken_text) == ("complete", "")


@pytest.mark.anyio
async def test_a_sentence_that_ended_while_it_was_played_counts() -> None:
    """A segment whose end is known only after its last chunk was handed out is spoken."""

    async def ends_late(segment: Segment) -> AsyncIterator[BackendAudio]:
        yield audio(segment, tone_pcm())
        await asyncio.sleep(0.5)
        yield audio(segment, end="complete")

    async with client(FakeBackend(ends_late)) as tts:
        stream = tts.stream(TEXT)
        async for chunk in stream:
            await asyncio.sleep(0.7)
            if chunk.segment == 1:
                break
        assert stream.report.spoken_text == TEXT[: TEXT.index("This is the third")]
        assert stream.report.outcome == "cancelled"


@pytest.mark.anyio
async def test_cancel_wakes_a_waiting_listener() -> None:
    """`cancel` from another task ends the loop quietly, and nothing more is handed out."""
    backend = FakeBackend(hangs(after=2))
    async with client(backend) as tts:
        stream = tts.stream(TEXT)
        heard: list[int] = []
        task = asyncio.create_task(_listen(stream, heard))
        await settled()
        stream.cancel()
        await task
        await settled()
        assert (backend.n_open, len(heard), stream.report.outcome) == (0, 2, "cancelled")


@pytest.mark.anyio
async def test_cancel_may_come_from_another_thread() -> None:
    """A voice-activity detector in its own thread may barge in."""
    backend = FakeBackend(hangs(after=2))
    async with client(backend) as tts:
        stream = tts.stream(TEXT)
        task = asyncio.create_task(_listen(stream, []))
        await settled()
        thread = threading.Thread(target=stream.cancel)
        thread.start()
        thread.join()
        await task
        await settled()
        assert (backend.n_open, stream.report.outcome) == (0, "cancelled")


@pytest.mark.anyio
async def test_cancel_discards_what_was_made_ahead() -> None:
    """Chunks that were ready but not handed out are never handed out, nor counted."""
    async with client(FakeBackend()) as tts:
        stream = tts.stream(TEXT)
        await hear(stream)
        await settled()
        stream.cancel()
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        assert stream.report.audio_s == pytest.approx(0.1)


@pytest.mark.anyio
async def test_collect_returns_all_of_the_audio() -> None:
    """`collect` joins the chunks."""
    async with client(FakeBackend()) as tts:
        speech = await tts.stream(TEXT).collect()
    assert speech.duration_s == pytest.approx(0.9)
    assert speech.report.outcome == "complete"


@pytest.mark.anyio
async def test_collecting_what_was_cancelled_is_an_error() -> None:
    """Audio that was cut short is carried by an error, never returned."""
    async with client(FakeBackend(hangs(after=2))) as tts:
        stream = tts.stream(TEXT)
        task = asyncio.create_task(stream.collect())
        await settled()
        stream.cancel()
        with pytest.raises(SynthesisInterruptedError, match="it was cancelled") as raised:
            await task
    assert raised.value.speech is not None
    assert raised.value.speech.duration_s == pytest.approx(0.2)
    assert raised.value.report is not None
    assert raised.value.report.outcome == "cancelled"


@pytest.mark.anyio
async def test_an_error_before_sound_is_itself() -> None:
    """Before any sound, the backend's own error is raised, with the report and no speech."""
    async with client(FakeBackend(refuses=NoAudioError("nothing to hear"))) as tts:
        stream = tts.stream(TEXT)
        with pytest.raises(NoAudioError) as raised:
            await anext(stream)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
    error = raised.value
    assert error.backend == "fake"
    assert error.speech is None
    assert error.report is not None
    assert (error.report.outcome, error.report.unspoken_text) == ("failed", TEXT)
    assert error.report.ttfa_s is None
    assert error.report.rtf is None


@pytest.mark.anyio
async def test_an_error_after_sound_is_an_interruption() -> None:
    """After sound the error carries what was heard, and its cause, once all of it was heard."""
    cause = RemoteProtocolError("the line went dead", status=500, trace_id="t-1")
    async with client(FakeBackend(breaks(cause, segment=1, after=2))) as tts:
        stream = tts.stream(TEXT)
        heard: list[int] = []
        with pytest.raises(SynthesisInterruptedError) as raised:
            await _listen(stream, heard)
    error = raised.value
    assert heard == [0, 0, 0, 1, 1]
    assert error.__cause__ is cause
    assert str(error) == "fake: speech broke off: the line went dead (status 500, trace id t-1)"
    assert error.retryable
    assert error.speech is not None
    assert error.speech.duration_s == pytest.approx(0.5)
    assert error.report is not None
    assert error.report == stream.report
    assert (error.report.outcome, error.report.spoken_text) == (
        "failed",
        "This is the first sentence. ",
    )


@pytest.mark.anyio
async def test_a_foreign_error_becomes_one_of_ours() -> None:
    """A bug in a third party's backend harms its own utterance only."""
    async with client(FakeBackend(breaks(KeyError("bug"), after=1))) as tts:
        stream = tts.stream(TEXT)
        with pytest.raises(SynthesisInterruptedError, match="KeyError: 'bug'") as raised:
            await _listen(stream, [])
        assert isinstance(raised.value.__cause__, BackendUnavailableError)
        assert isinstance(raised.value.__cause__.__cause__, KeyError)
        assert stream.report.outcome == "failed"
        assert tts.config.sample_rate == 8000


@pytest.mark.anyio
async def test_leaving_before_an_error_arrives_is_cancelling() -> None:
    """A failure that the listener did not stay for is not reported as one."""
    async with client(FakeBackend(breaks(RemoteProtocolError("broken"), after=3))) as tts:
        stream = tts.stream(TEXT)
        async for _ in stream:
            await settled()
            break
        assert stream.report.outcome == "cancelled"


@pytest.mark.anyio
async def test_a_plain_for_loop_over_an_async_stream_is_refused() -> None:
    """The blocking methods of a stream that belongs to a loop say what to write instead."""
    async with client(FakeBackend()) as tts:
        stream = tts.stream(TEXT)
        with pytest.raises(UsageError, match="async for"):
            next(iter(stream))
        with pytest.raises(UsageError, match="async with"), tts.stream(TEXT):
            pass
        await settled()


@pytest.mark.anyio
async def test_truncated_speech_is_never_a_success() -> None:
    """A backend at its token limit gives a stream that ends ``truncated``, and no `Speech`."""

    async def cut(segment: Segment) -> AsyncIterator[BackendAudio]:
        yield audio(segment, tone_pcm())
        yield audio(segment, end="truncated")

    async with client(FakeBackend(cut)) as tts:
        stream = tts.stream("Hello there.")
        assert len([chunk async for chunk in stream]) == 1
        assert stream.report.outcome == "truncated"
        with pytest.raises(SynthesisInterruptedError, match="max_new_tokens") as raised:
            await tts.synthesize("Hello there.")
    assert raised.value.speech is not None
    assert raised.value.speech.duration_s == pytest.approx(0.1)


@pytest.mark.anyio
async def test_a_hundred_streams_of_which_a_third_are_abandoned() -> None:
    """Many utterances at once, some left early or cancelled, leave nothing behind."""
    backend = FakeBackend(speaks(pause_s=0.1))
    async with client(backend) as tts:
        streams: list[SpeechStream] = []

        async def use(number: int) -> None:
            stream = tts.stream(TEXT)
            streams.append(stream)
            async for _ in stream:
                if number % 3 == 0:
                    break
                if number % 7 == 1:
                    stream.cancel()

        await asyncio.gather(*(use(number) for number in range(100)))
        await settled()
        assert backend.n_open == 0
        outcomes = [stream.report.outcome for stream in streams]
    assert set(outcomes) == {"complete", "cancelled"}
    assert len(backend.utterances) == 100
    assert outcomes.count("complete") == sum(n % 3 != 0 and n % 7 != 1 for n in range(100))


@pytest.mark.anyio
async def test_refused_backends_do_not_end_the_client() -> None:
    """An utterance that fails leaves the others and the client alone."""
    good = FakeBackend(speaks(pause_s=0.1), name="good")
    bad = FakeBackend(refuses=BackendUnavailableError("down"), name="bad")
    async with client(good, bad) as tts:
        stream = tts.stream(TEXT, backend="good")
        await hear(stream)
        with pytest.raises(BackendUnavailableError, match="bad: down"):
            await tts.synthesize(TEXT, backend="bad")
        assert len([chunk async for chunk in stream]) == 8


@pytest.mark.anyio
async def test_anext_of_a_nameless_stream() -> None:
    """Waiting for the first chunk keeps the stream alive; afterwards it is over."""
    backend = FakeBackend(speaks(pause_s=0.1))
    async with client(backend) as tts:
        assert (await anext(tts.stream(TEXT))).start_s == 0
        await settled()
        assert backend.n_open == 0
