"""The engine's public surface, against what the original implementation computed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import junetts
import junetts.engine
from junetts import EngineError, InvalidRequestError, OutOfMemoryError, ReferenceClip, Sampling
from junetts._runtime.kv_cache import KvCache
from junetts._runtime.scheduler import Scheduler
from junetts._wav import wav_header
from junetts.engine import Engine

DATA = Path(__file__).parents[1] / "data"
FAMILIES = ("s1", "s2")


@pytest.fixture(scope="module", params=FAMILIES)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each family in turn, in float32 on the processor."""
    return junetts.engine.load(DATA / f"{request.param}-tiny", device="cpu", dtype="float32")


def stored(engine: Engine, name: str) -> Any:
    """Results of the original implementation."""
    folder = DATA / "expected" / f"{engine.sizes.family}-tiny"
    if name.endswith(".json"):
        return json.loads((folder / name).read_text())
    return np.load(folder / name)


def cases(engine: Engine) -> Iterator[tuple[dict[str, Any], dict[str, Any], list[Any], list[Any]]]:
    """Every stored prompt: case, batch, references, history."""
    for case in stored(engine, "prompts.json"):
        references = [(one["text"], np.array(one["codes"])) for one in case["references"]]
        history: list[Any] = []
        for batch in case["batches"]:
            yield case, batch, references, list(history)
            if "codes_generated_for_this_batch" in batch:
                history.append((batch["text"], batch["codes_generated_for_this_batch"]))


def first_batch(engine: Engine, name: str) -> torch.Tensor:
    """The stored prompt of that name."""
    for case, batch, _, _ in cases(engine):
        if case["name"] == name:
            return torch.tensor(batch["ids"])
    raise AssertionError(name)


def relative(found: Any, expected: Any) -> float:
    """The largest difference, relative to the largest value."""
    found, expected = np.asarray(found), np.asarray(expected)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def test_prompts_are_equal(engine: Engine) -> None:
    """Every stored prompt, column for column."""
    for case, batch, references, history in cases(engine):
        prompt = engine.encode_prompt(batch["text"], references, history)
        assert prompt.dtype == torch.int64
        assert prompt.tolist() == batch["ids"], case["name"]


def test_logits_and_hidden_states_agree(engine: Engine) -> None:
    """To 1e-4, relative."""
    expected = stored(engine, "forward.npz")
    for index, name in enumerate(expected["prompt_names"]):
        prompt = first_batch(engine, str(name))
        forward = engine.forward(prompt)
        assert forward.logits.dtype == torch.float32
        assert relative(forward.logits, expected[f"p{index}_slow_logits"]) < 1e-4
        assert relative(forward.hidden, expected[f"p{index}_slow_before_norm"]) < 1e-4
        assert relative(forward.normed, expected[f"p{index}_slow_after_norm"]) < 1e-4
        assert torch.equal(engine.logits(prompt), forward.logits)
        assert torch.equal(engine.hidden_state(prompt), forward.hidden)


def test_greedy_frames_are_equal(engine: Engine) -> None:
    """All frames of all stored cases, and the end where it was."""
    expected = stored(engine, "greedy.npz")
    for index, name in enumerate(expected["names"]):
        penalty = expected["repetition_penalty"][index] if engine.sizes.family == "s1" else None
        sampling = Sampling(temperature=0, repetition_penalty=penalty)
        columns = expected[f"c{index}_tokens"]
        n_frames = columns.shape[1] - bool(expected[f"c{index}_ended"])
        frames = list(engine.generate(first_batch(engine, str(name)), sampling, 49))
        assert np.array_equal(torch.stack(frames, dim=1).numpy(), columns[:, :n_frames]), name


