"""The demo backend, with real child processes."""

from __future__ import annotations

import asyncio
import gc
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import pairwise

import anyio
import numpy as np
import psutil
import pytest
from anyio.lowlevel import checkpoint
from blockbuster import blockbuster_ctx

from junetts._backend import BackendAudio, Health, TtsBackend
from junetts._config import DemoSection
from junetts._errors import (
    BackendUnavailableError,
    RemoteProtocolError,
    UnknownVoiceError,
    UsageError,
)
from junetts._utterance import Prosody, Segment, Utterance, Voice
from junetts.backends import _demo_process, demo
from junetts.backends._demo_frames import SpeakRequest
from junetts.backends._demo_languages import ALIASES, LANGUAGE_OF_SCRIPT
from junetts.backends._demo_process import DemoProcess, Job, ProcessDiedError
from junetts.backends.demo import DemoBackend, find_library

pytestmark = pytest.mark.anyio

LONG_TEXT = "word " * 40_000  # three hours of speech


def _children() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if "_demo_child" in str(one.cmdline())]


def _child() -> psutil.Process:
    (child,) = _children()
    return child


@asynccontextmanager
async def _open(section: DemoSection | None = None) -> AsyncIterator[DemoBackend]:
    backend = DemoBackend(section or DemoSection())
    try:
        yield backend
    finally:
        await backend.aclose()
        assert _children() == []


async def _segments(texts: Iterable[str]) -> AsyncIterator[Segment]:
    for index, text in enumerate(texts):
        yield Segment(index=index, text=text)


async def _speak(
    backend: DemoBackend, *texts: str, utterance: Utterance | None = None
) -> list[BackendAudio]:
    async with backend.speak(utterance or Utterance(), _segments(texts)) as audio:
        return [item async for item in audio]


def _samples(items: Iterable[BackendAudio]) -> np.ndarray:
    return np.frombuffer(b"".join(item.data for item in items), "<i2").astype(float) / 32768


async def _until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not condition():
            await checkpoint()


async def test_speech() -> None:
    """A sentence is intelligible by measure, and its words come with their times."""
    async with _open() as backend:
        items = await _speak(backend, "Hello from June.")
    samples = _samples(items)
    assert {item.format.sample_rate for item in items} == {22_050}
    assert 1 < samples.size / 22_050 < 4
    assert np.sqrt(np.mean(samples**2)) > 0.01
    energy = np.abs(np.fft.rfft(samples)) ** 2
    assert energy[: round(5000 / 11_025 * energy.size)].sum() / energy.sum() > 0.7
    words = items[-1].words or ()
    assert [word.text for word in words] == ["Hello", "from", "June"]
    assert all(one.start_s < one.end_s <= two.start_s for one, two in pairwise(words))
    assert words[-1].end_s < samples.size / 22_050
    assert {word.provenance for word in words} == {"native"}


async def test_items() -> None:
    """Audio comes in pieces, segments in order, each with one end; words come as they are known."""
    async with _open() as backend:
        items = await _speak(backend, "One two three four five.", "Six seven.")
    assert [item.segment for item in items] == sorted(item.segment for item in items)
    assert [item.end for item in items if item.end] == ["complete", "complete"]
    first = [item for item in items if item.segment == 0]
    assert len(first) > 5
    told = [len(item.words) for item in first if item.words is not None]
    assert told == sorted(told)
    assert len(set(told)) > 3
    assert told[-1] == 5


async def test_it_is_a_backend() -> None:
    """The backend has the seam's shape and says what it can do."""
    async with _open() as backend:
        assert isinstance(backend, TtsBackend)
        assert backend.name == "demo"
        assert not backend.capabilities.seed
        assert repr(backend) == "DemoBackend(DemoSection(voice=None), name='demo')"


async def test_the_child_is_kept() -> None:
    """Warming up starts the child, and everything after uses the same one."""
    async with _open() as backend:
        await backend.warmup()
        pid = _child().pid
        health = await backend.probe()
        await _speak(backend, "a")
        assert _child().pid == pid
    assert health.status == "ok"
    assert health.detail.startswith("eSpeak NG 1.5")


@pytest.mark.parametrize("text", ["...", "", "[laugh]", " <|speaker:0|> —!"])
async def test_nothing_to_say(text: str) -> None:
    """Text without a letter or a digit outside of tags is over without a sound."""
    async with _open() as backend:
        (item,) = await _speak(backend, text)
    assert (item.data, item.end, item.words) == (b"", "complete", ())


