"""Several utterances sharing the model, a frame at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

import torch

from junetts._errors import JuneTtsError
from junetts._runtime.failures import another, as_junetts_error
from junetts._runtime.frame import first_frame, next_frame
from junetts._runtime.job import Job
from junetts._runtime.prefixes import PrefixStore
from junetts._runtime.runtime import Runtime
from junetts._runtime.slots import Slots
from junetts._runtime.voicing import Voicing


class Scheduler:
    """Speaks jobs, as many at once as the cache has slots; the others wait their turn.

    Guarantees: utterances join and leave between two frames, and none changes what another one
    says; a cancelled job costs at most the frame in hand; an error or a lack of memory ends the
    utterance that it happened in, and no other.

    It is driven by calling `step`, always from the same thread.

    Args:
        max_batch: utterances that share the model.
        context: columns of memory per utterance.
        prefix_bytes: that the KV of reference voices may take.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        max_batch: int,
        context: int,
        prefix_bytes: int = 512 * 2**20,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self._cache = runtime.new_cache(n_slots=max_batch, context=context)
        self._state = runtime.new_state(n_slots=max_batch)
        self._slots = Slots(self._cache)
        self._prefixes = PrefixStore(prefix_bytes)
        self._voicings: list[Voicing] = []

    def add(self, job: Job) -> None:
        """Accept a job; those that came first start first."""
        self._voicings.append(
            Voicing(job, self._runtime, context=self._cache.context, clock=self._clock)
        )

    def abort(self, error: JuneTtsError) -> None:
        """End every utterance, for this reason."""
        for voicing in list(self._voicings):
            self._fail(voicing, another(error))

    @torch.inference_mode()
    def step(self) -> bool:
        """Read one piece of a prompt and make one frame for everyone; False if idle."""
        self.dismiss()
        has_read = self._read()
        return self._speak() or has_read

    def dismiss(self) -> None:
        """Drop those that have left or have said everything; `step` begins with that."""
        for voicing in [v for v in self._voicings if v.is_over]:
            self._remove(voicing)

    def _remove(self, voicing: Voicing) -> None:
        self._voicings.remove(voicing)
        if voicing.seat.slot is not None:
            self._state.clear(voicing.seat.slot)
        self._slots.release(voicing.seat)

    def _fail(self, voicing: Voicing, error: JuneTtsError) -> None:
        if voicing.seat.slot is not None:  # whatever is no number there would spread to the next
            self._cache.wipe(voicing.seat.slot, voicing.n_columns)
        self._remove(voicing)
        voicing.job.fail(error)

    def _read(self) -> bool:
        """Go on with the first prompt that waits to be read."""
        for voicing in self._voicings:
            if not voicing.wants_to_read:
                continue
            with self._alone(voicing):
                if not self._slots.take(voicing.seat):
                    continue
                self._prefill(voicing)
            return True
        return False

    def _prefill(self, voicing: Voicing) -> None:
        """Read one piece of the prompt, and make the first frame if it was the last one."""
        seat = voicing.seat
        assert seat.slot is not None
        reading = voicing.reading or voicing.begin(self._prefixes, self._cache)
        start, piece = seat.columns.shape[1], reading.next_piece()
        slow = self._runtime.model.prefill(
            piece.to(self._runtime.device), self._cache, slot=seat.slot, start=start
        )
        reading.was_read(piece)
        self._state.park(seat.slot, position=seat.columns.shape[1])
        if reading.is_complete:
            self._state.begin(seat.slot, voicing.params)
            column = first_frame(self._runtime.model, slow, self._state, slot=seat.slot)
            voicing.start_speaking()
            voicing.hear(column.tolist())

    def _speak(self) -> bool:
        """Make a frame for every utterance that speaks and is listened to."""
        speaking = [v for v in self._voicings if v.is_speaking]
        if not speaking:
            return False
        if (columns := self._frames_of_all(speaking)) is None:
            self._speak_one_by_one(speaking)
            return True
        for voicing, column in zip(speaking, columns, strict=True):
            with self._alone(voicing):
                voicing.hear(column)
        return True

    def _frames_of_all(self, speaking: Sequence[Voicing]) -> list[list[int]] | None:
        """None if they cannot be made: the error is let go, for it keeps its tensors alive."""
        try:
            return self._next_frame(speaking)
        except Exception:  # noqa: BLE001  (noqa: reviewed) whose it is shows when each is alone
            return None

    def _speak_one_by_one(self, speaking: Sequence[Voicing]) -> None:
        """Find out whose frame it is that cannot be made; the others lose nothing."""
        for voicing in speaking:
            with self._alone(voicing):
                voicing.hear(self._next_frame([voicing])[0])

    def _next_frame(self, speaking: Sequence[Voicing]) -> list[list[int]]:
        slots = [v.seat.slot for v in speaking if v.seat.slot is not None]
        self._state.activate(slots)
        columns = next_frame(
            self._runtime.model,
            self._cache,
            self._state,
            n=max(slots) + 1,
            span=max(v.position for v in speaking) + 1,
        )
        made: list[list[int]] = columns.tolist()  # [slot, 1 + codebook]; waits for the device
        return [made[slot] for slot in slots]

    @contextmanager
    def _alone(self, voicing: Voicing) -> Iterator[None]:
        """Whatever fails in here ends this utterance only."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  (noqa: reviewed) passed to the owner
            self._fail(voicing, as_junetts_error(error))
