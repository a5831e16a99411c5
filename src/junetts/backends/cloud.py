"""The Fish Audio cloud, over its WebSocket."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager

from anyio import to_thread

from junetts._backend import BackendAudio, Capabilities, Health
from junetts._config import CloudSection
from junetts._errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigError,
    JuneTtsError,
)
from junetts._fishwire.cloud_request import SAMPLE_RATES, USD_PER_MILLION_BYTES
from junetts._utterance import Segment, Utterance
from junetts.backends._cloud_credit import (
    credit_health,
    failure_health,
    fetch_credit,
    is_about_key,
)
from junetts.backends._cloud_dial import KEY_HINT, Dialler
from junetts.backends._cloud_pool import CloudPool
from junetts.backends._cloud_request import build_request
from junetts.backends._cloud_segment import Opening
from junetts.backends._cloud_speech import CloudSpeech

_NO_SUCH_ROUTE = 404
_KEY_ACCEPTED = Health(status="ok", detail="the key is accepted")


class CloudBackend:
    """Speaks with Fish Audio's models.

    Guarantees beyond `TtsBackend`'s: each segment has a session of its own, so its audio is its
    own; the next segment is begun while one is still arriving; nothing is sent that the API
    would ignore; keys stand in no repr, log or error.

    Args:
        section: the ``[cloud]`` settings.
        name: how errors and reports call it.
        tls: replaces the process's TLS context, for a server with a private certificate.
        clock: seconds that never go back, for the age of sockets; the event loop's by default.
    """

    def __init__(
        self,
        section: CloudSection,
        *,
        name: str = "cloud",
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._section = section
        self._name = name
        self._dialler = Dialler(section, backend=name, tls=tls)
        self._pool = CloudPool(section, self._dialler, backend=name, clock=clock)

    def __repr__(self) -> str:
        return f"CloudBackend({self._dialler.url!r}, model={self._section.model!r})"

    @property
    def name(self) -> str:
        """The backend's name in the configuration."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """What the cloud can do, as configured."""
        section = self._section
        return Capabilities(
            sample_rate=section.sample_rate or SAMPLE_RATES[section.format][-1],
            formats=(section.format,),
            voice=section.voice,
            voice_ids=True,
            cloning=True,
            speed=True,
            volume=True,
            word_times=section.timestamps,
            streaming_text=True,
            price_usd_per_million_bytes=USD_PER_MILLION_BYTES[section.model],
        )

    async def warmup(self) -> None:
        """Open sockets and keep them ready.

        Raises:
            BackendUnavailableError: if none can be opened.
        """
        await self._pool.warm()

    async def probe(self) -> Health:
        """Ask for the account's credit, and for the handshake that speech would begin with."""
        failure = AuthenticationError("no API key is configured", hint=KEY_HINT)
        health = failure_health(failure)
        for key in self._pool.keys.in_order():
            try:
                credit = await fetch_credit(
                    self._section, key, tls=self._dialler.tls, backend=self._name
                )
            except (BackendUnavailableError, ConfigError) as error:
                if error.status == _NO_SUCH_ROUTE:
                    return await self._probe_handshake(_KEY_ACCEPTED)
                health = failure_health(error)
                if not is_about_key(error):
                    break
            else:
                health = credit_health(credit, model=self._section.model)
                return await self._probe_handshake(health) if health.status == "ok" else health
        return health

    @asynccontextmanager
    async def speak(
        self, utterance: Utterance, segments: AsyncIterable[Segment]
    ) -> AsyncIterator[AsyncIterator[BackendAudio]]:
        """Speak segments as they arrive.

        Raises:
            InvalidRequestError: if something is asked for that the API does not have.
            BackendUnavailableError: if there is no connection.
        """
        opening = await self._opening(utterance)
        speech = CloudSpeech(opening, self._pool, backend=self._name)
        try:
            await speech.begin(segments)
            yield speech
        finally:
            await speech.aclose()

    async def aclose(self) -> None:
        """Close every socket; may be called more than once."""
        await self._pool.aclose()

    async def _probe_handshake(self, found: Health) -> Health:
        """What was found, if a socket can be opened, too."""
        try:
            self._pool.release(await self._pool.acquire(fresh=True))
        except (BackendUnavailableError, ConfigError) as error:
            return failure_health(error)
        return found

    async def _opening(self, utterance: Utterance) -> Opening:
        if utterance.voice is not None and utterance.voice.clips:
            # Megabytes of recordings are looked into: not in the event loop's thread.
            return await to_thread.run_sync(self._build_opening, utterance)
        return self._build_opening(utterance)

    def _build_opening(self, utterance: Utterance) -> Opening:
        try:
            return Opening.of(build_request(self._section, utterance, backend=self._name))
        except JuneTtsError as error:
            error.backend = self._name
            raise
