"""Prompts: the matrix of token ids and codes that makes the model speak a text in a voice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from junetts._errors import InvalidRequestError
from junetts._runtime.sizes import ModelSizes
from junetts._runtime.tokenizer import IM_END, IM_START, INTERLEAVE, VOICE, Tokenizer
from junetts._runtime.turns import is_tagged, normalized, split_batches

__all__ = ["Codes", "Turn", "encode_prompt", "split_batches", "voice_prefix_length"]

Codes = Tensor | np.ndarray[tuple[int, ...], np.dtype[np.integer]] | Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """Words and their sound: ``codes`` is [codebook, frame], the semantic codebook first."""

    text: str
    codes: Codes


def encode_prompt(
    sizes: ModelSizes,
    tokenizer: Tokenizer,
    text: str,
    *,
    references: Sequence[Turn] = (),
    history: Sequence[Turn] = (),
) -> Tensor:
    """The prompt after which the model speaks ``text``: int64 [1 + codebook, column].

    Row 0 holds token ids, the rows below the codes of columns whose token is semantic, else zeros.
    The prompt with ``history`` starts with the prompt of the first turn in it, followed by that
    turn's codes, so that keys and values can be kept.

    Args:
        sizes: of the model; its family decides the format.
        tokenizer: of the same checkpoint.
        text: what to say. No special token in it is recognised but S2's speaker tags.
        references: what the voice sounds like.
        history: what was said before, oldest first.

    Raises:
        InvalidRequestError: a text is not a string, or codes are of a wrong shape or range.
    """
    prompt = _voice_prefix(sizes, tokenizer, references)
    for index, turn in enumerate(history):
        prompt.open_turn(turn.text, field=f"history[{index}].text")
        prompt.add_codes(turn.codes, field=f"history[{index}].codes")
        prompt.close_turn()
    prompt.open_turn(text, field="text")
    return prompt.matrix()


def voice_prefix_length(
    sizes: ModelSizes, tokenizer: Tokenizer, references: Sequence[Turn] = ()
) -> int:
    """How many leading columns of a prompt depend on the references only.

    S1: through the last reference's ``<|im_end|>``; S2: through the system turn.

    Raises:
        InvalidRequestError: as `encode_prompt` does.
    """
    return _voice_prefix(sizes, tokenizer, references).n_columns


def _voice_prefix(
    sizes: ModelSizes, tokenizer: Tokenizer, references: Sequence[Turn]
) -> _S1Prompt | _S2Prompt:
    make = _S1Prompt if sizes.family == "s1" else _S2Prompt
    prompt = make(_Columns(sizes, tokenizer))
    prompt.add_voice(references)
    return prompt


class _Columns:
    """A growing prompt."""

    def __init__(self, sizes: ModelSizes, tokenizer: Tokenizer) -> None:
        self._n_codebooks = sizes.n_codebooks
        self._codebook_size = sizes.codebook_size
        self._tokenizer = tokenizer
        self._parts: list[Tensor] = []  # each [1 + codebook, column]

    @property
    def n_columns(self) -> int:
        return sum(part.shape[1] for part in self._parts)

    def matrix(self) -> Tensor:
        return torch.cat(self._parts, dim=1)

    def add_special(self, name: str) -> None:
        self._add_ids([self._tokenizer.token_id(name)])

    def add_text(self, text: str) -> None:
        self._add_ids(self._tokenizer.encode_text(text))

    def _add_ids(self, ids: Iterable[int]) -> None:
        row = torch.tensor(list(ids), dtype=torch.int64)
        part = torch.zeros(1 + self._n_codebooks, len(row), dtype=torch.int64)
        part[0] = row
        self._parts.append(part)

    def add_codes(self, codes: Codes, field: str, *, minimum: int = 0) -> None:
        """Append codes of at least ``minimum`` frames."""
        values = _as_tensor(codes, field)
        self._check(values, field)
        if values.shape[1] < minimum:
            raise InvalidRequestError(f"{field} must not be empty", field=_parameter(field))
        ids = values[:1] + self._tokenizer.ids.semantic_begin
        self._parts.append(torch.cat([ids, values]))

    def _check(self, values: Tensor, field: str) -> None:
        if values.dim() != 2 or values.shape[0] != self._n_codebooks:
            raise InvalidRequestError(
                f"{field} must be of shape [{self._n_codebooks}, n], not {list(values.shape)}",
                field=_parameter(field),
            )
        tokens = self._tokenizer.ids
        n_semantic = tokens.semantic_end - tokens.semantic_begin + 1
        for rows, size, which in (
            (values[:1], min(n_semantic, self._codebook_size), "the semantic codebook"),
            (values[1:], self._codebook_size, "the residual codebooks"),
        ):
            wrong = rows[(rows < 0) | (rows >= size)]
            if wrong.numel():
                raise InvalidRequestError(
                    f"{field} must be from 0 to {size - 1} in {which}, not {int(wrong[0])}",
                    field=_parameter(field),
                )


def _as_tensor(codes: Codes, field: str) -> Tensor:
    try:
        # By way of an array of our own: torch warns of read-only arrays and of lists of arrays.
        values = codes if isinstance(codes, Tensor) else torch.from_numpy(np.array(codes))
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise InvalidRequestError(
            f"{field} must be a rectangular table of whole numbers, not {type(codes).__name__}",
            field=_parameter(field),
        ) from error
    is_whole = values.dtype != torch.bool and not (
        values.is_floating_point() or values.is_complex()
    )
    if not is_whole and values.numel():  # numpy makes an empty list floating
        dtype = str(values.dtype).removeprefix("torch.")
        raise InvalidRequestError(
            f"{field} must be whole numbers, not {dtype}", field=_parameter(field)
        )
    return values.detach().to(device="cpu", dtype=torch.int64)


def _parameter(field: str) -> str:
    return field.partition("[")[0]


def _require_text(text: str, field: str) -> str:
    if not isinstance(text, str):
        raise InvalidRequestError(
            f"{field} must be a string, not {type(text).__name__}", field=_parameter(field)
        )
    return text


class _S1Prompt:
    """S1: turns of one speaker, each text followed by its codes.

    ``<|interleave|>``, then per turn ``<|speaker:0|>`` text, codes, ``<|im_end|>``.
    """

    def __init__(self, columns: _Columns) -> None:
        self._columns = columns

    @property
    def n_columns(self) -> int:
        return self._columns.n_columns

    def matrix(self) -> Tensor:
        return self._columns.matrix()

    def add_voice(self, references: Sequence[Turn]) -> None:
        self._columns.add_special(INTERLEAVE)
        for index, turn in enumerate(references):
            self.open_turn(turn.text, field=f"references[{index}].text")
            self._columns.add_codes(turn.codes, f"references[{index}].codes", minimum=1)
            self.close_turn()

    def open_turn(self, text: str, field: str) -> None:
        self._columns.add_text("<|speaker:0|>")
        self._columns.add_text(_require_text(text, field))

    def add_codes(self, codes: Codes, field: str) -> None:
        self._columns.add_codes(codes, field)

    def close_turn(self) -> None:
        self._columns.add_special(IM_END)


class _S2Prompt:
    """S2: a chat, whose system turn holds the voice, and whose assistant answers with codes."""

    def __init__(self, columns: _Columns) -> None:
        self._columns = columns

    @property
    def n_columns(self) -> int:
        return self._columns.n_columns

    def matrix(self) -> Tensor:
        return self._columns.matrix()

    def add_voice(self, references: Sequence[Turn]) -> None:
        """The system turn: all references' texts, then all their codes."""
        self._open_message("system")
        if references:
            self._columns.add_text(
                "convert the provided text to speech reference to the following:\n\nText:\n"
            )
            texts = [_tagged(turn.text, index) for index, turn in enumerate(references)]
            self._columns.add_text("\n".join(texts))
            self._columns.add_text("\n\nSpeech:\n")
            for index, turn in enumerate(references):
                self._columns.add_codes(turn.codes, f"references[{index}].codes", minimum=1)
        else:
            self._columns.add_text("convert the provided text to speech")
        self.close_turn()

    def open_turn(self, text: str, field: str) -> None:
        """The user's turn, and the assistant's up to where codes begin."""
        self._open_message("user")
        self._columns.add_text(normalized(_require_text(text, field)))
        self.close_turn()
        self._open_message("assistant")
        self._columns.add_special(VOICE)

    def add_codes(self, codes: Codes, field: str) -> None:
        self._columns.add_codes(codes, field)

    def close_turn(self) -> None:
        self._columns.add_special(IM_END)
        self._columns.add_text("\n")

    def _open_message(self, role: str) -> None:
        self._columns.add_special(IM_START)
        self._columns.add_text(f"{role}\n")


def _tagged(text: str, index: int) -> str:
    """A reference's text with a speaker: its own, else the one of its place in the list."""
    text = _require_text(text, f"references[{index}].text")
    return text if is_tagged(text) else f"<|speaker:{index}|>{text}"
