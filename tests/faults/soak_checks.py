"""What must be true of an utterance, whatever went wrong: told from its sound and its report."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from faults.soak_clients import Life
from faults.soak_listener import Hearing, SourceError
from faults.soak_plan import ClientPlan
from faults.soak_texts import RATE_HZ
from junetts import AttemptFailed, Finished, HandedOver, SpeechReport, VoiceSubstituted
from junetts._errors import (
    BackendTimeoutError,
    BackendUnavailableError,
    JuneTtsError,
    NoBackendAvailableError,
    SynthesisInterruptedError,
)
from junetts._report import Handover
from junetts.testing import Heard

FRAGMENT_S = 0.03  # what is shorter may be too short to name
MAX_REPEATED = 2  # words, where it is told when words are heard


def check_life(life: Life) -> None:
    """Everything that a client did.

    Raises:
        AssertionError: with the number of the utterance and all that is known of it.
    """
    for hearing in life.hearings:
        try:
            check_utterance(life, hearing)
        except AssertionError as error:
            heard = " ".join(map(str, life.voice.hear(bytes(hearing.pcm), RATE_HZ)))
            error.add_note(f"{hearing.plan}\nheard: {heard}\n{hearing.error!r}\n{hearing.report}")
            error.add_note(f"{life.plan.backends}\n{life.plan.fallback}")
            raise
    check_events(life)


def check_utterance(life: Life, hearing: Hearing) -> None:
    """One utterance: the text, the sound, the order, the ending."""
    report = hearing.report
    assert report is not None
    check_text(hearing, report)
    check_sound(life, hearing, report)
    check_ending(life.plan, hearing, report)


def check_text(hearing: Hearing, report: SpeechReport) -> None:
    """Spoken and unspoken text are the text that was given, to the letter."""
    assert report.spoken_text + report.unspoken_text == hearing.read
    assert report.characters == len(hearing.read)
    assert hearing.read.startswith("".join(segment.text for segment in report.segments))
    if report.outcome == "complete":
        assert (hearing.read, report.unspoken_text) == (hearing.plan.text, "")


def check_ending(plan: ClientPlan, hearing: Hearing, report: SpeechReport) -> None:
    """The outcome is what happened, and failure has a reason."""
    wanted = hearing.plan
    if report.outcome == "cancelled":
        assert hearing.has_left
        assert hearing.error is None
    elif report.outcome == "complete":
        assert hearing.error is None
    else:
        assert report.outcome == "failed"
        check_failure(plan, hearing, report)
    if wanted.timeout_s is None and plan.policy != "fail" and plan.can_always_speak(wanted):
        assert report.outcome != "failed" or isinstance(hearing.error, SourceError)


def check_failure(plan: ClientPlan, hearing: Hearing, report: SpeechReport) -> None:
    """Its error says whether there was sound; nobody who could have spoken was left out."""
    error, is_after_sound = hearing.error, bool(hearing.pcm)
    if isinstance(error, SourceError):
        assert hearing.plan.raises
        assert report.spoken_text == hearing.read
        return
    assert isinstance(error, JuneTtsError)
    assert isinstance(error, (BackendUnavailableError, NoBackendAvailableError)) != is_after_sound
    assert isinstance(error, SynthesisInterruptedError) == is_after_sound
    assert error.report == report
    if is_out_of_time(error):
        assert hearing.plan.timeout_s is not None
    elif hearing.plan.backend is None and not may_give_up(plan, report):
        tried = {attempt.backend for attempt in report.attempts}
        spoke = {handover.from_backend for handover in report.handovers}
        assert tried | spoke | {report.backend} >= set(plan.names)


def is_out_of_time(error: BaseException | None) -> bool:
    """Whether the utterance as a whole took too long."""
    cause = error.__cause__ if isinstance(error, SynthesisInterruptedError) else error
    return isinstance(cause, BackendTimeoutError) and "not finished within" in cause.message


def may_give_up(plan: ClientPlan, report: SpeechReport) -> bool:
    """Whether a sentence broke off that nobody may go on with."""
    in_the_middle = any(segment.state == "abandoned" for segment in report.segments)
    return plan.policy == "fail" and in_the_middle


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The words of an utterance and the segments in which they stand, which no two share."""

    words: tuple[str, ...]
    ends: tuple[int, ...]  # of each segment, in words

    def segment_of(self, word: int) -> int:
        """Where a word stands."""
        return bisect_right(self.ends, word)

    def start_of(self, segment: int) -> int:
        """The first word of a segment."""
        return self.ends[segment - 1] if segment else 0


