"""The blocking API: one thread per stream, gone whatever happens to its listener."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import junetts
from fakes import RATE_HZ, FakeBackend, breaks, hangs, speaks
from junetts._blocking import ThreadSource
from junetts._errors import (
    BackendUnavailableError,
    ConfigError,
    InvalidRequestError,
    SynthesisInterruptedError,
    UsageError,
)
from junetts._stream import SpeechStream

TEXT = "This is the first sentence. This is the second sentence. This is the third sentence."


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    """After each test the threads are those from before."""
    before = set(threading.enumerate())
    yield
    gc.collect()
    for thread in set(threading.enumerate()) - before:
        if thread.name != "AnyIO worker thread":  # the test's own loop ends its workers itself
            thread.join(5)
            assert not thread.is_alive()


def config(backend: FakeBackend, **settings: object) -> dict[str, object]:
    """Settings with a ready-made backend."""
    return {"backends": [backend], "sample_rate": RATE_HZ, **settings}


def released(backend: FakeBackend) -> bool:
    """Whether nothing of the backend is in use, and it was closed."""
    return (backend.n_open, backend.n_closed) == (0, 1)


def test_synthesize() -> None:
    """One call, all of the speech."""
    backend = FakeBackend()
    speech = junetts.synthesize(TEXT, config=config(backend))
    assert speech.duration_s == pytest.approx(0.9)
    assert speech.report.outcome == "complete"
    assert released(backend)


def test_stream() -> None:
    """A plain ``for`` loop hears everything; then the stream is over, for ever."""
    backend = FakeBackend()
    stream = junetts.stream(TEXT, config=config(backend))
    assert (stream.report.outcome, stream.report.unspoken_text) == ("speaking", TEXT)
    assert backend.utterances == []
    chunks = list(stream)
    assert [round(chunk.start_s, 3) for chunk in chunks] == [round(0.1 * i, 3) for i in range(9)]
    assert (stream.report.outcome, stream.report.spoken_text) == ("complete", TEXT)
    assert released(backend)
    with pytest.raises(StopIteration):
        next(stream)
    with pytest.raises(UsageError, match="spoken once"):
        iter(stream)


def test_break() -> None:
    """``break`` releases backend and thread before the next statement."""
    backend = FakeBackend(speaks(1000))
    n_threads = threading.active_count()
    for _ in junetts.stream(TEXT, config=config(backend)):
        break
    assert released(backend)
    assert threading.active_count() == n_threads


def test_the_report_after_a_break() -> None:
    """It says what was heard, not what was made."""
    backend = FakeBackend(speaks(3))
    stream = junetts.stream(TEXT, config=config(backend))
    for chunk in stream:
        if chunk.segment == 1:
            break
    report = stream.report
    assert (report.outcome, report.spoken_text) == ("cancelled", "This is the first sentence. ")
    assert report.audio_s == pytest.approx(0.4)
    with pytest.raises(StopIteration):
        next(stream)


def test_an_exception_in_the_loop() -> None:
    """It passes through; the stream is released."""
    backend = FakeBackend(hangs(after=1))
    with pytest.raises(ZeroDivisionError):  # noqa: PT012  the loop is the point
        for _ in junetts.stream(TEXT, config=config(backend)):
            raise ZeroDivisionError
    assert released(backend)


def test_ctrl_c_in_the_loop() -> None:
    """KeyboardInterrupt in the body stops everything."""
    backend = FakeBackend(hangs(after=1))
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012  the loop is the point
        for _ in junetts.stream(TEXT, config=config(backend)):
            signal.raise_signal(signal.SIGINT)
    assert released(backend)


def test_ctrl_c_while_waiting_for_sound() -> None:
    """KeyboardInterrupt while the next chunk is awaited stops everything."""

    async def interrupt() -> None:
        loop = asyncio.get_running_loop()
        main = threading.main_thread().ident
        assert main is not None
        loop.call_later(0.05, signal.pthread_kill, main, signal.SIGINT)

    backend = FakeBackend(hangs(), enter=interrupt)
    stream = junetts.stream(TEXT, config=config(backend))
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    assert released(backend)
    assert stream.report.outcome == "cancelled"


def test_a_stream_never_iterated() -> None:
    """Nothing was started, so nothing is left; closing it makes it cancelled."""
    backend = FakeBackend()
    junetts.stream(TEXT, config=config(backend))
    with junetts.stream(TEXT, config=config(backend)) as stream:
        pass
    stream.flush()
    assert (stream.report.outcome, stream.report.unspoken_text) == ("cancelled", TEXT)
    with pytest.raises(StopIteration):
        next(stream)
    assert (backend.utterances, backend.n_closed) == ([], 0)


def test_close_twice_and_cancel() -> None:
    """Closing is idempotent, and `cancel` is the same."""
    backend = FakeBackend(hangs(after=1))
    stream = junetts.stream(TEXT, config=config(backend))
    next(stream)
    stream.flush()
    stream.cancel()
    stream.close()
    stream.flush()
    assert released(backend)
    assert stream.report.outcome == "cancelled"


def test_a_stream_dropped_half_read() -> None:
    """The last reference releases everything, in this thread or another."""
    for target in (lambda held: held.clear(), lambda held: _in_a_thread(held.clear)):
        backend = FakeBackend(hangs(after=1))
        held = [junetts.stream(TEXT, config=config(backend))]
        next(held[0])
        target(held)
        assert released(backend)


def _in_a_thread(work: object) -> None:
    assert callable(work)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_a_stream_dropped_in_its_own_thread() -> None:
    """Where the collector runs in the stream's own event loop, its thread still ends."""
    held: list[SpeechStream] = []
    dropped = threading.Event()

    async def forget() -> None:
        await asyncio.get_running_loop().run_in_executor(None, may_drop.wait)
        held.clear()
        dropped.set()

    may_drop = threading.Event()

    def text() -> Iterator[str]:
        yield "Hello there. How is it going? "
        may_drop.wait(10)
        held.clear()
        dropped.set()
        yield "Never. "

    async def async_text() -> AsyncIterator[str]:
        yield "Hello there. How is it going? "
        await forget()
        yield "Never. "

    strangers = set(threading.enumerate())  # other tests' libraries leave some running
    for source in (text(), async_text()):
        may_drop.clear()
        dropped.clear()
        backend = FakeBackend()
        held.append(junetts.stream(source, config=config(backend)))
        next(held[0])
        may_drop.set()
        assert dropped.wait(10)
        for thread in set(threading.enumerate()) - strangers:
            thread.join(5)
        assert released(backend)


