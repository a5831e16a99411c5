"""The ``local`` backend: Fish Speech in this process, heard frame by frame."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from time import perf_counter
from typing import TYPE_CHECKING

from anyio import CancelScope, to_thread

from junetts._audio import BYTES_PER_SAMPLE, AudioFormat
from junetts._backend import BackendAudio, Capabilities, Health, SegmentEnd
from junetts._config_sections import LocalSection
from junetts._errors import EngineError, JuneTtsError, UnknownVoiceError
from junetts._fishwire.speaker_tags import attributed, without_tags
from junetts._runtime.failures import our_errors
from junetts._runtime.job import Failure, Job, Sound, SpeakRequest
from junetts._runtime.worker import Worker
from junetts._segmentation import is_speakable
from junetts._utterance import Segment, Utterance, Voice
from junetts.backends._inbox import Inbox

if TYPE_CHECKING:
    from junetts._runtime.scheduler import Scheduler

SAMPLE_RATE = 44_100  # of every published checkpoint
MAX_AHEAD_S = 2.0  # of audio made but not taken: what a listener who leaves has wasted at most
CLOSE_TIMEOUT_S = 5.0  # a frame takes far less, and so does each step of loading

logger = logging.getLogger("junetts")


class LocalBackend:
    """Speaks with a checkpoint of Fish Speech, on this machine's GPU or processor.

    Guarantees: sound begins after the first frame, 46 ms of audio; leaving stops the model
    within one frame; the event loop never waits for the model, nor the model for a listener;
    several utterances share the model, and what goes wrong in one leaves the others alone.

    The checkpoint is loaded by `warmup`, or else by the first utterance.
    """

    def __init__(self, section: LocalSection, *, name: str = "local") -> None:
        self._section = section
        self._name = name
        self._worker = Worker(self._load)
        self._loaded = ""
        self._format = AudioFormat(sample_rate=SAMPLE_RATE)  # until the checkpoint tells

    def __repr__(self) -> str:
        return f"LocalBackend({self._section.checkpoint!r}, name={self._name!r})"

    @property
    def name(self) -> str:
        """The backend's name in the configuration."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """Streaming, cloning, seeds; no named voices, and no pace but the model's own."""
        return Capabilities(sample_rate=SAMPLE_RATE, cloning=True, seed=True)

    async def warmup(self) -> None:
        """Load the checkpoint; leaving early does not stop the loading.

        Raises:
            CheckpointError: if it is missing, damaged or of an unknown kind.
            OutOfMemoryError: if the device is too small for it.
        """
        loaded, inbox = self._worker.start(), Inbox[None]()
        loaded.add_done_callback(lambda _: inbox.put(None))
        await inbox.take()
        if (error := loaded.exception()) is not None:
            raise error

    async def probe(self) -> Health:
        """Look at the checkpoint's files; nothing is loaded."""
        if self._loaded:
            return Health(status="ok", detail=self._loaded)
        try:
            return Health(status="ok", detail=await to_thread.run_sync(self._inspect))
        except JuneTtsError as error:
            return Health(status="unavailable", detail=error.message, hint=error.hint)

    @asynccontextmanager
    async def speak(
        self, utterance: Utterance, segments: AsyncIterable[Segment]
    ) -> AsyncIterator[AsyncIterator[BackendAudio]]:
        """Speak segments as they arrive, each in the light of those before it.

        Raises:
            UnknownVoiceError: on entering, for a voice without a recording to imitate.
        """
        inbox = Inbox[BackendAudio | Failure]()
        job = Job(
            self._request(utterance),
            lambda item: inbox.put(self._as_audio(item)),
            max_ahead_samples=int(MAX_AHEAD_S * SAMPLE_RATE),
        )
        try:
            self._worker.submit(job)
            async with aclosing(self._spoken(job, inbox, segments)) as audio:
                yield audio
        finally:
            job.cancel()

    async def aclose(self) -> None:
        """Stop the model after the frame in hand, and forget it."""
        thread = self._worker.close()
        if thread is not None:
            with CancelScope(shield=True):
                await to_thread.run_sync(thread.join, CLOSE_TIMEOUT_S)

    def _request(self, utterance: Utterance) -> SpeakRequest:
        voice, sampling = utterance.voice or Voice(), utterance.sampling
        if utterance.voice is not None and not voice.clips:
            raise UnknownVoiceError(
                "the local backend knows no voices by name; it imitates recordings",
                field="voice",
                backend=self._name,
                hint='give it one: voice=Voice.clone("june.wav", "the words spoken in it")',
            )
        return SpeakRequest(
            sampling=sampling,
            references=voice.clips,
            max_frames=sampling.max_new_tokens or self._section.max_new_tokens,
            max_chunk_frames=self._section.chunk_frames,
        )

    async def _spoken(
        self, job: Job, inbox: Inbox[BackendAudio | Failure], segments: AsyncIterable[Segment]
    ) -> AsyncGenerator[BackendAudio, None]:
        speaker = ""
        async for segment in segments:
            if not is_speakable(without_tags(segment.text)):  # the model would babble
                yield self._audio(segment.index, end="complete")
                continue
            text, speaker = attributed(segment.text, speaker)
            job.say(segment.index, text)
            end = None
            while end is None:
                item = await inbox.take()
                if isinstance(item, Failure):
                    raise item.error
                job.took(len(item.data) // BYTES_PER_SAMPLE)
                end = item.end
                yield item

    def _as_audio(self, item: Sound | Failure) -> BackendAudio | Failure:
        """What the model's thread made, as bytes; called in that thread."""
        if isinstance(item, Failure):  # also that torch is not there
            return item
        from junetts._runtime.codec import to_pcm16

        return self._audio(item.segment, data=to_pcm16(item.samples), end=item.end)

    def _audio(
        self, segment: int, *, data: bytes = b"", end: SegmentEnd | None = None
    ) -> BackendAudio:
        return BackendAudio(
            segment=segment, format=self._format, data=data, end=end, backend=self._name
        )

    def _load(self) -> Scheduler:
        """Load the checkpoint; called in the model's thread, where torch is imported, too."""
        from junetts._runtime.runtime import context_of, load_runtime
        from junetts._runtime.scheduler import Scheduler

        section, started_at = self._section, perf_counter()
        runtime = load_runtime(
            section.checkpoint_directory,
            device=section.device,
            dtype=section.dtype,
            n_slots=section.max_batch,
            max_context=section.max_context,
            voice_directory=section.voice_directory,
            check=self._check_wanted,
        )
        scheduler = Scheduler(
            runtime,
            max_batch=section.max_batch,
            context=context_of(runtime.sizes, section.max_context),
            prefix_bytes=section.prefix_cache_mb * 2**20,
        )
        self._format = AudioFormat(sample_rate=runtime.codec.sample_rate)
        precision = str(runtime.dtype).removeprefix("torch.")
        self._loaded = f"{section.checkpoint} is loaded on {runtime.device} in {precision}"
        logger.info("%s, in %.1f s", self._loaded, perf_counter() - started_at)
        return scheduler

    def _check_wanted(self) -> None:
        """Stop the loading of a model that nobody waits for."""
        if self._worker.is_closed:
            raise EngineError("the engine was closed while its model was being loaded")

    def _inspect(self) -> str:
        """Say what is in the checkpoint's directory.

        Raises:
            CheckpointError: if nothing that could be loaded is.
            BackendUnavailableError: if a package cannot be loaded.
        """
        with our_errors():
            return self._described()

    def _described(self) -> str:
        from junetts._runtime.checkpoint import open_checkpoint
        from junetts._runtime.device import resolve_device, resolve_dtype

        checkpoint = open_checkpoint(self._section.checkpoint_directory)
        checkpoint.load_tokenizer()
        device = resolve_device(self._section.device)
        dtype = str(resolve_dtype(self._section.dtype, device)).removeprefix("torch.")
        family = checkpoint.model.family.upper()
        return f"{self._section.checkpoint} holds an {family} model, for {device} in {dtype}"
