"""Upstream's surroundings: an audio library that it need not have, and its talk on stderr."""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType

TORCHAUDIO = "torchaudio"
_READER = "fish_speech.inference_engine.reference_loader"
_NOISY = r"fish_speech\b"

logger = logging.getLogger("junetts")


@contextmanager
def torchaudio_for_upstream() -> Iterator[None]:
    """Import upstream here: it imports torchaudio, and calls what newer ones do not have.

    Recordings are read by junetts, so that a stand-in will do. It is upstream's alone: anyone
    else finds the real one, or none.
    """
    is_absent = not _is_importable(TORCHAUDIO)
    if is_absent:
        sys.modules[TORCHAUDIO] = _stand_in()
    try:
        yield
    finally:
        if is_absent:
            sys.modules.pop(TORCHAUDIO, None)
    reader = sys.modules.get(_READER)
    if reader is not None and not hasattr(reader.__dict__.get(TORCHAUDIO), "list_audio_backends"):
        reader.__dict__[TORCHAUDIO] = _stand_in()


def _is_importable(name: str) -> bool:
    try:
        importlib.import_module(name)
    except (ImportError, OSError):  # OSError: built for another torch
        return False
    return True


def _stand_in() -> ModuleType:
    module = ModuleType(TORCHAUDIO, "What fish-speech asks torchaudio for before it speaks.")
    module.__spec__ = ModuleSpec(TORCHAUDIO, loader=None)
    module.__dict__["list_audio_backends"] = lambda: ["soundfile"]
    return module


def quieten(package: str) -> None:
    """Send what the package's modules log to ours at DEBUG, and hide its bars and warnings.

    Only names inside the package are replaced; its logging library goes on as it is for others.
    """
    for name, module in list(sys.modules.items()):
        if name == package or name.startswith(f"{package}."):
            _quieten_module(module)
    warnings.filterwarnings("ignore", module=_NOISY)
    warnings.filterwarnings(
        "ignore", message=r".*torch\.nn\.utils\.weight_norm. is deprecated", category=FutureWarning
    )


def _quieten_module(module: ModuleType) -> None:
    names = vars(module)
    if type(names.get("logger")).__module__.startswith("loguru"):
        names["logger"] = _DebugLog()
    if getattr(names.get("tqdm"), "__module__", "").startswith("tqdm"):
        names["tqdm"] = _without_bar


def _without_bar(items: Iterable[object], *_: object, **__: object) -> Iterable[object]:
    return items


class _DebugLog:
    """Takes messages of any level; they may quote what is spoken."""

    def debug(self, message: object, *_: object, **__: object) -> None:
        logger.debug("fish-speech: %s", message)

    trace = info = success = warning = error = critical = exception = debug
