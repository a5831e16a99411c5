"""Which voice speaks."""

from __future__ import annotations

import pytest

from junetts._errors import UnknownVoiceError
from junetts._utterance import ReferenceClip, Voice
from junetts.backends._demo_languages import (
    VoiceTable,
    language_of,
    parse_voice,
    requested_voice,
    voice_for_text,
)

TABLE = VoiceTable(
    map(
        parse_voice,
        [
            "gmw/en\tEnglish (Great Britain)\ten-gb 2,en 2",
            "gmw/en-US\tEnglish (America)\ten-us 2,en 3",
            "gmw/de\tGerman\tde 5",
            "aav/my\tBurmese\tmy 5",
            "sit/cmn\tChinese (Mandarin)\tcmn 5,zh 5",
            "sit/yue\tChinese (Cantonese)\tyue 5,zh 8",
            "sem/he\tHebrew\the 5",
        ],
    )
)


def _requested(voice: Voice | None, configured: str | None = None) -> str | None:
    return requested_voice(TABLE, voice, configured=configured, backend="demo")


@pytest.mark.parametrize(
    ("voice", "identifier"),
    [
        (Voice(language="en"), "gmw/en"),
        (Voice(language="EN_us"), "gmw/en-US"),
        (Voice("gmw/de"), "gmw/de"),
        (Voice("german"), "gmw/de"),
        (Voice(language="de-AT"), "gmw/de"),
        (Voice(language="de-Latn-AT"), "gmw/de"),
        (Voice(language="zh-TW"), "sit/cmn"),
        (Voice(language="zh-HK"), "sit/yue"),
        (Voice(language="iw"), "sem/he"),
        (Voice("somebody", language="de"), "gmw/de"),
        (Voice(cloud_id="abc", language="de"), "gmw/de"),
    ],
)
def test_known_voices(voice: Voice, identifier: str) -> None:
    """A language, else an id, in any case; a region that is not known gives way."""
    assert _requested(voice) == identifier


@pytest.mark.parametrize(
    ("voice", "field"),
    [
        (Voice("my-voice"), "voice.id"),
        (Voice(language="my-voice"), "voice.language"),
        (Voice("de-AT"), "voice.id"),
        (Voice("de", language="klingon"), "voice.language"),
        (Voice(cloud_id="de"), "voice"),
        (Voice(server_id="de"), "voice"),
        (Voice(clips=(ReferenceClip(audio=b"x", text=""),)), "voice"),
    ],
)
def test_unknown_voices(voice: Voice, field: str) -> None:
    """What eSpeak NG does not know is refused, never replaced."""
    with pytest.raises(UnknownVoiceError) as caught:
        _requested(voice, configured="de")
    assert caught.value.field == field
    assert caught.value.backend == "demo"
    assert caught.value.hint


def test_near_names() -> None:
    """The refusal of a name shows similar ones."""
    with pytest.raises(UnknownVoiceError, match="near: en, en-gb, en-us"):
        _requested(Voice("en-xx"))
    with pytest.raises(UnknownVoiceError, match="near: german"):
        _requested(Voice("germani"))
    with pytest.raises(UnknownVoiceError, match="near: en, de, fr"):
        _requested(Voice("0123456789"))


def test_configured_voice() -> None:
    """The configured voice speaks for utterances without one, and must exist."""
    assert _requested(None, "German") == "gmw/de"
    assert _requested(Voice(), "German") == "gmw/de"
    assert _requested(None) is None
    with pytest.raises(UnknownVoiceError, match=r"demo\.voice 'xx'"):
        _requested(None, "xx")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hello", "en"),
        ("Привет", "ru"),
        ("Γειά", "el"),
        ("مرحبا", "ar"),
        ("שלום", "he"),
        ("नमस्ते", "hi"),
        ("世界", "cmn"),
        ("今日は", "ja"),
        ("ﾃｽﾄ", "ja"),
        ("안녕", "ko"),
        ("สวัสดี", "th"),
        ("வணக்கம்", "ta"),
        ("Hello to all in 北京", "en"),
        ("3.14", "en"),
        ("ᚠᚢᚦ", "en"),
    ],
)
def test_language_of_script(text: str, language: str) -> None:
    """The script of most letters decides."""
    assert language_of(text) == language


def test_voice_for_text() -> None:
    """A hint wins over the script; one that is not known is ignored."""
    assert voice_for_text(TABLE, "世界", hint=None) == "sit/cmn"
    assert voice_for_text(TABLE, "世界", hint="zh-HK") == "sit/yue"
    assert voice_for_text(TABLE, "世界", hint="tlh") == "sit/cmn"
    assert voice_for_text(TABLE, "Привет", hint=None) == "en"
