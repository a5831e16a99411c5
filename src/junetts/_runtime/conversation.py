"""What has been said in one utterance, and the prompt for what comes next."""

from __future__ import annotations

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
        if not self._references:
            return 0
        return voice_prefix_length(self._sizes, self._tokenizer, self._references)

    def add(self, text: str, codes: Tensor) -> None:
        """Remember that this was said; ``codes`` is ``[codebook, frame]``."""
        self._turns.append(Turn(text=text, codes=codes))

    def _shortened(self, text: str, wanted: int) -> Tensor:
        room = int(self._context * ROOM_AFTER_DROPPING) - wanted
        prompt = self._encode(text)
        while self._turns and prompt.shape[1] > room:
            del self._turns[0]
            prompt = self._encode(text)
        return prompt

    def _encode(self, text: str) -> Tensor:
        return encode_prompt(
            self._sizes,
            self._tokenizer,
            text,
            references=self._references,
            history=self._turns,
        )
