"""Several utterances sharing the model: the same speech in any company, and clean failures."""

from __future__ import annotations

import json
import sys
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from junetts import EngineError, InvalidRequestError, OutOfMemoryError, Sampling
from junetts._runtime import conversation
from junetts._runtime import scheduler as scheduler_module
from junetts._runtime.codec import CodecStream
from junetts._runtime.frame import next_frame
from junetts._runtime.job import Failure, Job, Sound, SpeakRequest
from junetts._runtime.prompt import Turn, encode_prompt
from junetts._runtime.runtime import Runtime
from junetts._runtime.scheduler import Scheduler
from junetts.engine import Engine

DATA = Path(__file__).parents[2] / "data"
FRAME = 2048
MAX_STEPS = 5000
SECOND = "And then it goes on."
HELLO = "Hello there, how are you today?"
GREEDY = Sampling(temperature=0)


@dataclass
class Spoken:
    """A job and everything that came of it."""

    job: Job
    items: list[Sound | Failure] = field(default_factory=list)

    @property
    def samples(self) -> Tensor:
        """All of its sound."""
        return torch.cat([item.samples for item in self.items if isinstance(item, Sound)])

    @property
    def n_frames(self) -> int:
        """How many frames it is long."""
        return self.samples.shape[0] // FRAME

    @property
    def ends(self) -> list[tuple[int, str]]:
        """Which segments have ended, and how."""
        return [(i.segment, i.end) for i in self.items if isinstance(i, Sound) and i.end]

    @property
    def error(self) -> Exception | None:
        """Why it failed, if it did."""
        return next((item.error for item in self.items if isinstance(item, Failure)), None)


def spoken(
    *texts: str,
    sampling: Sampling = GREEDY,
    max_frames: int = 12,
    references: Sequence[Turn] = (),
    max_ahead_samples: int | None = None,
    is_finished: bool = True,
) -> Spoken:
    """An utterance with all its text."""
    request = SpeakRequest(
        sampling=sampling, references=tuple(references), max_frames=max_frames, max_chunk_frames=4
    )
    items: list[Sound | Failure] = []
    one = Spoken(Job(request, items.append, max_ahead_samples=max_ahead_samples), items)
    for index, text in enumerate(texts):
        one.job.say(index, text)
    if is_finished:
        one.job.finish()
    return one


def run(scheduler: Scheduler, *utterances: Spoken) -> None:
    """Speak them all, beginning together."""
    for one in utterances:
        scheduler.add(one.job)
    for _ in range(MAX_STEPS):
        if not scheduler.step():
            return
    raise AssertionError("it never comes to rest")


def codes_of(runtime: Runtime, n_frames: int, seed: int) -> Tensor:
    """Any codes ``[codebook, frame]``."""
    generator = torch.Generator().manual_seed(seed)
    shape = (runtime.sizes.n_codebooks, n_frames)
    return torch.randint(0, 100, shape, generator=generator)


def made(runtime: Runtime, *, max_batch: int = 5, context: int = 1024) -> Scheduler:
    """A scheduler for which time stands still, so that chunks do not depend on the machine."""
    return Scheduler(runtime, max_batch=max_batch, context=context, clock=lambda: 0.0)


@pytest.fixture
def scheduler(runtime: Runtime) -> Scheduler:
    """Room for five."""
    return made(runtime)


