"""The package fish-speech, played by small modules of the same names: loading, calling, failing."""

from __future__ import annotations

import logging
import random
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from queue import Queue
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import junetts
from junetts._config import LocalSection
from junetts._utterance import ReferenceClip
from junetts.backends import _fish_speech_package as package
from junetts.backends._fish_speech_request import UpstreamRequest

TINY = Path(__file__).resolve().parents[1] / "data" / "s1-tiny"
INFERENCE = "fish_speech.models.text2semantic.inference"
READER = "fish_speech.inference_engine.reference_loader"


class Net:
    """Weights by name, as a module has them."""

    device = torch.device("cpu")
    sample_rate = 44_100

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        self.weights = weights
        self.loaded: dict[str, torch.Tensor] = {}

    def named_parameters(self) -> Any:
        """All weights, with their names."""
        return self.weights.items()

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The same, and a table that upstream computes itself."""
        return self.weights | {"x.freqs_cis": torch.zeros(1)}

    def load_state_dict(self, weights: Any, *, strict: bool, assign: bool) -> None:
        """Remember what came."""
        self.loaded = dict(weights)

    def eval(self) -> Net:
        """Nothing to do."""
        return self

    def to(self, device: torch.device) -> Net:
        """Nothing to do."""
        return self


class Engine:
    """Upstream's engine: asks its queue, and decodes each code to a constant frame."""

    def __init__(
        self, *, llama_queue: Any, decoder_model: Net, precision: torch.dtype, **_: bool
    ) -> None:
        sys.modules[READER].torchaudio.list_audio_backends()  # type: ignore[attr-defined]
        self.queue, self.decoder_model, self.precision = llama_queue, decoder_model, precision
        self.asked: list[Any] = []

    def inference(self, request: Any) -> Iterator[Any]:
        """Speak as upstream does, step by step."""
        self.asked.append(request)
        for clip in request.references:
            self.load_audio(clip.audio, 44_100)  # type: ignore[attr-defined]
        if request.seed is not None:
            random.seed(request.seed)
            torch.manual_seed(request.seed)
        sys.modules[INFERENCE].logger.info(f"saying {request.text}")  # type: ignore[attr-defined]
        answers: Queue[Any] = Queue()
        fields = {"text": request.text, "max_new_tokens": request.max_new_tokens}
        self.queue.put(SimpleNamespace(request=fields, response_queue=answers))
        result = answers.get_nowait()
        if request.text == "silent":
            return
        if request.text == "none":
            yield SimpleNamespace(error=RuntimeError("No audio generated"), audio=None)
        audio = self.get_audio_segment(result.response)
        yield SimpleNamespace(error=None, audio=(44_100, audio))

    def get_audio_segment(self, result: Any) -> Any:
        """Upstream's own way to decode."""
        raise AssertionError("automatic precision has no place in float32")

    def decode_vq_tokens(self, codes: torch.Tensor) -> torch.Tensor:
        """A tenth of each code, for a frame."""
        return (codes / 10).repeat_interleave(2048)


@dataclass
class Request:
    """Upstream's request."""

    text: str
    references: list[Any]
    max_new_tokens: int
    temperature: float
    top_p: float
    repetition_penalty: float
    seed: int | None
    use_memory_cache: str


@dataclass
class Upstream:
    """The fake package, and how it behaves."""

    model: Net
    codec: Net
    engines: list[Engine] = field(default_factory=list)
    n_frames: int = 3
    n_decoded: int = 0
    fail: Callable[[], None] = lambda: None

    def init_model(self, path: str, device: str, dtype: torch.dtype, **_: bool) -> Any:
        """Load, or fail to."""
        self.fail()
        return self.model, self.decode

    def decode(self, *, position: int) -> int:
        """One token."""
        self.n_decoded += 1
        return 9 + position

    def generate_long(
        self, *, model: Net, decode_one_token: Callable[..., int], **request: Any
    ) -> Iterator[Any]:
        """Codes 9, 10, and so on."""
        assert model is self.model
        if len(request["text"]) > 100:
            raise ValueError("Prompt is too long: 101 > 100")
        for _ in sys.modules[INFERENCE].tqdm(range(2)):  # type: ignore[attr-defined]
            pass
        n_frames = min(self.n_frames, request["max_new_tokens"] - 1)
        codes = [decode_one_token(position=position) for position in range(n_frames)]
        yield SimpleNamespace(codes=torch.tensor(codes))

    def engine(self, **parts: Any) -> Engine:
        """Assemble an engine, and remember it."""
        self.engines.append(Engine(**parts))
        return self.engines[-1]


