"""A voice of pure tones, and the ear that hears its words again."""

from __future__ import annotations

import io
import random
import sys
import threading

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import soxr

from junetts import TTS
from junetts.testing import CloudServer, FishServer, Heard, ToneVoice
from junetts.testing._tone import encoded

RATE = 8_000
TEXT = "Good morning, June. It is late!"
WORDS = ["good", "morning", "june", "it", "is", "late"]
VOCABULARY = [f"w{i:03d}" for i in range(1_000)]
FADE_S = 0.005

Samples = npt.NDArray[np.float64]


@pytest.fixture
def voice() -> ToneVoice:
    """A voice that knows a thousand words."""
    return ToneVoice(VOCABULARY, sample_rate=RATE)


def samples_of(pcm: bytes) -> Samples:
    """PCM as floats, 1.0 being full scale."""
    return np.frombuffer(pcm, "<i2") / 32_768


def pcm_of(samples: Samples) -> bytes:
    """Floats as PCM, clipped."""
    return np.clip(np.rint(samples * 32_768), -32_768, 32_767).astype("<i2").tobytes()


def names(heard: list[Heard]) -> list[str]:
    """Words as a test compares them: with a dash if they are not whole."""
    return [str(word) for word in heard]


def text_of(n_words: int, *, seed: int = 0) -> str:
    """Some words of the vocabulary, in no order."""
    return " ".join(random.Random(seed).choices(VOCABULARY, k=n_words))


def test_what_is_spoken_is_heard() -> None:
    """Words come back in order, each whole, once and without its punctuation."""
    voice = ToneVoice()
    heard = voice.hear(voice.speak(TEXT), voice.sample_rate)
    assert names(heard) == WORDS == list(voice.spoken(TEXT))
    assert all(word.is_whole for word in heard)


def test_words_are_where_their_times_say() -> None:
    """Word times follow from the text: 15 characters a second, silence before each word."""
    voice = ToneVoice(sample_rate=RATE)
    heard, told = voice.hear(voice.speak(TEXT), RATE), voice.words(TEXT)
    assert [word.text for word in told] == ["Good", "morning,", "June.", "It", "is", "late!"]
    assert told[1].start_s == pytest.approx(5 / 15 + 0.010)
    assert told[1].end_s == pytest.approx(12 / 15)
    for word, time in zip(heard, told, strict=True):
        assert (word.start_s, word.end_s) == pytest.approx((time.start_s, time.end_s), abs=0.002)
    assert voice.duration_s(TEXT) == pytest.approx(len(TEXT) / 15)
    assert len(voice.speak(TEXT)) == pytest.approx(2 * RATE * len(TEXT) / 15, abs=2)


@pytest.mark.parametrize("rate", [8_000, 48_000])
def test_sound_is_never_zero_and_silence_always_is(voice: ToneVoice, rate: int) -> None:
    """No sample within a word is exactly zero, so that a stretch of zeros is a gap."""
    text = text_of(20)
    samples = np.frombuffer(voice.speak(text, sample_rate=rate), "<i2")
    is_sound = np.zeros(len(samples), bool)
    for word in voice.words(text):
        is_sound[round(word.start_s * rate) : round(word.end_s * rate)] = True
    assert np.all((samples != 0) == is_sound)


@pytest.mark.parametrize("text", ["", "  ", "...", "[laugh]", "<|speaker:0|> — [sigh] !"])
def test_nothing_to_say_is_no_sound(text: str) -> None:
    """Punctuation and tags are not spoken."""
    voice = ToneVoice()
    assert (voice.speak(text), voice.words(text), voice.spoken(text)) == (b"", (), ())
    assert voice.hear(b"", RATE) == []
    assert voice.hear(bytes(2 * RATE), RATE) == []


def test_tags_are_pauses() -> None:
    """A tag within a text takes its time in silence, and is no part of a word."""
    voice = ToneVoice(sample_rate=RATE)
    text = "[sigh]Oh <|speaker:1|>no."
    assert names(voice.hear(voice.speak(text), RATE)) == ["oh", "no"]
    assert voice.words(text)[0].start_s == pytest.approx(6 / 15 + 0.010)


