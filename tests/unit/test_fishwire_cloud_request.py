"""Every request field: its bounds, and what of it is sent."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from junetts._config import CloudSection
from junetts._errors import InvalidRequestError, UnknownVoiceError
from junetts._fishwire.cloud_request import CloudRequest
from junetts._utterance import Prosody, ReferenceClip, Sampling, Utterance, Voice
from junetts.backends._cloud_request import build_request


def wav_of(seconds: float) -> bytes:
    """A silent recording of some length."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros(int(seconds * 8000), dtype="<i2"), 8000, format="WAV")
    return file.getvalue()


def built(utterance: Utterance, **settings: object) -> dict[str, object]:
    """The request on the wire for an utterance under some settings."""
    section = CloudSection.model_validate({"api_keys": ["k"], **settings})
    return build_request(section, utterance, backend="cloud").to_wire()


def test_defaults_are_valid_and_small() -> None:
    """What is not set, and what is not relevant to the format, is not sent."""
    assert CloudRequest(model="s1").to_wire() == {
        "text": "",
        "format": "pcm",
        "latency": "normal",
        "chunk_length": 300,
        "min_chunk_length": 50,
        "normalize": True,
        "condition_on_previous_chunks": True,
        "early_stop_threshold": 1.0,
    }


def test_everything_set_is_sent() -> None:
    """Each field reaches the wire under the API's own name."""
    request = CloudRequest(
        model="s2-pro",
        reference_id=("a", "b"),
        references=(ReferenceClip(audio=b"clip", text="words"),),
        format="mp3",
        sample_rate=32_000,
        mp3_bitrate=192,
        latency="low",
        chunk_length=100,
        min_chunk_length=0,
        temperature=0.5,
        top_p=0.6,
        repetition_penalty=1.1,
        max_new_tokens=9,
        speed=1.5,
        volume_db=-3.0,
        normalize_loudness=False,
        normalize=False,
        condition_on_previous_chunks=False,
        early_stop_threshold=0.5,
        features=("quality-guard",),
    )
    assert request.to_wire() == {
        "text": "",
        "reference_id": ["a", "b"],
        "references": [{"audio": b"clip", "text": "words"}],
        "format": "mp3",
        "sample_rate": 32_000,
        "mp3_bitrate": 192,
        "latency": "low",
        "chunk_length": 100,
        "min_chunk_length": 0,
        "temperature": 0.5,
        "top_p": 0.6,
        "repetition_penalty": 1.1,
        "max_new_tokens": 9,
        "prosody": {"speed": 1.5, "volume": -3.0, "normalize_loudness": False},
        "normalize": False,
        "condition_on_previous_chunks": False,
        "early_stop_threshold": 0.5,
        "features": ["quality-guard"],
    }


def test_whole_numbers_are_sent_as_real_ones_where_the_api_has_those() -> None:
    """MessagePack tells 1 from 1.0, and servers may be strict about it."""
    request = CloudRequest(
        model="s2-pro",
        temperature=1,
        top_p=1,
        repetition_penalty=1,
        early_stop_threshold=0,
        speed=2,
        volume_db=-3,
        max_new_tokens=9,
    )
    sent = request.to_wire()
    assert sent.pop("prosody") == {"speed": 2.0, "volume": -3.0}
    assert {name for name, value in sent.items() if type(value) is float} == {
        "temperature",
        "top_p",
        "repetition_penalty",
        "early_stop_threshold",
    }
    assert (type(request.speed), type(request.volume_db)) == (float, float)
    assert type(request.max_new_tokens) is int


def test_opus_bitrate_only_for_opus() -> None:
    """The bitrate of another format would be refused by the server."""
    assert "opus_bitrate" not in CloudRequest(model="s1", format="mp3").to_wire()
    wire = CloudRequest(model="s1", format="opus", opus_bitrate=32_000).to_wire()
    assert wire["opus_bitrate"] == 32_000
    assert "mp3_bitrate" not in wire