def foreign(kind: str, **names: object) -> Any:
    """An object of a class that seems to come from another package."""
    return type("Foreign", (), {"__module__": kind, "__call__": None, **names})()


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    """Modules of upstream's names, with weights of the tiny checkpoint's names and shapes."""
    checkpoint = package.open_checkpoint(TINY)
    fake = Upstream(model=Net(checkpoint.model_weights()), codec=Net(checkpoint.codec_weights()))
    contents: dict[str, dict[str, object]] = {
        "fish_speech": {},
        "fish_speech.inference_engine": {"TTSInferenceEngine": fake.engine},
        READER: {"torchaudio": None},
        "fish_speech.utils.schema": {
            "ServeTTSRequest": Request,
            "ServeReferenceAudio": SimpleNamespace,
        },
        INFERENCE: {
            "init_model": fake.init_model,
            "generate_long": fake.generate_long,
            "WrappedGenerateResponse": SimpleNamespace,
            "logger": foreign("loguru._logger"),
            "tqdm": foreign("tqdm.std"),
        },
        "hydra": {},
        "hydra.utils": {"instantiate": lambda settings: fake.codec},
        "omegaconf": {"OmegaConf": SimpleNamespace(create=lambda settings: settings)},
    }
    for name, attributes in contents.items():
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, loader=None)
        vars(module).update(attributes)
        monkeypatch.setitem(sys.modules, name, module)
    with warnings.catch_warnings():
        yield fake


def load(**section: object) -> package.FishSpeechEngine:
    """The tiny checkpoint, loaded on the CPU."""
    return package.load(LocalSection(checkpoint=str(TINY), device="cpu", **section))  # type: ignore[arg-type]


def test_speaking(upstream: Upstream, caplog: pytest.LogCaptureFixture) -> None:
    """A request arrives whole; samples come clipped; what is logged is ours, at DEBUG."""
    engine = load()
    assert upstream.codec.loaded.keys() == upstream.codec.weights.keys()
    with caplog.at_level(logging.DEBUG, logger="junetts"):
        spoken = engine.speak(UpstreamRequest(text="Hi.", temperature=0.5, max_new_tokens=9))
    samples = np.frombuffer(spoken.pcm, "<i2")
    assert samples[::2048].tolist() == [29491, 32767, 32767]
    assert (len(samples), spoken.sample_rate, spoken.end) == (3 * 2048, 44_100, "complete")
    (asked,) = upstream.engines[0].asked
    assert (asked.text, asked.temperature, asked.use_memory_cache) == ("Hi.", 0.5, "off")
    assert caplog.record_tuples == [("junetts", logging.DEBUG, "fish-speech: saying Hi.")]


def test_the_token_limit(upstream: Upstream) -> None:
    """One frame less than the limit is all that upstream can make."""
    assert load().speak(UpstreamRequest(text="Hi.", max_new_tokens=4)).end == "truncated"


def test_a_segment_that_nobody_waits_for_ends_at_its_next_token(upstream: Upstream) -> None:
    """Upstream has no way to be stopped, so that its own next step is one; the next one speaks."""
    engine = load()
    with pytest.raises(junetts.EngineError, match="nobody waits"):
        engine.speak(UpstreamRequest(text="Hi."), is_wanted=lambda: upstream.n_decoded < 2)
    assert upstream.n_decoded == 2
    assert engine.speak(UpstreamRequest(text="Hi.")).end == "complete"


