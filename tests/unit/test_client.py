"""The client: entering and leaving, arguments, and what happens to speech when it closes."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator

import anyio
import pytest

from fakes import RATE_HZ, FakeBackend, client, hangs, settled, speaks
from junetts import TTS, Config, _assembly
from junetts._backend import Health, TtsBackend
from junetts._errors import (
    BackendUnavailableError,
    ConfigError,
    InvalidRequestError,
    NoBackendAvailableError,
    SynthesisInterruptedError,
    UsageError,
)
from junetts._utterance import Prosody, Sampling, Voice
from virtual_time import VIRTUAL_TIME

TEXT = "This is the first sentence. This is the second sentence."


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """No test here waits for real time."""
    return VIRTUAL_TIME


def config(*backends: FakeBackend, **settings: object) -> dict[str, object]:
    """Settings with ready-made backends."""
    return {"backends": list(backends), "sample_rate": RATE_HZ, **settings}


@pytest.mark.anyio
async def test_synthesize_returns_speech() -> None:
    """The whole of the audio, with a complete report."""
    async with client(FakeBackend()) as tts:
        speech = await tts.synthesize(TEXT)
    assert speech.duration_s == pytest.approx(0.6)
    assert (speech.report.outcome, speech.report.spoken_text) == ("complete", TEXT)
    assert (speech.report.characters, speech.report.utf8_bytes) == (len(TEXT), len(TEXT))
    assert speech.report.ttfa_s is not None
    assert speech.report.rtf is not None


@pytest.mark.anyio
@pytest.mark.parametrize("text", ["", "   ", "...", "\n\n", []])
async def test_nothing_to_say_is_speech_of_length_zero(text: str | list[str]) -> None:
    """Text without a letter or digit asks nothing of the backend and succeeds."""
    backend = FakeBackend()
    async with client(backend) as tts:
        speech = await tts.synthesize(text)
    assert (speech.pcm, speech.report.outcome, backend.given) == (b"", "complete", [])
    assert speech.report.spoken_text == "".join(text)


@pytest.mark.anyio
async def test_a_client_that_is_not_entered_says_what_to_write() -> None:
    """Using a client without ``async with`` is refused with the remedy."""
    tts = TTS(config(FakeBackend()))
    with pytest.raises(UsageError, match="async with junetts"):
        tts.stream(TEXT)
    with pytest.raises(UsageError, match="async with junetts"):
        await tts.synthesize(TEXT)
    with pytest.raises(UsageError, match="async with junetts"):
        await tts.warmup()
    with pytest.raises(UsageError, match="async with junetts"):
        await tts.health()


@pytest.mark.anyio
async def test_a_closed_client_is_closed() -> None:
    """After the end nothing can be asked of a client; closing it again does nothing."""
    backend = FakeBackend()
    async with client(backend) as tts:
        pass
    with pytest.raises(UsageError, match="closed"):
        tts.stream(TEXT)
    await tts.aclose()
    assert backend.n_closed == 1


@pytest.mark.anyio
async def test_a_client_is_entered_once() -> None:
    """Entering twice, at the same time or after the end, is refused and harms nothing."""
    async with client(FakeBackend()) as tts:
        with pytest.raises(UsageError, match="entered once"):
            await tts.__aenter__()
        assert (await tts.synthesize(TEXT)).report.outcome == "complete"
    with pytest.raises(UsageError, match="entered once"):
        await tts.__aenter__()


@pytest.mark.anyio
async def test_a_client_belongs_to_its_event_loop() -> None:
    """Another thread, with or without a loop of its own, is told so."""
    errors: list[BaseException] = []
    async with client(FakeBackend()) as tts:

        async def elsewhere() -> None:
            with pytest.raises(UsageError, match="another event loop") as raised:
                tts.stream(TEXT)
            errors.append(raised.value)

        def without_loop() -> None:
            with pytest.raises(UsageError, match="another event loop") as raised:
                tts.stream(TEXT)
            errors.append(raised.value)

        for target in (without_loop, lambda: asyncio.run(elsewhere())):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
    assert len(errors) == 2


@pytest.mark.anyio
async def test_closing_stops_what_is_spoken() -> None:
    """Leaving the client ends its streams quietly, with an honest report."""
    backend = FakeBackend(hangs(segment=1))
    async with client(backend) as tts:
        stream = tts.stream(TEXT)
        await anext(stream)
        await settled()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert stream.report.outcome == "cancelled"


@pytest.mark.anyio
async def test_closing_from_another_task_ends_a_waiting_listener() -> None:
    """`aclose` from elsewhere ends the loop of a listener that waits."""
    async with client(FakeBackend(hangs(after=1))) as tts:
        stream = tts.stream(TEXT)
        task = asyncio.create_task(stream.collect())
        await settled()
        await tts.aclose()
        with pytest.raises(SynthesisInterruptedError, match="cancelled"):
            await task
        with pytest.raises(UsageError, match="closed"):
            tts.stream(TEXT)


@pytest.mark.anyio
async def test_closing_waits_for_the_backends_cleanup() -> None:
    """A backend that needs a moment to let go is given it before it is closed."""
    closed_while_open: list[int] = []

    class Slow(FakeBackend):
        async def aclose(self) -> None:
            closed_while_open.append(self.n_open)
            await super().aclose()

    async def leave() -> None:
        with anyio.CancelScope(shield=True):
            await asyncio.sleep(0.5)

    async with client(Slow(hangs(), leave=leave)) as tts:
        stream = tts.stream(TEXT)
        await settled()
    assert closed_while_open == [0]
    assert stream.report.outcome == "cancelled"


@pytest.mark.anyio
@pytest.mark.parametrize("error", [ValueError("body"), KeyboardInterrupt(), SystemExit(3)])
async def test_an_exception_in_the_body_leaves_as_it_is(error: BaseException) -> None:
    """What the body raises is not wrapped in a group; speech is stopped, backends closed."""
    backend = FakeBackend(hangs(after=1))
    with pytest.raises(type(error)) as raised:  # noqa: PT012  the context is the point
        async with TTS(config(backend)) as tts:
            stream = tts.stream(TEXT)
            await anext(stream)
            raise error
    assert raised.value is error
    assert (backend.n_open, backend.n_closed) == (0, 1)
    assert stream.report.outcome == "cancelled"


@pytest.mark.anyio
async def test_a_cancelled_body_stays_cancelled() -> None:
    """Cancelling the task that owns the client closes it and is not swallowed."""
    backend = FakeBackend(hangs(after=1))

    async def own() -> None:
        async with TTS(config(backend)) as tts:
            await tts.synthesize(TEXT)

    task = asyncio.create_task(own())
    await settled()
    assert backend.n_open == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (backend.n_open, backend.n_closed) == (0, 1)


@pytest.mark.anyio
async def test_deadlines_around_a_client_work() -> None:
    """Both asyncio's and anyio's time limits around ``async with TTS()`` end as they should."""
    for _ in range(2):
        backend = FakeBackend(hangs(after=1))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1), TTS(config(backend)) as tts:
                await tts.synthesize(TEXT)
        assert (backend.n_open, backend.n_closed) == (0, 1)
        backend = FakeBackend(hangs(after=1))
        with anyio.move_on_after(1) as scope:
            async with TTS(config(backend)) as tts:
                await tts.synthesize(TEXT)
        assert scope.cancelled_caught
        assert (backend.n_open, backend.n_closed) == (0, 1)


@pytest.mark.anyio
async def test_a_scope_around_the_client_does_not_complete_its_streams() -> None:
    """Speech that an outer scope cut off is never told to be complete, wherever it is heard."""
    backend = FakeBackend(hangs(after=1))
    heard: list[str] = []

    async def listen(stream: object) -> None:
        assert isinstance(stream, AsyncIterator)
        async for _ in stream:
            pass
        heard.append(stream.report.outcome)  # type: ignore[attr-defined]

    with anyio.move_on_after(1):
        async with TTS(config(backend)) as tts:
            task = asyncio.create_task(listen(aiter_of(tts)))
            await asyncio.get_running_loop().create_future()
    await task
    assert heard == ["cancelled"]


def aiter_of(tts: TTS) -> object:
    """A stream that is its own iterator."""

    class Whole:
        def __init__(self) -> None:
            self.stream = tts.stream(TEXT)

        def __aiter__(self) -> Whole:
            return self

        def __anext__(self) -> object:
            return self.stream.__anext__()

        @property
        def report(self) -> object:
            return self.stream.report

    return Whole()


@pytest.mark.anyio
async def test_a_backend_that_cannot_close_does_not_keep_others_open() -> None:
    """Every backend is closed, even if closing one fails, and the failure is told."""

    class Stuck(FakeBackend):
        async def aclose(self) -> None:
            await super().aclose()
            raise OSError("stuck")

    first, second, third = FakeBackend(name="a"), Stuck(name="b"), FakeBackend(name="c")
    with pytest.raises(OSError, match="stuck"):
        async with TTS(config(first, second, third)):
            pass
    assert [first.n_closed, second.n_closed, third.n_closed] == [1, 1, 1]


@pytest.mark.anyio
async def test_a_backend_that_hangs_on_closing_does_not_hang_the_client() -> None:
    """Closing has a deadline."""

    class Stuck(FakeBackend):
        async def aclose(self) -> None:
            await asyncio.get_running_loop().create_future()

    before = asyncio.get_running_loop().time()
    async with TTS(config(Stuck())):
        pass
    assert asyncio.get_running_loop().time() - before == pytest.approx(5, abs=0.1)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("argument", "value", "field"),
    [
        ("voice", 3, "voice"),
        ("voice", "", "voice.id"),
        ("prosody", 1.2, "prosody"),
        ("sampling", {"temperature": 1}, "sampling"),
        ("language", 3, "language"),
        ("timeout_s", 0, "timeout_s"),
        ("timeout_s", -1, "timeout_s"),
        ("timeout_s", "5", "timeout_s"),
        ("timeout_s", float("nan"), "timeout_s"),
        ("timeout_s", 1e9, "timeout_s"),
        ("backend", "nobody", "backend"),
        ("text", None, "text"),
        ("text", b"bytes", "text"),
        ("text", 3, "text"),
        ("text", ["ok", 3], "text"),
        ("text", "lone \ud800 surrogate", "text"),
    ],
)
async def test_wrong_arguments_are_refused_at_once(
    argument: str, value: object, field: str
) -> None:
    """A wrong argument raises where it was given, names its field, and sends nothing."""
    backend = FakeBackend()
    async with client(backend) as tts:
        arguments = {"text": TEXT, argument: value}
        with pytest.raises(InvalidRequestError) as raised:
            tts.stream(**arguments)  # type: ignore[arg-type]
        await settled()
    assert raised.value.field == field
    assert field in str(raised.value)
    assert (backend.given, backend.utterances) == ([], [])


@pytest.mark.anyio
async def test_arguments_reach_the_backend() -> None:
    """Voice, prosody, sampling and language are the backend's to honour."""
    backend = FakeBackend()
    async with client(backend, fallback={"patience_s": 7.0}) as tts:
        sampling = Sampling(seed=3)
        prosody = Prosody(volume_db=-3)
        await tts.synthesize(
            TEXT, voice="june", prosody=prosody, sampling=sampling, language="en-gb"
        )
        await tts.synthesize(TEXT, voice=Voice(server_id="j"))
    first, second = backend.utterances
    assert (first.voice, first.prosody, first.sampling) == (Voice("june"), prosody, sampling)
    assert (first.language, first.first_audio_timeout_s, first.stall_timeout_s) == (
        "en-gb",
        7.0,
        7.0,
    )
    assert (second.voice, second.sampling) == (Voice(server_id="j"), Sampling())


