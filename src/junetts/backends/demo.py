"""The demo voice: eSpeak NG, an offline robot voice in over a hundred languages.

eSpeak NG is free software under the GNU General Public License, version 3 or later. It is no part
of junetts: the ``demo`` extra installs it (package ``espeakng-loader``), and it runs in a process
of its own.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio

from junetts._audio import BYTES_PER_SAMPLE, AudioFormat
from junetts._backend import BackendAudio, Capabilities, Health
from junetts._config import DemoSection
from junetts._errors import BackendUnavailableError, RemoteProtocolError, UsageError
from junetts._segmentation import is_speakable
from junetts._utterance import Segment, Utterance
from junetts.backends._demo_frames import Kind, SpeakRequest, decode_words
from junetts.backends._demo_languages import requested_voice, voice_for_text
from junetts.backends._demo_process import DemoProcess, ProcessDiedError
from junetts.backends._demo_text import WordTimer, masked

WORDS_PER_MINUTE = 175  # eSpeak NG's own pace; speeds of 0.5 to 2 stay within its 80 to 450
MAX_WORDS_IN_PROGRESS = 256  # a longer segment tells its words at its end: each item repeats them
NOTICE = """\
junetts: this is the demo voice, a robot. For a natural one set FISH_API_KEY (https://fish.audio)
or run a fish-speech server on 127.0.0.1:8080; `junetts doctor` says what is missing.
To keep the robot and silence this, choose it: backends = ["demo"].
"""
_INSTALL_HINT = 'pip install "junetts[demo]"'
_REINSTALL_HINT = "pip install --force-reinstall espeakng-loader"
_noticed = False


def notice() -> None:
    """Say on stderr, once per process, that this is a robot voice and how to get a better one."""
    global _noticed
    if not _noticed:
        _noticed = True
        sys.stderr.write(NOTICE)


def find_library() -> tuple[str, str]:
    """The paths of eSpeak NG's shared library and of its data beside it.

    Raises:
        ImportError: it is not installed.
    """
    loader = importlib.import_module("espeakng_loader")
    library = Path(loader.get_library_path())
    return str(library), str(library.with_name("espeak-ng-data"))  # no look at the disk: no wait


@dataclass(frozen=True, slots=True, kw_only=True)
class _Manner:
    """How the segments of an utterance are spoken; no voice means one for each one's script."""

    voice: str | None
    language: str | None
    words_per_minute: int


class DemoBackend:
    """Speaks with eSpeak NG in a child process that is kept until `aclose`.

    The child starts with `warmup` or the first utterance, and again if it has died; it ends with
    this process in any case. Utterances share it segment by segment, in order of arrival.

    A voice is a language (``Voice(language="en-gb")``), else an id that eSpeak NG knows; a voice
    that only other backends know is refused. Without a voice the utterance's language is taken,
    else the one of each segment's script. Fish's tags, such as ``[laugh]``, are not read out.

    `Sampling` is ignored: there is nothing to sample. Two renderings of a text last equally long
    to a few samples but are not equal byte for byte, so that no seed is promised.

    Attributes:
        announces: whether it gives the `notice` before it speaks, for when nobody chose it.
    """

    capabilities = Capabilities(
        sample_rate=22_050, voice_ids=True, speed=True, word_times=True, streaming_audio=True
    )

    def __init__(
        self,
        section: DemoSection,
        *,
        name: str = "demo",
        library: Callable[[], tuple[str, str]] = find_library,
    ) -> None:
        self.name = name
        self.capabilities = replace(self.capabilities, voice=section.voice)
        self.announces = False
        self._section = section
        self._library = library
        self._processes: list[DemoProcess] = []  # the last one is the current one
        self._start: asyncio.Task[None] | None = None
        self._is_closed = False

    def __repr__(self) -> str:
        return f"DemoBackend({self._section!r}, name={self.name!r})"

    async def warmup(self) -> None:
        """Start the child process."""
        await self._running()

    async def probe(self) -> Health:
        """Whether the child process runs, or can be started."""
        try:
            process = await self._running()
        except BackendUnavailableError as error:
            return Health(status="unavailable", detail=error.message, hint=error.hint)
        detail = f"eSpeak NG {process.version}, {len(process.table.voices)} voices"
        return Health(status="ok", detail=detail)

    @asynccontextmanager
    async def speak(
        self, utterance: Utterance, segments: AsyncIterable[Segment]
    ) -> AsyncIterator[AsyncIterator[BackendAudio]]:
        """Speak segments as they arrive."""
        process = await self._running()
        if self.announces:
            notice()
        speed = 1.0 if utterance.prosody is None else utterance.prosody.speed
        manner = _Manner(
            voice=requested_voice(
                process.table, utterance.voice, configured=self._section.voice, backend=self.name
            ),
            language=utterance.language,
            words_per_minute=round(WORDS_PER_MINUTE * speed),
        )
        async with aclosing(self._speak(manner, segments)) as audio:
            yield audio

    async def aclose(self) -> None:
        """End the child process; whoever still listens gets an error."""
        self._is_closed = True
        with anyio.CancelScope(shield=True):
            for process in self._processes:
                await process.aclose()
            if self._start is not None:
                await asyncio.wait([self._start])

    async def _running(self) -> DemoProcess:
        """The child process, started if need be.

        A caller that is cancelled while it starts leaves it to start for the next one.

        Raises:
            BackendUnavailableError: it cannot be started.
            UsageError: the backend is closed.
        """
        if self._is_closed:
            raise UsageError("the demo backend is closed", backend=self.name)
        if self._start is None or (self._start.done() and not self._processes[-1].is_alive):
            self._start = self._begin()
        process = self._processes[-1]
        if not self._start.done():
            await asyncio.wait([self._start])
        if not process.is_alive:
            raise self._unavailable(process.death(), _REINSTALL_HINT)
        return process

    def _begin(self) -> asyncio.Task[None]:
        try:
            library, data = self._library()
        except ImportError as error:
            reason = f"eSpeak NG is not installed: {error}"
            raise self._unavailable(reason, _INSTALL_HINT) from error
        if not sys.executable or getattr(sys, "frozen", False):
            raise self._unavailable("the demo voice needs a Python interpreter to run in")
        process = DemoProcess()
        self._processes = [*(one for one in self._processes if not one.is_gone), process]
        return asyncio.create_task(process.start(library, data))

    def _unavailable(self, reason: str, hint: str | None = None) -> BackendUnavailableError:
        return BackendUnavailableError(reason, backend=self.name, retryable=False, hint=hint)

    async def _speak(
        self, manner: _Manner, segments: AsyncIterable[Segment]
    ) -> AsyncGenerator[BackendAudio, None]:
        async for segment in segments:
            async with aclosing(self._speak_segment(manner, segment)) as audio:
                async for item in audio:
                    yield item

    async def _speak_segment(
        self, manner: _Manner, segment: Segment
    ) -> AsyncGenerator[BackendAudio, None]:
        """Speak one segment, once more on a new child if the first died without a sound."""
        heard = False
        for is_last_try in (False, True):
            process = await self._running()
            try:
                async with aclosing(self._render(process, manner, segment)) as audio:
                    async for item in audio:
                        heard = True
                        yield item
                return
            except ProcessDiedError as death:
                if heard or is_last_try or self._is_closed:
                    raise self._broken_off(death) from death

    def _broken_off(self, death: ProcessDiedError) -> BackendUnavailableError:
        if self._is_closed:
            return self._unavailable("the demo backend was closed while it spoke")
        return RemoteProtocolError(str(death), backend=self.name)

    async def _render(
        self, process: DemoProcess, manner: _Manner, segment: Segment
    ) -> AsyncGenerator[BackendAudio, None]:
        """Speak one segment on one child.

        Raises:
            ProcessDiedError: the child is gone.
            RemoteProtocolError: eSpeak NG refused.
        """
        text = masked(segment.text)
        audio_format = AudioFormat(sample_rate=process.sample_rate)
        last = BackendAudio(segment=segment.index, format=audio_format, end="complete", words=())
        if not is_speakable(text):
            yield last
            return
        voice = manner.voice or voice_for_text(process.table, text, hint=manner.language)
        timer = WordTimer(segment.text, process.sample_rate)
        n_bytes = 0
        with process.submit(SpeakRequest(text, voice, manner.words_per_minute)) as job:
            while (frame := await job.receive()).kind is not Kind.DONE:
                if frame.kind is Kind.REFUSED:
                    raise RemoteProtocolError(frame.payload.decode(), backend=self.name)
                if frame.kind is Kind.WORDS:
                    timer.add(decode_words(frame.payload))
                else:
                    n_bytes += len(frame.payload)
                    words = timer.news(MAX_WORDS_IN_PROGRESS)
                    yield replace(last, end=None, data=frame.payload, words=words)
        yield replace(last, words=timer.all(n_bytes / (BYTES_PER_SAMPLE * process.sample_rate)))