def test_a_seed_leaves_no_trace(upstream: Upstream) -> None:
    """The generators of the process go on as if nobody had seeded them."""
    engine = load()
    torch.manual_seed(1)
    random.seed(1)
    expected = torch.rand(2)[1], [random.random(), random.random()][1]
    torch.manual_seed(1)
    random.seed(1)
    torch.rand(1)
    random.random()
    engine.speak(UpstreamRequest(text="Hi.", seed=7))
    assert (torch.rand(1)[0], random.random()) == expected


@pytest.mark.parametrize(
    ("text", "said", "retryable"),
    [
        ("w" * 101, "fish-speech failed: Prompt is too long", False),
        ("none", "fish-speech failed: No audio generated", True),
        ("silent", "neither sound nor a reason", True),
    ],
)
def test_failures(upstream: Upstream, text: str, said: str, retryable: bool) -> None:
    """What upstream raises or reports is told in its words, and the engine stays usable."""
    engine = load()
    with pytest.raises(junetts.EngineError, match=said) as caught:
        engine.speak(UpstreamRequest(text=text))
    assert caught.value.retryable is retryable
    assert engine.speak(UpstreamRequest(text="Hi.")).end == "complete"


def test_a_recording_that_is_none(upstream: Upstream) -> None:
    """Recordings are read by junetts, and refused as such."""
    clip = ReferenceClip(audio=b"no sound", text="x")
    with pytest.raises(junetts.InvalidRequestError, match="cannot be decoded"):
        load().speak(UpstreamRequest(text="Hi.", references=(clip,)))


def test_out_of_memory(upstream: Upstream) -> None:
    """Too little memory is told as such."""

    def fail() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    upstream.fail = fail
    with pytest.raises(junetts.OutOfMemoryError):
        load()


@pytest.mark.parametrize("part", ["model", "codec"])
def test_weights_must_all_be_there(upstream: Upstream, part: str) -> None:
    """A tensor that the file lacks is named; upstream would speak with a random one."""
    getattr(upstream, part).weights["extra.weight"] = torch.zeros(3)
    with pytest.raises(junetts.CheckpointError, match=r"'extra.weight' .* is missing"):
        load()


def test_a_release_that_lacks_a_part(upstream: Upstream) -> None:
    """Another release with other names is refused with the name and a hint."""
    del sys.modules[INFERENCE].generate_long  # type: ignore[attr-defined]
    with pytest.raises(junetts.BackendUnavailableError, match="generate_long") as caught:
        load()
    assert caught.value.hint == package.INSTALL_HINT


def test_a_wrong_path(upstream: Upstream, tmp_path: Path) -> None:
    """A directory that is none, or lacks a file, is an error at once."""
    for directory in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(junetts.CheckpointError, match=str(tmp_path)):
            package.load(LocalSection(checkpoint=str(directory)))
    shutil.copytree(TINY, tmp_path / "half")
    (tmp_path / "half" / "codec.pth").unlink()
    with pytest.raises(junetts.CheckpointError, match="codec weights"):
        package.inspect(LocalSection(checkpoint=str(tmp_path / "half")))


def test_inspecting(upstream: Upstream) -> None:
    """Looking names what would be loaded, and loads nothing."""
    section = LocalSection(checkpoint=str(TINY), device="cpu", dtype="bfloat16")
    assert package.inspect(section).endswith(f"with {TINY} on cpu in bfloat16")
    assert upstream.engines == []


def test_torchaudio_is_left_alone(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has what upstream calls is used as it is; none is left where none was."""
    monkeypatch.setitem(sys.modules, "torchaudio", None)  # not importable
    load()
    assert sys.modules.get("torchaudio") is None
    real = ModuleType("torchaudio")
    monkeypatch.setitem(sys.modules, "torchaudio", real)
    reader: Any = sys.modules[READER]
    reader.torchaudio = SimpleNamespace(list_audio_backends=lambda: ["ffmpeg"])
    load()
    assert sys.modules["torchaudio"] is real
    assert reader.torchaudio.list_audio_backends() == ["ffmpeg"]
