"""The deadline of a whole utterance: who was waited for, and what was heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator

import pytest

from fakes import FakeBackend, client, hangs, speaks
from junetts._backend import BackendAudio
from junetts._errors import BackendTimeoutError, SynthesisInterruptedError
from junetts._utterance import Segment
from virtual_time import VIRTUAL_TIME

SENTENCES = ["This is the first one. ", "This is the second one. ", "This is the third one. "]
TEXT = "".join(SENTENCES)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """No test here waits for real time."""
    return VIRTUAL_TIME


@pytest.mark.anyio
@pytest.mark.parametrize("pieces", [[], ["Half a"], ["..."]])
async def test_a_deadline_before_there_is_text(pieces: list[str]) -> None:
    """The text source is named as who was waited for, and no backend is blamed or troubled."""

    async def stalls() -> AsyncIterator[str]:
        try:
            for piece in pieces:
                yield piece
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    backend, closed = FakeBackend(), list[bool]()
    async with client(backend) as tts:
        stream = tts.stream(stalls(), timeout_s=2)
        with pytest.raises(BackendTimeoutError, match="the text source has not ended") as raised:
            await anext(stream)
    assert (raised.value.backend, backend.utterances, closed) == (None, [], [True])
    assert stream.report.outcome == "failed"
    assert stream.report.spoken_text + stream.report.unspoken_text == "".join(pieces)


@pytest.mark.anyio
async def test_a_deadline_before_sound() -> None:
    """It is a timeout, not an interruption; all of the text is unspoken."""
    async with client(FakeBackend(hangs())) as tts:
        stream = tts.stream(TEXT, timeout_s=2)
        with pytest.raises(BackendTimeoutError, match=r"not finished within 2 s$") as raised:
            await anext(stream)
    assert raised.value.speech is None
    assert (stream.report.outcome, stream.report.unspoken_text) == ("failed", TEXT)


@pytest.mark.anyio
async def test_a_deadline_in_the_middle() -> None:
    """It is an interruption by the backend that spoke, with what was heard until then."""
    async with client(FakeBackend(speaks(10, pause_s=0.25))) as tts:
        stream = tts.stream(TEXT, timeout_s=4)
        with pytest.raises(SynthesisInterruptedError, match=r"not finished within 4 s$") as raised:
            await stream.collect()
    assert raised.value.backend == "fake"
    assert raised.value.speech is not None
    assert raised.value.speech.duration_s == pytest.approx(1.5)
    assert (stream.report.outcome, stream.report.spoken_text) == ("failed", SENTENCES[0])
    assert stream.report.spoken_text + stream.report.unspoken_text == TEXT


@pytest.mark.anyio
async def test_a_deadline_while_more_text_is_awaited() -> None:
    """What there was has been heard in full; the text source is named, and no backend."""

    async def stalls() -> AsyncIterator[str]:
        yield SENTENCES[0] + "And then she said"
        await asyncio.Event().wait()

    async with client(FakeBackend()) as tts:
        stream = tts.stream(stalls(), timeout_s=4)
        with pytest.raises(SynthesisInterruptedError, match="text source has not ended") as raised:
            await stream.collect()
    assert raised.value.backend is None
    assert (stream.report.spoken_text, stream.report.unspoken_text) == (
        SENTENCES[0],
        "And then she said",
    )


@pytest.mark.anyio
async def test_a_deadline_passes_while_the_listener_is_slow() -> None:
    """The deadline is of all the work: it counts pauses of a listener who is too far behind."""
    async with client(FakeBackend(speaks(20)), ahead_s=0.5) as tts:
        stream = tts.stream(TEXT, timeout_s=3)
        n_chunks = 0
        with pytest.raises(SynthesisInterruptedError, match="took the audio too slowly") as raised:  # noqa: PT012  the loop is the point
            async for _ in stream:
                n_chunks += 1
                await asyncio.sleep(1)
        assert raised.value.backend is None
        assert raised.value.speech is not None
        assert raised.value.speech.duration_s == pytest.approx(n_chunks * 0.1)
    assert 5 <= n_chunks <= 9  # what was made before is heard
    assert stream.report.outcome == "failed"
    assert stream.report.spoken_text + stream.report.unspoken_text == TEXT


@pytest.mark.anyio
async def test_a_slow_listener_of_work_that_is_done_has_all_the_time() -> None:
    """What was made in time is complete, however slowly it is taken."""
    async with client(FakeBackend(speaks(20))) as tts:
        stream = tts.stream(TEXT, timeout_s=3)
        async for _ in stream:
            await asyncio.sleep(1)
    assert (stream.report.outcome, stream.report.unspoken_text) == ("complete", "")


@pytest.mark.anyio
async def test_a_deadline_counts_all_backends_together() -> None:
    """The second backend does not begin anew."""
    first, second = FakeBackend(hangs(), name="first"), FakeBackend(hangs(), name="second")
    fallback = {"first_audio_timeout_s": 1.5, "stall_timeout_s": 1.5}
    async with client(first, second, fallback=fallback) as tts:
        begun_at = asyncio.get_running_loop().time()
        with pytest.raises(BackendTimeoutError, match="not finished within 2 s"):
            await tts.synthesize(TEXT, timeout_s=2)
        assert asyncio.get_running_loop().time() - begun_at == pytest.approx(2, abs=0.01)
    assert len(second.utterances) == 1


@pytest.mark.anyio
async def test_a_pause_that_is_over_is_nobodys_fault_any_more() -> None:
    """A listener who was behind once is not blamed for a text source that then stalls."""

    async def stalls() -> AsyncIterator[str]:
        yield TEXT
        await asyncio.Event().wait()

    backend = FakeBackend(speaks(20))
    async with client(backend, ahead_s=0.5) as tts:
        stream = tts.stream(stalls(), timeout_s=60)
        with pytest.raises(SynthesisInterruptedError, match="the text source has not ended"):  # noqa: PT012  the loop is the point
            async for chunk in stream:
                await asyncio.sleep(1 if chunk.start_s < 1 else 0)
    assert stream.report.rtf is not None
    assert stream.report.rtf < 0.5  # the pauses do not count as work


class Lingering(FakeBackend):
    """Says everything, and does not come to an end."""

    async def _made(self, segments: AsyncIterable[Segment]) -> AsyncGenerator[BackendAudio, None]:
        async for item in super()._made(segments):
            yield item
        await asyncio.Event().wait()


@pytest.mark.anyio
async def test_a_backend_that_does_not_come_to_an_end() -> None:
    """All of the text has been spoken, and who keeps the listener waiting is named."""
    async with client(Lingering()) as tts:
        stream = tts.stream(TEXT, timeout_s=4)
        with pytest.raises(SynthesisInterruptedError, match=r"not finished within 4 s$") as raised:
            await stream.collect()
    assert raised.value.backend == "fake"
    assert (stream.report.outcome, stream.report.spoken_text) == ("failed", TEXT)