def test_probabilities_agree(engine: Engine) -> None:
    """To 1e-5, and exactly the same tokens are ruled out."""
    expected = stored(engine, "sampling.npz")
    for index, logits in enumerate(expected["logits"]):
        sampling, previous = Sampling(), None
        if engine.sizes.family == "s1":
            ids = expected["previous_tokens"][index]
            previous = None if ids[0] == -1 else ids
            penalty = float(expected["repetition_penalty"][index])
            sampling = widened(repetition_penalty=penalty)
        else:
            sampling = widened(top_k=int(expected["top_k"][index]))
        sampling = widened(
            temperature=float(expected["temperature"][index]),
            top_p=float(expected["top_p"][index]),
            top_k=sampling.top_k,
            repetition_penalty=sampling.repetition_penalty,
        )
        found = engine.probabilities(logits, sampling, previous).numpy()
        assert np.abs(found - expected["probs"][index]).max() < 1e-5
        assert np.array_equal(found == 0, expected["probs"][index] == 0)


def widened(**values: Any) -> Sampling:
    """A `Sampling` beyond what users may ask for, as the stored cases have them."""
    sampling = Sampling()
    for name, value in values.items():
        object.__setattr__(sampling, name, value)
    return sampling


def test_the_codec_agrees(engine: Engine) -> None:
    """Decoding to 1e-4 of full scale and 1e-5 of the RMS; encoding exactly; streaming, too."""
    expected = stored(engine, "codec.npz")
    samples = engine.codec.decode(expected["decode_codes"]).numpy()
    exact, start = expected["wave_exact"], int(expected["wave_exact_start"])
    assert np.abs(samples - expected["wave"]).max() < 1e-4
    error = samples[start : start + len(exact)] - exact
    assert np.sqrt(np.mean(error**2)) < 1e-5 * np.sqrt(np.mean(exact**2))
    stream = engine.codec.stream()
    pieces = np.split(expected["decode_codes"], [1, 3, 7, 15, 31, 100], axis=1)
    streamed = torch.cat([stream.push(piece) for piece in pieces]).numpy()
    assert np.abs(streamed - samples).max() < 1e-5
    codes = engine.codec.encode(expected["encode_wave"])
    assert np.array_equal(codes.numpy(), expected["encode_codes"])


def test_speaking_yields_samples_at_once_and_the_same_for_a_seed(engine: Engine) -> None:
    """The first piece is one frame; two sentences are two segments."""
    sampling = Sampling(seed=3)
    pieces = list(engine.speak("One sentence. And two.", sampling=sampling, max_frames=10))
    again = list(engine.speak("One sentence. And two.", sampling=sampling, max_frames=10))
    assert pieces[0].shape[0] == 2048
    assert pieces[0].dtype == torch.float32
    assert torch.allclose(torch.cat(pieces), torch.cat(again), atol=1e-5)
    assert sum(piece.shape[0] for piece in pieces) <= 20 * 2048


def test_leaving_an_iterator_makes_room(engine: Engine) -> None:
    """More iterators than fit are begun and left; the next one speaks."""
    for _ in range(8):
        speaking = engine.speak("Hello.", max_frames=50)
        next(speaking)
        speaking.close()  # type: ignore[attr-defined]
    assert next(engine.speak("Hello.", max_frames=2)).shape[0] == 2048


def test_iterators_may_be_interleaved(engine: Engine) -> None:
    """Each has its own text and its own seed."""

    def speak(seed: int) -> Iterator[torch.Tensor]:
        return engine.speak(f"Number {seed}.", sampling=Sampling(seed=seed), max_frames=8)

    alone = [torch.cat(list(speak(seed))) for seed in (1, 2)]
    both = [speak(1), speak(2)]
    found: list[list[torch.Tensor]] = [[], []]
    for _ in range(20):
        for one, pieces in zip(both, found, strict=True):
            pieces.extend(piece for piece in [next(one, None)] if piece is not None)
    assert all(
        torch.allclose(torch.cat(pieces), whole, atol=1e-5)
        for pieces, whole in zip(found, alone, strict=True)
    )