async def test_tags_are_not_read() -> None:
    """A tag is silent, and the words around it are where they are in the text."""
    async with _open() as backend:
        tagged = await _speak(backend, "Hello [laugh] <|speaker:1|>world.")
        plain = await _speak(backend, "Hello world.")
    assert [word.text for word in tagged[-1].words or ()] == ["Hello", "world"]
    assert _samples(tagged).size == pytest.approx(_samples(plain).size, rel=0.02)


async def test_control_codes_in_text() -> None:
    """Neither eSpeak NG's commands nor its phonemes nor markup work from within the text."""
    async with _open() as backend:
        plain = await _speak(backend, "175S hello")
        commanded = await _speak(backend, "\x01175S hello")
        marked = await _speak(backend, '<prosody rate="x-slow">hi</prosody>')
    assert _samples(commanded).size == pytest.approx(_samples(plain).size, rel=0.1)
    assert "prosody" in [word.text for word in marked[-1].words or ()]


@pytest.mark.parametrize(("speed", "factor"), [(0.5, 2), (2.0, 0.5)])
async def test_speed(speed: float, factor: float) -> None:
    """Speed changes the pace."""
    text = "This is a somewhat longer sentence about the pace of speech."
    async with _open() as backend:
        normal = _samples(await _speak(backend, text)).size
        changed = _samples(
            await _speak(backend, text, utterance=Utterance(prosody=Prosody(speed=speed)))
        ).size
    assert changed / normal == pytest.approx(factor, rel=0.25)


GREETINGS = {
    "en": "Hello world",
    "ru": "Привет мир",
    "el": "Καλημέρα κόσμε",
    "ar": "مرحبا بالعالم",
    "he": "שלום עולם",
    "hi": "नमस्ते दुनिया",
    "cmn": "你好世界",
    "ja": "こんにちは",
    "ko": "안녕하세요 세계",
    "th": "สวัสดีชาวโลก",
    "ta": "வணக்கம் உலகம்",
    "ka": "გამარჯობა",
    "hy": "Բարեւ աշխարհ",
}


async def test_languages_by_script() -> None:
    """Each segment is spoken in the language of its script."""
    async with _open() as backend:
        items = await _speak(backend, *GREETINGS.values())
        process = backend._processes[-1]
        languages = {tag.lower() for voice in process.table.voices for tag, _ in voice.languages}
    for index in range(len(GREETINGS)):
        samples = _samples(item for item in items if item.segment == index)
        assert samples.size / 22_050 > 0.5
        assert np.sqrt(np.mean(samples**2)) > 0.01
    assert {*LANGUAGE_OF_SCRIPT.values(), *ALIASES.values()} <= languages


async def test_voices() -> None:
    """Asked-for, configured and hinted languages sound different from the script's."""
    text = "Ich wohne in der Strasse"
    async with _open() as backend:
        english = _samples(await _speak(backend, text)).size
        german = _samples(await _speak(backend, text, utterance=Utterance(voice=Voice("de")))).size
        hinted = _samples(await _speak(backend, text, utterance=Utterance(language="de-AT"))).size
        with pytest.raises(UnknownVoiceError, match=r"^demo: voice\.language 'xx'"):
            await _speak(backend, text, utterance=Utterance(voice=Voice(language="xx")))
    async with _open(DemoSection(voice="de")) as backend:
        configured = _samples(await _speak(backend, text)).size
    assert german == pytest.approx(hinted, abs=50)
    assert german == pytest.approx(configured, abs=50)
    assert abs(german - english) > 500


async def test_many_at_once() -> None:
    """Utterances at the same time do not mix, and one that nobody reads holds up no other."""
    async with _open() as backend:
        alone = _samples(await _speak(backend, "one")).size
        sizes = []

        async def say() -> None:
            sizes.append(_samples(await _speak(backend, "one")).size)

        async with backend.speak(Utterance(), _segments(["A sentence or two."])) as unread:
            await anext(unread)
            async with anyio.create_task_group() as group:
                for _ in range(20):
                    group.start_soon(say)
    assert sizes == [pytest.approx(alone, abs=50)] * 20


async def test_backends_do_not_share() -> None:
    """Each backend has its own child."""
    async with _open() as one:
        other = DemoBackend(DemoSection())
        await one.warmup()
        await other.warmup()
        assert len(_children()) == 2
        await one.aclose()
        await _speak(other, "still here")
        await other.aclose()


