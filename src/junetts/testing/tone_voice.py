"""A voice that speaks each word as its own pitch, and an ear that hears which words were spoken.

::

    voice = ToneVoice()
    speech = await tts.synthesize("Good morning June.")     # spoken by a `ToneBackend(voice)`
    heard = voice.hear(speech.samples, speech.sample_rate)
    assert [str(word) for word in heard] == ["good", "morning", "june"]

A word is what stands between two spaces, without its punctuation and in lower case; tags such as
``[laugh]`` and what has neither letter nor digit are not spoken. A character takes as long
wherever it stands, 1/15 s, also a space or a comma, which are silent; so times follow from the
text. Each word begins with 10 ms of silence, so that a fragment is told from what follows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

import numpy as np
import numpy.typing as npt

from junetts._fishwire.server_request import ServerRequest
from junetts._report import WordTime
from junetts.testing._cloud_audio import sample_rate_of
from junetts.testing._hearing import Tone, tones
from junetts.testing._tone import encoded

CHARACTER_S = 1 / 15
LEAD_S = 0.010
LOWEST_HZ, HIGHEST_HZ = 400.0, 3_400.0
AMPLITUDE = 0.25  # of full scale: 12 dB more does not clip
RAMP_S = 0.002
WHOLE_WITHIN_S = 0.008
SERVER_RATE_HZ = 44_100

_SILENT = re.compile(r"\[[^\[\]\n]{1,60}\]|<\|[^|\n]{1,40}\|>|\s+")
_TOKEN = re.compile(r"\S+")

Sound = bytes | npt.NDArray[np.float32] | npt.NDArray[np.float64] | npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One word, or what was left of one.

    Attributes:
        word: in lower case and without punctuation; None for a sound that is no known word.
        start_s: where it begins, in seconds of the audio that was heard.
        end_s: where it ends.
        share: of the word's length that sounded; more than 1 if something sounded twice.
        is_whole: whether all of it sounded, once, but for 8 ms at most.
    """

    word: str | None
    start_s: float
    end_s: float
    share: float
    is_whole: bool

    def __str__(self) -> str:
        """The word; with a dash if it is not whole."""
        return f"{self.word or '?'}{'' if self.is_whole else '-'}"


@dataclass(frozen=True, slots=True)
class CloudTones:
    """A tone voice as a `CloudServer` takes it: ``audio=voice.for_cloud``.

    It speaks in the format and at the rate of the request; on the path with timestamps the
    server tells the true times of its words.
    """

    voice: ToneVoice

    def __call__(self, text: str, request: Mapping[str, object]) -> bytes:
        """The sound of a text as the request wants it."""
        rate = sample_rate_of(request)
        container = str(request.get("format", "mp3"))
        pcm = self.voice.speak(text, sample_rate=rate)
        return encoded(pcm, sample_rate=rate, container=container)

    def words(self, text: str) -> tuple[WordTime, ...]:
        """When each word is heard."""
        return self.voice.words(text)

    def duration_s(self, text: str) -> float:
        """How long a text takes."""
        return self.voice.duration_s(text)