def test_references_may_be_recordings(engine: Engine) -> None:
    """A clip is encoded; its codes may be given instead."""
    wave = (np.sin(np.arange(44_100) / 20) * 8000).astype("<i2").tobytes()
    clip = ReferenceClip(audio=wav_header(len(wave), sample_rate=44_100) + wave, text="La.")
    codes = engine.codec.encode(np.frombuffer(wave, "<i2").astype(np.float32) / 32768)
    assert torch.equal(
        engine.encode_prompt("Hello.", [clip]), engine.encode_prompt("Hello.", [("La.", codes)])
    )


@pytest.mark.parametrize(
    ("prompt", "problem"),
    [
        (torch.zeros(3, 4, dtype=torch.int64), r"shape \[11, columns\]"),
        (torch.zeros(11, 0, dtype=torch.int64), r"shape \[11, columns\]"),
        (torch.zeros(11, dtype=torch.int64), r"shape \[11, columns\]"),
        (torch.zeros(11, 4), "whole numbers"),
        (torch.full((11, 4), -1), "none of them negative"),
        (torch.full((11, 4), 10**6), "ids below"),
        (torch.zeros(11, 9000, dtype=torch.int64), "9000 columns"),
    ],
)
def test_what_is_no_prompt_is_refused(engine: Engine, prompt: torch.Tensor, problem: str) -> None:
    """With the shape or the bounds, before anything is computed."""
    with pytest.raises(InvalidRequestError, match=problem) as caught:
        engine.generate(prompt)
    assert caught.value.field == "prompt"
    with pytest.raises(InvalidRequestError, match=problem):
        engine.logits(prompt)


@pytest.mark.parametrize("max_frames", [0, -1, 1.5, True])
def test_a_limit_must_be_a_number_of_frames(engine: Engine, max_frames: Any) -> None:
    """Both for generating and for speaking."""
    prompt = first_batch(engine, "ascii")
    with pytest.raises(InvalidRequestError, match="max_frames"):
        engine.generate(prompt, max_frames=max_frames)
    with pytest.raises(InvalidRequestError, match="max_frames"):
        engine.speak("Hello.", max_frames=max_frames)


def test_a_failure_while_speaking_is_raised(engine: Engine) -> None:
    """A reference that cannot be used comes out of the iterator."""
    clip = ReferenceClip(audio=b"not a sound", text="x")
    with pytest.raises(InvalidRequestError, match=r"voice\.audio"):
        next(engine.speak("Hello.", references=[clip]))


def test_text_without_words_is_silence(engine: Engine) -> None:
    """Nothing is made of nothing."""
    assert list(engine.speak("... !?")) == []


def test_it_says_what_it_is(engine: Engine) -> None:
    """In a notebook, and to tools."""
    assert "device=cpu" in repr(engine)
    assert engine.sample_rate == 44_100
    assert str(engine.device) == "cpu"
    assert engine.dtype == torch.float32


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_precision_speaks(family: str, dtype: str) -> None:
    """Half of the memory, and close to the same logits."""
    exact = junetts.engine.load(DATA / f"{family}-tiny", device="cpu", dtype="float32")
    narrow = junetts.engine.load(DATA / f"{family}-tiny", device="cpu", dtype=dtype)
    prompt = exact.encode_prompt("Hello from June.")
    assert relative(narrow.logits(prompt), exact.logits(prompt)) < 0.05
    pieces = list(narrow.speak("Hello.", max_frames=4, sampling=Sampling(seed=1)))
    assert all(bool(torch.isfinite(piece).all()) for piece in pieces)


def test_a_context_can_be_small() -> None:
    """What does not fit is refused by name."""
    engine = junetts.engine.load(DATA / "s1-tiny", device="cpu", max_context=64)
    with pytest.raises(InvalidRequestError, match="the context has 64"):
        engine.generate(torch.zeros(11, 64, dtype=torch.int64))
    frames = engine.generate(torch.zeros(11, 60, dtype=torch.int64), Sampling(seed=1))
    assert len(list(frames)) <= 4


