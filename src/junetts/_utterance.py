"""Values that say what to speak and how: voice, prosody, sampling, segment, utterance."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from types import NoneType

from junetts._errors import InvalidRequestError
from junetts._events import UtteranceEvent

MAX_SEED = 2**63 - 1


def require_number(
    field: str, value: float | None, *, minimum: float, maximum: float, integer: bool = False
) -> None:
    """Check one numeric field; None means "not set" and passes.

    Raises:
        InvalidRequestError: naming the field, the value and the bounds.
    """
    if value is None:
        return
    wanted = f"{'a whole number' if integer else 'a number'} from {minimum} to {maximum}"
    kinds = int if integer else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise InvalidRequestError(f"{field} must be {wanted}, not {value!r}", field=field)
    if math.isnan(value) or not minimum <= value <= maximum:
        raise InvalidRequestError(f"{field} must be {wanted}, not {value!r}", field=field)


@dataclass(frozen=True, slots=True)
class Prosody:
    """How fast and how loud to speak.

    Args:
        speed: 1.0 is the voice's own pace; 0.5 to 2.
        volume_db: change of loudness in decibels; -20 to 20.
    """

    speed: float = 1.0
    volume_db: float = 0.0

    def __post_init__(self) -> None:
        require_number("prosody.speed", self.speed, minimum=0.5, maximum=2.0)
        require_number("prosody.volume_db", self.volume_db, minimum=-20.0, maximum=20.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the model chooses tokens; None leaves a choice to the backend's default.

    Args:
        temperature: 0 to 1; 0 is greedy, where the backend can be.
        top_p: 0 to 1, the probability mass that is drawn from.
        top_k: at least 1, the number of tokens that are drawn from.
        repetition_penalty: 0.9 to 2.
        seed: 0 to 2**63 - 1; the same seed gives the same speech where the backend honours it.
        max_new_tokens: at least 1, per segment; running into it truncates speech.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    max_new_tokens: int | None = None

    def __post_init__(self) -> None:
        require_number("sampling.temperature", self.temperature, minimum=0, maximum=1)
        require_number("sampling.top_p", self.top_p, minimum=0, maximum=1)
        require_number(
            "sampling.repetition_penalty", self.repetition_penalty, minimum=0.9, maximum=2
        )
        require_number("sampling.top_k", self.top_k, minimum=1, maximum=2**31 - 1, integer=True)
        require_number("sampling.seed", self.seed, minimum=0, maximum=MAX_SEED, integer=True)
        require_number(
            "sampling.max_new_tokens",
            self.max_new_tokens,
            minimum=1,
            maximum=2**31 - 1,
            integer=True,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceClip:
    """A recording to imitate: encoded audio (any file format) and the words spoken in it."""

    audio: bytes
    text: str

    def __post_init__(self) -> None:
        if not isinstance(self.audio, bytes) or not self.audio:
            what = "nothing" if self.audio == b"" else type(self.audio).__name__
            raise InvalidRequestError(
                f"voice.audio must be the bytes of an audio file, or its path, not {what}",
                field="voice.audio",
            )
        if not isinstance(self.text, str):
            raise InvalidRequestError(
                f"voice.text must be the transcript as str, not {type(self.text).__name__}",
                field="voice.text",
            )

    def __repr__(self) -> str:
        return f"ReferenceClip(audio=<{len(self.audio)} bytes>, text={self.text!r})"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidRequestError(
            f"voice.audio cannot be read: {error.strerror}: {path}", field="voice.audio"
        ) from error


def _as_tuple(field: str, values: object) -> tuple[object, ...]:
    if isinstance(values, (list, tuple)):
        return tuple(values)
    raise InvalidRequestError(f"{field} must be a list or tuple, not {values!r}", field=field)


@dataclass(frozen=True, slots=True)
class Voice:
    """One voice, wherever it is spoken.

    A backend takes what it understands: its own id, else ``id``, else the clips.
    A backend that understands none of what is given refuses; it never speaks in another voice.

    Args:
        id: the voice's id on any backend that has no id of its own below.
        cloud_id: model id in the Fish Audio cloud; several, for text with ``<|speaker:N|>`` tags.
        server_id: reference id on a fish-speech server.
        clips: recordings to imitate.
        language: language of the demo voice, such as ``en-gb``.
    """

    id: str | None = None
    _: KW_ONLY
    cloud_id: str | tuple[str, ...] | None = None
    server_id: str | None = None
    clips: tuple[ReferenceClip, ...] = ()
    language: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.cloud_id, (str, NoneType)):
            object.__setattr__(self, "cloud_id", _as_tuple("voice.cloud_id", self.cloud_id))
        object.__setattr__(self, "clips", _as_tuple("voice.clips", self.clips))
        ids = self.cloud_id if isinstance(self.cloud_id, tuple) else (self.cloud_id,)
        named: Iterable[tuple[str, object]] = (
            ("id", self.id),
            ("server_id", self.server_id),
            ("language", self.language),
            *(("cloud_id", one) for one in ids),
        )
        if not all(isinstance(clip, ReferenceClip) for clip in self.clips):
            raise InvalidRequestError("voice.clips must hold ReferenceClip", field="voice.clips")
        for field, value in named:
            if value is not None and (not isinstance(value, str) or not value.strip()):
                raise InvalidRequestError(
                    f"voice.{field} must be a non-empty str, not {value!r}", field=f"voice.{field}"
                )
        if isinstance(self.cloud_id, tuple) and not self.cloud_id:
            raise InvalidRequestError(
                "voice.cloud_id must name at least one voice", field="voice.cloud_id"
            )

    @classmethod
    def clone(cls, audio: bytes | str | os.PathLike[str], text: str) -> Voice:
        """Imitate a recording.

        Args:
            audio: the bytes of an audio file, or its path.
            text: the words spoken in it.

        Raises:
            InvalidRequestError: if the file cannot be read or is empty.
        """
        if isinstance(audio, (str, os.PathLike)):
            audio = _read(Path(audio))
        return cls(clips=(ReferenceClip(audio=audio, text=text),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Text between two flushes or sentence ends, exactly as the caller wrote it.

    The texts of an utterance's segments, joined in order, are the utterance's text.
    """

    index: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One request to speak; its text arrives separately, as segments.

    Attributes:
        voice: None is the backend's configured voice.
        prosody: None leaves pace and loudness alone.
        sampling: how tokens are chosen.
        language: a hint such as ``en``, for segmentation and the demo voice.
        first_audio_timeout_s: how long the first sound may take, once there is text.
        stall_timeout_s: how long sound may pause, once begun, while there is text to speak.
        observe: told of everything that happens to the utterance, as it happens.
        number: tells a client's utterances apart in events.
    """

    voice: Voice | None = None
    prosody: Prosody | None = None
    sampling: Sampling = Sampling()
    language: str | None = None
    first_audio_timeout_s: float = 30.0
    stall_timeout_s: float = 30.0
    observe: Callable[[UtteranceEvent], None] | None = None
    number: int = 0
