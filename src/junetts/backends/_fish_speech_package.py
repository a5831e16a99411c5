"""The package ``fish-speech``: found, loaded and called; synchronous, and for one thread.

Release 0.1.0 is what this is tested with. Its parts are looked up by name, so that another
release that keeps the names works too, and one that does not is refused with a reason.
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from queue import Queue
from typing import Any

import numpy as np
import torch
from torch import Tensor

from junetts._config_sections import LocalSection
from junetts._errors import BackendUnavailableError, EngineError, JuneTtsError
from junetts._runtime.checkpoint import Checkpoint, check_weights, open_checkpoint
from junetts._runtime.codec import to_pcm16
from junetts._runtime.device import resolve_device, resolve_dtype
from junetts._runtime.failures import as_junetts_error
from junetts._runtime.recording import read_recording
from junetts.backends._fish_speech_codec import codec_settings
from junetts.backends._fish_speech_quiet import quieten, torchaudio_for_upstream
from junetts.backends._fish_speech_request import SpokenSegment, UpstreamRequest

PACKAGE = "fish_speech"
INSTALL_HINT = (
    'pip install "junetts[fish-speech]" && pip install --no-deps '
    "fish-speech==0.1.0 descript-audio-codec==1.0.0 descript-audiotools==0.7.2"
)
_TABLES = ("freqs_cis", "causal_mask")  # buffers that upstream computes itself
_PARTS = {
    "TTSInferenceEngine": "fish_speech.inference_engine",
    "ServeTTSRequest": "fish_speech.utils.schema",
    "ServeReferenceAudio": "fish_speech.utils.schema",
    "init_model": "fish_speech.models.text2semantic.inference",
    "generate_long": "fish_speech.models.text2semantic.inference",
    "WrappedGenerateResponse": "fish_speech.models.text2semantic.inference",
}


def inspect(section: LocalSection) -> str:
    """What would be loaded, without loading it.

    Raises:
        BackendUnavailableError: if the package is not installed.
        CheckpointError: if the checkpoint's files are missing or malformed.
        EngineError: if there is no such device.
    """
    release = _require_package()
    open_checkpoint(section.checkpoint_directory)
    device = resolve_device(section.device)
    return _described(release, section, device, resolve_dtype(section.dtype, device))


def load(section: LocalSection) -> FishSpeechEngine:
    """Load the package and the checkpoint, all of whose weights must fit.

    Upstream would wait for ever for a model that can not be loaded, and speak with random
    weights if some are missing.

    Raises:
        BackendUnavailableError: if the package is not installed or lacks a part.
        CheckpointError: if the checkpoint is missing, damaged, or not one that it can speak.
        EngineError: if there is no such device, or loading failed.
    """
    release = _require_package()
    checkpoint = open_checkpoint(section.checkpoint_directory)
    device = resolve_device(section.device)
    dtype = resolve_dtype(section.dtype, device)
    description = _described(release, section, device, dtype)
    with _our_errors():
        parts = _import_parts(release)
        codec = _load_codec(checkpoint, device)
        model = _LanguageModel(parts, checkpoint, device, dtype)
        engine = parts["TTSInferenceEngine"](
            llama_queue=model, decoder_model=codec, precision=dtype, compile=False
        )
    return FishSpeechEngine(
        parts, engine, model, frame_length=checkpoint.codec.frame_length, description=description
    )


class FishSpeechEngine:
    """Upstream's engine with a checkpoint."""

    def __init__(
        self,
        parts: Mapping[str, Any],
        engine: Any,
        model: _LanguageModel,
        *,
        frame_length: int,
        description: str,
    ) -> None:
        self.description = description
        self._parts = parts
        self._engine = engine
        self._model = model
        self._frame_length = frame_length
        engine.load_audio = read_recording  # its own needs an old torchaudio
        if engine.precision == torch.float32:  # where its automatic precision only warns
            engine.get_audio_segment = self._decode

    def speak(
        self, request: UpstreamRequest, *, is_wanted: Callable[[], bool] = lambda: True
    ) -> SpokenSegment:
        """Speak one segment; returns when all of it has been made.

        ``is_wanted`` is asked before every token.

        Raises:
            InvalidRequestError: if a recording can not be used.
            OutOfMemoryError: if the device has no room.
            EngineError: if upstream fails, such as on a text that is too long; or once the
                segment is not wanted any more.
        """
        self._model.is_wanted = is_wanted
        with _our_errors(), _seeded(request.seed, self._engine.decoder_model.device):
            sample_rate, samples = self._last_result(self._as_upstream(request))
        # Upstream never decodes the last column, be it the end of speech or not.
        is_full = len(samples) // self._frame_length >= request.max_new_tokens - 1
        return SpokenSegment(
            pcm=to_pcm16(samples),
            sample_rate=sample_rate,
            end="truncated" if is_full else "complete",
        )

    def _as_upstream(self, request: UpstreamRequest) -> Any:
        clip = self._parts["ServeReferenceAudio"]
        fields = {
            "text": request.text,
            "references": [clip(audio=c.audio, text=c.text) for c in request.references],
            "max_new_tokens": request.max_new_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "repetition_penalty": request.repetition_penalty,
            "seed": request.seed,
            "use_memory_cache": "off",  # it would take a recording's first transcript for ever
        }
        return self._parts["ServeTTSRequest"](**fields)

    def _last_result(self, request: Any) -> tuple[int, Tensor]:
        """The sample rate in Hz, and the samples [n_samples]."""
        audio = None
        for result in self._engine.inference(request):
            if result.error is not None:
                raise result.error
            audio = result.audio
        if audio is None:
            raise EngineError("fish-speech gave neither sound nor a reason")
        sample_rate, samples = audio
        return int(sample_rate), torch.from_numpy(np.asarray(samples, dtype=np.float32))

    def _decode(self, result: Any) -> Any:
        return self._engine.decode_vq_tokens(codes=result.codes).float().cpu().numpy()


