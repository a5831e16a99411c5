"""Whoever fails wherever: every sentence is finished once, in order, and none is lost."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import FakeBackend, breaks, client
from junetts._errors import (
    BackendUnavailableError,
    NoBackendAvailableError,
    SynthesisInterruptedError,
)
from junetts._report import SpeechReport

SENTENCES = [f"This is sentence number {n}. " for n in range(5)]
TEXT = "".join(SENTENCES)

failures = st.tuples(st.integers(0, 4), st.integers(0, 3))  # in which segment, after what


@settings(max_examples=60, deadline=None)
@given(st.lists(failures, min_size=1, max_size=5))
def test_each_sentence_is_finished_exactly_once(plan: list[tuple[int, int]]) -> None:
    """All but the last backend fail somewhere; the report and the backends' own books agree."""
    gone = BackendUnavailableError("gone")
    backends = [
        FakeBackend(breaks(gone, segment=segment, after=after), name=f"b{number}")
        for number, (segment, after) in enumerate(plan)
    ]
    backends.append(FakeBackend(name="last"))

    async def speak() -> SpeechReport:
        async with client(*backends) as tts:
            return (await tts.synthesize(TEXT)).report

    report = asyncio.run(speak())
    assert (report.outcome, report.spoken_text, report.unspoken_text) == ("complete", TEXT, "")
    at = 0
    for backend, (segment, _) in zip(backends, plan, strict=False):
        if segment < at:  # its fault lies behind: it speaks to the end
            assert backend.given == SENTENCES[at:]
            return
        assert backend.given == SENTENCES[at : segment + 1]
        at = segment
    assert backends[-1].given == SENTENCES[at:]


@settings(max_examples=30, deadline=None)
@given(failures)
def test_text_is_spoken_or_unspoken(failure: tuple[int, int]) -> None:
    """If the only one left fails, the two texts are the text, cut at a sentence."""
    segment, after = failure
    gone = BackendUnavailableError("gone")
    first = FakeBackend(breaks(gone, segment=segment, after=after), name="first")
    second = FakeBackend(refuses=gone, name="second")

    async def speak() -> SpeechReport | None:
        async with client(first, second) as tts:
            try:
                return (await tts.synthesize(TEXT)).report
            except SynthesisInterruptedError as error:
                return error.report
            except NoBackendAvailableError:  # before any sound
                return None

    report = asyncio.run(speak())
    assert (report is None) == (failure == (0, 0))
    if report is not None:
        assert report.spoken_text == "".join(SENTENCES[:segment])
        assert report.spoken_text + report.unspoken_text == TEXT