async def test_leaving_early() -> None:
    """Leaving stops the speech at once, and what was left over is nobody else's."""
    async with _open() as backend:
        async with backend.speak(Utterance(), _segments([LONG_TEXT])) as audio:
            await anext(audio)
            (job,) = backend._processes[-1]._jobs.values()
        pid = _child().pid
        items = await _speak(backend, "one")
        assert [word.text for word in items[-1].words or ()] == ["one"]
        assert _samples(items).size < 22_050
        assert _child().pid == pid
        assert job.waiting_bytes == 0


async def test_nobody_reads() -> None:
    """A listener who stops makes the child stop: what waits is bounded."""
    async with _open() as backend:
        async with backend.speak(Utterance(), _segments([LONG_TEXT])) as audio:
            await anext(audio)
            process = backend._processes[-1]
            await _until(lambda: process.is_paused)
            (job,) = process._jobs.values()
            with anyio.move_on_after(0.2):  # in which the child could make 200 s of sound
                await anyio.sleep_forever()
            assert job.waiting_bytes < _demo_process.MAX_WAITING_BYTES + 2**19
            for _ in range(1000):
                await anext(audio)
        assert _samples(await _speak(backend, "one")).size > 5000


@pytest.mark.parametrize("n_passes", [0, 1, 2, 3, 5, 10, 30, 100, 300, 1000, 3000])
async def test_cancel_at_any_time(n_passes: int) -> None:
    """Cancelled during the start, while waiting or while speaking, nothing is left undone."""
    async with _open() as backend:
        async with anyio.create_task_group() as group:
            group.start_soon(_speak, backend, "one two", LONG_TEXT)
            for _ in range(n_passes):
                await checkpoint()
            group.cancel_scope.cancel()
        assert _samples(await _speak(backend, "one")).size > 5000
        assert backend._processes[-1]._jobs == {}
        assert len(_children()) == 1


@pytest.mark.parametrize("n_passes", [0, 1, 2, 3, 5, 10, 30, 100, 300, 1000, 3000])
async def test_close_at_any_time(n_passes: int) -> None:
    """Closed during the start, while waiting or while speaking, the child is gone at once."""
    async with _open() as backend:
        failures: list[Exception] = []

        async def speak() -> None:
            try:
                await _speak(backend, "one two", LONG_TEXT)
            except (UsageError, BackendUnavailableError) as error:
                failures.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(speak)
            for _ in range(n_passes):
                await checkpoint()
            await backend.aclose()
            assert _children() == []
    assert len(failures) == 1
    assert not isinstance(failures[0], RemoteProtocolError)


async def test_closed_while_speaking() -> None:
    """Whoever listens when the backend is closed hears that from an error, soon."""
    async with _open() as backend, backend.speak(Utterance(), _segments([LONG_TEXT])) as audio:
        await anext(audio)
        await backend.aclose()
        with pytest.raises(BackendUnavailableError, match="closed while it spoke"):
            _ = [item async for item in audio]


async def test_closed() -> None:
    """Closing twice is fine; speaking after it is a mistake with a name."""
    async with _open() as backend:
        await backend.aclose()
        await backend.aclose()
        with pytest.raises(UsageError, match="closed"):
            await _speak(backend, "one")


async def test_killed_while_speaking() -> None:
    """A child that dies after sound is an error that says how; the next one is well."""
    async with _open() as backend:
        async with backend.speak(Utterance(), _segments([LONG_TEXT])) as audio:
            await anext(audio)
            _child().kill()
            with pytest.raises(RemoteProtocolError, match=r"process died \(signal 9\)"):
                _ = [item async for item in audio]
        assert _samples(await _speak(backend, "one")).size > 5000


async def test_killed_while_idle() -> None:
    """A child that died in between is replaced without anybody noticing."""
    async with _open() as backend:
        await backend.warmup()
        _child().kill()
        assert _samples(await _speak(backend, "one")).size > 5000


async def _speak_on_a_stopped_child(backend: DemoBackend, then: Callable[[], None]) -> int:
    """Stop the child, have it asked to speak, do something; the samples that came."""
    await backend.warmup()
    _child().suspend()
    async with anyio.create_task_group() as group:
        group.start_soon(_when_asked, backend, then)
        items = await _speak(backend, "one")
    return _samples(items).size


async def _when_asked(backend: DemoBackend, then: Callable[[], None]) -> None:
    process = backend._processes[-1]
    await _until(lambda: bool(process._jobs))
    then()


async def test_killed_before_sound() -> None:
    """A child that dies before the first sound is replaced, and the segment is spoken."""
    async with _open() as backend:
        assert await _speak_on_a_stopped_child(backend, lambda: _child().kill()) > 5000


