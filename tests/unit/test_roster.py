"""Whose turn it is, and who gets another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from junetts._errors import (
    AuthenticationError,
    BackendTimeoutError,
    BackendUnavailableError,
    InvalidRequestError,
    JuneTtsError,
    QuotaError,
    RateLimitedError,
    RequestRejectedError,
    UnknownVoiceError,
)
from junetts._roster import Roster, Turn

GONE = BackendUnavailableError("gone")
LATE = BackendTimeoutError("late")


def roster(
    *names: str, down: str = "", tries: int = 2, substitutes: bool = False, chance: float = 0.0
) -> Roster:
    """A roster that has begun."""
    made = Roster(
        names,
        is_ready=lambda name: name not in down,
        tries=tries,
        max_wait_s=30.0,
        substitutes=substitutes,
        random=lambda: chance,
    )
    made.begin()
    return made


def played(made: Roster, error: JuneTtsError, *, was_hurried: bool = True) -> list[str]:
    """Everyone who has a turn, if each fails with this error and the clock follows."""
    now, names = 0.0, []
    while (turn := made.take(now=now)) is not None:
        now = max(now, turn.not_before)
        names.append(turn.backend + ("*" if turn.in_own_voice else ""))
        made.failed(turn, error, now=now, was_hurried=was_hurried)
    return names


def test_everyone_has_a_first_turn_before_anyone_has_a_second() -> None:
    """The next backend at once; the same again only when all had their turn."""
    assert played(roster("a", "b", "c"), GONE) == ["a", "b", "c", "a", "b", "c"]


def test_the_number_of_tries_is_what_was_set() -> None:
    """Three tries are three turns, one is one."""
    assert played(roster("a", tries=3), GONE) == ["a"] * 3
    assert played(roster("a", "b", tries=1), GONE) == ["a", "b"]


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("401"),
        QuotaError("402"),
        RequestRejectedError("422"),
        InvalidRequestError("400"),
        UnknownVoiceError("who"),
        BackendUnavailableError("never", retryable=False),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_retry_cannot_help_is_not_retried(error: JuneTtsError) -> None:
    """Neither a refused key, nor an empty account, nor a wrong request."""
    assert played(roster("a", "b"), error) == ["a", "b"]


def test_who_had_all_the_patience_is_not_given_it_again() -> None:
    """A short deadline may have been too short; a long one was not."""
    late = BackendTimeoutError("late")
    assert played(roster("a"), late, was_hurried=True) == ["a", "a"]
    assert played(roster("a"), late, was_hurried=False) == ["a"]


def test_who_is_down_is_the_last_resort() -> None:
    """Behind those who are well and behind their quick retries, but not given up."""
    made = roster("a", "b", down="a")
    assert made.has_relief
    first = made.take(now=0.0)
    assert (first, made.has_relief) == (Turn(backend="b"), False)
    again = made.failed(first, GONE, now=0.0, was_hurried=False)
    assert again == Turn(backend="b", number=2, not_before=0.25)
    assert made.take(now=0.0) == again
    last = made.take(now=0.25)
    assert last == Turn(backend="a", is_last_resort=True)
    assert made.take(now=0.25) is None


def test_a_retry_that_was_due_long_ago_is_still_a_second_turn() -> None:
    """However late it is, those who have had none come first."""
    made = roster("a", "b", "c")
    first = made.take(now=0.0)
    assert first is not None
    made.failed(first, GONE, now=0.0, was_hurried=True)
    assert made.take(now=0.0) == Turn(backend="b")
    assert made.take(now=9.0) == Turn(backend="c")


def test_who_would_speak_in_another_voice_is_no_relief() -> None:
    """One that knows the voice is not hurried because of it."""
    made = roster("a", "b", substitutes=True)
    first = made.take(now=0.0)
    assert first is not None
    assert made.has_relief
    made.failed(first, UnknownVoiceError("who"), now=0.0, was_hurried=True)
    assert made.take(now=0.0) == Turn(backend="b")
    assert not made.has_relief


def test_the_clock_may_show_anything() -> None:
    """Waits count from now."""
    made = roster("a", "b", down="b")
    first = made.take(now=100.0)
    assert first is not None
    again = made.failed(first, GONE, now=100.0, was_hurried=False)
    assert again == Turn(backend="a", number=2, not_before=100.25)
    assert made.take(now=100.0) == again


def test_each_wait_is_longer_than_the_last() -> None:
    """And whoever is a last resort remains one."""
    made = roster("a", "b", down="a", tries=4)
    assert made.take(now=0.0) == Turn(backend="b")
    turn, waits = made.take(now=0.0), []
    while turn is not None:
        assert turn.is_last_resort
        turn = made.failed(turn, GONE, now=0.0, was_hurried=False)
        waits += [] if turn is None else [turn.not_before]
    assert waits == [0.25, 0.5, 1.0]


def test_the_longest_wait_is_worth_it() -> None:
    """If it is no longer than that."""
    made = roster("a")
    first = made.take(now=0.0)
    assert first is not None
    busy = RateLimitedError("429", retry_after_s=30.0)
    again = made.failed(first, busy, now=0.0, was_hurried=False)
    assert again == Turn(backend="a", number=2, not_before=30.0)


def test_a_long_wait_is_worse_than_a_last_resort() -> None:
    """Who asked to be left alone for longer comes after one that is down."""
    made = roster("a", "b", down="b")
    first = made.take(now=0.0)
    assert first is not None
    made.failed(first, RateLimitedError("429", retry_after_s=5.0), now=0.0, was_hurried=True)
    assert made.take(now=0.0) == Turn(backend="b", is_last_resort=True)
    assert made.take(now=0.0) == Turn(backend="a", number=2, not_before=5.0)


def test_a_wait_beyond_all_patience_is_not_begun() -> None:
    """A server that wants an hour of peace is not waited for."""
    made = roster("a")
    first = made.take(now=0.0)
    assert first is not None
    busy = RateLimitedError("429", retry_after_s=3600.0)
    assert made.failed(first, busy, now=0.0, was_hurried=False) is None
    assert made.take(now=0.0) is None


def test_another_voice_comes_after_everything_else() -> None:
    """Those who do not know the voice may speak in their own, if that is allowed, once."""
    made = roster("a", "b", down="b", substitutes=True)
    assert played(made, UnknownVoiceError("who")) == ["a", "b", "a*", "b*"]
    made = roster("a", "b", substitutes=True)
    first = made.take(now=0.0)
    assert first is not None
    made.failed(first, UnknownVoiceError("who"), now=0.0, was_hurried=True)
    assert played(made, GONE) == ["b", "b", "a*", "a*"]


def test_who_broke_off_is_not_next_and_comes_last_later() -> None:
    """Unless it is called back; nobody speaks who has broken off as often as there are tries."""
    made = roster("a", "b", "c")
    made.broke_off("a")
    made.begin()
    assert made.admitted == ("b", "c")
    assert played(made, GONE) == ["b", "c", "b", "c"]
    made.broke_off("b")
    made.begin()
    assert made.admitted == ("a", "c")
    assert made.take(now=0.0) == Turn(backend="c")
    assert made.take(now=0.0) == Turn(backend="a", is_last_resort=True)
    made.call_back("a")
    made.call_back("b")
    made.begin()
    assert made.take(now=0.0) == Turn(backend="a")
    made.broke_off("a")
    made.broke_off("c")
    made.begin()
    assert made.admitted == ("b",)
    assert made.better_than("c") == ("b",)


def test_who_refused_is_not_wanted_back() -> None:
    """It would refuse again: neither does a new search begin with it, nor is it better."""
    made = roster("a", "b", "c")
    first, second = made.take(now=0.0), made.take(now=0.0)
    assert first is not None
    assert second is not None
    assert made.better_than("c") == ("a", "b")
    made.failed(first, RequestRejectedError("422"), now=0.0, was_hurried=True)
    made.failed(second, GONE, now=0.0, was_hurried=True)
    made.begin()
    assert played(made, GONE) == ["b", "c", "b", "c"]
    assert made.better_than("c") == ("b",)


def test_a_stranger_remains_one() -> None:
    """A new search lets it speak in its own voice, at last, without asking again."""
    made = roster("a", "b", substitutes=True)
    first = made.take(now=0.0)
    assert first is not None
    made.failed(first, UnknownVoiceError("who"), now=0.0, was_hurried=True)
    made.begin()
    assert made.take(now=0.0) == Turn(backend="b")
    assert made.take(now=0.0) == Turn(backend="a", in_own_voice=True)
    assert made.better_than("b") == ()


def test_one_who_does_not_know_the_voice_is_asked_once() -> None:
    """If it may not speak in its own: neither in a new search, nor as a better one."""
    made = roster("a", "b")
    first = made.take(now=0.0)
    assert first is not None
    made.failed(first, UnknownVoiceError("who"), now=0.0, was_hurried=True)
    made.begin()
    assert played(made, GONE) == ["b", "b"]
    assert made.better_than("b") == ()


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequestError("no"),
        RequestRejectedError("422"),
        AuthenticationError("401"),
        QuotaError("402"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_who_refused_for_good_is_left_out(error: JuneTtsError) -> None:
    """The same request with the same key fails again."""
    made = roster("a", "b")
    first = made.take(now=0.0)
    assert first is not None
    made.failed(first, error, now=0.0, was_hurried=True)
    made.begin()
    assert made.take(now=0.0) == Turn(backend="b")
    assert made.better_than("b") == ()


@pytest.mark.parametrize(
    ("error", "was_hurried", "rest"),
    [
        (LATE, True, ["b", "a", "b", "c"]),  # patience is not spent
        (LATE, False, ["b", "b"]),  # `a` wanted some, `b` does not
        (GONE, False, ["b", "a", "b", "c"]),  # `c` had it, and did not spend it
    ],
)
def test_patience_is_spent_by_who_had_it(
    error: JuneTtsError, was_hurried: bool, rest: list[str]
) -> None:
    """By nobody else; those who failed for another reason have their turn all the same."""
    made = roster("a", "c", "b")
    first, second = made.take(now=0.0), made.take(now=0.0)
    assert first is not None
    assert second is not None
    made.failed(first, LATE, now=0.0, was_hurried=True)
    made.failed(second, error, now=0.0, was_hurried=was_hurried)
    assert sorted(played(made, GONE)) == sorted(rest)
    made.begin()
    assert played(made, LATE) == ["a", "c", "b", "a", "c", "b"]


def test_calling_one_back_calls_back_nobody_else() -> None:
    """The one that has just broken off remains out."""
    made = roster("a", "b")
    made.broke_off("a")
    made.broke_off("b")
    made.call_back("a")
    assert made.admitted == ("a",)


@given(st.integers(1, 5), st.integers(1, 4), st.sets(st.integers(0, 4)), st.floats(0, 1))
def test_turns_are_bounded_and_in_order(
    n_backends: int, tries: int, down: set[int], chance: float
) -> None:
    """Each has exactly its tries, and those who are well begin in the order of preference."""
    names = [str(n) for n in range(n_backends)]
    who_is_down = "".join(map(str, down))
    made = roster(*names, down=who_is_down, tries=tries, chance=chance)
    turns = played(made, GONE)
    assert sorted(turns) == sorted(names * tries)
    well = [name for name in names if name not in who_is_down]
    assert turns[: len(well)] == well
