"""Our engine beside upstream's, on a checkpoint that neither has seen before.

Each run draws other sizes and weights; INTEROP_PARITY_SEED repeats those of an earlier one.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from fish_server import environment
from random_checkpoint import write
from server_env import python_of

import junetts.engine
from junetts import Sampling

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(180)  # the first test of a seed also waits for upstream

HERE = Path(__file__).resolve().parent
N_CHECKPOINTS = 3
N_CASES = 3
CLEAR_MARGIN = 1e-4  # below, another order of summation may choose the other one
Arrays = dict[str, Any]


def seeds() -> list[int]:
    """The seeds of this run."""
    chosen = os.environ.get("INTEROP_PARITY_SEED")
    if chosen:
        return [int(chosen)]
    first = random.SystemRandom().randrange(10**6)
    return [first + n for n in range(N_CHECKPOINTS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Our engine with a checkpoint, and what upstream computed from it."""

    engine: junetts.engine.Engine
    upstream: Arrays

    @property
    def cases(self) -> list[dict[str, Any]]:
        """The texts, and the transcripts of their references."""
        found: list[dict[str, Any]] = json.loads(str(self.upstream["cases"]))
        return found

    def prompt(self, index: int) -> torch.Tensor:
        """A case's prompt, made by ours."""
        case = self.cases[index]
        references = [
            (text, self.upstream[f"p{index}_codes{n}"]) for n, text in enumerate(case["references"])
        ]
        return self.engine.encode_prompt(case["text"], references)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Sum in the order of a single thread, as upstream is made to."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module", params=seeds(), ids=lambda seed: f"seed{seed}")
def pair(
    request: pytest.FixtureRequest,
    fish_server_env: Path,
    one_thread: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Pair:
    """A checkpoint of this seed, seen by both."""
    folder = tmp_path_factory.mktemp("parity")
    write(folder / "checkpoint", seed=request.param)
    return Pair(
        engine=junetts.engine.load(folder / "checkpoint", device="cpu", dtype="float32"),
        upstream=ask_upstream(fish_server_env, folder, seed=request.param),
    )


def ask_upstream(env: Path, folder: Path, *, seed: int) -> Arrays:
    """What upstream computes, in its own environment."""
    out = folder / "upstream.npz"
    paths = [HERE / "stubs", HERE.parents[1] / "benchmarks"]
    script = HERE / "upstream_reference.py"
    subprocess.run(
        [python_of(env), "-W", "ignore", script, folder / "checkpoint", str(seed), out],
        env=environment() | {"PYTHONPATH": os.pathsep.join(map(str, paths))},
        check=True,
        timeout=150,
    )
    with np.load(out) as arrays:
        return dict(arrays)


cases = pytest.mark.parametrize("index", range(N_CASES))


def assert_near(ours: torch.Tensor, theirs: np.ndarray, *, relative: float) -> None:
    """Compare by the largest difference, in units of the largest value."""
    assert ours.shape == theirs.shape
    difference = np.abs(ours.numpy() - theirs).max()
    assert difference <= relative * np.abs(theirs).max()


@cases
def test_prompts(pair: Pair, index: int) -> None:
    """The prompt is the same, id by id and code by code."""
    np.testing.assert_array_equal(pair.prompt(index).numpy(), pair.upstream[f"p{index}_ids"])


@cases
def test_the_slow_model(pair: Pair, index: int) -> None:
    """Logits and hidden states agree within a ten-thousandth."""
    ours = pair.engine.forward(pair.prompt(index))
    for name in ("logits", "hidden", "normed"):
        theirs = pair.upstream[f"p{index}_{name}"]
        assert_near(getattr(ours, name), theirs, relative=1e-4)


@cases
def test_greedy_speech(pair: Pair, index: int) -> None:
    """All frames are equal, up to one that hangs on a rounding error."""
    theirs = pair.upstream[f"p{index}_greedy"]  # [1 + codebook, frame]
    is_clear = pair.upstream[f"p{index}_margins"] > CLEAR_MARGIN
    n_clear = len(is_clear) if is_clear.all() else int(is_clear.argmin())
    greedy = Sampling(temperature=0, repetition_penalty=1.1)
    prompt = pair.prompt(index)
    frames = list(pair.engine.generate(prompt, greedy, max_frames=theirs.shape[1]))
    ours = torch.stack(frames, dim=1).numpy()
    n_spoken = ours.shape[1]
    assert n_spoken >= min(n_clear, theirs.shape[1]) - 1  # the end token is not handed out
    n_compared = min(n_clear, n_spoken)
    np.testing.assert_array_equal(ours[:, :n_compared], theirs[:, :n_compared])


def test_sampling(pair: Pair) -> None:
    """What a token is drawn from agrees, whatever the settings."""
    up = pair.upstream
    for row, logits in enumerate(up["sampling_logits"]):
        sampling = Sampling(
            temperature=float(up["sampling_temperature"][row]),
            top_p=float(up["sampling_top_p"][row]),
            repetition_penalty=float(up["sampling_penalty"][row]),
        )
        window = up["sampling_previous"][row]
        ours = pair.engine.probabilities(
            torch.from_numpy(logits),
            sampling,
            None if window[0] < 0 else torch.from_numpy(window),
        )
        theirs = up["sampling_probabilities"][row]
        np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-5, rtol=0)
        np.testing.assert_array_equal(ours.numpy() == 0, theirs == 0)


def assert_same_wave(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Compare sample by sample, and by the power of the difference."""
    assert ours.shape == theirs.shape
    difference = ours.astype(np.float64) - theirs
    assert np.abs(difference).max() <= 1e-4
    assert np.sqrt((difference**2).mean() / (theirs.astype(np.float64) ** 2).mean()) <= 1e-5


def test_decoding(pair: Pair) -> None:
    """Codes become the same wave, the clamped ones included."""
    ours = pair.engine.codec.decode(pair.upstream["decode_codes"])
    assert_same_wave(ours.numpy(), pair.upstream["decode_wave"])


def test_streaming(pair: Pair) -> None:
    """The same wave comes in pieces of any length, where upstream only knows the whole."""
    codes = pair.upstream["decode_codes"]
    stream, pieces, begin = pair.engine.codec.stream(), [], 0
    for length in [1, 1, 2, 3, 5, 8, codes.shape[1]]:
        pieces.append(stream.push(codes[:, begin : begin + length]))
        begin += length
    assert_same_wave(torch.cat(pieces).numpy(), pair.upstream["decode_wave"])


def test_encoding(pair: Pair) -> None:
    """Sound becomes the same codes, except behind a choice that hangs on a rounding error."""
    ours = pair.engine.codec.encode(pair.upstream["encode_wave"]).numpy()
    theirs = pair.upstream["encode_codes"]
    assert ours.shape == theirs.shape
    is_clear = np.minimum.accumulate(pair.upstream["encode_margins"], axis=0) > CLEAR_MARGIN
    assert is_clear.mean() > 0.5
    np.testing.assert_array_equal(ours[is_clear], theirs[is_clear])
