"""When a backend is left alone, when it is looked at again, and whose word counts."""

from __future__ import annotations

import pytest

from junetts._breaker import Breaker, BreakerRules, Use, speaks_against_backend
from junetts._errors import (
    AuthenticationError,
    BackendBusyError,
    BackendTimeoutError,
    BackendUnavailableError,
    EngineError,
    InvalidRequestError,
    JuneTtsError,
    NoAudioError,
    QuotaError,
    RateLimitedError,
    RequestRejectedError,
    UnknownVoiceError,
    UsageError,
)

GONE = BackendUnavailableError("gone")
REFUSED = AuthenticationError("the key was refused")
BROKE = QuotaError("no credit left")
TOO_MUCH = RateLimitedError("too many requests", retry_after_s=30)


def new_breaker(*, chance: float = 0.0) -> Breaker:
    """A breaker that waits 1, 2, 4, 8, 8 ... s, or as much less as chance says."""
    rules = BreakerRules(first_probe_s=1, max_probe_s=8, jitter=0.25)
    return Breaker(rules, random=lambda: chance)


def opened(error: JuneTtsError = GONE, *, now: float = 0) -> Breaker:
    """A breaker that an utterance has opened."""
    breaker = new_breaker()
    assert breaker.failed(error, use=breaker.begin(), now=now) == "open"
    return breaker


def half_opened(error: JuneTtsError = GONE) -> Breaker:
    """A breaker that awaits its trial."""
    breaker = opened(error)
    assert breaker.probed(True, since=breaker.era, now=1) == "half_open"
    return breaker


def on_trial() -> tuple[Breaker, Use]:
    """A breaker and its trial."""
    breaker = half_opened()
    return breaker, breaker.begin()


def test_at_first_all_is_well() -> None:
    """A new breaker is closed, ready, and needs no probe."""
    breaker = new_breaker()
    assert (breaker.state, breaker.is_ready, breaker.probe_at) == ("closed", True, None)
    assert (breaker.reason, breaker.n_failures) == (None, 0)
    assert repr(breaker) == "Breaker(closed)"


def test_while_closed_everyone_is_welcome_and_nobody_is_the_trial() -> None:
    """Success and leaving change nothing."""
    breaker = new_breaker()
    uses = [breaker.begin() for _ in range(3)]
    assert breaker.succeeded(use=uses[0]) is None
    breaker.left(use=uses[1])
    assert not any(use.is_trial for use in uses)
    assert (breaker.state, breaker.is_ready, breaker.era) == ("closed", True, 0)


