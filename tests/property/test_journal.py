"""The journal under any sequence of events, against a model that only knows strings."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from junetts._journal import Journal
from junetts._utterance import Segment

RATE_HZ = 1000


class JournalMachine(RuleBasedStateMachine):
    """Text arrives, audio is handed out in order, and at any moment it may all be over."""

    def __init__(self) -> None:
        super().__init__()
        self.journal = Journal(RATE_HZ)
        self.texts: list[str] = []
        self.speakable: list[bool] = []
        self.samples: list[int] = []
        self.ended: set[int] = set()
        self.closed = False

    def next_index(self) -> int | None:
        """The segment whose audio is due."""
        due = (i for i, yes in enumerate(self.speakable) if yes and i not in self.ended)
        return next(due, None)

    @rule(text=st.text(max_size=5), speakable=st.booleans())
    def text_arrives(self, text: str, speakable: bool) -> None:
        """A segment becomes known."""
        self.journal.add(Segment(index=len(self.texts), text=text), speakable=speakable)
        self.texts.append(text)
        self.speakable.append(speakable)
        self.samples.append(0)

    @precondition(lambda self: not self.closed and self.next_index() is not None)
    @rule(n_samples=st.integers(1, 500))
    def audio_is_handed_out(self, n_samples: int) -> None:
        """A chunk of the segment that is due; it starts where the last one ended."""
        index = self.next_index()
        assert index is not None
        start_s = self.journal.heard(index, n_samples, backend="a")
        assert start_s == sum(self.samples) / RATE_HZ
        self.samples[index] += n_samples

    @precondition(lambda self: not self.closed and self.next_index() is not None)
    @rule()
    def segment_ends(self) -> None:
        """The segment that is due ends."""
        index = self.next_index()
        assert index is not None
        self.journal.ended(index, backend="a")
        self.ended.add(index)

    @rule()
    def it_is_over(self) -> None:
        """Nothing more is heard; more than once changes nothing."""
        self.journal.close()
        self.closed = True

    @invariant()
    def no_text_is_lost(self) -> None:
        """Spoken and unspoken text are the text, and spoken text is exactly what was."""
        assert self.journal.spoken_text + self.journal.unspoken_text == "".join(self.texts)
        n_done = 0
        for i, speakable in enumerate(self.speakable):
            if speakable and i not in self.ended:
                break
            n_done += 1
        assert self.journal.spoken_text == "".join(self.texts[:n_done])

    @invariant()
    def the_segments_add_up(self) -> None:
        """Durations, starts and states of the segments are those of what happened."""
        begun = 0
        for i, segment in enumerate(self.journal.segments()):
            assert segment.duration_s == self.samples[i] / RATE_HZ
            if self.samples[i]:
                assert segment.start_s == begun / RATE_HZ
            begun += self.samples[i]
            spoken = i in self.ended or not self.speakable[i]
            assert (segment.state == "spoken") == spoken
            if self.samples[i] and not spoken:
                assert segment.state == ("abandoned" if self.closed else "speaking")
        assert self.journal.n_samples == begun


JournalMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestJournal = JournalMachine.TestCase
