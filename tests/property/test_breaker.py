"""The breaker under any sequence of events, against a model that remembers the whole story."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from junetts._breaker import Breaker, BreakerRules, Use
from junetts._errors import (
    AuthenticationError,
    BackendUnavailableError,
    InvalidRequestError,
    JuneTtsError,
    QuotaError,
    RateLimitedError,
    RequestRejectedError,
)

FIRST_S, MAX_S, JITTER = 1.0, 8.0, 0.2
HELD = (AuthenticationError, QuotaError)
ABOUT_KEY = (AuthenticationError, QuotaError, RateLimitedError)
BACKEND_FAULTS = st.one_of(
    st.sampled_from([BackendUnavailableError, AuthenticationError, QuotaError]).map(
        lambda kind: kind("backend")
    ),
    st.floats(0, 500).map(lambda s: RateLimitedError("limit", retry_after_s=s)),
)
REQUEST_FAULTS = st.sampled_from([InvalidRequestError("request"), RequestRejectedError("request")])


@dataclass(eq=False)
class Story:
    """One use or probe, and when it began, as a place in the order of all that happened."""

    began: int
    use: Use | None = None
    era: int = 0


class BreakerMachine(RuleBasedStateMachine):
    """Utterances and probes begin and end in any order, while time goes by."""

    uses = Bundle("uses")
    probes = Bundle("probes")

    @initialize(dice=st.randoms(use_true_random=False))
    def begin_story(self, dice: Random) -> None:
        """All is well."""
        rules = BreakerRules(first_probe_s=FIRST_S, max_probe_s=MAX_S, jitter=JITTER)
        self.breaker = Breaker(rules, random=dice.random)
        self.now = 0.0
        self.step = 0
        self.state = "closed"
        self.silenced_before = 0  # utterances that began before this step have no say
        self.changed_at = 0  # probes that began before this step have none
        self.trial: Story | None = None
        self.reason: JuneTtsError | None = None
        self.n_failures = 0
        self.n_waits = 0  # since it was last closed
        self.asked_until = 0.0

    def becomes(self, state: str, *, silences: bool = False) -> None:
        """The model's state changes."""
        self.step += 1
        self.state = state
        self.changed_at = self.step
        self.trial = None
        if silences:
            self.silenced_before = self.step

    def found_failing(self, error: JuneTtsError) -> bool:
        """The model is told of a failure that counts; returns whether it opens."""
        opens = self.state != "open"
        if opens:
            self.becomes("open", silences=True)
            self.asked_until = 0.0
        self.n_failures += 1
        if opens or isinstance(error, HELD):
            self.reason = error
        self.asked_until = max(self.asked_until, self.now + (error.retry_after_s or 0))
        return opens

    def begins_a_wait(self, before: float | None) -> None:
        """Each wait is twice the last, at most the longest, and hastens no probe."""
        wait_s = min(FIRST_S * 2**self.n_waits, MAX_S)
        self.n_waits += 1
        due = self.breaker.probe_at
        if due is not None:
            floor = max(self.asked_until, before or 0.0)
            assert due >= max(floor, self.now + wait_s * (1 - JITTER))
            assert due <= max(floor, self.now + wait_s)

    def has_a_say(self, story: Story) -> bool:
        """Whether this utterance began since it last opened or was probed well."""
        return story.began >= self.silenced_before

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        """Nothing happens by itself."""
        self.now += seconds

    @rule(target=uses)
    def utterance_begins(self) -> Story:
        """It is the trial if the breaker is half-open and nobody else is."""
        self.step += 1
        was_ready = self.breaker.is_ready
        use = self.breaker.begin()
        story = Story(began=self.step, use=use)
        assert use.is_trial == (self.state == "half_open" and self.trial is None)
        assert was_ready == (self.state == "closed" or use.is_trial)
        if use.is_trial:
            self.trial = story
        return story

    @rule(story=uses)
    def segment_is_spoken(self, story: Story) -> None:
        """It closes the breaker, if it has a say."""
        assert story.use is not None
        entered = self.breaker.succeeded(use=story.use)
        closes = self.has_a_say(story) and self.state != "closed"
        assert entered == ("closed" if closes else None)
        if closes:
            self.becomes("closed")
            self.reason, self.n_failures, self.n_waits = None, 0, 0

    @rule(story=uses, error=BACKEND_FAULTS)
    def utterance_fails(self, story: Story, error: JuneTtsError) -> None:
        """It opens the breaker, if it has a say; while open it puts off no probe by itself."""
        assert story.use is not None
        before = self.breaker.probe_at
        entered = self.breaker.failed(error, use=story.use, now=self.now)
        opens = self.has_a_say(story) and self.found_failing(error)
        assert entered == ("open" if opens else None)
        if opens:
            self.begins_a_wait(None)
        elif before is not None and self.breaker.probe_at is not None:
            late = self.now + (error.retry_after_s or 0)
            assert self.breaker.probe_at in (before, max(before, late))

    @rule(story=uses, error=REQUEST_FAULTS)
    def request_is_wrong(self, story: Story, error: JuneTtsError) -> None:
        """A trial is given back; nothing else changes."""
        assert story.use is not None
        assert self.breaker.failed(error, use=story.use, now=self.now) is None
        self.give_back(story)

    @rule(story=uses)
    def utterance_is_left(self, story: Story) -> None:
        """A trial is given back; nothing else changes, however often."""
        assert story.use is not None
        self.breaker.left(use=story.use)
        self.give_back(story)

    def give_back(self, story: Story) -> None:
        """The model's trial is over, if this was it."""
        if self.trial is story:
            self.trial = None

    @rule(target=probes)
    def probe_begins(self) -> Story:
        """On the timer or because somebody looks: the breaker cannot tell."""
        self.step += 1
        return Story(began=self.step, era=self.breaker.era)

    @rule(story=probes)
    def probe_is_good(self, story: Story) -> None:
        """An open breaker becomes half-open, if it opened before the probe began."""
        entered = self.breaker.probed(True, since=story.era, now=self.now)
        helps = story.began > self.changed_at and self.state == "open"
        assert entered == ("half_open" if helps else None)
        if helps:
            self.becomes("half_open", silences=True)

    @rule(story=probes, error=BACKEND_FAULTS)
    def probe_is_bad(self, story: Story, error: JuneTtsError) -> None:
        """It opens a half-open breaker that nobody tries; if open, the wait begins anew."""
        before = self.breaker.probe_at
        entered = self.breaker.probed(False, since=story.era, now=self.now, reason=error)
        counts = story.began > self.changed_at and self.trial is None and self.state != "closed"
        opens = counts and self.found_failing(error)
        assert entered == ("open" if opens else None)
        if counts:
            self.begins_a_wait(before)

    @rule(story=probes, error=st.none() | REQUEST_FAULTS)
    def probe_finds_it_busy(self, story: Story, error: JuneTtsError | None) -> None:
        """It is alive: no failure, but if open the wait begins anew."""
        before = self.breaker.probe_at
        assert self.breaker.probed(False, since=story.era, now=self.now, reason=error) is None
        if story.began > self.changed_at and self.state == "open":
            self.begins_a_wait(before)

    @precondition(lambda self: self.state == "open" and not isinstance(self.reason, HELD))
    @rule()
    def it_is_patiently_probed_until_it_is_well(self) -> None:
        """Whatever happened, waiting for the probes and one spoken segment is the way back."""
        assert self.breaker.probe_at is not None
        self.now = max(self.now, self.breaker.probe_at)
        self.probe_is_good(self.probe_begins())
        self.segment_is_spoken(self.utterance_begins())
        assert self.state == "closed"

    @invariant()
    def it_is_as_the_model_says(self) -> None:
        """State, readiness, reason and count are those of the story."""
        assert self.breaker.state == self.state
        busy_trying = self.state == "half_open" and self.trial is not None
        assert self.breaker.is_ready == (self.state != "open" and not busy_trying)
        assert self.breaker.reason is self.reason
        assert self.breaker.n_failures == self.n_failures
        assert (self.reason is None) == (self.state == "closed")

    @invariant()
    def it_is_probed_if_and_only_if_that_can_help(self) -> None:
        """No later than the longest wait from now, or than the server asked."""
        due = self.breaker.probe_at
        assert (due is not None) == (self.state == "open" and not isinstance(self.reason, HELD))
        if due is not None:
            assert self.asked_until <= due <= max(self.asked_until, self.now + MAX_S)


BreakerMachine.TestCase.settings = settings(max_examples=250, stateful_step_count=40, deadline=None)
TestBreaker = BreakerMachine.TestCase
