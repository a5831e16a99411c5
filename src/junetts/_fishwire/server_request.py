"""One request to ``/v1/tts`` of a fish-speech server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from junetts._errors import InvalidRequestError
from junetts._utterance import MAX_SEED, ReferenceClip, Utterance, require_number

if TYPE_CHECKING:
    from junetts._config import ServerSection

MAX_ID_CHARACTERS = 255
_ID = re.compile(r"[a-zA-Z0-9\-_ ]+")
_CHOICES: dict[str, tuple[object, ...]] = {
    "format": ("wav", "mp3"),  # pcm and opus are in the schema, but answered with 500
    "latency": ("normal", "balanced"),
    "use_memory_cache": ("on", "off"),
    "normalize": (True, False),
    "streaming": (True, False),
}
_FLOATS = {"temperature": (0.1, 1.0), "top_p": (0.1, 1.0), "repetition_penalty": (0.9, 2.0)}
_INTEGERS = {
    "sampling.max_new_tokens": (2, 2**31 - 1),  # 1 is answered with 500
    "sampling.seed": (0, MAX_SEED),
    "chunk_length": (100, 1000),
}
_SAMPLING = ("temperature", "top_p", "repetition_penalty", "seed", "max_new_tokens")


def is_reference_id(text: str) -> bool:
    """Whether a voice on the server can have this id."""
    return len(text) <= MAX_ID_CHARACTERS and _ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRequest:
    """Every field of ``/v1/tts``, validated on construction; the defaults are the server's own.

    Attributes:
        text: what to speak.
        chunk_length: 100 to 1000, the bytes of text with speaker tags per batch.
        format: wav or mp3.
        latency: normal or balanced; fish-speech 2.0 ignores it.
        references: recordings to imitate.
        reference_id: a voice that the server keeps; it beats ``references``.
        seed: 0 to 2**63 - 1.
        use_memory_cache: whether the server keeps encoded references.
        normalize: whether to spell out numbers; fish-speech 2.0 ignores it.
        streaming: whether audio is sent batch by batch; wav only.
        max_new_tokens: at least 2.
        top_p: 0.1 to 1.
        repetition_penalty: 0.9 to 2; fish-speech 2.0 ignores it.
        temperature: 0.1 to 1.

    Raises:
        InvalidRequestError: naming the field as the caller knows it, the value and the bounds.
    """

    text: str = ""
    chunk_length: int = 200
    format: Literal["wav", "mp3"] = "wav"
    latency: Literal["normal", "balanced"] = "normal"
    references: tuple[ReferenceClip, ...] = ()
    reference_id: str | None = None
    seed: int | None = None
    use_memory_cache: Literal["on", "off"] = "off"
    normalize: bool = True
    streaming: bool = False
    max_new_tokens: int = 1024
    top_p: float = 0.8
    repetition_penalty: float = 1.1
    temperature: float = 0.8

    def __post_init__(self) -> None:
        _require_text("text", self.text)
        _require_voice(self)
        for field, (least, most) in _INTEGERS.items():
            _require_integer(self, field, least, most)
        for name, (minimum, maximum) in _FLOATS.items():
            _require_float(self, name, minimum, maximum)
        for name, choices in _CHOICES.items():
            _require_choice(name, getattr(self, name), choices)
        if self.streaming:
            _require_choice("format", self.format, ("wav",), " where streaming is on")

    @classmethod
    def for_utterance(cls, utterance: Utterance, section: ServerSection) -> ServerRequest:
        """What all segments of an utterance have in common: all but the text and the voice.

        An mp3 is never streamed, because the server streams only wav. Volume is not sent: it
        is applied to the samples.

        Raises:
            InvalidRequestError: for a wish that the server cannot fulfil.
        """
        _refuse_impossible(utterance)
        chosen = {name: getattr(utterance.sampling, name) for name in _SAMPLING}
        return cls(
            chunk_length=section.chunk_length,
            format=section.format,
            use_memory_cache=section.use_memory_cache,
            normalize=section.normalize,
            streaming=section.streaming and section.format == "wav",
            **{name: value for name, value in chosen.items() if value is not None},
        )


def _refuse_impossible(utterance: Utterance) -> None:
    speed = 1.0 if utterance.prosody is None else utterance.prosody.speed
    if speed != 1.0:
        raise InvalidRequestError(
            f"prosody.speed must be 1.0, not {speed!r}: "
            "a fish-speech server cannot change the pace",
            field="prosody.speed",
        )
    if utterance.sampling.top_k is not None:
        raise InvalidRequestError(
            "sampling.top_k must be left unset: a fish-speech server has no such field",
            field="sampling.top_k",
        )


def _require_text(field: str, text: object) -> None:
    if not isinstance(text, str):
        raise InvalidRequestError(f"{field} must be str, not {type(text).__name__}", field=field)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            f"{field} must be Unicode text, but character {error.start} is half a surrogate pair",
            field=field,
        ) from error


def _require_voice(request: ServerRequest) -> None:
    if not isinstance(request.references, tuple):
        raise InvalidRequestError("references must be a tuple of ReferenceClip", field="references")
    for clip in request.references:
        if not isinstance(clip, ReferenceClip):
            raise InvalidRequestError(
                f"references must hold ReferenceClip, not {type(clip).__name__}", field="references"
            )
        _require_text("voice.text", clip.text)
    name = request.reference_id
    if name is not None and not (isinstance(name, str) and is_reference_id(name)):
        raise InvalidRequestError(
            f"voice.server_id must be at most {MAX_ID_CHARACTERS} letters, digits, spaces, hyphens "
            f"and underscores, not {name!r:.80}",
            field="voice.server_id",
        )


def _require_integer(request: ServerRequest, field: str, minimum: int, maximum: int) -> None:
    name = field.rpartition(".")[2]
    value = getattr(request, name)
    if value is None and name != "seed":
        raise InvalidRequestError(f"{field} must be a whole number, not None", field=field)
    require_number(field, value, minimum=minimum, maximum=maximum, integer=True)


def _require_float(request: ServerRequest, name: str, minimum: float, maximum: float) -> None:
    """Check and convert: the server is strict about floats."""
    value, field = getattr(request, name), f"sampling.{name}"
    if value is None:
        raise InvalidRequestError(f"{field} must be a number, not None", field=field)
    require_number(field, value, minimum=minimum, maximum=maximum)
    object.__setattr__(request, name, float(value))


def _require_choice(
    field: str, value: object, choices: tuple[object, ...], where: str = ""
) -> None:
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        wanted = " or ".join(map(str, choices))
        raise InvalidRequestError(
            f"{field} must be {wanted}{where}, not {value!r:.80}", field=field
        )