@pytest.mark.anyio
async def test_one_backend_can_be_asked_for_by_name() -> None:
    """``backend=`` picks one for this utterance."""
    first, second = FakeBackend(name="first"), FakeBackend(name="second")
    async with client(first, second) as tts:
        speech = await tts.synthesize(TEXT, backend="second")
    assert (speech.report.backend, first.given) == ("second", [])


@pytest.mark.anyio
async def test_the_whole_utterance_may_have_a_deadline() -> None:
    """``timeout_s`` ends an utterance that takes longer, with what was heard."""
    async with client(FakeBackend(speaks(pause_s=1.0))) as tts:
        with pytest.raises(
            SynthesisInterruptedError, match=r"not finished within 4\.5 s"
        ) as raised:
            await tts.synthesize(TEXT, timeout_s=4.5)
        assert raised.value.speech is not None
        assert raised.value.speech.duration_s == pytest.approx(0.4)
        with pytest.raises(BackendUnavailableError, match=r"not finished within 0\.5 s"):
            await tts.synthesize(TEXT, timeout_s=0.5)
        assert (await tts.synthesize(TEXT, timeout_s=7)).report.outcome == "complete"


@pytest.mark.anyio
async def test_health_and_warmup_ask_every_backend() -> None:
    """`health` answers per backend in order; `warmup` fails only if no backend can."""
    first = FakeBackend(name="first", refuses=BackendUnavailableError("down"))
    second = FakeBackend(name="second")
    first.health = Health(status="unavailable", detail="down")
    async with client(first, second) as tts:
        health = await tts.health()
        await tts.warmup()
    assert [(name, one.status) for name, one in health.items()] == [
        ("first", "unavailable"),
        ("second", "ok"),
    ]
    assert (first.n_warmups, second.n_warmups) == (1, 1)
    second.refuses = BackendUnavailableError("down too")
    with pytest.raises(NoBackendAvailableError, match="down too"):
        async with TTS(config(first, second)) as tts:
            await tts.warmup()


