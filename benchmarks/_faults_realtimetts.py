"""RealtimeTTS's list of engines under the fault script: two HTTP engines, as users write them."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import closing
from http.client import HTTPConnection
from importlib.metadata import version
from urllib.parse import urlsplit

import pyaudio
from RealtimeTTS import BaseEngine, TextToAudioStream

from _faults_listener import (
    GRACE_S,
    LEAVES,
    SAMPLE_RATE,
    WARM_UP,
    Recorder,
    Result,
    Situation,
    measured,
    read_situation,
    tokens_blocking,
)

READ_BYTES = 4096
POLL_S = 0.01


class HttpEngine(BaseEngine):
    """A fish-speech server; a request for each sentence that the library cuts."""

    def __init__(self, url: str, *, deadline_s: float) -> None:
        self._address = urlsplit(url).netloc
        self._deadline_s = deadline_s

    def post_init(self) -> None:
        """Name the engine; the library calls this."""
        self.engine_name = self._address

    def get_stream_info(self) -> tuple[int, int, int]:
        """Format, channels and rate."""
        return pyaudio.paInt16, 1, SAMPLE_RATE

    def synthesize(self, text: str, sentence_count: int = 0) -> bool:
        """Put a sentence's audio into the queue as it arrives; an error is raised."""
        super().synthesize(text, sentence_count)
        body = json.dumps({"text": text, "streaming": True})
        connection = HTTPConnection(self._address, timeout=self._deadline_s)
        with closing(connection):
            connection.request("POST", "/v1/tts", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            while audio := response.read1(READ_BYTES):
                if self.stop_synthesis_event.is_set():
                    return False
                self.queue.put(audio)
        return True

    def stop(self) -> None:
        """Stop; the library calls this."""
        self.stop_synthesis_event.set()

    def get_voices(self) -> list[object]:
        """There is one voice."""
        return []

    def set_voice(self, voice: object) -> None:
        """There is one voice."""

    def set_voice_parameters(self, **voice_parameters: object) -> None:
        """There is one voice."""


def stream_of(situation: Situation) -> TextToAudioStream:
    """A stream with the primary and the backup, not played."""
    engines = [
        HttpEngine(provider["http"], deadline_s=situation.deadline_s)
        for provider in (situation.primary, situation.backup)
    ]
    # Its default way to find sentences downloads a model at first use; this one is built in.
    return TextToAudioStream(engines, muted=True, tokenizer="rule-based")


def listen(
    situation: Situation, result: Result, raised: list[BaseException], given_up: threading.Event
) -> None:
    """Speak the text; a listener who leaves, or gives up, calls `stop`."""
    recorder = Recorder(situation.recording)
    stream = stream_of(situation)
    stream.feed(tokens_blocking(situation.script))

    def play() -> None:
        try:
            stream.play(on_audio_chunk=recorder.hear)
        except Exception as error:  # noqa: BLE001
            raised.append(error)

    playing = threading.Thread(target=play, daemon=True)
    playing.start()
    while playing.is_alive():
        time.sleep(POLL_S)
        leaves = situation.script == LEAVES and recorder.has_enough
        if leaves or given_up.is_set():
            result.leave()
            stream.stop()
            break
    playing.join()
    time.sleep(GRACE_S)


async def main() -> None:
    """One run."""
    situation = read_situation()
    result = Result(version=version("realtimetts"))

    def say_once() -> None:
        stream_of(situation).feed(WARM_UP).play()

    async def warm_up() -> None:
        # With both providers down it would never come back.
        await asyncio.to_thread(int if situation.script == "down" else say_once)

    async def listen_in_thread() -> None:
        raised: list[BaseException] = []
        given_up = threading.Event()
        work = asyncio.ensure_future(asyncio.to_thread(listen, situation, result, raised, given_up))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            given_up.set()
            await work
            raise
        if raised:
            raise raised[0]

    await measured(situation, result, warm_up=warm_up, listen=listen_in_thread)


if __name__ == "__main__":
    asyncio.run(main())
