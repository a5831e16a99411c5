"""Texts of several speakers: turns that each begin with a tag such as ``<|speaker:1|>``."""

from __future__ import annotations

from junetts._runtime.tokenizer import SPEAKER_TAG

MAX_TURNS = 5
FIRST_SPEAKER = "<|speaker:0|>"


def is_tagged(text: str) -> bool:
    """Whether any speaker is named in the text."""
    return SPEAKER_TAG.search(text) is not None


def normalized(text: str) -> str:
    """The text as S2 was trained on: turns without white space around them, one to a line.

    Words before the first tag become a turn of speaker 0. Text without a tag is left as it is.
    """
    return "\n".join(_turns(text)) if is_tagged(text) else text


def split_batches(text: str, *, max_bytes: int) -> list[str]:
    """Cut a text of several speakers into batches that are spoken one after the other.

    A batch has at most five turns and ``max_bytes`` bytes of UTF-8; a longer turn is a batch of
    its own. Text without a tag is one batch.
    """
    if not is_tagged(text):
        return [text]
    batches: list[list[str]] = []
    n_bytes = 0
    for turn in _turns(text):
        length = len(turn.encode("utf-8", "surrogatepass"))
        if batches and len(batches[-1]) < MAX_TURNS and n_bytes + 1 + length <= max_bytes:
            batches[-1].append(turn)
            n_bytes += 1 + length  # and the line break between them
        else:
            batches.append([turn])
            n_bytes = length
    return ["\n".join(batch) for batch in batches]


def _turns(text: str) -> list[str]:
    before, *pieces = SPEAKER_TAG.split(text)
    turns = [(tag + words).strip() for tag, words in zip(pieces[::2], pieces[1::2], strict=True)]
    before = before.strip()
    return [FIRST_SPEAKER + before, *turns] if before else turns
