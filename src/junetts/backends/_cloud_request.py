"""What the caller wants, as a request to the Fish Audio cloud."""

from __future__ import annotations

from dataclasses import dataclass

from junetts._config import CloudSection
from junetts._errors import InvalidRequestError, UnknownVoiceError
from junetts._fishwire.cloud_request import CloudRequest
from junetts._utterance import Prosody, ReferenceClip, Sampling, Utterance, Voice

_UNSUPPORTED_SAMPLING = ("seed", "top_k")


def build_request(section: CloudSection, utterance: Utterance, *, backend: str) -> CloudRequest:
    """The request for an utterance spoken under a configuration.

    Raises:
        InvalidRequestError: if the cloud's API has no place for something that is asked for.
        UnknownVoiceError: if the voice names nothing that the cloud could know.
    """
    _refuse_unsupported(utterance.sampling, backend=backend)
    voice = _resolve_voice(section.voice, utterance.voice, backend=backend)
    # A prosody that changes nothing is not asked for: the server has its own way of doing so.
    prosody = utterance.prosody if utterance.prosody != Prosody() else None
    return CloudRequest(
        model=section.model,
        reference_id=voice.ids,
        references=voice.clips,
        format=section.format,
        sample_rate=section.sample_rate,
        mp3_bitrate=section.mp3_bitrate,
        opus_bitrate=section.opus_bitrate,
        latency=section.latency,
        chunk_length=section.chunk_length,
        min_chunk_length=section.min_chunk_length,
        temperature=utterance.sampling.temperature,
        top_p=utterance.sampling.top_p,
        repetition_penalty=utterance.sampling.repetition_penalty,
        max_new_tokens=utterance.sampling.max_new_tokens,
        speed=None if prosody is None else prosody.speed,
        volume_db=None if prosody is None else prosody.volume_db,
        normalize_loudness=section.normalize_loudness,
        normalize=section.normalize,
        condition_on_previous_chunks=section.condition_on_previous_chunks,
        early_stop_threshold=section.early_stop_threshold,
        features=section.features,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _CloudVoice:
    ids: str | tuple[str, ...] | None = None
    clips: tuple[ReferenceClip, ...] = ()


def _resolve_voice(configured: str | None, voice: Voice | None, *, backend: str) -> _CloudVoice:
    """The cloud's own id, else the general one, else the clips; without a voice, the default."""
    if voice is None:
        return _CloudVoice(ids=configured)
    ids = voice.cloud_id if voice.cloud_id is not None else voice.id
    if isinstance(ids, tuple) and len(ids) == 1:
        ids = ids[0]
    if ids is not None:
        return _CloudVoice(ids=ids)
    if voice.clips:
        return _CloudVoice(clips=voice.clips)
    raise UnknownVoiceError(
        "the voice has no cloud_id, id or clips, so the cloud cannot know it",
        field="voice",
        backend=backend,
        hint='give Voice(cloud_id="...") or Voice.clone(audio, text)',
    )


def _refuse_unsupported(sampling: Sampling, *, backend: str) -> None:
    """Refuse what would be ignored: a seed without effect would promise repeatable speech."""
    for name in _UNSUPPORTED_SAMPLING:
        value = getattr(sampling, name)
        if value is not None:
            raise InvalidRequestError(
                f"sampling.{name} must be None, not {value!r}: the Fish Audio cloud has no {name}",
                field=f"sampling.{name}",
                backend=backend,
                hint=f"leave {name} out, or speak with a backend that honours it",
            )
