"""Whether a case went as it must: what was heard, what was reported, and what was left behind."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterator, Mapping

from faults.axes import Case, Policy
from faults.hearing import Stretch, hear, place_of, stretches
from faults.stage import NEXT, PREFERRED, Performance
from faults.story import SENTENCES, TEXT, VOICE, WORDS, first_word_of
from junetts._errors import SynthesisInterruptedError
from junetts._events import BreakerOpened, Finished, FirstAudio, HandedOver
from junetts._report import Provenance, SegmentReport, SpeechReport
from junetts.testing import Detection, Heard
from junetts.testing.faults import Wire

MAX_REPEATED = 2  # words, where the interrupted sentence is continued
MAX_SILENCE_S = 8.0  # a deadline of 3 s, a second to leave who missed it, and a late beginning
MAX_TIME_S = 30.0
WITHIN_S = 0.005  # what a word may be away from where the report has it

Complaints = Iterator[str]


def complaints(case: Case, performance: Performance) -> list[str]:
    """Everything that is wrong with how a case went; nothing, if nothing is."""
    found = [*_noticed(case, performance), *_left_behind(performance), *_took(performance)]
    if performance.report is None:
        return [*found, f"there is no report, only {performance.error!r}"]
    heard = hear(performance.pcm, performance.sample_rate)
    found += _accounted(performance, performance.report)
    if case.detection is Detection.IMPOSSIBLE:
        found += _spoken_around(case, performance, heard)
    elif performance.error is not None:
        found += _broken_off(case, performance, performance.report, heard)
    else:
        found += _spoken(case, heard)
        found += _reported(case, performance, heard)
        found += _in_its_chunks(performance, heard)
    return found


def _noticed(case: Case, performance: Performance) -> Complaints:
    """The fault struck, and what can be told of it was told."""
    if not performance.n_strikes:
        yield "the fault did not strike"
    report = performance.report
    is_reported = report is not None and bool(report.attempts or report.handovers)
    is_told = is_reported or performance.error is not None
    if _may_end_well(case):
        is_told = any(isinstance(event, BreakerOpened) for event in performance.events)
    if case.detection is Detection.FAILURE and not is_told:
        yield "nobody was told of the failure"


def _may_end_well(case: Case) -> bool:
    """Whether a fault can come when every word was heard, and known to have been heard.

    It makes no difference to this utterance any more, so only the breaker is a sign of it.
    """
    is_last = case.struck == len(SENTENCES) - 1
    return is_last and case.place == "at the end" and case.policy == "continue"


def _left_behind(performance: Performance) -> Complaints:
    for leak in performance.leaks:
        yield f"left behind: {leak}"


def _took(performance: Performance) -> Complaints:
    if performance.took_s > MAX_TIME_S:
        yield f"it took {performance.took_s:.1f} s"
    if performance.silence_s > MAX_SILENCE_S:
        yield f"nothing was heard for {performance.silence_s:.1f} s"


def _accounted(performance: Performance, report: SpeechReport) -> Complaints:
    """The report agrees with itself, with the error, the events and the audio."""
    if report.spoken_text + report.unspoken_text != performance.written:
        yield f"the texts are {report.spoken_text!r} + {report.unspoken_text!r}"
    n_samples = len(performance.pcm) // 2
    if round(report.audio_s * performance.sample_rate) != n_samples:
        yield f"{report.audio_s} s are reported, but {n_samples} samples were heard"
    expected = "complete" if performance.error is None else "failed"
    if report.outcome != expected:
        yield f"the outcome is {report.outcome}, not {expected}"
    if report.outcome == "complete" and report.spoken_text != TEXT:
        yield f"complete, but spoken is {report.spoken_text!r}"
    error = performance.error
    if error is not None and (error.speech is None or error.speech.pcm != performance.pcm):
        yield "the error does not carry what was heard"
    if error is not None and error.report != report:
        yield "the error carries another report"
    yield from _events(performance, report)


def _events(performance: Performance, report: SpeechReport) -> Complaints:
    events = performance.events
    if [event.report for event in events if isinstance(event, Finished)] != [report]:
        yield "the listener was not told once that it has finished, or not how"
    if sum(isinstance(event, FirstAudio) for event in events) != 1:
        yield "the listener was not told once of the first audio"
    told = tuple(event.handover for event in events if isinstance(event, HandedOver))
    if told != report.handovers:
        yield f"the listener was told of {told}, the report has {report.handovers}"


def _spoken_around(case: Case, performance: Performance, heard: list[Heard]) -> Complaints:
    """All of the other sentences was spoken once, for nobody can tell what is wrong with this one.

    A client cannot know of it; where it has failed for another reason, nothing follows.
    """
    if performance.error is not None and case.policy != "fail":
        yield f"failed, though it need not: {performance.error!r}"
    others = range(case.struck if performance.error is not None else len(SENTENCES))
    expected = [
        word.name for word in WORDS if word.segment in others and word.segment != case.struck
    ]
    names = {word.name for word in WORDS if word.segment != case.struck}
    got = [str(one) for one in heard if one.word in names]
    if got != expected:
        yield f"around it was heard: {' '.join(got)}"


def _broken_off(
    case: Case, performance: Performance, report: SpeechReport, heard: list[Heard]
) -> Complaints:
    """Only where a sentence was broken off, and the policy is to give up then."""
    error, found = performance.error, stretches(heard)
    shown = " | ".join(map(str, found))
    if not isinstance(error, SynthesisInterruptedError):
        yield f"the error is {error!r}"
    if case.policy != "fail":
        yield f"failed, though the next could go on: {error!r}"
    if len(found) != 1 or found[0].first != 0 or set(found[0].broken) - {found[0].last}:
        yield f"before it failed was heard: {shown}"
        return
    if case.place in ("at the door", "before sound"):
        yield f"failed between two sentences: {error!r}"
    if report.spoken_text != "".join(SENTENCES[: found[0].ends_in]):
        yield f"reported as spoken is {report.spoken_text!r}, but heard was: {shown}"
    if report.handovers or report.unspoken_text == "":
        yield f"failed, but reported is {report}"


def _spoken(case: Case, heard: list[Heard]) -> Complaints:
    """All of the text, in order, and only the interrupted sentence again, as the policy has it."""
    found = stretches(heard)
    shown = " | ".join(map(str, found))
    if any(place_of(one) is None for one in heard):
        yield f"noise was heard beside: {shown}"
    if not found or found[0].first != 0 or found[-1].last != len(WORDS) - 1:
        yield f"beginning or end is missing: {shown}"
        return
    if len(found) > 2:
        yield f"more than one seam is heard: {shown}"
    if any(one.broken for one in found[1:]) or set(found[0].broken) - {found[0].last}:
        yield f"a word is not whole: {shown}"
    if len(found) == 1 and found[0].broken:
        yield f"the last word is not whole: {shown}"
    if len(found) == 2:
        for complaint in _SEAMS[case.policy](*found):
            yield f"{complaint}: {shown}"
    is_broken_sentence = case.may_break_a_sentence and case.detection is Detection.FAILURE
    if case.policy == "fail" and is_broken_sentence:
        yield f"a sentence was interrupted, and it did not fail: {shown}"


def _respoken(before: Stretch, after: Stretch) -> Complaints:
    if after.first != first_word_of(before.ends_in):
        yield "it is not the interrupted sentence that was spoken again"


def _continued(before: Stretch, after: Stretch) -> Complaints:
    if after.first > before.last:
        yield "words are missing"
    elif before.last - after.first >= MAX_REPEATED:
        yield f"more than {MAX_REPEATED} words were repeated"
    if WORDS[after.first].segment != before.ends_in:
        yield "a finished sentence was heard again"


def _not_to_be_heard(before: Stretch, after: Stretch) -> Complaints:
    yield "something was spoken again"


_SEAMS: Mapping[Policy, Callable[[Stretch, Stretch], Complaints]] = {
    "respeak": _respoken,
    "continue": _continued,
    "fail": _not_to_be_heard,
}


def _reported(case: Case, performance: Performance, heard: list[Heard]) -> Complaints:
    """Who spoke what when, according to the report, is what was heard."""
    report = performance.report
    assert report is not None
    yield from _handovers(case, report, stretches(heard))
    if performance.is_next_asked != bool(report.attempts or report.handovers):
        yield "the next backend was troubled for nothing, or not reported"
    begun_by_next = len(SENTENCES)
    if report.attempts:
        begun_by_next = 0
    for handover in report.handovers:
        begun_by_next = handover.segment
    for segment in report.segments:
        name = NEXT if segment.index >= begun_by_next else PREFERRED
        speaker = name[case.wire]
        if (segment.state, segment.backend) != ("spoken", speaker):
            yield f"reported is {segment}, but {speaker} spoke it"
        yield from _placed(segment, heard)
        resumed_at = sum(one.resumed_at for one in report.handovers if one.segment == segment.index)
        yield from _timed(segment, resumed_at, knows_before=case.wire != "server")
        if bool(segment.words) != _tells_words(speaker, case.policy):
            yield f"word times are reported, or not, against expectation: {segment}"


_KNOWN_BY: Mapping[Wire, Provenance] = {
    "cloud": "aligned",
    "server": "estimated",
    "backend": "native",
}


def _tells_words(speaker: str, policy: Policy) -> bool:
    """Whether a backend tells word times: the cloud is asked for them where they are needed."""
    return {"server": False, "cloud": policy == "continue"}.get(speaker, True)


def _handovers(case: Case, report: SpeechReport, found: list[Stretch]) -> Complaints:
    if len(report.handovers) > 1 or (len(found) > 1 and not report.handovers):
        yield f"reported are {report.handovers}"
    for handover in report.handovers:
        named = (handover.from_backend, handover.to_backend)
        if named != (PREFERRED[case.wire], NEXT[case.wire]) or handover.segment >= len(SENTENCES):
            yield f"reported is {handover}"
        if handover.segment == 0 and not handover.resumed_at and len(found) == 1:
            yield f"nobody had spoken before {handover}"
        if len(found) == 2:
            first = WORDS[found[1].first]
            if (handover.segment, handover.resumed_at) != (first.segment, first.offset):
                yield f"reported is {handover}, but it went on with {first}"
        if handover.resumed_at and handover.resumed_by != _KNOWN_BY[case.wire]:
            yield f"it is known in another way where to go on: {handover}"


def _timed(segment: SegmentReport, resumed_at: int, *, knows_before: bool) -> Complaints:
    """Each word has its time once, except where it was broken off, and begun again.

    What was heard before ``resumed_at`` may have been spoken by one who tells no times.
    """
    since = 0 if knows_before else resumed_at
    words = [one for one in WORDS if one.segment == segment.index and one.offset >= since]
    told = [name for word in segment.words for name in VOICE.spoken(word.text)]
    n_most = len(words) + (MAX_REPEATED if resumed_at else 0)
    if told and (set(told) != {word.name for word in words} or len(told) > n_most):
        yield f"times are told of {told}"


def _in_its_chunks(performance: Performance, heard: list[Heard]) -> Complaints:
    """The chunks of a stream follow each other, and say of which segment their words are."""
    n_samples, begins = 0, []
    for chunk in performance.chunks:
        begins.append(n_samples / performance.sample_rate)
        n_samples += chunk.n_samples
        if abs(chunk.start_s - begins[-1]) * performance.sample_rate > 0.5:
            yield f"{chunk} begins at {begins[-1]} s"
    for one in heard if begins else ():
        chunk = performance.chunks[bisect(begins, (one.start_s + one.end_s) / 2) - 1]
        place = place_of(one)
        if place is not None and WORDS[place].segment != chunk.segment:
            yield f"{one} is in {chunk}"


def _placed(segment: SegmentReport, heard: list[Heard]) -> Complaints:
    """A segment's words are heard where the report has it, and each where the report has that."""
    end_s = segment.start_s + segment.duration_s + WITHIN_S
    within = [one for one in heard if segment.start_s - WITHIN_S <= one.start_s < end_s]
    names = [word.name for word in WORDS if word.segment == segment.index]
    whole = [one.word for one in within if one.is_whole]
    if set(whole) != set(names) or not {one.word for one in within} <= set(names):
        yield f"in segment {segment.index} was heard: {' '.join(map(str, within))}"
    for told in segment.words:
        start_s = segment.start_s + told.start_s
        if not any(abs(one.start_s - start_s) < WITHIN_S for one in within):
            yield f"{told} is not what was heard in segment {segment.index}"
