"""What upstream's own engine says; imports nothing of junetts, runs in its environment.

    PYTHONPATH=stubs:../../benchmarks python upstream_speech.py CHECKPOINT REQUESTS.json OUT.npz

A request is ``{"name", "clip"}`` and fields of upstream's request. Of each, OUT holds the float
samples, ``NAME``.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fish_speech.utils.schema import ServeReferenceAudio, ServeTTSRequest

import upstream_parts


def speak(engine: Any, request: dict[str, Any]) -> Any:
    """All samples of one request, float32."""
    fields = {name: value for name, value in request.items() if name not in ("name", "clip")}
    if "clip" in request:
        clip = base64.b64decode(request["clip"])
        fields["references"] = [ServeReferenceAudio(audio=clip, text="A tone.")]
    *_, last = engine.inference(ServeTTSRequest(**fields))
    if last.error is not None:
        raise last.error
    return last.audio[1]


def main() -> None:
    """Speak every request."""
    upstream_parts.quieten()
    engine = upstream_parts.load_engine(Path(sys.argv[1]), dtype=torch.float32)
    requests = json.loads(Path(sys.argv[2]).read_text())
    np.savez(sys.argv[3], **{request["name"]: speak(engine, request) for request in requests})


if __name__ == "__main__":
    main()