def test_cancel_from_another_thread() -> None:
    """A listener that waits, or is about to, hears the end."""
    backend = FakeBackend(hangs(after=2))
    stream = junetts.stream(TEXT, config=config(backend))
    heard = 0
    for _ in stream:
        heard += 1
        if heard == 2:
            threading.Timer(0.05, stream.cancel).start()
    assert (heard, stream.report.outcome) == (2, "cancelled")
    assert released(backend)
    other = junetts.stream(TEXT, config=config(FakeBackend()))
    for heard, _ in enumerate(other):
        assert heard == 0
        _in_a_thread(other.cancel)


def test_closing_in_the_moment_of_the_next_chunk() -> None:
    """A stream that another thread closes while it begins, or asks for a chunk, just ends."""
    for n_heard in (0, 1):
        backend = FakeBackend(hangs(after=1))
        stream = junetts.stream(TEXT, config=config(backend))
        for _ in range(n_heard):
            next(stream)
        source = stream._source
        assert isinstance(source, ThreadSource)
        begin = source._started

        def closed_first(source: ThreadSource = source, begin: object = begin) -> object:
            source.close()
            assert callable(begin)
            return begin()

        source._started = closed_first  # type: ignore[method-assign, assignment]
        with pytest.raises(StopIteration):
            next(stream)
        assert stream.report.outcome == "cancelled"


