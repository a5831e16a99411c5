"""What has been said in one utterance, and the prompt for what comes next."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from torch import Tensor

from junetts._errors import InvalidRequestError
from junetts._runtime.prompt import Turn, encode_prompt, voice_prefix_length
from junetts._runtime.sizes import ModelSizes
from junetts._runtime.tokenizer import Tokenizer

ROOM_AFTER_DROPPING = 0.75  # of the context: so that not every later turn drops one more


class Conversation:
    """The reference voice, the turns spoken in it, and the limit on both.

    Guarantees: a prompt and ``max_frames`` after it fit into the context, or half of the context
    does, if ``max_frames`` is more than that; to this end the oldest turns are dropped, the voice
    reference never.

    Args:
        context: columns that the model's memory holds.
    """

    def __init__(
        self,
        sizes: ModelSizes,
        tokenizer: Tokenizer,
        references: Sequence[Turn],
        *,
        context: int,
    ) -> None:
        self._sizes = sizes
        self._tokenizer = tokenizer
        self._references = tuple(references)
        self._context = context
        self._turns: list[Turn] = []
        self._n_voice = (
            voice_prefix_length(sizes, tokenizer, self._references) if self._references else 0
        )

    def prompt(self, text: str, *, max_frames: int) -> Tensor:
        """The prompt ``[1 + codebook, column]`` for saying that text now.

        Raises:
            InvalidRequestError: if the text and the reference alone leave no room for an answer.
        """
        wanted = min(max_frames, self._context // 2)
        prompt = self._encode(text)
        if prompt.shape[1] + wanted > self._context:
            prompt = self._shortened(text, wanted)
        if prompt.shape[1] >= self._context:
            raise InvalidRequestError(
                f"the text and its reference voice take {prompt.shape[1]} tokens; with room for "
                f"an answer they must take less than {self._context}",
                field="text",
                hint="use a shorter reference clip, or a larger local.max_context",
            )
        return prompt

    def voice_prefix(self) -> int:
        """Columns at the beginning of every prompt that hold the voice; 0 without a reference."""
        return self._n_voice

    def add(self, text: str, codes: Tensor) -> None:
        """Remember that this was said; ``codes`` is ``[codebook, frame]``."""
        self._turns.append(Turn(text=text, codes=codes))

    def _shortened(self, text: str, wanted: int) -> Tensor:
        """Drop as few turns as are needed; hundreds are not tried one after another."""
        room = int(self._context * ROOM_AFTER_DROPPING) - wanted
        counts = range(len(self._turns))
        n_dropped = bisect_left(
            counts, True, key=lambda n: self._encode(text, n_dropped=n).shape[1] <= room
        )
        del self._turns[:n_dropped]
        return self._encode(text)

    def _encode(self, text: str, *, n_dropped: int = 0) -> Tensor:
        return encode_prompt(
            self._sizes,
            self._tokenizer,
            text,
            references=self._references,
            history=self._turns[n_dropped:],
        )