@pytest.mark.parametrize(
    "error",
    [GONE, TOO_MUCH, REFUSED, BROKE, BackendBusyError("b"), BackendTimeoutError("t"),
     NoAudioError("n"), EngineError("e")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_the_first_failure_opens_it(error: JuneTtsError) -> None:
    """What the next utterance would meet as well is reason enough."""
    breaker = opened(error)
    assert (breaker.state, breaker.is_ready) == ("open", False)
    assert (breaker.reason, breaker.n_failures) == (error, 1)


@pytest.mark.parametrize(
    "error",
    [InvalidRequestError("i"), UnknownVoiceError("v"), UsageError("u"), RequestRejectedError("r")],
    ids=lambda error: type(error).__name__,
)
def test_a_wrong_request_is_not_the_backend_s_fault(error: JuneTtsError) -> None:
    """It opens nothing, and a trial that ended so is given back."""
    assert not speaks_against_backend(error)
    breaker = new_breaker()
    assert breaker.failed(error, use=breaker.begin(), now=0) is None
    assert (breaker.state, breaker.n_failures) == ("closed", 0)
    breaker, trial = on_trial()
    assert breaker.failed(error, use=trial, now=2) is None
    assert (breaker.state, breaker.is_ready) == ("half_open", True)
    assert breaker.reason is GONE


def test_each_wait_is_twice_the_last_up_to_the_longest() -> None:
    """It is the failing probes that lengthen it."""
    breaker, now, waits = opened(now=100), 100.0, []
    for _ in range(6):
        assert breaker.probe_at is not None
        waits.append(breaker.probe_at - now)
        now = breaker.probe_at
        assert breaker.probed(False, since=breaker.era, now=now, reason=GONE) is None
    assert waits == [1, 2, 4, 8, 8, 8]
    assert breaker.n_failures == 7


def test_chance_shortens_a_wait_by_its_share_at_most() -> None:
    """The longest wait is not exceeded, whatever chance says."""
    breaker = new_breaker(chance=0.8)
    breaker.failed(GONE, use=breaker.begin(), now=10)
    assert breaker.probe_at == pytest.approx(10 + 1 * (1 - 0.25 * 0.8))


def test_busy_is_no_failure_but_waits_longer() -> None:
    """A probe that finds it occupied counts as no failure."""
    breaker = opened()
    assert breaker.probed(False, since=breaker.era, now=1) is None
    assert (breaker.state, breaker.probe_at, breaker.n_failures) == ("open", 3, 1)


def test_a_probe_that_was_itself_refused_waits_longer_too() -> None:
    """A server without a route for probes is not thereby found failing."""
    breaker = opened()
    rejected = RequestRejectedError("no such route")
    assert breaker.probed(False, since=breaker.era, now=1, reason=rejected) is None
    assert (breaker.probe_at, breaker.n_failures) == (3, 1)


def test_a_server_is_left_alone_for_as_long_as_it_asked() -> None:
    """That is never cut short, by chance neither; and a shorter one does not hasten a probe."""
    assert opened(TOO_MUCH).probe_at == 30
    assert opened(RateLimitedError("too many requests", retry_after_s=0.1)).probe_at == 1
    assert opened(RateLimitedError("too many requests")).probe_at == 1
    breaker = opened(TOO_MUCH)
    breaker.probed(False, since=breaker.era, now=5, reason=GONE)
    assert breaker.probe_at == 30


def test_a_probe_may_be_asked_to_wait() -> None:
    """What the server asked for counts from then."""
    breaker = opened()
    breaker.probed(False, since=breaker.era, now=1, reason=TOO_MUCH)
    assert breaker.probe_at == 31
    assert breaker.reason is GONE


@pytest.mark.parametrize("error", [REFUSED, BROKE], ids=["key", "credit"])
def test_key_and_credit_wait_for_a_person(error: JuneTtsError) -> None:
    """No probe is planned; one that is made and fails plans none either, a good one is heeded."""
    breaker = opened(error)
    assert breaker.probe_at is None
    assert breaker.probed(False, since=breaker.era, now=9, reason=GONE) is None
    assert breaker.probed(False, since=breaker.era, now=9) is None
    assert (breaker.probe_at, breaker.reason) == (None, error)
    assert breaker.probed(True, since=breaker.era, now=9) == "half_open"


def test_a_refused_key_found_by_a_probe_ends_the_probing() -> None:
    """The key is why it stays open now, whatever opened it."""
    breaker = opened()
    assert breaker.probed(False, since=breaker.era, now=1, reason=REFUSED) is None
    assert (breaker.probe_at, breaker.reason) == (None, REFUSED)


def test_a_good_probe_lets_one_utterance_try() -> None:
    """All others are sent elsewhere until it has a verdict."""
    breaker = half_opened()
    assert (breaker.is_ready, breaker.probe_at, breaker.reason) == (True, None, GONE)
    assert breaker.begin().is_trial
    assert (breaker.state, breaker.is_ready) == ("half_open", False)
    assert not breaker.begin().is_trial


def test_a_whole_segment_closes_it() -> None:
    """From then on it is as if nothing had happened; what fails afterwards is new."""
    breaker, trial = on_trial()
    assert breaker.succeeded(use=trial) == "closed"
    assert (breaker.is_ready, breaker.reason, breaker.n_failures) == (True, None, 0)
    assert breaker.succeeded(use=trial) is None
    assert breaker.failed(BROKE, use=trial, now=50) == "open"
    assert breaker.reason is BROKE


def test_after_it_closed_the_waits_are_short_again() -> None:
    """What was waited for in an earlier outage does not count."""
    breaker = opened()
    breaker.probed(False, since=breaker.era, now=1, reason=GONE)
    breaker.probed(True, since=breaker.era, now=3)
    breaker.succeeded(use=breaker.begin())
    breaker.failed(GONE, use=breaker.begin(), now=10)
    assert (breaker.probe_at, breaker.n_failures) == (11, 1)


def test_a_failed_trial_opens_it_for_longer() -> None:
    """The probe was too kind."""
    breaker, trial = on_trial()
    other = BackendTimeoutError("no sound")
    assert breaker.failed(other, use=trial, now=10) == "open"
    assert (breaker.probe_at, breaker.reason, breaker.n_failures) == (12, other, 2)


def test_a_trial_that_was_left_is_given_back() -> None:
    """Someone who interrupts has not said anything about the backend."""
    breaker, trial = on_trial()
    breaker.left(use=trial)
    assert (breaker.state, breaker.is_ready) == ("half_open", True)
    second = breaker.begin()
    assert second.is_trial
    breaker.left(use=trial)
    assert not breaker.is_ready


def test_only_the_trial_can_give_itself_back() -> None:
    """An utterance that uses the backend beside it, as a last resort, cannot."""
    breaker, _ = on_trial()
    breaker.left(use=breaker.begin())
    assert not breaker.is_ready


def test_leaving_after_a_verdict_changes_nothing() -> None:
    """So that whoever leaves need not know whether there was one."""
    breaker, trial = on_trial()
    breaker.succeeded(use=trial)
    breaker.left(use=trial)
    assert breaker.state == "closed"
    breaker, trial = on_trial()
    breaker.failed(GONE, use=trial, now=2)
    breaker.left(use=trial)
    assert breaker.state == "open"


def test_one_outage_opens_it_once() -> None:
    """Utterances broken off by the same outage, noticed sooner or later, lengthen no wait."""
    breaker = new_breaker()
    uses = [breaker.begin() for _ in range(5)]
    assert breaker.failed(GONE, use=uses[0], now=0) == "open"
    assert breaker.failed(TOO_MUCH, use=uses[1], now=0.5) is None
    assert (breaker.probe_at, breaker.n_failures, breaker.reason) == (1, 1, GONE)
    breaker.probed(True, since=breaker.era, now=1)
    assert breaker.failed(GONE, use=uses[2], now=1) is None
    trial = breaker.begin()
    assert breaker.failed(GONE, use=uses[3], now=2) is None
    breaker.succeeded(use=trial)
    assert breaker.failed(GONE, use=uses[4], now=3) is None
    assert breaker.state == "closed"


def test_what_was_made_before_the_outage_does_not_end_it() -> None:
    """A segment finished late by an utterance that began before proves nothing."""
    breaker = new_breaker()
    old, failing = breaker.begin(), breaker.begin()
    breaker.failed(GONE, use=failing, now=0)
    assert breaker.succeeded(use=old) is None
    breaker.probed(True, since=breaker.era, now=1)
    assert breaker.succeeded(use=old) is None
    breaker.begin()
    assert breaker.succeeded(use=old) is None
    assert (breaker.state, breaker.is_ready) == ("half_open", False)


def test_a_last_resort_that_speaks_closes_it() -> None:
    """A whole segment of an utterance that began since is as good as a trial's."""
    for error in GONE, REFUSED:
        breaker = opened(error)
        use = breaker.begin()
        assert not use.is_trial
        assert breaker.succeeded(use=use) == "closed"
        assert breaker.probe_at is None


def test_a_last_resort_that_fails_does_not_put_the_probe_off() -> None:
    """Or a busy client would never probe; but the server's own wish is respected."""
    breaker = opened()
    assert breaker.failed(GONE, use=breaker.begin(), now=0.9) is None
    assert (breaker.probe_at, breaker.n_failures) == (1, 2)
    assert breaker.failed(TOO_MUCH, use=breaker.begin(), now=0.9) is None
    assert (breaker.probe_at, breaker.reason) == (30.9, GONE)
    assert breaker.failed(BROKE, use=breaker.begin(), now=0.9) is None
    assert (breaker.probe_at, breaker.reason) == (None, BROKE)


def test_a_last_resort_that_began_before_the_good_probe_does_not_undo_it() -> None:
    """The probe knows of a later time than it does, and the trial will know more."""
    breaker = opened()
    use = breaker.begin()
    breaker.probed(True, since=breaker.era, now=1)
    assert breaker.failed(GONE, use=use, now=2) is None
    assert breaker.succeeded(use=use) is None
    assert breaker.state == "half_open"


def test_beside_the_trial_a_last_resort_has_a_say_as_well() -> None:
    """It began since the probe, too; a trial that contradicts a failure is then too old."""
    breaker, trial = on_trial()
    beside = breaker.begin()
    assert breaker.succeeded(use=beside) == "closed"
    breaker, trial = on_trial()
    beside = breaker.begin()
    assert breaker.failed(GONE, use=beside, now=2) == "open"
    assert breaker.succeeded(use=trial) is None
    assert breaker.state == "open"


def test_nor_does_it_lose_its_say_when_the_trial_is_left() -> None:
    """The breaker that awaits another trial has learnt enough from it."""
    breaker, trial = on_trial()
    beside = breaker.begin()
    breaker.left(use=trial)
    assert breaker.succeeded(use=beside) == "closed"
    breaker, trial = on_trial()
    beside = breaker.begin()
    breaker.left(use=trial)
    assert breaker.failed(GONE, use=beside, now=2) == "open"


def test_what_speaks_need_not_answer_probes() -> None:
    """No probe opens a closed breaker: its health route may be blocked, and speech works."""
    breaker = new_breaker()
    assert breaker.probed(True, since=0, now=0) is None
    assert breaker.probed(False, since=0, now=0) is None
    assert breaker.probed(False, since=0, now=0, reason=RequestRejectedError("r")) is None
    assert breaker.probed(False, since=0, now=0, reason=GONE) is None
    assert (breaker.state, breaker.n_failures, breaker.reason) == ("closed", 0, None)


def test_a_bad_probe_opens_it_again_before_anyone_tries() -> None:
    """Busy is alive, and opens nothing."""
    breaker = half_opened()
    assert breaker.probed(False, since=breaker.era, now=2) is None
    assert breaker.probed(False, since=breaker.era, now=2, reason=GONE) == "open"
    assert breaker.probe_at == 4


@pytest.mark.parametrize("is_ok", [True, False])
def test_a_trial_is_not_decided_by_a_probe(is_ok: bool) -> None:
    """Speech knows better."""
    breaker, trial = on_trial()
    assert breaker.probed(is_ok, since=breaker.era, now=2, reason=None if is_ok else GONE) is None
    assert (breaker.state, breaker.is_ready, breaker.n_failures) == ("half_open", False, 1)
    assert breaker.succeeded(use=trial) == "closed"


@pytest.mark.parametrize("is_ok", [True, False])
def test_a_probe_is_not_heard_about_what_changed_meanwhile(is_ok: bool) -> None:
    """Its answer is about the time before."""
    reason = None if is_ok else GONE
    breaker = new_breaker()
    since = breaker.era
    breaker.failed(GONE, use=breaker.begin(), now=0)
    assert breaker.probed(is_ok, since=since, now=0.5, reason=reason) is None
    assert (breaker.state, breaker.probe_at, breaker.n_failures) == ("open", 1, 1)
    since = breaker.era
    breaker.succeeded(use=breaker.begin())
    assert breaker.probed(is_ok, since=since, now=1, reason=reason) is None
    assert breaker.state == "closed"


@pytest.mark.parametrize(
    "settings",
    [
        {"first_probe_s": 0},
        {"first_probe_s": 2, "max_probe_s": 1},
        {"jitter": -0.1},
        {"jitter": 1},
    ],
)
def test_rules_that_make_no_sense_are_refused(settings: dict[str, float]) -> None:
    """A wait of nothing would be a probe without end."""
    with pytest.raises(ValueError, match="must be"):
        BreakerRules(**settings)