def test_a_word_whose_lower_case_is_longer_keeps_its_length() -> None:
    """A word takes as long as its characters do in the text."""
    voice = ToneVoice(sample_rate=RATE)
    text = "İstanbul is large"
    assert names(voice.hear(voice.speak(text), RATE)) == ["İstanbul", "is", "large"]


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("gain_db", [-12, 0, 12])
@pytest.mark.parametrize("heard_rate", [None, 8_000, 24_000, 44_100, 48_000])
def test_resampled_and_made_louder_it_is_still_heard(
    voice: ToneVoice, rate: int, gain_db: int, heard_rate: int | None
) -> None:
    """A thousand words are told apart at any rate and loudness."""
    text = text_of(20, seed=rate + gain_db)
    samples = samples_of(voice.speak(text, sample_rate=rate)) * 10 ** (gain_db / 20)
    if heard_rate is not None:
        samples = soxr.resample(samples, rate, heard_rate)
    heard = voice.hear(pcm_of(samples), heard_rate or rate)
    assert names(heard) == text.split()


def test_loud_and_quiet_words_are_heard_together(voice: ToneVoice) -> None:
    """Two backends may differ by 24 dB; what is quieter than 60 dB below full scale is silence."""
    words = text_of(10).split()
    gains_db = [12, -12] * 5
    pieces = [
        samples_of(voice.speak(word)) * 10 ** (gain_db / 20)
        for word, gain_db in zip(words, gains_db, strict=True)
    ]
    assert names(voice.hear(pcm_of(np.concatenate(pieces)), RATE)) == words
    hiss = np.random.default_rng(1).normal(0, 0.0002, RATE)
    assert voice.hear(hiss, RATE) == []


@pytest.mark.parametrize("rate", [24_000, 44_100])
def test_coded_with_losses_it_is_still_heard(voice: ToneVoice, rate: int) -> None:
    """MP3 leaves words what they are."""
    text = text_of(30)
    pcm = voice.speak(text, sample_rate=rate)
    sound = io.BytesIO(encoded(pcm, sample_rate=rate, container="mp3"))
    samples, rate = soundfile.read(sound)
    assert names(voice.hear(samples, rate)) == text.split()


@pytest.mark.parametrize("kind", ["bytes", "int16", "float32", "float64"])
def test_sound_may_be_bytes_or_samples(voice: ToneVoice, kind: str) -> None:
    """What a stream and what a `Speech` hold are heard alike."""
    pcm = voice.speak("w001 w002")
    samples = samples_of(pcm)
    sounds = {
        "bytes": pcm,
        "int16": np.frombuffer(pcm, "<i2"),
        "float32": samples.astype(np.float32),
        "float64": samples,
    }
    assert names(voice.hear(sounds[kind], RATE)) == ["w001", "w002"]


def broken_off(voice: ToneVoice, word: str, after_s: float, rate: int) -> Samples:
    """A word that ends too soon, with the tail that a handover gives it."""
    samples = samples_of(voice.speak(word, sample_rate=rate))[: round((0.010 + after_s) * rate)]
    slope = np.linspace(1, 0, round(FADE_S * rate) + 1)[1:]
    return np.concatenate([samples, slope * samples[-1]])


def faded_in(voice: ToneVoice, text: str, rate: int) -> Samples:
    """A text with the beginning that a handover gives it."""
    samples = samples_of(voice.speak(text, sample_rate=rate))
    n_fade = round(FADE_S * rate)
    samples[:n_fade] *= np.linspace(0, 1, n_fade)
    return samples


@pytest.mark.parametrize("rate", [8_000, 24_000, 44_100])
@pytest.mark.parametrize("after_s", [0.020, 0.050, 0.100, 0.200])
def test_a_fragment_is_heard_as_one(voice: ToneVoice, rate: int, after_s: float) -> None:
    """Broken off after 20 ms or later, a word is named and not taken for a whole one."""
    for first, second in zip(VOCABULARY[::40], VOCABULARY[7::40], strict=True):
        sound = [broken_off(voice, first, after_s, rate), faded_in(voice, second, rate)]
        heard = voice.hear(soxr.resample(np.concatenate(sound), rate, 48_000), 48_000)
        assert names(heard) == [f"{first}-", second]
        assert heard[0].share == pytest.approx(after_s / (4 / 15 - 0.010), abs=0.03)


def test_a_fragment_of_10_ms_is_noticed(voice: ToneVoice) -> None:
    """Of a thousand words the shortest fragment may be misnamed, but it is counted."""
    for first, second in zip(VOCABULARY[::40], VOCABULARY[7::40], strict=True):
        sound = [broken_off(voice, first, 0.010, RATE), faded_in(voice, second, RATE)]
        heard = names(voice.hear(np.concatenate(sound), RATE))
        assert len(heard) == 2
        assert (heard[0][-1], heard[1]) == ("-", second)


