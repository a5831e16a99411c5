"""The tables of ``junetts.toml``: what each section can say, and within which bounds."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from junetts._config_errors import config_error
from junetts._config_keys import ApiKey, OptionalApiKey, default_keys, without_unset_default
from junetts._errors import ConfigError

_CLOUD_RATES = {
    "pcm": (8000, 16_000, 24_000, 32_000, 44_100),
    "wav": (8000, 16_000, 24_000, 32_000, 44_100),
    "mp3": (32_000, 44_100),
    "opus": (48_000,),
}


def _as_list(value: object) -> object:
    return [value] if isinstance(value, (str, SecretStr)) else value


def _as_keys(value: object) -> object:
    return without_unset_default(_as_list(value))


def _as_number(value: object) -> object:
    """Digits as a number: the environment only has text, and a choice takes no other type."""
    return int(value) if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,9}", value) else value


def _none_if_blank(value: object) -> object:
    """TOML cannot say null; an empty text says it."""
    return None if isinstance(value, str) and not value.strip() else value


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", name):
        raise ValueError(f"must be one of auto, cpu, cuda, cuda:N, mps, not {name[:40]!r}")
    return name


def _not_blank(path: str) -> str:
    if not path.strip():
        raise ValueError("must be the path of a directory, not empty")
    return path


def _context(n_columns: int | None) -> int | None:
    """As a bound of the field, None would be compared with it."""
    least, most = 256, 32_768
    if n_columns is not None and not least <= n_columns <= most:
        raise ValueError(f"must be a whole number from {least} to {most}, not {n_columns}")
    return n_columns


def _voice_cache() -> str:
    """Where caches are kept by those who have said so, else where most keep theirs."""
    folder = os.environ.get("XDG_CACHE_HOME", "")
    return f"{folder if os.path.isabs(folder) else '~/.cache'}/junetts/voices"


def _url(*schemes: str) -> AfterValidator:
    def check(url: str) -> str:
        url = url.strip()
        try:
            parts = urlsplit(url)
            usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a port that is no number, an unclosed bracket
            usable = False
        if "@" in url:  # never shown: what stands before it is a password
            raise ValueError("must not hold a user name or password")
        if not usable or any(c.isspace() for c in url):
            raise ValueError(f"must be a {' or '.join(f'{s}://' for s in schemes)} URL with a host")
        return url

    return AfterValidator(check)


Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
VoiceId = Annotated[str | None, BeforeValidator(_none_if_blank)]


class Section(BaseModel):
    """A table of ``junetts.toml``: immutable, strict about its keys, silent about API keys.

    What is wrong with a value is a `ConfigError`; no pydantic error comes out of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    table: ClassVar[str] = ""

    def __init__(self, /, **values: object) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            problem = config_error(error, type(self), table=self.table)
        else:
            return
        raise problem  # outside the handler: pydantic's error holds the values


class CloudSection(Section):
    """``[cloud]``: Fish Audio's WebSocket."""

    table: ClassVar[str] = "cloud"

    url: Annotated[str, _url("wss", "ws")] = "wss://api.fish.audio/v1/tts/live"
    api_keys: Annotated[tuple[ApiKey, ...], BeforeValidator(_as_keys)] = Field(
        default_factory=default_keys
    )
    model: Literal["s1", "s2-pro", "s2.1-pro", "s2.1-pro-free"] = "s2-pro"
    voice: VoiceId = None
    latency: Literal["low", "normal", "balanced"] = "balanced"
    format: Literal["pcm", "wav", "mp3", "opus"] = "pcm"
    sample_rate: int | None = None
    mp3_bitrate: Annotated[Literal[64, 128, 192], BeforeValidator(_as_number)] = 128
    opus_bitrate: Annotated[
        Literal[-1000, 24000, 32000, 48000, 64000], BeforeValidator(_as_number)
    ] = -1000
    chunk_length: Annotated[int, Field(ge=100, le=300)] = 300
    min_chunk_length: Annotated[int, Field(ge=0, le=100)] = 50
    normalize: bool = True
    normalize_loudness: bool | None = None
    condition_on_previous_chunks: bool = True
    early_stop_threshold: Annotated[float, Field(ge=0, le=1)] = 1.0
    features: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = ()
    timestamps: bool = False
    connect_timeout_s: Seconds = 10.0
    ping_interval_s: Seconds = 20.0
    ping_timeout_s: Seconds = 60.0
    recycle_after_s: Seconds = 300.0
    idle_sockets: Annotated[int, Field(ge=0, le=50)] = 1

    @model_validator(mode="after")
    def _rate_suits_format(self) -> Self:
        rates = _CLOUD_RATES[self.format]
        if self.sample_rate is not None and self.sample_rate not in rates:
            listed = ", ".join(map(str, rates))
            raise ConfigError(
                f"cloud.sample_rate must be one of {listed} when cloud.format is {self.format}, "
                f"not {self.sample_rate}",
                key="cloud.sample_rate",
            )
        return self


