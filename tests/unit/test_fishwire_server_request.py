"""A request to ``/v1/tts`` is right before it is sent."""

from __future__ import annotations

from typing import Any

import pytest

from junetts._config import ServerSection
from junetts._errors import InvalidRequestError
from junetts._fishwire.server_request import ServerRequest, is_reference_id
from junetts._fishwire.speaker_tags import attributed, without_tags
from junetts._utterance import Prosody, ReferenceClip, Sampling, Utterance


def test_defaults_are_the_servers_own() -> None:
    """What nobody sets is sent as the server's schema has it."""
    request = ServerRequest(text="Hello.")
    assert (request.chunk_length, request.format, request.streaming) == (200, "wav", False)
    assert (request.max_new_tokens, request.top_p, request.temperature) == (1024, 0.8, 0.8)
    assert (request.repetition_penalty, request.use_memory_cache) == (1.1, "off")


def test_settings_and_sampling_arrive_in_the_request() -> None:
    """Section and utterance are merged, volume left out."""
    section = ServerSection(chunk_length=300, use_memory_cache="off", normalize=False)
    sampling = Sampling(temperature=1, top_p=0.5, repetition_penalty=2, seed=7, max_new_tokens=64)
    utterance = Utterance(sampling=sampling, prosody=Prosody(volume_db=-6))
    assert ServerRequest.for_utterance(utterance, section) == ServerRequest(
        chunk_length=300,
        normalize=False,
        streaming=True,
        temperature=1.0,
        top_p=0.5,
        repetition_penalty=2.0,
        seed=7,
        max_new_tokens=64,
    )


def test_whole_numbers_become_floats() -> None:
    """The server refuses integers where its schema has floats."""
    request = ServerRequest(temperature=1, top_p=1, repetition_penalty=1)
    values = (request.temperature, request.top_p, request.repetition_penalty)
    assert [type(value) for value in values] == [float, float, float]


def test_mp3_is_not_streamed() -> None:
    """The server streams only wav, so that choosing mp3 is choosing not to stream."""
    request = ServerRequest.for_utterance(Utterance(), ServerSection(format="mp3"))
    assert not request.streaming


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"temperature": 0}, "sampling.temperature", "from 0.1 to 1.0, not 0"),
        ({"temperature": 1.01}, "sampling.temperature", "from 0.1 to 1.0, not 1.01"),
        ({"temperature": None}, "sampling.temperature", "not None"),
        ({"top_p": 0.05}, "sampling.top_p", "from 0.1 to 1.0, not 0.05"),
        ({"repetition_penalty": 2.5}, "sampling.repetition_penalty", "from 0.9 to 2.0, not 2.5"),
        ({"max_new_tokens": 1}, "sampling.max_new_tokens", "from 2 to"),
        ({"max_new_tokens": None}, "sampling.max_new_tokens", "not None"),
        ({"seed": -1}, "sampling.seed", "from 0 to"),
        ({"chunk_length": 99}, "chunk_length", "from 100 to 1000, not 99"),
        ({"format": "opus"}, "format", "wav or mp3, not 'opus'"),
        ({"format": "mp3", "streaming": True}, "format", "wav where streaming is on, not 'mp3'"),
        ({"latency": "low"}, "latency", "normal or balanced, not 'low'"),
        ({"use_memory_cache": True}, "use_memory_cache", "on or off, not True"),
        ({"normalize": 1}, "normalize", "True or False, not 1"),
        ({"streaming": "yes"}, "streaming", "True or False, not 'yes'"),
        ({"reference_id": "../etc"}, "voice.server_id", "letters, digits"),
        ({"reference_id": "a" * 256}, "voice.server_id", "at most 255"),
        ({"reference_id": 7}, "voice.server_id", "letters, digits"),
        ({"references": [1]}, "references", "tuple"),
        ({"references": (1,)}, "references", "not int"),
        ({"text": 1}, "text", "str, not int"),
        ({"text": "a\ud800"}, "text", "character 1 is half a surrogate pair"),
        (
            {"references": (ReferenceClip(audio=b"x", text="\udfff"),)},
            "voice.text",
            "half a surrogate",
        ),
    ],
)
def test_wrong_values_are_refused_by_name(values: dict[str, Any], field: str, words: str) -> None:
    """The error names the field as the caller knows it, the value and the bounds."""
    with pytest.raises(InvalidRequestError, match=words) as caught:
        ServerRequest(**values)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("utterance", "field"),
    [
        (Utterance(prosody=Prosody(speed=1.5)), "prosody.speed"),
        (Utterance(sampling=Sampling(top_k=30)), "sampling.top_k"),
        (Utterance(sampling=Sampling(temperature=0)), "sampling.temperature"),
        (Utterance(sampling=Sampling(max_new_tokens=1)), "sampling.max_new_tokens"),
    ],
)
def test_wishes_that_the_server_cannot_fulfil_are_refused(utterance: Utterance, field: str) -> None:
    """Nothing is silently left out."""
    with pytest.raises(InvalidRequestError) as caught:
        ServerRequest.for_utterance(utterance, ServerSection())
    assert caught.value.field == field


def test_reference_ids_are_matched_whole() -> None:
    """A line break at the end is not part of an id."""
    assert is_reference_id("June 2-b_c")
    assert not is_reference_id("June\n")
    assert not is_reference_id("")


@pytest.mark.parametrize(
    ("text", "speaker", "expected"),
    [
        ("Hello.", "", ("Hello.", "")),
        ("Hello.", "<|speaker:3|>", ("<|speaker:3|>Hello.", "<|speaker:3|>")),
        (" <|speaker:1|>Hi.", "", (" <|speaker:1|>Hi.", "<|speaker:1|>")),
        ("Oh. <|speaker:1|>Hi.", "", ("<|speaker:0|>Oh. <|speaker:1|>Hi.", "<|speaker:1|>")),
        (
            "Oh. <|speaker:1|>Hi. <|speaker:2|>Yo.",
            "<|speaker:4|>",
            ("<|speaker:4|>Oh. <|speaker:1|>Hi. <|speaker:2|>Yo.", "<|speaker:2|>"),
        ),
    ],
)
def test_no_word_is_without_its_speaker(text: str, speaker: str, expected: tuple[str, str]) -> None:
    """The server drops text before the first tag, and forgets earlier requests."""
    assert attributed(text, speaker) == expected


def test_tags_are_not_text() -> None:
    """What is left without tags is what is to be spoken."""
    assert without_tags("<|speaker:0|> a <|speaker:12|>") == " a "