def test_two_threads_share_one_stream() -> None:
    """Each chunk goes to one of them, and both see the end."""
    stream = junetts.stream(TEXT * 5, config=config(FakeBackend()))
    starts: list[float] = []

    def listen() -> None:
        while (chunk := next(stream, None)) is not None:
            starts.append(chunk.start_s)

    threads = [threading.Thread(target=listen) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    n_chunks = 3 * len(stream.report.segments)
    assert sorted(starts) == pytest.approx([0.1 * i for i in range(n_chunks)])
    assert stream.report.outcome == "complete"


def test_many_threads_each_with_a_stream() -> None:
    """Streams do not know each other."""
    backends = [FakeBackend() for _ in range(8)]
    speeches: list[float] = []

    def speak(backend: FakeBackend) -> None:
        speeches.append(junetts.synthesize(TEXT, config=config(backend)).duration_s)

    threads = [threading.Thread(target=speak, args=(backend,)) for backend in backends]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert speeches == pytest.approx([0.9] * 8)
    assert all(map(released, backends))


def test_text_from_a_generator() -> None:
    """Text may come from a blocking generator; leaving closes it."""
    closed = []

    def text() -> Iterator[str]:
        try:
            while True:
                yield "Hello there. "
        finally:
            closed.append(True)

    source = text()
    for _ in junetts.stream(source, config=config(FakeBackend())):
        break
    assert closed == [True]
    assert junetts.synthesize(iter("Hi. "), config=config(FakeBackend())).report.outcome == (
        "complete"
    )


def test_errors_reach_the_caller() -> None:
    """Before sound, after sound, and a bug's; the thread is gone each time."""
    for error, raised in (
        (BackendUnavailableError("down"), BackendUnavailableError),
        (KeyError("bug"), BackendUnavailableError),
    ):
        backend = FakeBackend(breaks(error, after=0))
        with pytest.raises(raised):
            junetts.synthesize(TEXT, config=config(backend))
        assert released(backend)
    backend = FakeBackend(breaks(BackendUnavailableError("gone")))
    with pytest.raises(SynthesisInterruptedError) as interrupted:
        list(junetts.stream(TEXT, config=config(backend)))
    assert interrupted.value.speech is not None
    assert released(backend)


def test_wrong_input_is_refused_before_anything_starts() -> None:
    """Text, deadline and settings at once; the rest on the first chunk, leaving nothing."""
    backend = FakeBackend()
    with pytest.raises(InvalidRequestError, match="text must"):
        junetts.stream(3, config=config(backend))  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="timeout_s"):
        junetts.stream(TEXT, config=config(backend), timeout_s=-1)
    with pytest.raises(ConfigError):
        junetts.stream(TEXT, config={"backend": 3})
    stream = junetts.stream(TEXT, config=config(backend), backend="nobody")
    with pytest.raises(InvalidRequestError, match="nobody"):
        next(stream)
    assert released(backend)
    with pytest.raises(StopIteration):
        next(stream)


def test_a_deadline() -> None:
    """``timeout_s`` works here, too."""
    with pytest.raises(BackendUnavailableError, match=r"not finished within 0\.02 s"):
        junetts.synthesize(TEXT, config=config(FakeBackend(hangs())), timeout_s=0.02)


def test_collecting_a_cancelled_stream() -> None:
    """Only what is complete is returned."""
    stream = junetts.stream(TEXT, config=config(FakeBackend()))
    next(stream)
    stream.cancel()
    with pytest.raises(SynthesisInterruptedError, match="cancelled"):
        stream.collect_blocking()


@pytest.mark.anyio
async def test_blocking_calls_in_a_running_loop_are_refused() -> None:
    """They would hold up the loop; the error says what to write instead."""
    backend = FakeBackend()
    with pytest.raises(UsageError, match=r"await tts\.synthesize"):
        junetts.synthesize(TEXT, config=config(backend))
    with pytest.raises(UsageError, match="async for"):
        next(iter(junetts.stream(TEXT, config=config(backend))))
    assert backend.utterances == []


@pytest.mark.anyio
async def test_a_notebook_may_block_its_own_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """In IPython a cell blocks anyway, and the one-liner must work there."""
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=object))
    speech = junetts.synthesize(TEXT, config=config(FakeBackend()))
    assert speech.report.outcome == "complete"
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    with pytest.raises(UsageError):
        junetts.synthesize(TEXT, config=config(FakeBackend()))


@pytest.mark.anyio
async def test_async_iteration_over_a_thread() -> None:
    """The module-level stream is also an async iterable."""
    backend = FakeBackend()
    stream = junetts.stream(TEXT, config=config(backend))
    assert len([chunk async for chunk in stream]) == 9
    assert (stream.report.outcome, released(backend)) == ("complete", True)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    backend = FakeBackend()
    async with junetts.stream(TEXT, config=config(backend)) as stream:
        assert (await stream.collect()).duration_s == pytest.approx(0.9)
    assert released(backend)


@pytest.mark.anyio
async def test_leaving_an_async_loop_over_a_thread() -> None:
    """``break`` is at once in the report; the thread ends without holding up the loop."""
    backend = FakeBackend(speaks(1000))
    stream = junetts.stream(TEXT, config=config(backend))
    async for _ in stream:
        break
    assert stream.report.outcome == "cancelled"
    await stream.aclose()
    assert released(backend)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


@pytest.mark.anyio
@pytest.mark.parametrize("error", [BackendUnavailableError("down"), KeyError("bug")])
async def test_errors_in_an_async_loop_over_a_thread(error: Exception) -> None:
    """An error releases everything, whosever it is."""
    backend = FakeBackend(breaks(error, after=0))
    stream = junetts.stream(TEXT, config=config(backend))
    with pytest.raises(BackendUnavailableError):
        await anext(stream)
    assert released(backend)