@pytest.mark.parametrize(
    ("settings", "field", "words"),
    [
        ({"model": "s3"}, "model", "s1, s2-pro, s2.1-pro, s2.1-pro-free"),
        ({"model": ""}, "model", "not ''"),
        ({"format": "flac"}, "format", "pcm, wav, mp3, opus"),
        ({"sample_rate": 22_050}, "sample_rate", "for format pcm, not 22050"),
        ({"format": "mp3", "sample_rate": 24_000}, "sample_rate", "32000, 44100"),
        ({"format": "opus", "sample_rate": 44_100}, "sample_rate", "48000"),
        ({"mp3_bitrate": 320}, "mp3_bitrate", "64, 128, 192"),
        ({"opus_bitrate": 32}, "opus_bitrate", "not 32"),
        ({"latency": "fast"}, "latency", "low, normal, balanced"),
        ({"chunk_length": 99}, "chunk_length", "from 100 to 300"),
        ({"chunk_length": 150.5}, "chunk_length", "whole number"),
        ({"min_chunk_length": 101}, "min_chunk_length", "from 0 to 100"),
        ({"temperature": 1.1}, "temperature", "from 0 to 1"),
        ({"top_p": -0.1}, "top_p", "from 0 to 1"),
        ({"early_stop_threshold": 2}, "early_stop_threshold", "from 0 to 1"),
        ({"repetition_penalty": -1}, "repetition_penalty", "from 0 to"),
        ({"max_new_tokens": 0}, "max_new_tokens", "from 1 to"),
        ({"speed": 0.4}, "prosody.speed", "from 0.5 to 2"),
        ({"volume_db": 21}, "prosody.volume_db", "from -20 to 20"),
        ({"model": "s1", "reference_id": ("a", "b")}, "reference_id", "S2 model"),
    ],
)
def test_refused_before_anything_is_sent(
    settings: dict[str, object], field: str, words: str
) -> None:
    """A wrong value is named with its field and bounds."""
    with pytest.raises(InvalidRequestError, match=words) as caught:
        CloudRequest(**{"model": "s2-pro", **settings})  # type: ignore[arg-type]
    assert caught.value.field == field
    assert field in str(caught.value)


def test_reference_length() -> None:
    """More than 375 s of recordings are refused, by their decoded length."""
    clip = ReferenceClip(audio=wav_of(187), text="t")
    assert CloudRequest(model="s1", references=(clip, clip))
    with pytest.raises(InvalidRequestError, match=r"at most 375 s .* not 561\.0 s"):
        CloudRequest(model="s1", references=(clip, clip, clip))


def test_unreadable_reference_is_left_to_the_server() -> None:
    """The server may know a format that this machine does not."""
    assert CloudRequest(model="s1", references=(ReferenceClip(audio=b"?", text="t"),))


@pytest.mark.parametrize(
    ("audio_format", "rate"), [("pcm", 44_100), ("mp3", 44_100), ("wav", 44_100), ("opus", 48_000)]
)
def test_rate_chosen_by_the_server(audio_format: str, rate: int) -> None:
    """Where no rate is asked for, the documented default is assumed."""
    assert CloudRequest(model="s1", format=audio_format).effective_sample_rate == rate


@pytest.mark.parametrize(
    ("voice", "expected"),
    [
        (None, "configured"),
        (Voice("general"), "general"),
        (Voice("general", cloud_id="own"), "own"),
        (Voice(cloud_id=("a", "b")), ["a", "b"]),
        (Voice(cloud_id=("a",)), "a"),
        (Voice("general", clips=(ReferenceClip(audio=b"c", text="t"),)), "general"),
    ],
)
def test_voice_resolution(voice: Voice | None, expected: object) -> None:
    """The cloud's own id comes before the general one, which comes before clips."""
    wire = built(Utterance(voice=voice), voice="configured")
    assert wire["reference_id"] == expected
    assert "references" not in wire


def test_clips_are_used_without_an_id() -> None:
    """A cloned voice replaces the configured one."""
    clip = ReferenceClip(audio=b"c", text="t")
    wire = built(Utterance(voice=Voice(clips=(clip,))), voice="configured")
    assert wire["references"] == [{"audio": b"c", "text": "t"}]
    assert "reference_id" not in wire


def test_voice_of_another_backend_is_refused() -> None:
    """Never another voice in silence: a voice for a server only is unknown here."""
    with pytest.raises(UnknownVoiceError, match="cloud_id, id or clips"):
        built(Utterance(voice=Voice(server_id="s")))


@pytest.mark.parametrize("sampling", [Sampling(seed=1), Sampling(top_k=5)])
def test_sampling_that_would_be_ignored_is_refused(sampling: Sampling) -> None:
    """A seed without effect would promise repeatable speech."""
    with pytest.raises(InvalidRequestError, match="Fish Audio cloud has no") as caught:
        built(Utterance(sampling=sampling))
    assert caught.value.backend == "cloud"


def test_settings_and_utterance_meet_in_the_request() -> None:
    """Sampling and prosody come from the utterance, the rest from the settings."""
    wire = built(
        Utterance(
            prosody=Prosody(speed=1.25, volume_db=2),
            sampling=Sampling(temperature=0.1, top_p=0.2, repetition_penalty=1.3, max_new_tokens=7),
        ),
        sample_rate=24_000,
        normalize_loudness=True,
        features=["quality-guard"],
    )
    assert wire["prosody"] == {"speed": 1.25, "volume": 2, "normalize_loudness": True}
    chosen = ("temperature", "top_p", "repetition_penalty", "max_new_tokens")
    assert [wire[name] for name in chosen] == [0.1, 0.2, 1.3, 7]
    assert wire["sample_rate"] == 24_000
    assert wire["features"] == ["quality-guard"]


def test_prosody_that_changes_nothing_is_not_sent() -> None:
    """A neutral prosody leaves the choice to the server, as no prosody does."""
    assert "prosody" not in built(Utterance(prosody=Prosody()))