def check_sound(life: Life, hearing: Hearing, report: SpeechReport) -> None:
    """Each word is heard in order and once, but for what the policy lets be repeated."""
    assert round(report.audio_s * RATE_HZ) == len(hearing.pcm) // 2
    texts = [segment.text for segment in report.segments]
    spoken = [life.voice.spoken(text) for text in texts]
    score = Score(words=sum(spoken, ()), ends=tuple(accumulate(map(len, spoken))))
    heard = life.voice.hear(bytes(hearing.pcm), RATE_HZ)
    named = [one for one in heard if one.word is not None or one.end_s - one.start_s > FRAGMENT_S]
    assert all(one.word in score.words for one in named), "a sound that is no word of the text"
    places = [score.words.index(str(one.word)) for one in named]
    check_order(life.plan, report, score, named, places)
    check_claim(life, report, score, named, places)


def check_order(
    plan: ClientPlan,
    report: SpeechReport,
    score: Score,
    heard: Sequence[Heard],
    places: Sequence[int],
) -> None:
    """One word after the other; where it goes back, somebody took over, as the policy allows."""
    assert places[:1] in ([], [0])
    n_back = [0] * len(score.ends)
    for (one, place), (_, following) in pairwise(zip(heard, places, strict=True)):
        if one.is_whole and following == place + 1:
            continue
        segment = score.segment_of(place)
        n_back[segment] += 1
        taken_over = [one for one in report.handovers if one.segment == segment]
        assert n_back[segment] <= len(taken_over), "repeated without a handover"
        assert score.segment_of(following) == segment, "what broke off was lost"
        if plan.policy == "continue":
            check_continued(taken_over, place, following)
        else:
            assert plan.policy == "respeak", "repeated, though it was to fail"
            assert following == score.start_of(segment), "not repeated from the beginning"


def check_continued(taken_over: Sequence[Handover], place: int, following: int) -> None:
    """No word is lost, and where it was known when words are heard, few are repeated."""
    assert following <= place, "a word that broke off was lost"
    if all(handover.resumed_by != "estimated" for handover in taken_over):
        assert place + 1 - following <= MAX_REPEATED, "more was repeated than had to be"


def check_claim(
    life: Life, report: SpeechReport, score: Score, heard: Sequence[Heard], places: Sequence[int]
) -> None:
    """What is claimed to be spoken was heard to its end, and of the rest no whole sentence more."""
    n_spoken = len(life.voice.spoken(report.spoken_text))
    n_heard = places[-1] + heard[-1].is_whole if places else 0
    assert n_spoken <= n_heard, "claimed, but not heard"
    if places:
        assert n_spoken >= score.start_of(score.segment_of(places[-1])), "heard, but not claimed"
    if report.outcome == "complete":
        assert n_heard == len(score.words)


def check_events(life: Life) -> None:
    """Every utterance ends with one report, and what was told on the way is what stands in it."""
    reports = [event.report for event in life.events if isinstance(event, Finished)]
    finished = [event.utterance for event in life.events if isinstance(event, Finished)]
    assert sorted(finished) == list(range(1, len(life.plan.utterances) + 1))
    assert set(map(repr, reports)) == {repr(one.report) for one in life.hearings}
    for number, report in zip(finished, reports, strict=True):
        check_story(life, number, report)


def check_story(life: Life, number: int, report: SpeechReport) -> None:
    """One utterance's events, of which the last is its end."""
    story = [event for event in life.events if getattr(event, "utterance", None) == number]
    if report.outcome != "cancelled":
        assert isinstance(story[-1], Finished)
    told = [event.handover for event in story if isinstance(event, HandedOver)]
    assert tuple(told[: len(report.handovers)]) == report.handovers
    tried = [event.attempt for event in story if isinstance(event, AttemptFailed)]
    assert tuple(tried[: len(report.attempts)]) == report.attempts
    other = [event.substitution for event in story if isinstance(event, VoiceSubstituted)]
    assert tuple(other[: len(report.substitutions)]) == report.substitutions