class ToneVoice:
    """Speaks words as pure tones and hears them again.

    Guarantees: no two of its words have the same pitch; the first words are the furthest apart;
    the pitch of a word depends only on how many words were known before it, so that voices with
    the same vocabulary, in whatever process, understand each other. There is no exact zero
    within a word and nothing but zeros outside. `hear` works at any rate from 8 kHz, after
    resampling, fades, a change of loudness by 12 dB and coding as MP3. Threads may share it.

    Args:
        vocabulary: words that are known from the start; others become known as they are spoken.
        sample_rate: of what `speak` makes, in Hz, where nothing else is asked for.
        capacity: how many words there is room for; the more, the harder are fragments to tell.
    """

    def __init__(
        self,
        vocabulary: Iterable[str] = (),
        *,
        sample_rate: int = 44_100,
        capacity: int = 1_024,
    ) -> None:
        if sample_rate < 8_000:
            raise ValueError(f"sample_rate must be at least 8000 Hz, not {sample_rate}")
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1 word, not {capacity}")
        self.sample_rate = sample_rate
        self._n_bits = (capacity - 1).bit_length()
        self._pitches: dict[str, float] = {}
        self._words: dict[int, str] = {}  # by place on the scale
        self._lock = Lock()
        for word in vocabulary:
            for one in self.spoken(word):
                self.pitch_hz(one)

    @property
    def for_cloud(self) -> CloudTones:
        """What to give a `CloudServer` as ``audio``."""
        return CloudTones(self)

    def for_server(self, request: ServerRequest) -> bytes:
        """The sound of a request: to be given to a `FishServer` as ``audio``."""
        return self.speak(request.text, sample_rate=SERVER_RATE_HZ)

    def spoken(self, text: str) -> tuple[str, ...]:
        """The words of a text as `hear` names them."""
        return tuple(word.name for word in _words(text))

    def words(self, text: str) -> tuple[WordTime, ...]:
        """When each word is heard, from the start of the text's sound; tokens as written."""
        return tuple(
            WordTime(
                text=word.token,
                start_s=word.start * CHARACTER_S + LEAD_S,
                end_s=word.end * CHARACTER_S,
                provenance="native",
            )
            for word in _words(text)
        )

    def duration_s(self, text: str) -> float:
        """How long a text takes; spaces at its ends do not count."""
        return len(text.strip()) * CHARACTER_S if self.spoken(text) else 0.0

    def speak(self, text: str, *, sample_rate: int | None = None) -> bytes:
        """The sound of a text: s16le mono; none if there is nothing to say."""
        rate = sample_rate or self.sample_rate
        samples = np.zeros(round(self.duration_s(text) * rate), "<i2")
        for word in _words(text):
            start = round((word.start * CHARACTER_S + LEAD_S) * rate)
            end = round(word.end * CHARACTER_S * rate)
            samples[start:end] = _tone(self.pitch_hz(word.name), end - start, rate)
        return samples.tobytes()

    def hear(self, sound: Sound, sample_rate: int) -> list[Heard]:
        """The words in mono sound, s16le bytes or samples ``[n_samples]``, in order.

        A word that broke off is heard if 10 ms of it sounded, and is named rightly if the words
        known are few or 20 ms did.
        """
        return [self._heard(tone) for tone in tones(_samples(sound), sample_rate=sample_rate)]

    def pitch_hz(self, word: str) -> float:
        """The pitch of a word, which becomes known by this.

        Raises:
            ValueError: if there is no room for another word.
        """
        with self._lock:
            if word not in self._pitches:
                place = self._place(len(self._pitches))
                self._words[place] = word
                self._pitches[word] = LOWEST_HZ + place * self._step_hz
            return self._pitches[word]

    @property
    def _step_hz(self) -> float:
        return (HIGHEST_HZ - LOWEST_HZ) / (1 << self._n_bits)

    def _place(self, index: int) -> int:
        """The bits of the index reversed: each word halves the widest gap that is left."""
        if index >> self._n_bits:
            raise ValueError(
                f"the voice has room for {1 << self._n_bits} words: give it a greater capacity"
            )
        return int(f"{index:0{self._n_bits}b}"[::-1], 2) if self._n_bits else 0

    def _heard(self, tone: Tone) -> Heard:
        word = None if tone.hz is None else self._nearest(tone.hz, tone.duration_s)
        expected_s = tone.duration_s if word is None else _duration_s(word)
        return Heard(
            word=word,
            start_s=tone.start_s,
            end_s=tone.end_s,
            share=tone.duration_s / expected_s,
            is_whole=word is not None and abs(tone.duration_s - expected_s) < WHOLE_WITHIN_S,
        )

    def _nearest(self, hz: float, duration_s: float) -> str | None:
        """The word of about this pitch: the shorter the tone, the less is known of it."""
        within_hz = max(self._step_hz / 2, 0.5) + 0.1 / duration_s
        place = (hz - LOWEST_HZ) / self._step_hz
        reach = int(within_hz / self._step_hz) + 1
        nearby = range(round(place) - reach, round(place) + reach + 1)
        known = [one for one in nearby if one in self._words]
        best = min(known, key=lambda one: abs(one - place), default=None)
        if best is None or abs(best - place) * self._step_hz > within_hz:
            return None
        return self._words[best]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Word:
    """A word in its text; ``start`` and ``end`` are characters of the stripped text."""

    token: str
    name: str
    start: int
    end: int


def _words(text: str) -> Iterator[_Word]:
    text = text.strip()
    without_tags = _SILENT.sub(lambda found: " " * len(found.group()), text)
    for found in _TOKEN.finditer(without_tags):
        token = found.group()
        sounding = [i for i, character in enumerate(token) if character.isalnum()]
        if sounding:
            first, last = sounding[0], sounding[-1] + 1
            start = found.start() + first
            yield _Word(
                token=token,
                name=_lowered(token[first:last]),
                start=start,
                end=start + last - first,
            )


def _lowered(word: str) -> str:
    """In lower case, unless that changes its length, and with it how long it takes."""
    lowered = word.lower()
    return lowered if len(lowered) == len(word) else word


def _duration_s(word: str) -> float:
    return len(word) * CHARACTER_S - LEAD_S


@lru_cache(maxsize=512)
def _tone(hz: float, n_samples: int, sample_rate: int) -> npt.NDArray[np.int16]:
    """A tone that begins and ends softly, ``[n_samples]``, without an exact zero."""
    time = np.arange(n_samples) + 0.5
    n_ramp = round(RAMP_S * sample_rate)
    edge = np.minimum(time, time[::-1]) / n_ramp
    softness = np.sin(np.pi / 2 * np.minimum(edge, 1.0)) ** 2
    wave = AMPLITUDE * softness * np.sin(2 * np.pi * hz * time / sample_rate)
    samples: npt.NDArray[np.int16] = np.rint(wave * 32_767).astype("<i2")
    samples[samples == 0] = 1
    return samples


def _samples(sound: Sound) -> npt.NDArray[np.float64]:
    """Mono samples with 1.0 as full scale."""
    if isinstance(sound, bytes):
        sound = np.frombuffer(sound, "<i2")
    scale = 32_768.0 if sound.dtype == np.int16 else 1.0
    return sound.astype(np.float64) / scale
