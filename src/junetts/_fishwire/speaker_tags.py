"""Who speaks: ``<|speaker:N|>`` tags in text that is sent piece by piece."""

from __future__ import annotations

import re

_TAG = re.compile(r"<\|speaker:\d+\|>")
_FIRST = "<|speaker:0|>"


def attributed(text: str, speaker: str) -> tuple[str, str]:
    """The text with its first words attributed too, and the tag in force at its end.

    A fish-speech server silently drops what stands before the first tag, and knows nothing of
    the tags in earlier requests. ``speaker`` is the tag in force before the text, or empty if
    there was none yet; text without any tag stays as it is.
    """
    tags = _TAG.findall(text)
    if not tags and not speaker:
        return text, ""
    if not _TAG.match(text.lstrip()):
        text = (speaker or _FIRST) + text
    return text, tags[-1] if tags else speaker


def without_tags(text: str) -> str:
    """The text alone."""
    return _TAG.sub("", text)
