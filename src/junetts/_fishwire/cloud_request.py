"""What is asked of the Fish Audio cloud: REST bodies and ``start.request`` alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from junetts._errors import InvalidRequestError
from junetts._fishwire.reference_length import known_length_s
from junetts._utterance import ReferenceClip, require_number

SAMPLE_RATES: Mapping[str, tuple[int, ...]] = {
    "pcm": (8000, 16_000, 24_000, 32_000, 44_100),
    "wav": (8000, 16_000, 24_000, 32_000, 44_100),
    "mp3": (32_000, 44_100),
    "opus": (48_000,),
}
MEDIA_TYPES: Mapping[str, str] = {
    "pcm": "audio/pcm",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
}
MP3_BITRATES = (64, 128, 192)
OPUS_BITRATES = (-1000, 24_000, 32_000, 48_000, 64_000)
LATENCIES = ("low", "normal", "balanced")
USD_PER_MILLION_BYTES: Mapping[str, float] = {
    "s1": 15.0,
    "s2-pro": 15.0,
    "s2.1-pro": 15.0,
    "s2.1-pro-free": 0.0,
}
SINGLE_SPEAKER_MODELS = ("s1",)
MAX_REFERENCE_S = 375.0
MAX_TOKENS = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudRequest:
    """One request, valid from construction; None leaves a choice to the server.

    Fields are the API's own, flattened: ``speed``, ``volume_db`` and ``normalize_loudness``
    travel as ``prosody``, ``model`` as a header of the handshake.

    Raises:
        InvalidRequestError: naming the field, its value and what it may be.
    """

    model: str
    text: str = ""
    reference_id: str | tuple[str, ...] | None = None
    references: tuple[ReferenceClip, ...] = ()
    format: str = "pcm"
    sample_rate: int | None = None
    mp3_bitrate: int = 128
    opus_bitrate: int = -1000
    latency: str = "normal"
    chunk_length: int = 300
    min_chunk_length: int = 50
    temperature: float | None = None
    top_p: float | None = None
    repetition_penalty: float | None = None
    max_new_tokens: int | None = None
    speed: float | None = None
    volume_db: float | None = None
    normalize_loudness: bool | None = None
    normalize: bool = True
    condition_on_previous_chunks: bool = True
    early_stop_threshold: float = 1.0
    features: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # A missing or unknown model silently becomes a paid one: it must not leave this machine.
        _require_choice("model", self.model, tuple(USD_PER_MILLION_BYTES))
        _require_choice("format", self.format, tuple(SAMPLE_RATES))
        _require_choice("latency", self.latency, LATENCIES)
        _require_choice("mp3_bitrate", self.mp3_bitrate, MP3_BITRATES)
        _require_choice("opus_bitrate", self.opus_bitrate, OPUS_BITRATES)
        if self.sample_rate is not None:
            rates, why = SAMPLE_RATES[self.format], f" for format {self.format}"
            _require_choice("sample_rate", self.sample_rate, rates, why=why)
        self._require_numbers()
        self._require_voice()

    def _require_numbers(self) -> None:
        bounds: tuple[tuple[str, float | None, float, float, bool], ...] = (
            ("chunk_length", self.chunk_length, 100, 300, True),
            ("min_chunk_length", self.min_chunk_length, 0, 100, True),
            ("temperature", self.temperature, 0, 1, False),
            ("top_p", self.top_p, 0, 1, False),
            ("early_stop_threshold", self.early_stop_threshold, 0, 1, False),
            ("repetition_penalty", self.repetition_penalty, 0, 10, False),
            ("max_new_tokens", self.max_new_tokens, 1, MAX_TOKENS, True),
            ("prosody.speed", self.speed, 0.5, 2, False),
            ("prosody.volume_db", self.volume_db, -20, 20, False),
        )
        for field, value, minimum, maximum, integer in bounds:
            require_number(field, value, minimum=minimum, maximum=maximum, integer=integer)
            if value is not None and not integer:  # sent as what the API calls it, a real number
                object.__setattr__(self, field.rpartition(".")[2], float(value))

    def _require_voice(self) -> None:
        if isinstance(self.reference_id, tuple) and self.model in SINGLE_SPEAKER_MODELS:
            raise InvalidRequestError(
                f"reference_id must be one voice for model {self.model}, not "
                f"{len(self.reference_id)}; several speakers need an S2 model",
                field="reference_id",
            )
        length_s = known_length_s(self.references)
        if length_s > MAX_REFERENCE_S:
            raise InvalidRequestError(
                f"voice.clips must be at most {MAX_REFERENCE_S:g} s of audio in all, "
                f"not {length_s:.1f} s",
                field="voice.clips",
            )

    @property
    def effective_sample_rate(self) -> int:
        """The rate that the audio comes in, in Hz, also where the server chooses it."""
        return self.sample_rate or SAMPLE_RATES[self.format][-1]

    def to_wire(self) -> dict[str, object]:
        """The request as a map; what is not set or not relevant to the format is left out."""
        fields: dict[str, object] = {
            "text": self.text,
            "reference_id": _list_if_several(self.reference_id),
            "references": [{"audio": c.audio, "text": c.text} for c in self.references] or None,
            "format": self.format,
            "sample_rate": self.sample_rate,
            "mp3_bitrate": self.mp3_bitrate if self.format == "mp3" else None,
            "opus_bitrate": self.opus_bitrate if self.format == "opus" else None,
            "latency": self.latency,
            "chunk_length": self.chunk_length,
            "min_chunk_length": self.min_chunk_length,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "repetition_penalty": self.repetition_penalty,
            "max_new_tokens": self.max_new_tokens,
            "prosody": self._prosody() or None,
            "normalize": self.normalize,
            "condition_on_previous_chunks": self.condition_on_previous_chunks,
            "early_stop_threshold": self.early_stop_threshold,
            "features": list(self.features) or None,
        }
        return _without_none(fields)

    def _prosody(self) -> dict[str, object]:
        fields: dict[str, object] = {
            "speed": self.speed,
            "volume": self.volume_db,
            "normalize_loudness": self.normalize_loudness,
        }
        return _without_none(fields)


def _require_choice(
    field: str, value: object, choices: tuple[object, ...], *, why: str = ""
) -> None:
    if value not in choices or isinstance(value, bool):
        listed = ", ".join(map(str, choices))
        raise InvalidRequestError(
            f"{field} must be one of {listed}{why}, not {value!r}", field=field
        )


def _list_if_several(ids: str | tuple[str, ...] | None) -> object:
    return list(ids) if isinstance(ids, tuple) else ids


def _without_none(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}