@pytest.mark.anyio
async def test_polling_over_a_thread_loses_nothing() -> None:
    """A wait that is cancelled, even in the moment of its result, leaves the chunk to the next."""
    backend = FakeBackend(speaks(20, pause_s=0.002))
    stream = junetts.stream(TEXT, config=config(backend))
    starts: list[float] = []
    while True:
        try:
            starts.append((await asyncio.wait_for(anext(stream), 0.0015)).start_s)
        except TimeoutError:
            continue
        except StopAsyncIteration:
            break
    assert starts == pytest.approx([0.1 * i for i in range(60)])
    assert stream.report.outcome == "complete"


@pytest.mark.anyio
async def test_a_result_that_comes_with_the_cancellation_is_kept() -> None:
    """Cancelled after the chunk has arrived but before it was seen, the wait leaves it there."""
    backend = FakeBackend(speaks(1))
    stream = junetts.stream("Hello there.", config=config(backend))
    source = stream._source
    first = asyncio.ensure_future(anext(stream))
    assert isinstance(source, ThreadSource)
    while (pending := source._pending) is None:  # noqa: ASYNC110  nobody tells when it is made
        await asyncio.sleep(0)
    pending.add_done_callback(lambda _: first.cancel())
    with pytest.raises(asyncio.CancelledError):
        await first
    assert [chunk.start_s async for chunk in stream] == [0.0]


@pytest.mark.anyio
async def test_two_tasks_share_one_stream_over_a_thread() -> None:
    """Each chunk goes to one of them, and both see the end."""
    stream = junetts.stream(TEXT, config=config(FakeBackend(speaks(pause_s=0.001))))
    starts: list[float] = []

    async def listen() -> None:
        while True:
            try:
                starts.append((await anext(stream)).start_s)
            except StopAsyncIteration:
                return

    await asyncio.gather(listen(), listen())
    assert sorted(starts) == pytest.approx([0.1 * i for i in range(9)])


@pytest.mark.anyio
async def test_a_cancelled_task_over_a_thread() -> None:
    """Cancelling the listener is barge-in."""
    backend = FakeBackend(hangs(after=1))
    stream = junetts.stream(TEXT, config=config(backend))
    heard = asyncio.Event()

    async def listen() -> None:
        async for _ in stream:
            heard.set()

    task = asyncio.create_task(listen())
    await heard.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stream.report.outcome == "cancelled"
    await stream.aclose()
    assert released(backend)


def test_a_named_backend_needs_no_search(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With nothing configured, asking for the demo voice neither looks for others nor complains."""
    monkeypatch.delenv("FISH_API_KEY", raising=False)
    speech = junetts.synthesize("Hello.", backend="demo")
    assert speech.report.backend == "demo"
    assert capsys.readouterr().err == ""


def test_what_was_collected_comes_with_the_error() -> None:
    """All that was heard, however long, is in the error's speech."""
    backend = FakeBackend(breaks(BackendUnavailableError("gone"), segment=1))
    with pytest.raises(SynthesisInterruptedError) as raised:
        junetts.synthesize(TEXT, config=config(backend))
    assert raised.value.speech is not None
    assert raised.value.report is not None
    assert raised.value.speech.duration_s == pytest.approx(raised.value.report.audio_s)


def test_collect_in_a_loop_of_its_own() -> None:
    """`collect` is a coroutine function like any other, whichever loop it is given to."""
    stream = junetts.stream(TEXT, config=config(FakeBackend()))
    assert asyncio.run(stream.collect()).report.outcome == "complete"


def test_an_interpreter_that_ends_does_not_wait(tmp_path: Path) -> None:
    """A stream that is still half heard when the script ends does not hold the process up."""
    script = tmp_path / "half_heard.py"
    script.write_text(
        "import junetts\n"
        "stream = junetts.stream('Hello there. ' * 50, backend='demo')\n"
        "chunks = iter(stream)\n"
        "next(chunks)\n"
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, timeout=15, check=False)
    assert ended.returncode == 0


def test_a_start_that_fails_is_a_failure() -> None:
    """Its report says so, and not that somebody cancelled it."""
    stream = junetts.stream(TEXT, config=config(FakeBackend()), backend="nowhere")
    with pytest.raises(InvalidRequestError, match="nowhere"):
        next(iter(stream))
    assert stream.report.outcome == "failed"
