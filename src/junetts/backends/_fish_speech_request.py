"""What upstream's engine is asked for, within the bounds that it accepts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from junetts._backend import SegmentEnd
from junetts._errors import InvalidRequestError
from junetts._utterance import ReferenceClip, Sampling, require_number

# It keeps room for that many after every prompt; beyond, it would silently make fewer.
MAX_NEW_TOKENS = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenSegment:
    """All of a segment's audio, s16le mono, and whether it ran into the token limit."""

    pcm: bytes
    sample_rate: int
    end: SegmentEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamRequest:
    """One segment; the defaults are those of upstream's server.

    Attributes:
        max_new_tokens: 2 to 2048; upstream fails at 1, and never speaks the last.
        seed: 0 to 2**31; greater ones would all be the same.
    """

    text: str = ""
    references: tuple[ReferenceClip, ...] = ()
    max_new_tokens: int = 1024
    temperature: float = 0.8
    top_p: float = 0.8
    repetition_penalty: float = 1.1
    seed: int | None = None

    @classmethod
    def of(
        cls, sampling: Sampling, *, references: tuple[ReferenceClip, ...], max_new_tokens: int
    ) -> Self:
        """The request without its text; ``max_new_tokens`` is for a sampling that has none.

        Raises:
            InvalidRequestError: naming a field that upstream lacks, or whose value it can not
                take.
        """
        _require_possible(sampling)
        chosen: dict[str, Any] = {
            name: float(value)  # upstream is strict about floats
            for name in ("temperature", "top_p", "repetition_penalty")
            if (value := getattr(sampling, name)) is not None
        }
        return cls(
            references=references,
            max_new_tokens=sampling.max_new_tokens or max_new_tokens,
            seed=sampling.seed,
            **chosen,
        )

    def saying(self, text: str) -> Self:
        """The same for this text."""
        return replace(self, text=text)


def _require_possible(sampling: Sampling) -> None:
    if sampling.top_k is not None:
        raise InvalidRequestError(
            "sampling.top_k must be left unset: the fish-speech engine has no such field",
            field="sampling.top_k",
        )
    for name in ("temperature", "top_p"):
        require_number(f"sampling.{name}", getattr(sampling, name), minimum=0.1, maximum=1.0)
    if sampling.repetition_penalty == 2:  # its schema has it, an assertion later on forbids it
        raise InvalidRequestError(
            "sampling.repetition_penalty must be less than 2 for the fish-speech engine, not 2",
            field="sampling.repetition_penalty",
        )
    require_number("sampling.seed", sampling.seed, minimum=0, maximum=2**31, integer=True)
    require_number(
        "sampling.max_new_tokens",
        sampling.max_new_tokens,
        minimum=2,
        maximum=MAX_NEW_TOKENS,
        integer=True,
    )
