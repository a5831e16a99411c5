"""One utterance on its way through the engine, shared by its owner and the scheduler."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Literal

from junetts._errors import JuneTtsError
from junetts._utterance import ReferenceClip, Sampling

if TYPE_CHECKING:  # whoever makes a job need not load torch
    from torch import Tensor

    from junetts._runtime.prompt import Turn

End = Literal["complete", "truncated"]

logger = logging.getLogger("junetts")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakRequest:
    """How an utterance is to be spoken.

    Attributes:
        references: recordings to imitate, or ready-made codes with their transcript.
        sampling: what is None there is the model family's default.
        max_frames: per segment; running into it truncates the segment.
        max_chunk_frames: of audio handed out at once.
    """

    sampling: Sampling
    references: tuple[ReferenceClip | Turn, ...] = ()
    max_frames: int = 1024
    max_chunk_frames: int = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """Audio of one segment; ``end`` is set on its last item, which may be empty.

    Attributes:
        samples: float32 ``[n_samples]`` in host memory, at the codec's sample rate.
    """

    segment: int
    samples: Tensor
    end: End | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The utterance is over, because of this."""

    error: JuneTtsError


class Job:
    """An utterance: text goes in at one side, sound comes out at the other.

    The owner calls `say`, `finish`, `took` and `cancel`, from any thread; the scheduler calls the
    rest, from its own. Neither side ever waits for the other: what the scheduler makes is passed
    to ``deliver`` in its thread, and once ``max_ahead_samples`` have not been taken it makes no
    more, until they are.
    """

    def __init__(
        self,
        request: SpeakRequest,
        deliver: Callable[[Sound | Failure], None],
        *,
        max_ahead_samples: int | None = None,
    ) -> None:
        self.request = request
        self.wake: Callable[[], None] = _nobody_to_wake
        self.is_cancelled = False
        self._deliver = deliver
        self._max_ahead = max_ahead_samples
        self._n_ahead = 0
        self._lock = Lock()  # of the count, which both sides change
        self._texts: deque[tuple[int, str]] = deque()
        self._is_finished = False

    def say(self, segment: int, text: str) -> None:
        """Add a segment of text."""
        self._texts.append((segment, text))
        self.wake()

    def finish(self) -> None:
        """Say that no more text comes."""
        self._is_finished = True
        self.wake()

    def cancel(self) -> None:
        """Stop within one frame; nothing is delivered afterwards. Harmless if it is over."""
        self.is_cancelled = True
        self.wake()

    def took(self, n_samples: int) -> None:
        """Say that so much of what was delivered is no longer held."""
        with self._lock:
            was_ahead = self.is_ahead
            self._n_ahead -= n_samples
        if was_ahead:
            self.wake()

    @property
    def is_ahead(self) -> bool:
        """Whether as much is waiting to be taken as may."""
        return self._max_ahead is not None and self._n_ahead >= self._max_ahead

    @property
    def has_text(self) -> bool:
        """Whether a segment waits to be spoken."""
        return bool(self._texts)

    @property
    def is_done(self) -> bool:
        """Whether there is no text and there will be none."""
        return self._is_finished and not self._texts

    def next_text(self) -> tuple[int, str]:
        """The next segment's index and text; there must be one."""
        return self._texts.popleft()

    def deliver(self, item: Sound | Failure) -> None:
        """Pass something to the owner, unless it has left."""
        if self.is_cancelled:
            return
        if isinstance(item, Sound):
            with self._lock:
                self._n_ahead += item.samples.shape[0]
        self._deliver(item)

    def fail(self, error: JuneTtsError) -> None:
        """Tell the owner that it is over, once; an owner who cannot take that hurts nobody."""
        try:
            self.deliver(Failure(error=error))
        except Exception:  # (noqa: reviewed) logged; the thread serves other owners
            logger.exception("an utterance failed, and its owner could not be told")
        self.is_cancelled = True


def _nobody_to_wake() -> None:
    """Nobody works on the job yet."""