def test_a_fragment_of_10_ms_is_named_where_words_are_few() -> None:
    """The first words known are far apart."""
    voice = ToneVoice(
        ["one", "two", "three", "four", "five", "six", "seven", "eight"], sample_rate=RATE
    )
    for word in voice.spoken("one two three four five six seven eight"):
        assert names(voice.hear(broken_off(voice, word, 0.010, RATE), RATE)) == [f"{word}-"]


def test_a_click_is_not_heard(voice: ToneVoice) -> None:
    """Less than 8 ms of sound is nothing."""
    assert voice.hear(broken_off(voice, "w001", 0.002, RATE), RATE) == []


def test_a_glitch_does_not_break_a_word(voice: ToneVoice) -> None:
    """A few milliseconds of something else are no end of it, nor a sound of their own."""
    sound = samples_of(voice.speak("w001"))
    sound[1_010:1_030] = 0.2
    assert names(voice.hear(sound, RATE)) == ["w001"]
    crackle = np.random.default_rng(1).normal(0, 0.2, 12 * RATE // 1_000)
    assert names(voice.hear(np.concatenate([sound, np.zeros(80), crackle]), RATE)) == ["w001"]


def test_a_word_cut_off_at_its_beginning_is_a_fragment(voice: ToneVoice) -> None:
    """It need not be the end that is missing."""
    sound = samples_of(voice.speak("w001 w002"))[RATE // 10 :]
    assert names(voice.hear(sound, RATE)) == ["w001-", "w002"]


def test_8_ms_decide_whether_a_word_is_whole(voice: ToneVoice) -> None:
    """A listener does not miss less, and does miss more."""
    sound = voice.speak("w001")
    assert names(voice.hear(sound[: -2 * RATE * 5 // 1000], RATE)) == ["w001"]
    assert names(voice.hear(sound[: -2 * RATE * 10 // 1000], RATE)) == ["w001-"]


def test_fragments_without_a_gap_are_told_apart(voice: ToneVoice) -> None:
    """Where sound was cut and joined in the middle of words, each part is heard."""
    pieces = [samples_of(voice.speak(word))[400:1200] for word in ("w001", "w500", "w002")]
    heard = voice.hear(np.concatenate(pieces), RATE)
    assert names(heard) == ["w001-", "w500-", "w002-"]
    for i, word in enumerate(heard):
        assert (word.start_s, word.end_s) == pytest.approx((i * 0.1, i * 0.1 + 0.1), abs=0.012)


def test_a_stuttering_word_is_not_whole(voice: ToneVoice) -> None:
    """Audio that was sent twice makes a word too long."""
    sound = voice.speak("w001")
    (word,) = voice.hear(sound[:1600] + sound[800:], RATE)
    assert (word.word, word.is_whole) == ("w001", False)
    assert word.share == pytest.approx(1 + 0.05 / (4 / 15 - 0.010), abs=0.01)


def test_noise_is_no_word(voice: ToneVoice) -> None:
    """What is no tone is heard as one sound without a name."""
    noise = np.random.default_rng(1).normal(0, 0.1, RATE // 2)
    sound = np.concatenate([samples_of(voice.speak("w001")), np.zeros(400), noise])
    heard = voice.hear(sound, RATE)
    assert str(heard[0]) == "w001"
    assert {word.word for word in heard[1:]} == {None}
    assert len(heard) == 2


def test_noise_within_a_word_leaves_two_fragments(voice: ToneVoice) -> None:
    """Corrupted bytes are heard where they are."""
    sound = samples_of(voice.speak("w001"))
    sound[800:1200] = np.random.default_rng(1).normal(0, 0.2, 400)
    assert names(voice.hear(sound, RATE)) == ["w001-", "?-", "w001-"]


def test_the_wrong_rate_is_heard() -> None:
    """Sound that is played too fast is no speech of this voice."""
    voice = ToneVoice(["one", "two", "three"], sample_rate=RATE)
    heard = voice.hear(voice.speak("one two three"), RATE * 11 // 10)
    assert not any(word.is_whole for word in heard)


def test_a_tone_of_no_word_is_no_word() -> None:
    """A pitch that no word has is not taken for the nearest one."""
    stranger = ToneVoice(["a", "stranger"], sample_rate=RATE)
    voice = ToneVoice(["hello"], sample_rate=RATE)
    (heard,) = voice.hear(stranger.speak("stranger"), RATE)
    assert (heard.word, heard.is_whole, str(heard)) == (None, False, "?-")


def test_no_two_words_share_a_pitch() -> None:
    """However many there are, up to the capacity; one more is refused."""
    voice = ToneVoice((f"w{i}" for i in range(64)), capacity=64)
    pitches = sorted(voice.pitch_hz(f"w{i}") for i in range(64))
    assert min(np.diff(pitches)) == pytest.approx(3_000 / 64)
    assert 400 <= pitches[0] < pitches[-1] < 3_400
    with pytest.raises(ValueError, match="room for 64 words"):
        voice.speak("another")
    assert voice.pitch_hz("w0") == 400


def test_voices_with_one_vocabulary_understand_each_other() -> None:
    """Pitches depend on the order of words alone; new words are learnt as they are spoken."""
    first, second = ToneVoice(VOCABULARY, sample_rate=RATE), ToneVoice(VOCABULARY)
    assert names(second.hear(first.speak("w999 w000"), RATE)) == ["w999", "w000"]
    learnt = first.speak("newly")
    assert names(second.hear(learnt, RATE)) == ["?-"]
    assert names(first.hear(learnt, RATE)) == ["newly"]


def test_one_word_is_capacity_enough() -> None:
    """The smallest voice works."""
    voice = ToneVoice(capacity=1, sample_rate=RATE)
    assert names(voice.hear(voice.speak("solo solo"), RATE)) == ["solo", "solo"]


def test_threads_do_not_give_two_words_one_pitch() -> None:
    """Words may become known in several threads at once."""
    voice = ToneVoice()

    def speak(offset: int) -> None:
        for i in range(1_000):
            voice.pitch_hz(f"w{(i + offset) % 1_000}")

    threads = [threading.Thread(target=speak, args=(250 * k,)) for k in range(4)]
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval_s)
    assert len({voice.pitch_hz(f"w{i}") for i in range(1_000)}) == 1_000


@pytest.mark.parametrize("settings", [{"sample_rate": 7_999}, {"capacity": 0}])
def test_what_cannot_be_heard_is_refused(settings: dict[str, int]) -> None:
    """A rate that has no room for the pitches, or a voice without words, is a mistake."""
    with pytest.raises(ValueError, match=next(iter(settings))):
        ToneVoice(**settings)  # type: ignore[arg-type]


@pytest.mark.anyio
@pytest.mark.parametrize("container", ["pcm", "wav", "mp3"])
async def test_a_cloud_server_speaks_with_it(container: str) -> None:
    """In each format, and with the words' true times."""
    voice = ToneVoice()
    async with CloudServer(audio=voice.for_cloud) as server:
        section = {"url": server.url, "api_keys": ["k"], "format": container}
        async with TTS({"backends": ["cloud"], "cloud": section}) as tts:
            speech = await tts.synthesize(TEXT)
    assert names(voice.hear(speech.samples, speech.sample_rate)) == WORDS


@pytest.mark.anyio
async def test_a_cloud_server_tells_its_word_times() -> None:
    """On the path with timestamps; the words are where they are heard."""
    voice = ToneVoice()
    async with CloudServer(audio=voice.for_cloud) as server:
        url = server.url + "/with-timestamp"
        section = {"url": url, "api_keys": ["k"], "format": "pcm"}
        async with TTS({"backends": ["cloud"], "cloud": section}) as tts:
            speech = await tts.synthesize("Good morning, June.")
    told = speech.report.segments[0].words
    heard = voice.hear(speech.samples, speech.sample_rate)
    assert [word.text for word in told] == ["Good", "morning,", "June."]
    for word, time in zip(heard, told, strict=True):
        assert (word.start_s, word.end_s) == pytest.approx((time.start_s, time.end_s), abs=0.002)


@pytest.mark.anyio
async def test_a_fish_server_speaks_with_it() -> None:
    """At the rate that fish-speech has."""
    voice = ToneVoice()
    async with FishServer(audio=voice.for_server) as server:
        config = {"backends": ["server"], "server": {"url": server.url}}
        async with TTS(config) as tts:
            speech = await tts.synthesize(TEXT)
    assert names(voice.hear(speech.samples, speech.sample_rate)) == WORDS
