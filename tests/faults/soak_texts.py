"""Random texts in words that a tone voice tells apart, and the pieces in which they arrive."""

from __future__ import annotations

from random import Random

from junetts.testing import ToneVoice

# Far fewer than the voice has room for, so that even a fragment of a word is told.
WORDS = """
    amber bison cedar daisy ember falcon ginger harbor indigo jungle kettle lemon marble nectar
    orange pepper quiver ribbon silver timber umbrella velvet walnut yellow zebra acorn bamboo
    candle dolphin engine feather guitar hammer island jacket kitten ladder mirror needle
""".split()  # noqa: SIM905  a list would take a page
N_SENTENCES = (1, 1, 2, 2, 3, 4)
N_WORDS = (1, 2, 3, 3, 4, 5, 6)
ENDS = (". ", ". ", "! ", "? ", ".\n\n")
UNSPEAKABLE = ("... ", "!!! ", "", " ")
RATE_HZ = 8_000


def tone_voice() -> ToneVoice:
    """The one voice that all backends of a client speak with."""
    return ToneVoice(WORDS, sample_rate=RATE_HZ, capacity=64)


def random_text(dice: Random) -> str:
    """Some sentences, in which no word stands twice; now and then there is nothing to say."""
    if dice.random() < 0.02:
        return dice.choice(UNSPEAKABLE)
    words = dice.sample(WORDS, len(WORDS))
    return "".join(_sentence(dice, words) for _ in range(dice.choice(N_SENTENCES)))


def _sentence(dice: Random, words: list[str]) -> str:
    chosen = [words.pop() for _ in range(dice.choice(N_WORDS))]
    body = (", " if dice.random() < 0.1 else " ").join(chosen).capitalize()
    mood = dice.choice(("[happy] ", "[laugh] ", "... ")) if dice.random() < 0.12 else ""
    return f"{mood}{body}{dice.choice(ENDS)}"


def random_pieces(dice: Random, text: str) -> tuple[str, ...]:
    """The text, cut anywhere."""
    n_cuts = min(dice.choice((0, 1, 3, 8, 30)), max(0, len(text) - 1))
    cuts = sorted(dice.sample(range(1, len(text)), n_cuts)) if n_cuts else []
    starts, ends = [0, *cuts], [*cuts, len(text)]
    return tuple(text[start:end] for start, end in zip(starts, ends, strict=True))


def pieces_up_to_a_word(pieces: tuple[str, ...], n_pieces: int) -> tuple[str, ...]:
    """The first pieces, without a word that would be cut off at their end."""
    text = "".join(pieces[:n_pieces])
    return (text[: text.rfind(" ") + 1],)
