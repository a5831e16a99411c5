"""The journal while backends follow one another, against a model that remembers every event."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from junetts._journal import Journal
from junetts._report import WordTime
from junetts._utterance import Segment

RATE_HZ = 1_000
BACKENDS = "abc"


@dataclass
class Turn:
    """One backend's part in a segment."""

    backend: str
    offset: int
    start: int  # in samples of the utterance
    n_samples: int = 0
    words: tuple[WordTime, ...] = ()  # as that backend told them


@dataclass
class Told:
    """All that ever happened to one segment."""

    text: str
    speakable: bool
    turns: list[Turn] = field(default_factory=list)
    ended: str = ""

    @property
    def is_done(self) -> bool:
        """Whether nothing remains to be said."""
        return self.ended == "spoken" or not self.speakable

    @property
    def lasting(self) -> list[Turn]:
        """The turns that count: from the last one that began anew."""
        anew = [i for i, turn in enumerate(self.turns) if not turn.offset]
        return self.turns[anew[-1] :] if anew else self.turns

    @property
    def words(self) -> list[tuple[str, float, float]]:
        """When which word was heard, by all whose turns count."""
        heard: list[tuple[str, float, float]] = []
        before = 0
        for number, turn in enumerate(self.lasting):
            if number:
                heard = [word for word in heard if word[2] <= before / RATE_HZ]
            shift_s = before / RATE_HZ
            heard += [(w.text, w.start_s + shift_s, w.end_s + shift_s) for w in turn.words]
            before += turn.n_samples
        return heard


words = st.lists(
    st.builds(
        lambda text, start, length: WordTime(
            text=text, start_s=start / 10, end_s=(start + length) / 10, provenance="native"
        ),
        st.sampled_from(["one", "two"]),
        st.integers(0, 5),
        st.integers(0, 5),
    ),
    max_size=3,
).map(tuple)


class JournalMachine(RuleBasedStateMachine):
    """Text arrives, backends speak it and take over from each other, and it may all be over."""

    def __init__(self) -> None:
        super().__init__()
        self.journal = Journal(RATE_HZ)
        self.told: list[Told] = []
        self.n_samples = 0
        self.is_closed = False

    @property
    def due(self) -> int | None:
        """The segment whose audio is due."""
        if self.is_closed:
            return None
        left = (i for i, one in enumerate(self.told) if one.speakable and not one.ended)
        return next(left, None)

    def turn_of(self, index: int, backend: str, offset: int) -> Turn:
        """The turn that audio of this backend belongs to, which may be a new one."""
        told = self.told[index]
        if not told.turns or told.turns[-1].backend != backend:
            told.turns.append(Turn(backend, offset, self.n_samples))
        return told.turns[-1]

    @rule(text=st.text(max_size=6), speakable=st.booleans())
    def text_arrives(self, text: str, speakable: bool) -> None:
        """A segment becomes known, also after the end."""
        self.journal.add(Segment(index=len(self.told), text=text), speakable=speakable)
        self.told.append(Told(text, speakable))

    @precondition(lambda self: self.due is not None)
    @rule(n=st.integers(1, 500), backend=st.sampled_from(BACKENDS), offset=st.integers(0, 6))
    def audio_is_handed_out(self, n: int, backend: str, offset: int) -> None:
        """By whoever speaks or takes over; it starts where the last audio ended."""
        assert self.due is not None
        turn = self.turn_of(self.due, backend, offset)
        start_s = self.journal.heard(self.due, n, backend=backend, offset=offset)
        assert start_s == self.n_samples / RATE_HZ
        turn.n_samples += n
        self.n_samples += n

    @precondition(lambda self: self.due is not None and self.told[self.due].turns)
    @rule(words=words)
    def words_are_told(self, words: tuple[WordTime, ...]) -> None:
        """They replace what the same backend told before, and nothing else."""
        assert self.due is not None
        self.journal.words(self.due, words)
        self.told[self.due].turns[-1].words = words

    @precondition(lambda self: self.due is not None)
    @rule(
        backend=st.sampled_from(BACKENDS),
        truncated=st.booleans(),
        offset=st.sampled_from([0, 0, 2]),
    )
    def segment_ends(self, backend: str, truncated: bool, offset: int) -> None:
        """By whoever speaks, or one who takes over without a sound."""
        index = self.due
        assert index is not None
        self.turn_of(index, backend, offset)
        self.journal.ended(index, backend=backend, truncated=truncated, offset=offset)
        self.told[index].ended = "truncated" if truncated else "spoken"

    @rule()
    def it_is_over(self) -> None:
        """Nothing more is heard; more than once changes nothing."""
        self.journal.close()
        self.is_closed = True

    @precondition(lambda self: any(one.ended for one in self.told))
    @rule(data=st.data(), backend=st.sampled_from(BACKENDS))
    def nothing_follows_an_end(self, data: st.DataObject, backend: str) -> None:
        """Audio of a segment that was finished is refused, whoever brings it."""
        ended = [i for i, one in enumerate(self.told) if one.ended]
        index = data.draw(st.sampled_from(ended))
        with pytest.raises(ValueError, match=f"segment {index} is already"):
            self.journal.heard(index, 10, backend=backend)

    @invariant()
    def no_text_is_lost(self) -> None:
        """Spoken and unspoken text are the text; spoken is what nothing remains of."""
        texts = [one.text for one in self.told]
        assert self.journal.spoken_text + self.journal.unspoken_text == "".join(texts)
        left = [i for i, one in enumerate(self.told) if not one.is_done]
        assert self.journal.spoken_text == "".join(texts[: left[0]] if left else texts)
        assert self.journal.is_truncated == any(one.ended == "truncated" for one in self.told)
        assert self.journal.n_samples == self.n_samples

    @invariant()
    def the_segments_are_as_told(self) -> None:
        """State, speaker, place and words of each."""
        for report, told in zip(self.journal.segments(), self.told, strict=True):
            assert report.text == told.text
            assert report.state == self.state_of(told)
            assert report.backend == (told.turns[-1].backend if told.turns else None)
            lasting = told.lasting
            assert report.duration_s == sum(turn.n_samples for turn in lasting) / RATE_HZ
            if lasting and not lasting[0].offset:
                assert report.start_s == lasting[0].start / RATE_HZ
            for word, (text, start_s, end_s) in zip(report.words, told.words, strict=True):
                assert word.text == text
                assert (word.start_s, word.end_s) == pytest.approx((start_s, end_s))

    def state_of(self, told: Told) -> str:
        """What a listener would say of it."""
        if told.ended:
            return told.ended
        if told.turns:
            return "abandoned" if self.is_closed else "speaking"
        return "unspoken" if told.speakable else "spoken"

    @invariant()
    def what_was_begun_is_paid_for(self) -> None:
        """By each who began it, from where that was."""
        totals: dict[str, int] = {}
        for told in self.told:
            for turn in told.turns:
                n_bytes = len(told.text[turn.offset :].encode())
                totals[turn.backend] = totals.get(turn.backend, 0) + n_bytes
        assert self.journal.bytes_begun() == totals


JournalMachine.TestCase.settings = settings(max_examples=250, stateful_step_count=40, deadline=None)
TestJournal = JournalMachine.TestCase