@pytest.mark.parametrize(
    ("options", "field"), [({"device": "toaster"}, "device"), ({"dtype": "int4"}, "dtype")]
)
def test_unknown_devices_and_precisions_are_named(options: dict[str, str], field: str) -> None:
    """Before any file is read in full."""
    with pytest.raises(InvalidRequestError) as caught:
        junetts.engine.load(DATA / "s1-tiny", **options)  # type: ignore[arg-type]
    assert caught.value.field == field


@pytest.mark.parametrize("max_context", [0, -5, 1.5, "8192"])
def test_a_context_must_be_a_number_of_columns(max_context: Any) -> None:
    """Before any file is read."""
    with pytest.raises(InvalidRequestError, match="max_context"):
        junetts.engine.load("no/such/place", max_context=max_context)


@pytest.mark.parametrize(
    ("logits", "previous", "field"),
    [
        (torch.zeros(2, 5), None, "logits"),
        (torch.zeros(0), None, "logits"),
        (torch.zeros(5), torch.tensor([5]), "previous"),
        (torch.zeros(5), torch.tensor([-1]), "previous"),
        (torch.zeros(5), torch.tensor([[1]]), "previous"),
    ],
)
def test_what_cannot_be_drawn_from_is_refused(
    engine: Engine, logits: torch.Tensor, previous: torch.Tensor | None, field: str
) -> None:
    """By name."""
    with pytest.raises(InvalidRequestError, match=field) as caught:
        engine.probabilities(logits, previous=previous)
    assert caught.value.field == field


def test_text_must_be_text(engine: Engine) -> None:
    """At once, or when it turns out."""
    with pytest.raises(InvalidRequestError, match="not int"):
        engine.speak(5)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="not bytes") as caught:
        next(engine.speak([b"Hello."]))  # type: ignore[list-item]
    assert caught.value.field == "text"


@pytest.mark.parametrize("given", [("A text", [[1]]), ["A text"], [("a", "b", "c")]])
def test_a_reference_must_be_one(engine: Engine, given: Any) -> None:
    """A pair outside of a list is the usual mistake."""
    with pytest.raises(InvalidRequestError, match=r"references\[0\] must be a recording") as caught:
        engine.speak("Hello.", references=given)
    assert caught.value.field == "references"
    with pytest.raises(InvalidRequestError, match=r"history\[0\] must be"):
        engine.encode_prompt("Hello.", history=given)


def test_leaving_an_iterator_makes_nobody_else_go_on(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may happen in the garbage collector, which is no place to compute."""
    staying, leaving = (engine.speak("Hello.", max_frames=50) for _ in range(2))
    next(staying)
    next(leaving)

    def step(_: object) -> bool:
        raise AssertionError("no step was to be made")

    with monkeypatch.context() as patch:
        patch.setattr(Scheduler, "step", step)
        leaving.close()  # type: ignore[attr-defined]
    assert next(staying).shape[0]
    staying.close()  # type: ignore[attr-defined]


def test_failures_of_torch_are_told_in_our_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """In every method; foreign errors come out of none."""
    engine = junetts.engine.load(DATA / "s1-tiny", device="cpu", dtype="float32")
    prompt = engine.encode_prompt("Hello.")

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(KvCache, "__init__", full)
    for call in (engine.forward, engine.generate, lambda _: engine.speak("Hello.")):
        with pytest.raises(OutOfMemoryError):
            list(call(prompt))


def test_numbers_that_are_none_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of frames that mean nothing."""
    engine = junetts.engine.load(DATA / "s2-tiny", device="cpu", dtype="float32")
    prompt = engine.encode_prompt("Hello.")
    nothing = torch.full((1, 4097), float("nan"))
    monkeypatch.setattr(engine._runtime.model, "main_logits", lambda _: nothing)
    with pytest.raises(EngineError, match="not finite in float32"):
        next(engine.generate(prompt))
