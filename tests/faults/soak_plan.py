"""What a soak does, drawn from a seed: clients, their backends, and what they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Literal

from faults.soak_texts import RATE_HZ, pieces_up_to_a_word, random_pieces, random_text

Wire = Literal["cloud", "server", "backend"]
Leaving = Literal["break", "aclose", "cancel", "task", "deadline"]  # how a listener leaves

N_PER_CLIENT = 40
LEAVINGS: tuple[Leaving, ...] = ("break", "aclose", "cancel", "task", "deadline")
VOICE = "june"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendPlan:
    """One backend.

    Attributes:
        name: what the client calls it.
        wire: what lies between.
        seed: of its faults; None never fails.
        rate: the share of segments that are struck.
        sample_rate: of its audio, in Hz.
        chunk_s: of one piece of it.
        pause_s: the longest that one piece takes.
        word_times: whether it tells them.
        knows_voice: whether it knows the voice that utterances ask for.
    """

    name: str
    wire: Wire
    seed: int | None
    rate: float = 0.3
    sample_rate: int = RATE_HZ
    chunk_s: float = 0.1
    pause_s: float = 0.0
    word_times: bool = True
    knows_voice: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class UtterancePlan:
    """One utterance, and how its listener behaves.

    Attributes:
        text: all of it.
        pieces: as its source gives them; None for text that is given whole.
        source_pause_s: the longest pause of the source.
        flushes: whether sentences are spoken before they end, now and then.
        raises: whether the source raises after the last piece.
        listener_pause_s: the longest pause of the listener after a chunk.
        leaving: how the listener leaves, if not at the end.
        leaves_after_chunks: when it breaks or closes.
        leaves_after_s: when it is cancelled, in whatever way.
        collects: whether it wants all of the speech at once.
        timeout_s: for the whole utterance.
        backend: the one that is asked for by name.
        voice: likewise.
    """

    text: str
    pieces: tuple[str, ...] | None = None
    source_pause_s: float = 0.0
    flushes: bool = False
    raises: bool = False
    listener_pause_s: float = 0.0
    leaving: Leaving | None = None
    leaves_after_chunks: int = 0
    leaves_after_s: float = 0.0
    collects: bool = False
    timeout_s: float | None = None
    backend: str | None = None
    voice: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientPlan:
    """One client's life."""

    number: int
    backends: tuple[BackendPlan, ...]
    fallback: Mapping[str, object]
    ahead_s: float
    utterances: tuple[UtterancePlan, ...]

    @property
    def policy(self) -> object:
        """What becomes of a sentence that was broken off."""
        return self.fallback["on_partial"]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the backends, in order of preference."""
        return tuple(one.name for one in self.backends)

    def backend(self, name: str) -> BackendPlan:
        """The plan of one backend."""
        return next(one for one in self.backends if one.name == name)

    def can_always_speak(self, utterance: UtterancePlan) -> bool:
        """Whether there is one that never fails and may speak."""
        return any(
            one.seed is None
            and utterance.backend in (None, one.name)
            and (one.knows_voice or self.fallback["on_unknown_voice"] == "substitute")
            for one in self.backends
        )


def soak_plans(seed: int, *, n_utterances: int) -> list[ClientPlan]:
    """Clients that together have so many utterances; every fifth has servers behind sockets."""
    n_clients = n_utterances // N_PER_CLIENT
    return [_client(Random(f"{seed} {number}"), number) for number in range(n_clients)]


def _client(dice: Random, number: int) -> ClientPlan:
    wires = _wires(dice, has_sockets=number % 5 == 4)
    backends = tuple(_backend(dice, f"b{i}", wire) for i, wire in enumerate(wires))
    if dice.random() < 0.5:
        at = dice.randint(1, len(backends))
        steady = BackendPlan(
            name="steady",
            wire="backend",
            seed=None,
            pause_s=0.05,
            knows_voice=dice.random() < 0.6,
        )
        backends = (*backends[:at], steady, *backends[at:])
    names = [one.name for one in backends]
    return ClientPlan(
        number=number,
        backends=backends,
        fallback=_fallback(dice),
        ahead_s=dice.choice((0.3, 1.0, 30.0)),
        utterances=tuple(_utterance(dice, names) for _ in range(N_PER_CLIENT)),
    )


def _wires(dice: Random, *, has_sockets: bool) -> list[Wire]:
    if not has_sockets:
        return ["backend"] * dice.choice((1, 2, 2, 3))
    some: list[list[Wire]] = [["cloud"], ["server"], ["cloud", "server"], ["server", "cloud"]]
    return dice.choice(some)


def _backend(dice: Random, name: str, wire: Wire) -> BackendPlan:
    seed = dice.getrandbits(32)
    if wire != "backend":
        return BackendPlan(name=wire, wire=wire, seed=seed, word_times=wire == "cloud")
    return BackendPlan(
        name=name,
        wire=wire,
        seed=seed,
        sample_rate=dice.choice((RATE_HZ, RATE_HZ, 16_000, 24_000)),
        chunk_s=dice.choice((0.02, 0.1, 0.3)),
        pause_s=dice.choice((0.0, 0.1, 0.8)),
        word_times=dice.random() < 0.7,
        knows_voice=dice.random() < 0.5,
    )


def _fallback(dice: Random) -> dict[str, object]:
    return {
        "on_partial": dice.choice(("respeak", "respeak", "continue", "continue", "fail")),
        "hedge_after_s": dice.choice((0, 0, 0.3, 1.0)),
        "tries": dice.choice((1, 2, 3)),
        "return_at": dice.choice(("utterance", "segment")),
        "on_unknown_voice": dice.choice(("refuse", "substitute")),
        "match_loudness": dice.random() < 0.5,
        "first_audio_timeout_s": dice.choice((2.0, 3.0)),
        "stall_timeout_s": dice.choice((2.0, 3.0)),
        "patience_s": dice.choice((5.0, 30.0)),
    }


def _utterance(dice: Random, names: list[str]) -> UtterancePlan:
    text = random_text(dice)
    pieces = random_pieces(dice, text) if dice.random() < 0.5 else None
    raises = pieces is not None and dice.random() < 0.06
    if pieces is not None and raises:
        pieces = pieces_up_to_a_word(pieces, dice.randint(0, len(pieces)))
        text = "".join(pieces)
    return UtterancePlan(
        text=text,
        pieces=pieces,
        source_pause_s=dice.choice((0.0, 0.05, 0.5, 4.0)),
        flushes=dice.random() < 0.2,
        raises=raises,
        listener_pause_s=dice.choice((0.0, 0.0, 0.1, 1.0)),
        leaving=dice.choice(LEAVINGS) if dice.random() < 0.2 else None,
        leaves_after_chunks=dice.randint(0, 30),
        leaves_after_s=dice.choice((0.0, dice.uniform(0.0, 1.0), dice.uniform(0.0, 10.0))),
        collects=not raises and dice.random() < 0.3,  # whoever raises keeps the report to itself
        timeout_s=dice.uniform(0.1, 20.0) if dice.random() < 0.05 else None,
        backend=dice.choice(names) if dice.random() < 0.05 else None,
        voice=VOICE if dice.random() < 0.3 else None,
    )
