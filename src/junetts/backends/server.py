"""The ``server`` backend: a fish-speech HTTP server."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    aclosing,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass, replace

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from junetts._audio import AudioFormat
from junetts._backend import BackendAudio, Capabilities, Health, SegmentEnd
from junetts._config import ServerSection
from junetts._errors import (
    AuthenticationError,
    BackendBusyError,
    JuneTtsError,
    RateLimitedError,
    RemoteProtocolError,
    RequestRejectedError,
)
from junetts._fishwire.server_encoding import encode
from junetts._fishwire.server_request import ServerRequest
from junetts._fishwire.speaker_tags import attributed, without_tags
from junetts._segmentation import is_speakable
from junetts._utterance import Segment, Utterance, Voice
from junetts.backends._server_link import ServerLink
from junetts.backends._server_queue import ServerQueue
from junetts.backends._server_voices import ServerVoices

SAMPLE_RATE = 44_100
_FORMAT = AudioFormat(sample_rate=SAMPLE_RATE)
BYTES_PER_FRAME = 4096  # 2048 samples of 16 bits
WAV_HEADER_BYTES = 44
HEALTH_TIMEOUT_S = 1.0  # a server that speaks answers nothing else until it is done
CLOSE_TIMEOUT_S = 1.0
# What may be received ahead of a listener who pauses, so that the server is free for others:
# 256 reads of at most 64 KiB, which is more than the longest segment that it can make.
READ_AHEAD_ITEMS = 256


class ServerBackend:
    """Speaks one segment per request, so that audio belongs to its segment beyond doubt.

    Guarantees: one request at a time, in a line that all utterances share; the voice is the one
    asked for, or the utterance is refused; an answer that breaks off is an error. Audio is
    passed on as it comes, except that fish-speech itself sends most segments in one piece.
    Leaving early closes the connection at once, although the server finishes what it began.
    """

    def __init__(
        self,
        section: ServerSection,
        *,
        name: str = "server",
        tls: ssl.SSLContext | None = None,
        health_timeout_s: float = HEALTH_TIMEOUT_S,
    ) -> None:
        self._section = section
        self._name = name
        self._health_timeout_s = health_timeout_s
        self._link = ServerLink(section, backend=name, tls=tls)
        self._queue = ServerQueue(section.queue_limit)
        self._voices = ServerVoices(self._fetch_voices, verify=section.verify_voices)

    def __repr__(self) -> str:
        return f"ServerBackend({self._link.url!r}, name={self._name!r})"

    @property
    def name(self) -> str:
        """The backend's name in the configuration."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """What a fish-speech server can do; sound begins when a segment is finished."""
        return Capabilities(
            sample_rate=SAMPLE_RATE,
            formats=(self._section.format,),
            voice=self._section.voice,
            voice_ids=True,
            cloning=True,
            seed=True,
            streaming_audio=False,
        )

    async def warmup(self) -> None:
        """Connect, and fetch the list of voices; a server that is busy needs no warming up.

        Raises:
            BackendUnavailableError: if the server cannot be used.
        """
        with self._named():
            try:
                await self._check_health()
                await self._voices.warmup(answer_within_s=self._health_timeout_s)
            except (BackendBusyError, RateLimitedError, RequestRejectedError):
                return  # the last: it keeps no list of voices

    async def probe(self) -> Health:
        """Ask for the server's health; slow is busy, refused is unavailable."""
        try:
            await self._check_health()
        except (BackendBusyError, RateLimitedError) as error:
            return Health(status="busy", detail=error.message, hint=error.hint)
        except JuneTtsError as error:
            return Health(status="unavailable", detail=error.message, hint=error.hint)
        return Health(status="ok", detail=f"fish-speech answers at {self._link.url}")

    async def _check_health(self) -> None:
        try:
            body = await self._link.get("/v1/health", answer_within_s=self._health_timeout_s)
        except RequestRejectedError:
            if self._section.encoding == "multipart":
                return  # servers of that dialect have no such route, but this one answers
            raise
        if not _is_healthy(body):
            raise RemoteProtocolError(
                f"what answers at {self._link.url} is not a fish-speech server",
                hint="check server.url",
            )

    async def _fetch_voices(self, answer_within_s: float | None) -> bytes:
        return await self._link.get("/v1/references/list", answer_within_s=answer_within_s)

    @asynccontextmanager
    async def speak(
        self, utterance: Utterance, segments: AsyncIterable[Segment]
    ) -> AsyncIterator[AsyncIterator[BackendAudio]]:
        """Speak segments as they arrive.

        Raises:
            InvalidRequestError: on entering, for what the server cannot do.
        """
        with self._named():
            request = ServerRequest.for_utterance(utterance, self._section)
        async with aclosing(self._spoken(request, utterance, segments)) as audio:
            yield audio

    async def _spoken(
        self, request: ServerRequest, utterance: Utterance, segments: AsyncIterable[Segment]
    ) -> AsyncGenerator[BackendAudio, None]:
        speaker, is_heard = "", False
        async for segment in segments:
            if not is_speakable(without_tags(segment.text)):  # the model would babble
                yield BackendAudio(segment=segment.index, format=_FORMAT, end="complete")
                continue
            text, speaker = attributed(segment.text, speaker)
            turn = self._queue.turn(
                timeout_s=utterance.stall_timeout_s
                if is_heard
                else utterance.first_audio_timeout_s,
                is_newcomer=not is_heard,
            )
            job = _Job(index=segment.index, request=replace(request, text=text), turn=turn)
            async with aclosing(self._read_ahead(job, utterance.voice)) as audio:
                async for item in audio:
                    is_heard = True
                    yield item

    async def _read_ahead(
        self, job: _Job, voice: Voice | None
    ) -> AsyncGenerator[BackendAudio, None]:
        """One segment's audio, received by a task of its own, however slowly it is taken.

        The task is owned by hand: a task group would put a listener's own errors into groups.
        """
        send, receive = anyio.create_memory_object_stream[BackendAudio](READ_AHEAD_ITEMS)
        task = asyncio.create_task(self._receive(job, voice, send))
        try:
            with receive:
                async for item in receive:
                    yield item
            await task  # raises what broke it off, after the audio that came before
        finally:
            await _stop(task)

    async def _receive(
        self, job: _Job, voice: Voice | None, send: MemoryObjectSendStream[BackendAudio]
    ) -> None:
        with send, self._named():
            async with job.turn:
                request = await self._in_voice(job.request, voice)
                content_type, body = encode(request, self._section.encoding)
                async with self._link.post("/v1/tts", content_type, body) as (media_type, pieces):
                    await _pass_on(media_type, pieces, job=job, send=send)

    async def _in_voice(self, request: ServerRequest, voice: Voice | None) -> ServerRequest:
        if voice is None and self._section.voice is None:
            return request
        found = await self._voices.resolve(voice or Voice(self._section.voice))
        if isinstance(found, str):
            return replace(request, reference_id=found)
        return replace(request, references=found)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except JuneTtsError as error:
            error.backend = error.backend or self._name
            raise

    async def aclose(self) -> None:
        """Close all connections."""
        await self._link.aclose()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One segment to be spoken when its turn has come."""

    index: int
    request: ServerRequest
    turn: AbstractAsyncContextManager[None]


async def _pass_on(
    media_type: str,
    pieces: AsyncIterator[bytes],
    *,
    job: _Job,
    send: MemoryObjectSendStream[BackendAudio],
) -> None:
    audio_format = AudioFormat(sample_rate=SAMPLE_RATE, media_type=media_type)
    n_bytes = 0
    async for data in pieces:
        n_bytes += len(data)
        await send.send(BackendAudio(segment=job.index, format=audio_format, data=data))
    end = _end(n_bytes, job.request)
    await send.send(BackendAudio(segment=job.index, format=audio_format, end=end))


def _end(n_bytes: int, request: ServerRequest) -> SegmentEnd:
    """Whether speech ran into the token limit, which the server does not tell.

    The last of the tokens is not spoken. Speech that ends by itself at exactly this length is
    taken for truncated too; it is one length in a thousand.
    """
    limit = (request.max_new_tokens - 1) * BYTES_PER_FRAME
    return "truncated" if n_bytes in (limit, limit + WAV_HEADER_BYTES) else "complete"


async def _stop(task: asyncio.Task[None]) -> None:
    """Cancel the task and wait for its cleanup; what it failed with has no listener any more."""
    task.cancel()
    with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
        await asyncio.wait([task])
    if task.done() and not task.cancelled():
        task.exception()


def _is_healthy(body: bytes) -> bool:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(answer, dict) and answer.get("status") == "ok"


async def answers(section: ServerSection, *, timeout_s: float) -> bool:
    """Whether a fish-speech server, and not another web server, seems to be there.

    Silence after the connection was accepted is taken for a server that is busy speaking, since
    slow is not dead; so a server of another kind that hangs is mistaken for one. A 401 is one
    that wants a key. A refused connection and every other answer mean that there is none.
    """
    hasty = section.model_copy(update={"connect_timeout_s": timeout_s})
    async with aclosing(ServerLink(hasty, backend="server")) as link:
        try:
            return _is_healthy(await link.get("/v1/health", answer_within_s=timeout_s))
        except BackendBusyError as error:
            return error.status is None  # with a status it is an answer, and none of fish-speech's
        except AuthenticationError as error:
            return error.status == 401
        except JuneTtsError:
            return False