@pytest.mark.anyio
async def test_a_config_error_closes_what_was_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that cannot be built keeps the client from opening and leaks nothing."""

    def refuse(config: Config) -> TtsBackend:
        raise InvalidRequestError("demo cannot be", field="voice")

    monkeypatch.setitem(_assembly._BUILDERS, "demo", refuse)
    good = FakeBackend(name="good")
    tts = TTS(Config(backends=[good, "demo"], sample_rate=RATE_HZ))
    with pytest.raises(ConfigError, match=r"demo\.voice: demo cannot be"):
        await tts.__aenter__()
    assert good.n_closed == 1
    with pytest.raises(UsageError):
        tts.stream(TEXT)


@pytest.mark.anyio
async def test_the_fakes_are_backends() -> None:
    """What these tests speak with satisfies the protocol."""
    assert isinstance(FakeBackend(), TtsBackend)


@pytest.mark.anyio
async def test_dropping_everything_leaves_no_task() -> None:
    """Streams forgotten inside the client, unread or half read, do not outlive it."""
    async with client(FakeBackend(speaks(pause_s=0.1))) as tts:
        for _ in range(20):
            tts.stream(TEXT)
            stream = tts.stream(TEXT)
            await anext(stream)
        del stream
        gc.collect()


@pytest.mark.anyio
async def test_health_of_a_backend_whose_probe_fails() -> None:
    """A probe that raises is a backend that is unavailable, beside the health of the others."""

    class Broken(FakeBackend):
        async def probe(self) -> Health:
            raise BackendUnavailableError("no answer", hint="plug it in")

    async with client(Broken(name="broken"), FakeBackend(name="sound")) as tts:
        found = await tts.health()
    assert found["broken"] == Health(status="unavailable", detail="no answer", hint="plug it in")
    assert found["sound"].status == "ok"