def test_sound_comes_frame_by_frame_and_the_last_frame_is_kept(scheduler: Scheduler) -> None:
    """The first item is one frame; at the limit the segment is truncated, with all frames."""
    one = spoken(HELLO, sampling=Sampling(seed=1, temperature=0.9))
    run(scheduler, one)
    lengths = [item.samples.shape[0] // FRAME for item in one.items if isinstance(item, Sound)]
    assert lengths[0] == 1
    assert all(later <= 2 * before for before, later in pairwise(lengths))
    assert sum(lengths) == 12
    assert one.ends == [(0, "truncated")]


def test_the_sound_is_that_of_generated_frames_decoded_at_once(
    runtime: Runtime, scheduler: Scheduler
) -> None:
    """Streaming changes nothing but the time of arrival."""
    engine = Engine(runtime, context=1024)
    sampling = Sampling(seed=5)
    frames = engine.generate(engine.encode_prompt(HELLO), sampling, 20)
    codes = torch.stack([frame[1:] for frame in frames], dim=1)
    one = spoken(HELLO, sampling=sampling, max_frames=20)
    run(scheduler, one)
    assert torch.allclose(one.samples, engine.codec.decode(codes), atol=1e-5)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seeds=st.lists(st.integers(0, 2**63 - 1), min_size=5, max_size=5),
    delays=st.lists(st.integers(0, 6), min_size=4, max_size=4),
    lengths=st.lists(st.integers(1, 14), min_size=4, max_size=4),
)
def test_an_utterance_is_the_same_in_any_company(
    runtime: Runtime, seeds: list[int], delays: list[int], lengths: list[int]
) -> None:
    """Alone or among five that join and leave, a seed gives the same frames."""

    def one(index: int) -> Spoken:
        n_frames = 14 if index == 0 else lengths[index - 1]
        return spoken(
            f"Sentence number {index}.", sampling=Sampling(seed=seeds[index]), max_frames=n_frames
        )

    alone = one(0)
    run(made(runtime, max_batch=1), alone)
    scheduler = made(runtime)
    together = [one(index) for index in range(5)]
    scheduler.add(together[0].job)
    for tick in range(8):
        for other, delay in zip(together[1:], delays, strict=True):
            if delay == tick:
                scheduler.add(other.job)
        scheduler.step()
    run(scheduler)
    assert torch.allclose(together[0].samples, alone.samples, atol=1e-5)
    assert all(other.n_frames <= n for other, n in zip(together[1:], lengths, strict=True))


def test_more_than_there_are_slots_wait_their_turn(runtime: Runtime) -> None:
    """First come, first served; nobody is forgotten."""
    scheduler = made(runtime, max_batch=2)
    crowd = [spoken(HELLO, sampling=Sampling(seed=seed)) for seed in range(5)]
    run(scheduler, *crowd)
    assert [len(one.ends) for one in crowd] == [1] * 5


