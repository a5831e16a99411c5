"""What to speak and how: every field validated where it is given."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from junetts._errors import InvalidRequestError
from junetts._utterance import MAX_SEED, Prosody, ReferenceClip, Sampling, Utterance, Voice


@pytest.mark.parametrize(
    ("kind", "field", "good", "bad"),
    [
        (Prosody, "speed", [0.5, 1, 2.0], [0.49, 2.01, "1", True, float("nan")]),
        (Prosody, "volume_db", [-20, 0.0, 20], [-20.1, 20.1, "x", float("inf")]),
        (Sampling, "temperature", [None, 0, 0.7, 1], [-0.1, 1.1, "hot", True]),
        (Sampling, "top_p", [None, 0, 1.0], [-1, 2]),
        (Sampling, "top_k", [None, 1, 30], [0, -1, 1.5, 2**31]),
        (Sampling, "repetition_penalty", [None, 0.9, 2], [0.89, 2.1]),
        (Sampling, "seed", [None, 0, MAX_SEED], [-1, MAX_SEED + 1, 1.0]),
        (Sampling, "max_new_tokens", [None, 1, 4096], [0, 2.5, "9"]),
    ],
)
def test_numbers_have_bounds(
    kind: type[Prosody] | type[Sampling], field: str, good: list[object], bad: list[object]
) -> None:
    """A value outside names the field, the value and the bounds."""
    for value in good:
        assert getattr(kind(**{field: value}), field) == value  # type: ignore[arg-type]
    for value in bad:
        with pytest.raises(InvalidRequestError) as raised:
            kind(**{field: value})  # type: ignore[arg-type]
        name = f"{kind.__name__.lower()}.{field}"
        assert raised.value.field == name
        assert str(raised.value).startswith(f"{name} must be a")
        assert repr(value) in str(raised.value)


@pytest.mark.parametrize("field", ["id", "server_id", "language", "cloud_id"])
@pytest.mark.parametrize("value", ["", "  ", 3, b"x"])
def test_voice_ids_are_text(field: str, value: object) -> None:
    """An id that is empty or no text is refused by its field's name."""
    with pytest.raises(InvalidRequestError) as raised:
        Voice(**{field: value})  # type: ignore[arg-type]
    assert raised.value.field == f"voice.{field}"


def test_a_voice_may_be_several_in_the_cloud() -> None:
    """Lists become tuples; none or a wrong one is refused."""
    assert Voice(cloud_id=["a", "b"]).cloud_id == ("a", "b")  # type: ignore[arg-type]
    for wrong in ([], ["a", ""], {"a"}):
        with pytest.raises(InvalidRequestError, match=r"voice\.cloud_id"):
            Voice(cloud_id=wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match=r"voice\.clips"):
        Voice(clips="clip")  # type: ignore[arg-type]


def test_cloning(tmp_path: Path) -> None:
    """A recording comes as bytes or a path; its bytes stay out of the repr."""
    path = tmp_path / "june.wav"
    path.write_bytes(b"RIFF-secret")
    clip = ReferenceClip(audio=b"RIFF-secret", text="Hello.")
    for audio in (b"RIFF-secret", path, str(path)):
        assert Voice.clone(audio, "Hello.").clips == (clip,)
    assert repr(clip) == "ReferenceClip(audio=<11 bytes>, text='Hello.')"
    assert Voice(clips=[clip]).clips == (clip,)  # type: ignore[arg-type]


@pytest.mark.parametrize("audio", [b"", None, 3])
def test_a_clip_needs_audio(audio: object) -> None:
    """No bytes, no voice."""
    with pytest.raises(InvalidRequestError, match=r"voice\.audio must be the bytes"):
        Voice.clone(audio, "Hello.")  # type: ignore[arg-type]


def test_a_clip_needs_text(tmp_path: Path) -> None:
    """The transcript is text; a file that is not there is told as such."""
    with pytest.raises(InvalidRequestError, match=r"voice\.text must be the transcript"):
        Voice.clone(b"x", None)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match=r"voice\.audio cannot be read: No such file"):
        Voice.clone(tmp_path / "none.wav", "Hello.")


def test_values_are_frozen() -> None:
    """An utterance cannot change under way."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Utterance().voice = Voice("june")  # type: ignore[misc]
