"""The voices that a fish-speech server keeps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import ormsgpack

from junetts._errors import RemoteProtocolError, RequestRejectedError, UnknownVoiceError
from junetts._fishwire.server_request import is_reference_id
from junetts._utterance import ReferenceClip, Voice

EXPIRY_S = 30.0  # how long a voice that was listed is believed to be there still
MAX_NAMED = 20
CLONE_HINT = "give the voice as a recording, with Voice.clone"
NO_LIST_HINT = f"{CLONE_HINT}; or set server.verify_voices = false, if the id is surely right"


class ServerVoices:
    """Says what to ask the server for, so that it never speaks in another voice.

    Asked for an id that it does not have, the server speaks in its default voice and answers
    200. Guarantees: an id is only ever asked for if the server listed it within the last
    ``expiry_s`` seconds; unless ``verify`` is off, which trusts ids and fetches no list.
    """

    def __init__(
        self,
        fetch: Callable[[float | None], Awaitable[bytes]],
        *,
        verify: bool = True,
        expiry_s: float = EXPIRY_S,
    ) -> None:
        self._fetch = fetch
        self._verify = verify
        self._expiry_s = expiry_s
        self._ids: frozenset[str] = frozenset()
        self._fetched_at = float("-inf")

    async def resolve(self, voice: Voice) -> str | tuple[ReferenceClip, ...]:
        """The id of the voice, or its recordings if it has no id that the server knows.

        Raises:
            UnknownVoiceError: if there is neither; it names the voices that there are.
            JuneTtsError: if the list cannot be fetched.
        """
        wanted = voice.server_id or voice.id
        if wanted is None and not voice.clips:
            raise UnknownVoiceError(
                "the voice has neither an id nor a recording for a fish-speech server",
                field="voice",
                hint=CLONE_HINT,
            )
        if wanted is None:
            return voice.clips
        try:
            await self._require(wanted)
        except UnknownVoiceError:
            if not voice.clips:
                raise
            return voice.clips
        return wanted

    async def warmup(self, *, answer_within_s: float) -> None:
        """Fetch the list, if it is of any use.

        Raises:
            JuneTtsError: if it cannot be fetched.
        """
        if self._verify:
            await self._refresh(answer_within_s)

    async def _refresh(self, answer_within_s: float | None = None) -> frozenset[str]:
        fetched_at = _now()
        self._ids = voice_ids(await self._fetch(answer_within_s))
        self._fetched_at = fetched_at
        return self._ids

    async def _require(self, wanted: str) -> None:
        if not is_reference_id(wanted):
            raise UnknownVoiceError(
                f"no voice on a fish-speech server can be called {wanted!r:.80}: ids are letters, "
                "digits, spaces, hyphens and underscores",
                field="voice",
                hint=CLONE_HINT,
            )
        if not self._verify or self._is_fresh(wanted):
            return
        if wanted not in await self._listed():
            raise UnknownVoiceError(
                f"the server has no voice {wanted!r}; {_named(self._ids)}",
                field="voice",
                hint=CLONE_HINT,
            )

    def _is_fresh(self, wanted: str) -> bool:
        return wanted in self._ids and _now() < self._fetched_at + self._expiry_s

    async def _listed(self) -> frozenset[str]:
        """The list; without one, an id can only be refused: a wrong voice would not be noticed."""
        try:
            return await self._refresh()
        except RequestRejectedError as error:
            raise UnknownVoiceError(
                f"the server does not list its voices ({error.message}), so no id can be checked",
                field="voice",
                hint=NO_LIST_HINT,
            ) from error


def voice_ids(body: bytes) -> frozenset[str]:
    """The ids in an answer of ``/v1/references/list``, in JSON or msgpack.

    Raises:
        RemoteProtocolError: if it is anything else.
    """
    try:
        answer = json.loads(body) if body.lstrip()[:1] == b"{" else ormsgpack.unpackb(body)
        ids = answer["reference_ids"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise RemoteProtocolError("the server's list of voices cannot be read") from error
    if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
        raise RemoteProtocolError("the server's list of voices is not a list of names")
    return frozenset(ids)


def _named(ids: frozenset[str]) -> str:
    if not ids:
        return "it has none at all"
    listed = ", ".join(sorted(ids)[:MAX_NAMED])
    return f"it has {listed}" + (f" and {len(ids) - MAX_NAMED} more" * (len(ids) > MAX_NAMED))


def _now() -> float:
    return asyncio.get_running_loop().time()
