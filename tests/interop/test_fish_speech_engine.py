"""``local.engine = "fish-speech"``: what is heard is what upstream's own engine makes."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fish_server import environment
from server_env import checkpoint_of, python_of
from sounds import sine_wav

import junetts

pytestmark = pytest.mark.timeout(240)  # the first test waits for two loads of upstream

HERE = Path(__file__).resolve().parent
TEXT = "Hello there, how are you? I am fine."
SENTENCES = ["Hello there, how are you? ", "I am fine."]
CLIP = base64.b64encode(sine_wav()).decode()
LIMIT = 5  # tokens; one less is heard
Spoken = dict[str, Any]


def cases(checkpoint: Path) -> list[dict[str, object]]:
    """What junetts is asked to say."""
    served = {"checkpoint": str(checkpoint)}
    seeded = {"text": TEXT, "section": served, "sampling": {"seed": 7}}
    short = {"seed": 7, "max_new_tokens": LIMIT}
    return [
        {"name": "seeded", **seeded},
        {"name": "again", **seeded},
        {"name": "cloned", **seeded, "clip": CLIP},
        {"name": "limited", **seeded, "text": "Hello.", "sampling": short},
        {"name": "too_long", **seeded, "clip": CLIP, "transcript": "word " * 3000},
        {"name": "no_clip", **seeded, "clip": base64.b64encode(b"not a sound").decode()},
        {"name": "top_k", **seeded, "sampling": {"top_k": 30}},
        {"name": "nowhere", **seeded, "section": {"checkpoint": str(checkpoint / "nowhere")}},
        {"name": "emptied", **seeded, "section": {"checkpoint": str(checkpoint / "emptied")}},
    ]


def requests() -> list[dict[str, object]]:
    """The same for upstream, sentence by sentence."""
    spoken: list[dict[str, object]] = []
    for index, text in enumerate(SENTENCES):
        spoken.append({"name": f"seeded{index}", "text": text, "seed": 7})
        spoken.append({"name": f"cloned{index}", "text": text, "seed": 7, "clip": CLIP})
    spoken.append({"name": "limited0", "text": "Hello.", "seed": 7, "max_new_tokens": LIMIT})
    return spoken


def run(env: Path, script: str, *arguments: Path, paths: list[Path]) -> dict[str, Any]:
    """Run a driver in upstream's environment; the last argument is what it writes."""
    subprocess.run(
        [python_of(env), HERE / script, *arguments],
        env=environment() | {"PYTHONPATH": os.pathsep.join(map(str, paths))},
        check=True,
        timeout=200,
    )
    with np.load(arguments[-1]) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def served(fish_server_env: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkpoint, and in it another one that lacks a tensor."""
    import torch

    checkpoint = tmp_path_factory.mktemp("engine") / "s1-tiny"
    shutil.copytree(checkpoint_of(fish_server_env), checkpoint)
    emptied = checkpoint / "emptied"
    shutil.copytree(checkpoint_of(fish_server_env), emptied)
    weights = torch.load(emptied / "model.pth", weights_only=True)
    del weights["model.norm.weight"]
    torch.save(weights, emptied / "model.pth")
    return checkpoint


@pytest.fixture(scope="module")
def spoken(fish_server_env: Path, served: Path) -> Spoken:
    """What junetts said: the package under test, copied beside upstream's."""
    folder = served.parent
    source = Path(junetts.__file__).parent
    shutil.copytree(source, folder / "package" / "junetts", ignore=shutil.ignore_patterns(".*"))
    (folder / "cases.json").write_text(json.dumps(cases(served)))
    return run(
        fish_server_env,
        "fish_speech_driver.py",
        folder / "cases.json",
        folder / "ours.npz",
        paths=[folder / "package"],  # without the stub: the adapter needs no torchaudio
    )


@pytest.fixture(scope="module")
def upstream(fish_server_env: Path, served: Path) -> Spoken:
    """What upstream's engine gave, asked by itself."""
    folder = served.parent
    (folder / "requests.json").write_text(json.dumps(requests()))
    return run(
        fish_server_env,
        "upstream_speech.py",
        served,
        folder / "requests.json",
        folder / "theirs.npz",
        paths=[HERE / "stubs", HERE.parents[1] / "benchmarks"],
    )


def outcome(spoken: Spoken, name: str) -> dict[str, Any]:
    """How a case ended."""
    ended: dict[str, Any] = json.loads(str(spoken["outcomes"]))[name]
    return ended


@pytest.mark.parametrize(("name", "n_segments"), [("seeded", 2), ("cloned", 2), ("limited", 1)])
def test_samples_are_upstreams(
    spoken: Spoken, upstream: Spoken, name: str, n_segments: int
) -> None:
    """Every sentence has upstream's samples, rounded to 16 bits."""
    theirs = np.concatenate([upstream[f"{name}{index}"] for index in range(n_segments)])
    ours = spoken[f"{name}_pcm"]
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs * 32768.0).max() <= 0.51


def test_a_seed_repeats_every_sample(spoken: Spoken) -> None:
    """The same seed says the same, in another client of the same process too."""
    np.testing.assert_array_equal(spoken["seeded_pcm"], spoken["again_pcm"])
    assert outcome(spoken, "seeded")["outcome"] == "complete"


def test_the_token_limit_truncates(spoken: Spoken) -> None:
    """Running into the limit is told, and all that was made is handed out."""
    ended = outcome(spoken, "limited")
    assert ended["outcome"] == "truncated"
    assert len(spoken["limited_pcm"]) == (LIMIT - 1) * 2048


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("too_long", "EngineError", "Prompt is too long"),
        ("no_clip", "InvalidRequestError", "voice.audio cannot be decoded"),
        ("top_k", "InvalidRequestError", "sampling.top_k must be left unset"),
        ("nowhere", "CheckpointError", "there is no directory"),
        ("emptied", "CheckpointError", "'norm.weight'"),
    ],
)
def test_failures_are_told(spoken: Spoken, name: str, error: str, said: str) -> None:
    """What goes wrong has our type and a readable reason, and comes at once, not never."""
    ended = outcome(spoken, name)
    assert ended["error"] == error
    assert said in ended["message"]
    assert ended["took_s"] < 60
    assert spoken[f"{name}_pcm"].size == 0


def test_it_says_that_it_does_not_stream(spoken: Spoken) -> None:
    """The probe and the log do, and everything of upstream's stays below INFO."""
    ended = outcome(spoken, "seeded")
    assert "makes each sentence whole before its first sound" in ended["health"]
    told = [line for level, line in ended["log"] if level != "DEBUG"]
    assert len(told) == 1
    assert told[0] == ended["health"]
    assert any(line.startswith("fish-speech: ") for level, line in ended["log"])


def test_nothing_is_left(spoken: Spoken) -> None:
    """No thread of the engine outlives its client, and no stand-in for torchaudio stays."""
    outcomes = json.loads(str(spoken["outcomes"]))
    assert not [name for name in outcomes["threads"] if "fish" in name]
    assert not outcomes["has_torchaudio"]
