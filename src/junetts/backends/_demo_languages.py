"""Which of eSpeak NG's voices speaks: the one asked for, or one for the text's script."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from junetts._errors import UnknownVoiceError
from junetts._utterance import Voice

DEFAULT_LANGUAGE = "en"
# By the first word of a letter's Unicode name; the most widely spoken language of each script.
LANGUAGE_OF_SCRIPT = {
    "LATIN": DEFAULT_LANGUAGE,
    "CYRILLIC": "ru",
    "GREEK": "el",
    "ARABIC": "ar",
    "HEBREW": "he",
    "DEVANAGARI": "hi",
    "BENGALI": "bn",
    "GURMUKHI": "pa",
    "GUJARATI": "gu",
    "ORIYA": "or",
    "TAMIL": "ta",
    "TELUGU": "te",
    "KANNADA": "kn",
    "MALAYALAM": "ml",
    "SINHALA": "si",
    "THAI": "th",
    "MYANMAR": "my",
    "GEORGIAN": "ka",
    "ARMENIAN": "hy",
    "ETHIOPIC": "am",
    "CHEROKEE": "chr-us-qaaa-x-west",
    "HANGUL": "ko",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "CJK": "cmn",
}
# Names that are in use and that eSpeak NG does not list.
ALIASES = {"iw": "he", "in": "id", "zh-hk": "yue", "zh-mo": "yue"}
# What RFC 4647's lookup may cut off: scripts, regions, variants and private use. Something
# like "my-voice" is somebody's name for a voice and no Burmese.
_SUBTAGS = re.compile(r"[a-z]{2,3}(-[a-z]{4})?(-([a-z]{2}|\d{3}))?(-x-[a-z0-9-]+)?")
_SAMPLED_LETTERS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoVoice:
    """One of eSpeak NG's voices; ``languages`` holds tags, and 1 is the best ``priority``."""

    identifier: str
    name: str
    languages: tuple[tuple[str, int], ...]


def parse_voice(line: str) -> DemoVoice:
    """A voice as the child process describes it."""
    identifier, name, languages = line.split("\t")
    tags = (tag.rsplit(" ", 1) for tag in languages.split(","))
    return DemoVoice(
        identifier=identifier,
        name=name,
        languages=tuple((tag, int(priority)) for tag, priority in tags),
    )


class VoiceTable:
    """Finds voices by language, identifier or name, in any case."""

    def __init__(self, voices: Iterable[DemoVoice]) -> None:
        self.voices = tuple(voices)
        ranked: dict[str, tuple[int, str]] = {}
        for voice in self.voices:
            names = ((voice.name, 0), (voice.identifier, 0), *voice.languages)
            for name, priority in names:
                key = _normal(name)
                if key not in ranked or priority < ranked[key][0]:
                    ranked[key] = priority, voice.identifier
        self._identifiers = {key: identifier for key, (_, identifier) in ranked.items()}

    def named(self, name: str) -> str | None:
        """The identifier of the voice called just so."""
        key = _normal(name)
        return self._identifiers.get(ALIASES.get(key, key))

    def for_language(self, tag: str) -> str | None:
        """The identifier for a language; ``de-AT`` is ``de`` if there is nothing nearer."""
        exact = self.named(tag)
        key = _normal(tag)
        if exact is not None or not _SUBTAGS.fullmatch(key):
            return exact
        shorter = key
        while exact is None and "-" in shorter:
            shorter = shorter.rpartition("-")[0]
            exact = self.named(shorter)
        return exact

    def near(self, name: str) -> list[str]:
        """Up to five names like this one."""
        languages = sorted({tag for voice in self.voices for tag, _ in voice.languages})
        key = _normal(name)
        begins = [tag for tag in languages if tag.split("-")[0] == key.split("-")[0]]
        names = [*languages, *(voice.name.lower() for voice in self.voices)]
        return list(dict.fromkeys([*begins, *difflib.get_close_matches(key, names, 5)]))[:5]


def _normal(name: str) -> str:
    return name.strip().lower().replace("_", "-")


def requested_voice(
    table: VoiceTable, voice: Voice | None, *, configured: str | None, backend: str
) -> str | None:
    """The identifier of the voice that was asked for; None if none was.

    Raises:
        UnknownVoiceError: it is not one of eSpeak NG's; naming near ones.
    """
    if voice is not None and voice.language is not None:
        found = table.for_language(voice.language)
        field, name = "voice.language", voice.language
    elif voice is not None and voice.id is not None:
        found = table.named(voice.id)
        field, name = "voice.id", voice.id
    elif voice is not None and voice != Voice():
        raise UnknownVoiceError(
            "the demo voice can imitate no one: this voice has no id or language that it knows",
            field="voice",
            backend=backend,
            hint='name a language for it: Voice(..., language="en")',
        )
    elif configured is not None:
        found = table.named(configured)
        field, name = "demo.voice", configured
    else:
        return None
    if found is None:
        raise _unknown(table, field, name, backend)
    return found


def _unknown(table: VoiceTable, field: str, name: str, backend: str) -> UnknownVoiceError:
    near = table.near(name) or [DEFAULT_LANGUAGE, "de", "fr"]
    return UnknownVoiceError(
        f"{field} {name!r} is no language or voice of eSpeak NG; near: {', '.join(near)}",
        field=field,
        backend=backend,
        hint=f'for example Voice(..., language="{near[0]}")',
    )


def voice_for_text(table: VoiceTable, text: str, *, hint: str | None) -> str:
    """The identifier for a text: the hinted language if eSpeak NG knows it, else by script."""
    hinted = table.for_language(hint) if hint is not None else None
    return hinted or table.named(language_of(text)) or DEFAULT_LANGUAGE


def language_of(text: str) -> str:
    """The language of most letters; any kana makes Chinese characters Japanese."""
    counts = Counter(filter(None, map(_letter_language, text[:_SAMPLED_LETTERS])))
    if counts["ja"]:
        counts["ja"] += counts.pop("cmn", 0)
    return max(counts, key=counts.__getitem__) if counts else DEFAULT_LANGUAGE


def _letter_language(character: str) -> str | None:
    if not character.isalpha():
        return None
    script = unicodedata.name(character, "").replace("HALFWIDTH ", "").partition(" ")[0]
    return LANGUAGE_OF_SCRIPT.get(script)