async def test_killed_twice_before_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is one more try, not more."""
    submit = DemoProcess.submit

    def submit_and_die(self: DemoProcess, request: SpeakRequest) -> Job:
        os.kill(self.pid, signal.SIGSTOP)
        job = submit(self, request)
        os.kill(self.pid, signal.SIGKILL)
        deaths.append(self.pid)
        return job

    deaths: list[int] = []
    monkeypatch.setattr(DemoProcess, "submit", submit_and_die)
    async with _open() as backend:
        with pytest.raises(RemoteProtocolError, match="signal 9"):
            await _speak(backend, "one")
    assert len(set(deaths)) == 2


async def test_hung_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that does not react to a cancelled request is killed; the next one speaks."""
    monkeypatch.setattr(_demo_process, "SILENCE_S", 0.01)
    async with _open() as backend:
        await backend.warmup()
        hung = _child()
        hung.suspend()
        with anyio.move_on_after(0.01):
            await _speak(backend, "one")
        assert _samples(await _speak(backend, "one")).size > 5000
        assert _child().pid != hung.pid


async def test_hung_child_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing does not wait for a child that hangs."""
    monkeypatch.setattr(_demo_process, "GRACE_S", 0.01)
    async with _open() as backend:
        await backend.warmup()
        _child().suspend()


async def test_slow_listener_is_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child blocked by one listener is not killed for not answering another."""
    monkeypatch.setattr(_demo_process, "SILENCE_S", 0.001)
    async with _open() as backend:
        async with backend.speak(Utterance(), _segments([LONG_TEXT])) as audio:
            await anext(audio)
            process = backend._processes[-1]
            await _until(lambda: process.is_paused)
            with anyio.move_on_after(0.01):
                await _speak(backend, "one")
            with anyio.move_on_after(0.05):
                await anyio.sleep_forever()
            assert process.is_alive
            assert process.is_paused
        await _until(lambda: process._jobs == {})
        assert backend._processes[-1] is process


async def test_request_to_a_dead_child() -> None:
    """A request to a child that is gone fails at once instead of waiting for an answer."""
    process = DemoProcess()
    await process.start(*find_library())
    await process.aclose()
    job = process.submit(SpeakRequest("one", "gmw/en", 175))
    with job, pytest.raises(ProcessDiedError, match="exit status 0"):
        await job.receive()
    assert process.is_gone


async def test_interrupt_of_the_terminal() -> None:
    """The child lives through an interrupt, and is in no process group that gets one."""
    async with _open() as backend:
        await backend.warmup()
        child = _child()
        assert os.getpgid(child.pid) != os.getpgid(0)
        child.send_signal(signal.SIGINT)
        await _speak(backend, "one")
        assert _child() == child


def _library_missing() -> tuple[str, str]:
    raise ModuleNotFoundError("No module named 'espeakng_loader'")


async def test_extra_not_installed() -> None:
    """Without the extra the error says how to install it, and so does the probe."""
    backend = DemoBackend(DemoSection(), library=_library_missing)
    with pytest.raises(BackendUnavailableError, match="eSpeak NG is not installed") as caught:
        await backend.warmup()
    assert caught.value.hint == 'pip install "junetts[demo]"'
    assert not caught.value.retryable
    health = await backend.probe()
    assert health == Health(
        status="unavailable",
        detail="eSpeak NG is not installed: No module named 'espeakng_loader'",
        hint='pip install "junetts[demo]"',
    )
    await backend.aclose()


async def test_broken_library() -> None:
    """A library that cannot be loaded is a typed error with the loader's own words."""
    _, data = find_library()
    backend = DemoBackend(DemoSection(), library=lambda: (__file__, data))
    for _ in range(2):
        with pytest.raises(BackendUnavailableError, match=r"could not start: .*ELF header"):
            await _speak(backend, "one")
    await backend.aclose()
    assert _children() == []


async def test_missing_data(tmp_path: os.PathLike[str]) -> None:
    """Data that are not there are a typed error that says where they were looked for."""
    library, _ = find_library()
    data = os.path.join(tmp_path, "espeak-ng-data")
    backend = DemoBackend(DemoSection(), library=lambda: (library, data))
    with pytest.raises(BackendUnavailableError, match="cannot read its data in"):
        await backend.warmup()
    await backend.aclose()


