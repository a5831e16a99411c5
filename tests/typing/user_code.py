"""What users write, type-checked strictly: nothing here is ever run."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import assert_type

import numpy as np
import numpy.typing as npt

import junetts
from junetts import (
    TTS,
    AudioChunk,
    AudioFormat,
    BackendAudio,
    Capabilities,
    Config,
    Health,
    Prosody,
    Sampling,
    Segment,
    Speech,
    SpeechReport,
    SpeechStream,
    TtsBackend,
    Utterance,
    Voice,
)


def use(*values: object) -> None:
    """Whatever a user does with what there is to know."""


def script() -> None:
    """A script of three lines, and what can be asked of the result."""
    speech = junetts.synthesize("Hello from June.")
    speech.save("hello.wav")
    speech.save(Path("hello.mp3"))
    assert_type(speech, Speech)
    assert_type(speech.samples, npt.NDArray[np.float32])
    assert_type(speech.wav, bytes)
    assert_type(speech.report, SpeechReport)
    for chunk in junetts.stream("Hello from June."):
        assert_type(chunk, AudioChunk)
        assert_type(chunk.pcm, bytes)
    with junetts.stream(words(), config={"backends": ["demo"]}, timeout_s=5) as stream:
        for chunk in stream:
            use(chunk.start_s, chunk.duration_s)
            break
    use(stream.report.outcome, stream.report.spoken_text)


def words() -> Iterator[str]:
    """Text that is being written."""
    yield "Hello "
    yield "there."


async def tokens() -> AsyncIterator[str]:
    """Text from a language model."""
    yield "Hello "
    yield "there."


async def agent() -> None:
    """A voice agent: streamed text in, chunks out, barge-in."""
    voice = Voice("june", cloud_id="abc", server_id="june")
    async with TTS({"backends": ["cloud", "server"]}, sample_rate=24_000) as tts:
        assert_type(tts, TTS)
        await tts.warmup()
        stream = tts.stream(tokens(), voice=voice, prosody=Prosody(speed=1.1))
        assert_type(stream, SpeechStream)
        async for chunk in stream:
            assert_type(chunk, AudioChunk)
            if chunk.start_s > 2:
                stream.cancel()
        first = await anext(tts.stream(["Hello ", "there."]))
        assert_type(first, AudioChunk)
        speech = await tts.synthesize("Hello.", sampling=Sampling(seed=1), backend="server")
        assert_type(speech, Speech)
        async with tts.stream("Hello.") as other:
            other.flush()
            assert_type(await other.collect(), Speech)
        health: dict[str, Health] = await tts.health()
        use({name: one.status for name, one in health.items()})


def errors() -> None:
    """What can go wrong, and what is known then."""
    try:
        junetts.synthesize("Hello.", voice=Voice.clone("june.wav", "Hello."))
    except junetts.SynthesisInterruptedError as error:
        if error.speech is not None and error.report is not None:
            use(error.speech.duration_s, error.report.unspoken_text)
    except junetts.NoBackendAvailableError as error:
        for name, reason in error.reasons:
            use(name, reason.message, reason.retryable, reason.status)
    except junetts.JuneTtsError as error:
        use(error.backend, error.hint, error.trace_id, error.retry_after_s)


def settings() -> TTS:
    """Every way to say what is configured."""
    TTS()
    TTS("junetts.toml")
    TTS(Path("junetts.toml"))
    TTS(Config.load())
    TTS(backends=["demo"])
    return TTS({"backends": [Echo()]})


class Echo:
    """A backend by a third party."""

    name = "echo"
    capabilities = Capabilities(sample_rate=24_000)

    async def warmup(self) -> None:
        """Nothing to do."""

    async def probe(self) -> Health:
        """Always well."""
        return Health(status="ok", detail="echo")

    @asynccontextmanager
    async def speak(
        self, utterance: Utterance, segments: AsyncIterable[Segment]
    ) -> AsyncIterator[AsyncIterator[BackendAudio]]:
        """A click for each segment."""

        async def clicks() -> AsyncIterator[BackendAudio]:
            async for segment in segments:
                yield BackendAudio(
                    segment=segment.index,
                    format=AudioFormat(sample_rate=24_000),
                    data=b"\xff\x7f",
                    end="complete",
                )

        yield clicks()

    async def aclose(self) -> None:
        """Nothing to release."""


def takes_a_backend(backend: TtsBackend) -> str:
    """The protocol is structural."""
    return backend.name


takes_a_backend(Echo())
