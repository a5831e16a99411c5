"""How long the recordings are that a voice is to be imitated from."""

from __future__ import annotations

import io
from collections.abc import Iterable

from junetts._utterance import ReferenceClip


def known_length_s(clips: Iterable[ReferenceClip]) -> float:
    """Length of all clips together, in seconds; a clip that cannot be read counts as nothing.

    The server knows more formats than this machine does, so it has the last word on those.
    """
    return sum(map(_length_s, clips))


def _length_s(clip: ReferenceClip) -> float:
    import soundfile

    try:
        return float(soundfile.info(io.BytesIO(clip.audio)).duration)
    except (soundfile.LibsndfileError, TypeError):
        return 0.0
