"""One call speaks text with Fish Speech wherever it runs: cloud, server or this machine."""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for true; importing typing would cost most of all

if TYPE_CHECKING:
    from junetts._audio import AudioChunk, AudioFormat
    from junetts._backend import BackendAudio, Capabilities, Health, TtsBackend
    from junetts._blocking import stream, synthesize
    from junetts._client import TTS
    from junetts._config import Config
    from junetts._errors import (
        AudioDeviceError,
        AudioFileError,
        AuthenticationError,
        BackendBusyError,
        BackendTimeoutError,
        BackendUnavailableError,
        CheckpointError,
        ConfigError,
        EngineError,
        InvalidRequestError,
        JuneTtsError,
        NoAudioError,
        NoBackendAvailableError,
        OutOfMemoryError,
        QuotaError,
        RateLimitedError,
        RemoteProtocolError,
        RequestRejectedError,
        SynthesisInterruptedError,
        UnknownVoiceError,
        UsageError,
    )
    from junetts._events import (
        AttemptFailed,
        BackendChosen,
        BreakerClosed,
        BreakerHalfOpened,
        BreakerOpened,
        BrokeOff,
        Event,
        Finished,
        FirstAudio,
        HandedOver,
        Hedged,
        Retrying,
        VoiceSubstituted,
    )
    from junetts._report import (
        Attempt,
        Handover,
        SegmentReport,
        SpeechReport,
        Substitution,
        WordTime,
    )
    from junetts._speech import Speech
    from junetts._stream import SpeechStream
    from junetts._utterance import Prosody, ReferenceClip, Sampling, Segment, Utterance, Voice

__version__ = "0.1.0"

__all__ = [
    "TTS",
    "Attempt",
    "AttemptFailed",
    "AudioChunk",
    "AudioDeviceError",
    "AudioFileError",
    "AudioFormat",
    "AuthenticationError",
    "BackendAudio",
    "BackendBusyError",
    "BackendChosen",
    "BackendTimeoutError",
    "BackendUnavailableError",
    "BreakerClosed",
    "BreakerHalfOpened",
    "BreakerOpened",
    "BrokeOff",
    "Capabilities",
    "CheckpointError",
    "Config",
    "ConfigError",
    "EngineError",
    "Event",
    "Finished",
    "FirstAudio",
    "HandedOver",
    "Handover",
    "Health",
    "Hedged",
    "InvalidRequestError",
    "JuneTtsError",
    "NoAudioError",
    "NoBackendAvailableError",
    "OutOfMemoryError",
    "Prosody",
    "QuotaError",
    "RateLimitedError",
    "ReferenceClip",
    "RemoteProtocolError",
    "RequestRejectedError",
    "Retrying",
    "Sampling",
    "Segment",
    "SegmentReport",
    "Speech",
    "SpeechReport",
    "SpeechStream",
    "Substitution",
    "SynthesisInterruptedError",
    "TtsBackend",
    "UnknownVoiceError",
    "UsageError",
    "Utterance",
    "Voice",
    "VoiceSubstituted",
    "WordTime",
    "__version__",
    "stream",
    "synthesize",
]

_HOMES = {
    "_audio": ("AudioChunk", "AudioFormat"),
    "_backend": ("BackendAudio", "Capabilities", "Health", "TtsBackend"),
    "_blocking": ("stream", "synthesize"),
    "_client": ("TTS",),
    "_config": ("Config",),
    "_events": (
        *("AttemptFailed", "BackendChosen", "BreakerClosed", "BreakerHalfOpened"),
        *("BreakerOpened", "BrokeOff", "Event", "Finished", "FirstAudio", "HandedOver", "Hedged"),
        *("Retrying", "VoiceSubstituted"),
    ),
    "_report": (
        *("Attempt", "Handover", "SegmentReport", "SpeechReport", "Substitution", "WordTime"),
    ),
    "_speech": ("Speech",),
    "_stream": ("SpeechStream",),
    "_utterance": ("Prosody", "ReferenceClip", "Sampling", "Segment", "Utterance", "Voice"),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import what is asked for, so that ``import junetts`` costs next to nothing."""
    from importlib import import_module

    home = _MODULE_OF.get(name, "_errors" if name.endswith("Error") else None)
    if name not in __all__ or home is None:
        raise AttributeError(f"module 'junetts' has no attribute {name!r}")
    value: object = getattr(import_module(f"junetts.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