class ServerSection(Section):
    """``[server]``: a fish-speech HTTP server.

    ``verify_voices`` checks ids against the server's list before use; false trusts them, for
    servers without that list.
    """

    table: ClassVar[str] = "server"

    url: Annotated[str, _url("http", "https")] = "http://127.0.0.1:8080"
    api_key: OptionalApiKey = SecretStr("")
    encoding: Literal["msgpack", "json", "multipart"] = "msgpack"
    voice: VoiceId = None
    verify_voices: bool = True
    streaming: bool = True
    format: Literal["wav", "mp3"] = "wav"
    chunk_length: Annotated[int, Field(ge=100, le=1000)] = 200
    normalize: bool = True
    use_memory_cache: Literal["on", "off"] = "on"
    queue_limit: Annotated[int, Field(ge=0, le=10_000)] = 32
    connect_timeout_s: Seconds = 5.0


class LocalSection(Section):
    """``[local]``: Fish Speech on this machine.

    Attributes:
        checkpoint: the model's directory.
        device: ``auto`` takes a GPU if there is one.
        dtype: ``auto`` takes what suits the device.
        engine: ``stream`` is junetts's own, ``fish-speech`` the upstream package.
        max_batch: utterances that share the model at once; others wait.
        max_context: columns of memory per utterance; None is what the checkpoint allows, at
            most 8192.
        max_new_tokens: per segment; running into it truncates speech.
        chunk_frames: the longest chunk, in frames of 46 ms.
        voice_cache: directory in which the codes of imitated recordings are kept; none if empty.
        prefix_cache_mb: memory for the prompts of voices, in MiB.
    """

    table: ClassVar[str] = "local"

    checkpoint: Annotated[str, AfterValidator(_not_blank)] = "checkpoints/openaudio-s1-mini"
    device: Annotated[str, AfterValidator(_device)] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    engine: Literal["stream", "fish-speech"] = "stream"
    max_batch: Annotated[int, Field(ge=1, le=64)] = 4
    max_context: Annotated[
        int | None, BeforeValidator(_none_if_blank), AfterValidator(_context)
    ] = None
    max_new_tokens: Annotated[int, Field(ge=1, le=8192)] = 1024
    chunk_frames: Annotated[int, Field(ge=1, le=64)] = 16
    voice_cache: str = Field(default_factory=_voice_cache)
    prefix_cache_mb: Annotated[int, Field(ge=0, le=1_048_576)] = 512

    @property
    def checkpoint_directory(self) -> Path:
        """The checkpoint's directory, from the current one if it is relative."""
        return Path(os.path.expanduser(self.checkpoint))

    @property
    def voice_directory(self) -> Path | None:
        """Where codes of voices are kept on disk, or None for memory alone."""
        written = self.voice_cache.strip()
        return Path(os.path.expanduser(written)) if written else None


class DemoSection(Section):
    """``[demo]``: the offline robot voice."""

    table: ClassVar[str] = "demo"

    voice: VoiceId = None


class FallbackSection(Section):
    """``[fallback]``: how long a backend may take, and what happens when another takes over.

    Attributes:
        first_audio_timeout_s: for the first sound, where another backend could take over.
        stall_timeout_s: likewise, for a pause once sound has begun.
        patience_s: what the last one left is given instead.
        hedge_after_s: no sound by then starts the next backend beside the first, and the first
            sound wins; 0 never does.
        on_partial: what becomes of a sentence that was broken off: ``respeak`` says it again
            from its beginning, ``continue`` from the last word known or estimated to have been
            heard, ``fail`` gives up.
        tries: how often a backend is tried while there is no sound, and how often it may break
            off in one utterance.
        on_unknown_voice: ``refuse`` passes over a backend that does not know the voice;
            ``substitute`` lets it speak in its own voice when nobody else is left.
        return_at: when a preferred backend that has recovered speaks again: with the next
            ``utterance``, or the next ``segment``.
        match_loudness: make the next backend as loud as the one that it goes on for.
    """

    table: ClassVar[str] = "fallback"

    first_audio_timeout_s: Seconds = 3.0
    stall_timeout_s: Seconds = 3.0
    patience_s: Seconds = 30.0
    hedge_after_s: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = 0.0
    on_partial: Literal["respeak", "continue", "fail"] = "respeak"
    tries: Annotated[int, Field(ge=1, le=10)] = 2
    on_unknown_voice: Literal["refuse", "substitute"] = "refuse"
    return_at: Literal["utterance", "segment"] = "utterance"
    match_loudness: bool = True