def prefilled(monkeypatch: pytest.MonkeyPatch, runtime: Runtime) -> list[int]:
    """How many columns are read at a time, from now on."""
    sizes: list[int] = []
    prefill = runtime.model.prefill

    def counting(prompt: Tensor, *args: object, **kwargs: object) -> object:
        sizes.append(prompt.shape[1])
        return prefill(prompt, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(runtime.model, "prefill", counting)
    return sizes


def test_the_next_segment_goes_on_where_the_last_one_ended(
    runtime: Runtime, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its frames are those of a prompt with the history, of which only the new part is read."""
    text, voice, sampling = ending(runtime)
    engine = Engine(runtime, context=1024)
    said = made_by(engine, text, voice, [], sampling)
    history = [(text, said)]
    answer = made_by(engine, SECOND, voice, history, sampling)
    sizes = prefilled(monkeypatch, runtime)
    one = spoken(text, SECOND, references=voice, sampling=sampling, max_frames=49)
    run(scheduler, one)
    n_said = said.shape[1]
    assert one.ends[0] == (0, "complete")
    expected = engine.codec.decode(answer)
    assert torch.allclose(one.samples[n_said * FRAME :], expected, atol=1e-5)
    prompt = engine.encode_prompt(SECOND, references=voice, history=history)
    assert sum(sizes) == prompt.shape[1] - n_said


def made_by(
    engine: Engine,
    text: str,
    voice: Sequence[Turn],
    history: Sequence[tuple[str, Tensor]],
    sampling: Sampling,
) -> Tensor:
    """Codes ``[codebook, frame]`` that the engine makes of a text and its history."""
    prompt = engine.encode_prompt(text, references=voice, history=history)
    return torch.stack([frame[1:] for frame in engine.generate(prompt, sampling, 49)], dim=1)


def ending(runtime: Runtime) -> tuple[str, list[Turn], Sampling]:
    """What makes the tiny checkpoint come to an end by itself: text, voice, sampling."""
    family = runtime.sizes.family
    cases = json.loads((DATA / "expected" / f"{family}-tiny" / "prompts.json").read_text())
    name = "one_reference" if family == "s1" else "ascii"
    case = next(case for case in cases if case["name"] == name)
    voice = [Turn(text=one["text"], codes=one["codes"]) for one in case["references"]]
    penalty = 1.2 if family == "s1" else None
    return case["text"], voice, Sampling(temperature=0, repetition_penalty=penalty)


def test_a_known_voice_is_not_read_again(
    runtime: Runtime, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second utterance in a voice reads its text alone, and sounds as it would have."""
    voice = Turn(text="This is what I sound like.", codes=codes_of(runtime, 30, seed=1))
    sizes = prefilled(monkeypatch, runtime)
    one, other = (spoken(HELLO, sampling=Sampling(seed=3), references=[voice]) for _ in range(2))
    run(scheduler, one)
    n_first = sum(sizes)
    run(scheduler, other)
    prompt = encode_prompt(runtime.sizes, runtime.tokenizer, HELLO, references=[voice])
    assert n_first == prompt.shape[1]
    assert sum(sizes) - n_first < prompt.shape[1] - 30
    assert torch.equal(one.samples, other.samples)


def test_a_quiet_utterance_lends_its_slot(runtime: Runtime) -> None:
    """Who waits for text gives way to who has some, and goes on as if nothing had been."""
    text, voice, sampling = ending(runtime)
    undisturbed = spoken(text, SECOND, references=voice, sampling=sampling, max_frames=49)
    run(made(runtime, max_batch=1), undisturbed)
    scheduler = made(runtime, max_batch=1)
    quiet = spoken(references=voice, sampling=sampling, max_frames=49, is_finished=False)
    quiet.job.say(0, text)
    run(scheduler, quiet)
    run(scheduler, spoken(HELLO))
    quiet.job.say(1, SECOND)
    quiet.job.finish()
    run(scheduler)
    assert torch.equal(quiet.samples, undisturbed.samples)


def test_cancelling_stops_within_a_frame(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a cancel nothing is computed for it, and nothing is delivered."""
    n_frames: list[int] = []

    def counting(*args: object, **kwargs: object) -> Tensor:
        n_frames.append(1)
        return next_frame(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(scheduler_module, "next_frame", counting)
    one = spoken(HELLO, sampling=Sampling(seed=1), max_frames=40)
    scheduler.add(one.job)
    for _ in range(5):
        scheduler.step()
    n_items, n_before = len(one.items), len(n_frames)
    one.job.cancel()
    assert not scheduler.step()
    assert len(n_frames) == n_before
    assert len(one.items) == n_items


def test_nobody_is_ahead_for_long(runtime: Runtime, scheduler: Scheduler) -> None:
    """Who does not listen is not spoken to; others are; taking makes it go on."""
    lazy = spoken(HELLO, sampling=Sampling(seed=1), max_frames=30, max_ahead_samples=3 * FRAME)
    keen = spoken(HELLO, sampling=Sampling(seed=2), max_frames=30)
    run(scheduler, lazy, keen)
    assert keen.n_frames == 30
    assert 3 <= lazy.n_frames <= 7
    n_taken = 0
    while lazy.n_frames < 30:
        lazy.job.took(lazy.n_frames * FRAME - n_taken)
        n_taken = lazy.n_frames * FRAME
        run(scheduler)
    undisturbed = spoken(HELLO, sampling=Sampling(seed=1), max_frames=30)
    run(made(runtime, max_batch=1), undisturbed)
    assert torch.allclose(lazy.samples, undisturbed.samples, atol=1e-5)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (RuntimeError("a kernel failed"), EngineError),
        (torch.OutOfMemoryError("CUDA out of memory"), OutOfMemoryError),
    ],
)
def test_a_fault_in_one_utterance_leaves_the_others_alone(
    runtime: Runtime,
    scheduler: Scheduler,
    monkeypatch: pytest.MonkeyPatch,
    fault: Exception,
    expected: type[Exception],
) -> None:
    """In the shared step it is found out whose fault it is; the engine stays usable."""
    healthy = [spoken(HELLO, sampling=Sampling(seed=seed)) for seed in (1, 2)]
    unlucky = spoken(HELLO, sampling=Sampling(seed=3))
    utterances = [healthy[0], unlucky, healthy[1]]
    monkeypatch.setattr(scheduler_module, "next_frame", failing(scheduler, unlucky.job, fault))
    run(scheduler, *utterances)
    assert isinstance(unlucky.error, expected)
    assert [one.error for one in healthy] == [None, None]
    for one, seed in zip(healthy, (1, 2), strict=True):
        alone = spoken(HELLO, sampling=Sampling(seed=seed))
        run(made(runtime, max_batch=1), alone)
        assert torch.allclose(one.samples, alone.samples, atol=1e-5)


def failing(scheduler: Scheduler, victim: Job, fault: Exception) -> Callable[..., Tensor]:
    """A step that fails whenever the victim takes part, from its third frame on."""
    n_calls = 0

    def step(model: object, cache: object, state: object, **kwargs: int) -> Tensor:
        nonlocal n_calls
        n_calls += 1
        slots = [v.seat.slot for v in scheduler._voicings if v.job is victim]
        active = scheduler._state.active.tolist()
        assert sys.exception() is None  # it would keep the tensors of what failed before
        if n_calls > 2 and any(slot is not None and active[slot] for slot in slots):
            raise fault
        return next_frame(model, cache, state, **kwargs)  # type: ignore[arg-type]

    return step


def test_a_fault_while_decoding_or_reading_ends_that_one_only(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for the parts of the work that are not shared."""
    unlucky, lucky = spoken(HELLO), spoken(HELLO, sampling=Sampling(seed=9))
    scheduler.add(unlucky.job)
    scheduler.step()

    def broken(codes: Tensor) -> Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(scheduler._voicings[0]._stream, "push", broken)
    run(scheduler, lucky)
    assert isinstance(unlucky.error, OutOfMemoryError)
    assert lucky.error is None
    assert lucky.n_frames == 12


def test_a_reference_that_is_no_sound_is_the_callers_fault(scheduler: Scheduler) -> None:
    """The error is what decoding it said, and nothing else is disturbed."""
    from junetts import ReferenceClip

    request = SpeakRequest(
        sampling=GREEDY, references=(ReferenceClip(audio=b"not a sound", text="x"),)
    )
    items: list[Sound | Failure] = []
    one = Spoken(Job(request, items.append), items)
    one.job.say(0, HELLO)
    other = spoken(HELLO)
    run(scheduler, one, other)
    assert isinstance(one.error, InvalidRequestError)
    assert other.error is None


def test_what_cannot_fit_the_context_is_refused(runtime: Runtime) -> None:
    """A text that leaves no room for an answer says so; the next one is spoken."""
    scheduler = made(runtime, max_batch=1, context=256)
    too_long, fits = spoken("word " * 300), spoken("Short.")
    run(scheduler, too_long, fits)
    assert isinstance(too_long.error, InvalidRequestError)
    assert "256" in too_long.error.message
    assert fits.error is None


def test_the_oldest_turns_are_dropped_but_never_the_voice(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long utterance stays within the context, and keeps its reference."""
    voice = Turn(text="My voice.", codes=codes_of(runtime, 20, seed=2))
    seen: list[tuple[int, int, int]] = []
    encode = conversation.encode_prompt

    def watching(*args: object, **kwargs: object) -> Tensor:
        prompt = encode(*args, **kwargs)  # type: ignore[arg-type]
        references, history = kwargs["references"], kwargs["history"]
        assert isinstance(references, tuple)
        assert isinstance(history, list)
        seen.append((prompt.shape[1], len(references), len(history)))
        return prompt

    monkeypatch.setattr(conversation, "encode_prompt", watching)
    texts = [f"Sentence {n} of a long one." for n in range(12)]
    talk = conversation.Conversation(runtime.sizes, runtime.tokenizer, [voice], context=400)
    for n, text in enumerate(texts):
        prompt = talk.prompt(text, max_frames=20)
        assert prompt.shape[1] + 20 <= 400
        talk.add(text, codes_of(runtime, 20, seed=n))
    assert {n_references for _, n_references, _ in seen} == {1}
    assert max(n_turns for *_, n_turns in seen) >= 2
    assert any(later < before for (*_, before), (*_, later) in pairwise(seen))
    one = spoken(*texts, sampling=Sampling(seed=1), references=[voice], max_frames=20)
    run(made(runtime, max_batch=1, context=400), one)
    assert [segment for segment, _ in one.ends] == list(range(12))


def test_many_turns_are_dropped_without_trying_each(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everyone waits meanwhile."""
    n_encoded = 0
    encode = conversation.encode_prompt

    def counting(*args: object, **kwargs: object) -> Tensor:
        nonlocal n_encoded
        n_encoded += 1
        return encode(*args, **kwargs)  # type: ignore[arg-type]

    talk = conversation.Conversation(runtime.sizes, runtime.tokenizer, [], context=1024)
    for _ in range(100):
        talk.add("Yes.", codes_of(runtime, 1, seed=1))
    monkeypatch.setattr(conversation, "encode_prompt", counting)
    n_columns = talk.prompt("And now.", max_frames=200).shape[1]
    assert 0.75 * 1024 - 230 < n_columns <= 0.75 * 1024 - 200
    assert n_encoded < 12


def test_speech_without_end_is_cut_off_at_what_is_plausible(
    s1_runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    """A word that goes on for many seconds is truncated long before the token limit."""
    caplog.set_level("INFO", logger="junetts")
    one = spoken("Hi.", sampling=Sampling(seed=4), max_frames=900)
    run(made(s1_runtime), one)
    assert one.ends == [(0, "truncated")]
    assert 100 < one.n_frames < 8 / (FRAME / 44_100)
    assert "without an end" in caplog.text


def test_turns_of_several_speakers_are_spoken_in_batches(
    s2_runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than five turns in a segment take more than one prompt, and end once."""
    sizes = prefilled(monkeypatch, s2_runtime)
    text = "".join(f"<|speaker:{n % 2}|>Turn {n}." for n in range(7))
    one = spoken(text, max_frames=5)
    run(made(s2_runtime, max_batch=1), one)
    assert len(sizes) == 2
    assert [segment for segment, _ in one.ends] == [0]
    assert one.n_frames == 10


def test_aborting_ends_everything(scheduler: Scheduler) -> None:
    """Every owner is told the reason."""
    one, other = spoken(HELLO), spoken(HELLO)
    scheduler.add(one.job)
    scheduler.add(other.job)
    scheduler.step()
    scheduler.abort(EngineError("the engine has been closed"))
    assert isinstance(one.error, EngineError)
    assert isinstance(other.error, EngineError)
    assert not scheduler.step()


def test_each_owner_has_an_error_of_its_own(scheduler: Scheduler) -> None:
    """What was heard is written into it."""
    one, other = spoken(HELLO), spoken(HELLO)
    scheduler.add(one.job)
    scheduler.add(other.job)
    scheduler.abort(EngineError("the engine has been closed"))
    assert one.error is not other.error
    assert str(one.error) == str(other.error) == "the engine has been closed"


def test_an_owner_who_fails_is_alone_with_that(scheduler: Scheduler) -> None:
    """Whatever happens when something is delivered, the others are spoken to."""

    def broken(item: Sound | Failure) -> None:
        raise ZeroDivisionError

    deaf = Job(SpeakRequest(sampling=GREEDY), broken)
    deaf.say(0, HELLO)
    other = spoken(HELLO, sampling=Sampling(seed=1))
    scheduler.add(deaf)
    run(scheduler, other)
    assert other.error is None
    assert other.n_frames == 12


def test_who_has_no_text_takes_no_memory(
    runtime: Runtime, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder's state is made for a segment, and let go with it."""
    streams: list[weakref.ref[CodecStream]] = []
    stream = runtime.codec.stream

    def watched() -> CodecStream:
        made = stream()
        streams.append(weakref.ref(made))
        return made

    monkeypatch.setattr(runtime.codec, "stream", watched)
    quiet = spoken(is_finished=False)
    run(scheduler, quiet)
    assert not streams
    quiet.job.say(0, HELLO)
    run(scheduler)
    assert quiet.ends
    assert [one() for one in streams] == [None]


def test_numbers_that_are_none_end_the_utterance_and_do_not_spread(
    runtime: Runtime, scheduler: Scheduler
) -> None:
    """In narrow precision they can overflow; the next one in that slot is not affected."""
    unlucky, lucky = spoken(HELLO, max_frames=40), spoken(SECOND, sampling=Sampling(seed=2))
    scheduler.add(unlucky.job)
    scheduler.add(lucky.job)
    for _ in range(4):
        scheduler.step()
    slot = scheduler._voicings[0].seat.slot
    scheduler._cache.values[:, slot, :, :3] = float("nan")
    run(scheduler)
    assert isinstance(unlucky.error, EngineError)
    assert "not finite in float32" in str(unlucky.error)
    assert lucky.error is None
    heir, alone = (spoken("Hi.", sampling=Sampling(seed=3)) for _ in range(2))
    run(scheduler, heir)
    run(made(runtime, max_batch=1), alone)
    assert heir.error is None
    assert torch.allclose(heir.samples, alone.samples, atol=1e-5)


def test_what_was_forgotten_is_read_again(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A conversation whose memory was given away goes on all the same."""
    text, voice, sampling = ending(runtime)
    undisturbed = spoken(text, SECOND, references=voice, sampling=sampling, max_frames=49)
    run(made(runtime, max_batch=1), undisturbed)
    scheduler = made(runtime, max_batch=1)
    scheduler._slots._max_saved_bytes = 0
    quiet = spoken(references=voice, sampling=sampling, max_frames=49, is_finished=False)
    quiet.job.say(0, text)
    run(scheduler, quiet)
    run(scheduler, spoken(HELLO))
    quiet.job.say(1, SECOND)
    quiet.job.finish()
    sizes = prefilled(monkeypatch, runtime)
    run(scheduler)
    assert sum(sizes) > 49
    assert torch.allclose(quiet.samples, undisturbed.samples, atol=1e-4)