async def test_no_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no Python to run, or it is not one, the error says so."""
    backend = DemoBackend(DemoSection())
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(BackendUnavailableError, match="needs a Python interpreter"):
        await backend.warmup()
    monkeypatch.setattr(sys, "frozen", False)
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(BackendUnavailableError, match=r"could not start: .*FileNotFound"):
        await backend.warmup()
    await backend.aclose()


async def test_start_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that is not ready in time is killed."""
    monkeypatch.setattr(_demo_process, "START_TIMEOUT_S", 0.01)
    monkeypatch.setattr(_demo_process, "GRACE_S", 0.01)
    monkeypatch.setattr(_demo_process, "_BOOTSTRAP", "import time; time.sleep(1000)")
    async with _open() as backend:
        with pytest.raises(BackendUnavailableError, match=r"not ready within 0\.01 s"):
            await backend.warmup()
        assert _children() == []


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise SystemExit('last words')", "last words"),
        ("import os; os.write(1, b'?' * 100)", "it sent no frame"),
    ],
)
async def test_child_of_another_kind(
    monkeypatch: pytest.MonkeyPatch, program: str, reason: str
) -> None:
    """What the child printed last is the reason; what are no frames is not believed."""
    monkeypatch.setattr(_demo_process, "_BOOTSTRAP", program)
    backend = DemoBackend(DemoSection())
    with pytest.raises(BackendUnavailableError, match=f"could not start: {reason}"):
        await backend.warmup()
    await backend.aclose()


async def test_voice_that_vanished(monkeypatch: pytest.MonkeyPatch) -> None:
    """If eSpeak NG refuses what it listed, that is its fault, and told."""
    monkeypatch.setattr(demo, "requested_voice", lambda *_args, **_options: "nobody")
    async with _open() as backend:
        with pytest.raises(RemoteProtocolError, match="does not know the voice 'nobody'"):
            await _speak(backend, "one")


async def test_nothing_is_left_behind() -> None:
    """Many utterances, a third left and a third cancelled, leave everything as it was."""
    this = psutil.Process()

    def state() -> tuple[int, int, int]:
        gc.collect()
        return this.num_fds(), threading.active_count(), len(asyncio.all_tasks())

    before = state()
    async with _open() as backend:
        await backend.warmup()
        warm = state(), _child().num_fds(), _child().num_threads()
        for index in range(200):
            if index % 3 == 0:
                await _speak(backend, "one")
            elif index % 3 == 1:
                async with backend.speak(Utterance(), _segments(["one", LONG_TEXT])) as audio:
                    await anext(audio)
            else:
                async with anyio.create_task_group() as group:
                    group.start_soon(_speak, backend, "one", LONG_TEXT)
                    for _ in range(index):
                        await checkpoint()
                    group.cancel_scope.cancel()
        await _speak(backend, "one")
        assert (state(), _child().num_fds(), _child().num_threads()) == warm
        assert backend._processes[-1]._jobs == {}
    await _until(lambda: state() == before)


async def test_the_loop_is_never_blocked() -> None:
    """No call of the backend blocks the event loop."""
    backend = DemoBackend(DemoSection())
    with blockbuster_ctx():
        await backend.warmup()
        await _speak(backend, "one", "two")
        await backend.aclose()


def test_loop_shut_down_in_the_middle() -> None:
    """A program that ends while starting or speaking leaves no process and no complaint."""

    async def program(n_passes: int) -> None:
        async with _open() as backend:
            speaking = asyncio.create_task(_speak(backend, LONG_TEXT))
            for _ in range(n_passes):
                await asyncio.sleep(0)
            del speaking

    for n_passes in (0, 1, 2, 3, 5, 10, 30, 300, 3000):
        asyncio.run(program(n_passes))
        gc.collect()
        assert _children() == []


ORPHAN = """
import asyncio
from junetts._config import DemoSection
from junetts.backends.demo import DemoBackend

async def main():
    backend = DemoBackend(DemoSection())
    await backend.warmup()
    print(backend._processes[-1].pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_child_ends_with_its_parent(number: signal.Signals) -> None:
    """However the program ends, its child ends."""
    with subprocess.Popen(
        [sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        try:
            parent.send_signal(number)
            assert parent.wait(10) != 0
            assert select.select([child], [], [], 10)[0] == [child]
        finally:
            os.close(child)


def test_notice_is_given_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notice appears on stderr, once, and says how to get a real voice."""
    monkeypatch.setattr(demo, "_noticed", False)
    demo.notice()
    demo.notice()
    out, err = capsys.readouterr()
    assert (out, err) == ("", demo.NOTICE)
    assert "FISH_API_KEY" in err
    assert err.count("\n") == 3