class _LanguageModel:
    """Stands where upstream has the queue to its language model's thread.

    What is put is generated at once, in the caller's thread. Nothing is lost: there is one batch
    per segment, and the engine would wait for it anyhow.
    """

    def __init__(
        self,
        parts: Mapping[str, Any],
        checkpoint: Checkpoint,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.is_wanted: Callable[[], bool] = lambda: True
        self._generate = parts["generate_long"]
        self._wrapped = parts["WrappedGenerateResponse"]
        self._model, self._decode_one = parts["init_model"](
            str(checkpoint.directory), str(device), dtype, compile=False
        )
        expected = {name: p.shape for name, p in self._model.named_parameters()}
        check_weights(expected, checkpoint.model_weights(), path=checkpoint.model_path)

    def put(self, item: Any) -> None:
        """Generate, and answer where upstream's thread would."""
        answers: Queue[Any] = item.response_queue
        for part in self._generate(
            model=self._model, decode_one_token=self._decode, **item.request
        ):
            answers.put(self._wrapped(status="success", response=part))

    def _decode(self, *args: Any, **options: Any) -> Any:
        """Upstream's next token, unless nobody waits for it; there is no other way to stop."""
        if not self.is_wanted():
            raise EngineError("nobody waits for this segment any more")
        return self._decode_one(*args, **options)


def _require_package() -> str:
    """The installed release."""
    if find_spec(PACKAGE) is None:
        raise BackendUnavailableError(
            'local.engine is "fish-speech", but the package fish-speech is not installed',
            retryable=False,
            hint=INSTALL_HINT,
        )
    try:
        return version("fish-speech")
    except PackageNotFoundError:  # a source tree
        return "of an unknown release"


def _described(
    release: str, section: LocalSection, device: torch.device, dtype: torch.dtype
) -> str:
    precision = str(dtype).removeprefix("torch.")
    return f"fish-speech {release} with {section.checkpoint} on {device} in {precision}"


def _import_parts(release: str) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    try:
        with torchaudio_for_upstream():
            modules = {name: importlib.import_module(name) for name in set(_PARTS.values())}
            importlib.import_module("hydra.utils")
        for part, name in _PARTS.items():
            parts[part] = getattr(modules[name], part)
    except (ImportError, AttributeError, OSError) as error:  # OSError: a shared library is missing
        raise BackendUnavailableError(
            f"fish-speech {release} can not be used: {error}", retryable=False, hint=INSTALL_HINT
        ) from error
    quieten(PACKAGE)
    return parts


def _load_codec(checkpoint: Checkpoint, device: torch.device) -> Any:
    hydra, omegaconf = (importlib.import_module(name) for name in ("hydra.utils", "omegaconf"))
    settings = omegaconf.OmegaConf.create(codec_settings(checkpoint.codec))
    codec = hydra.instantiate(settings)
    weights = checkpoint.codec_weights()
    expected = {
        name: tensor.shape
        for name, tensor in codec.state_dict().items()
        if not name.endswith(_TABLES)
    }
    check_weights(expected, weights, path=checkpoint.codec_path)
    codec.load_state_dict(weights, strict=False, assign=True)
    return codec.eval().to(device)


@contextmanager
def _seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Give the generators that upstream seeds back their states; unseeded ones just go on."""
    if seed is None:
        yield
        return
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)


@contextmanager
def _our_errors() -> Iterator[None]:
    """Translate what comes out of upstream."""
    try:
        yield
    except JuneTtsError:
        raise
    except Exception as error:  # (noqa: reviewed) translated, not swallowed
        raise _translated(error) from error


def _translated(error: Exception) -> JuneTtsError:
    ours = as_junetts_error(error)
    if not isinstance(ours, EngineError):
        return ours
    reason = str(error).strip() or type(error).__name__
    is_final = isinstance(error, (ValueError, AssertionError))  # such as a text that is too long
    return EngineError(f"fish-speech failed: {reason}", retryable=not is_final)
