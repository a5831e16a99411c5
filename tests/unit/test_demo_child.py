"""The child process's own program, run here: the session and the eSpeak NG library."""

from __future__ import annotations

import array
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from junetts.backends._demo_child import Emit, Espeak, Session, serve
from junetts.backends._demo_frames import (
    Frame,
    FrameDecoder,
    Kind,
    SpeakRequest,
    WordEvent,
    decode_words,
    encode_frame,
    encode_request,
)
from junetts.backends.demo import find_library

REQUEST = SpeakRequest("one two three", "en", 175)


class ScriptedSynthesiser:
    """Says each word of the text as a sound; does what ``meanwhile`` says after each."""

    def __init__(self) -> None:
        self.meanwhile = lambda: None
        self.said: list[str] = []

    def describe(self) -> str:
        """One line, no voices."""
        return "22050\t1.0"

    def speak(self, request: SpeakRequest, emit: Emit) -> str | None:
        """Emit the words of the text."""
        if request.voice == "nobody":
            return "no such voice"
        for word in request.text.split():
            if not emit(word.encode(), [WordEvent(0, len(word), 0)]):
                break
            self.said.append(word)
            self.meanwhile()
        emit(b"", [])
        return None


class Parent:
    """The other end of a session."""

    def __init__(self) -> None:
        self.synthesiser = ScriptedSynthesiser()
        self._written = b""
        self.session = Session(self.synthesiser, self._write)

    def _write(self, data: bytes) -> None:
        self._written += data

    def speak(self, number: int, request: SpeakRequest = REQUEST) -> None:
        """Ask for speech."""
        self.session.accept(encode_frame(Frame(Kind.SPEAK, number, encode_request(request))))

    def cancel(self, number: int) -> None:
        """Take a request back."""
        self.session.accept(encode_frame(Frame(Kind.CANCEL, number)))

    def answers(self) -> list[Frame]:
        """Serve what there is to the end; the frames, without the introduction."""
        self.session.accept(b"")
        self.session.serve()
        first, *frames = FrameDecoder().feed(self._written)
        assert first == Frame(Kind.READY, 0, b"22050\t1.0")
        return frames


def _of(frames: list[Frame], number: int) -> list[tuple[Kind, bytes]]:
    return [(kind, data) for kind, request, data in frames if request == number]


def test_speaks_in_order() -> None:
    """Requests are answered one after another, each closed by DONE."""
    parent = Parent()
    parent.speak(1)
    parent.speak(2, SpeakRequest("x", "en", 175))
    frames = parent.answers()
    sounds = [(frame.request, frame.payload) for frame in frames if frame.kind is Kind.AUDIO]
    assert sounds == [(1, b"one"), (1, b"two"), (1, b"three"), (2, b"x")]
    words = [frame.payload for frame in frames if frame.kind is Kind.WORDS]
    assert decode_words(words[0]) == [WordEvent(0, 3, 0)]
    assert [frame.request for frame in frames if frame.kind is Kind.DONE] == [1, 2]


def test_refusal() -> None:
    """What cannot be spoken is refused with the reason, and is over."""
    parent = Parent()
    parent.speak(1, SpeakRequest("x", "nobody", 175))
    assert _of(parent.answers(), 1) == [(Kind.REFUSED, b"no such voice"), (Kind.DONE, b"")]


def test_cancel_while_speaking() -> None:
    """A cancelled request stops at the next sound; the one after it is spoken."""
    parent = Parent()
    parent.synthesiser.meanwhile = lambda: parent.cancel(1)
    parent.speak(1)
    parent.speak(2)
    frames = parent.answers()
    assert parent.synthesiser.said == ["one", "one", "two", "three"]
    assert _of(frames, 1)[-1] == (Kind.DONE, b"")


def test_cancel_before_speaking() -> None:
    """A request cancelled in the queue is not begun, but answered."""
    parent = Parent()
    parent.speak(1)
    parent.speak(2)
    parent.cancel(1)
    parent.cancel(2)
    assert parent.answers() == [Frame(Kind.DONE, 1), Frame(Kind.DONE, 2)]
    assert parent.session._cancelled == set()


def test_late_cancel() -> None:
    """A cancel that comes after the end is forgotten with the next request."""
    parent = Parent()
    parent.cancel(1)
    parent.speak(2)
    parent.answers()
    assert parent.synthesiser.said == ["one", "two", "three"]
    assert parent.session._cancelled == set()


@pytest.fixture
def espeak(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Espeak]:
    """The real library, in this process; it changes the directory, which is put back."""
    monkeypatch.chdir(tmp_path)
    yield (library := Espeak(*find_library()))
    library._library.espeak_Terminate()


def test_espeak_speaks(espeak: Espeak) -> None:
    """Sound and word events come through the callback."""
    sound, words = b"", []

    def emit(pcm: bytes, events: list[WordEvent]) -> bool:
        nonlocal sound
        sound += pcm
        words.extend(events)
        return True

    assert espeak.speak(SpeakRequest("Hello world", "gmw/en", 175), emit) is None
    samples = array.array("h", sound)
    assert 0.7 < len(samples) / espeak.sample_rate < 2
    assert max(samples) > 5000
    spans = [(word.position, word.length) for word in words]
    assert spans == [(0, 5), (6, 5), (0, 0)]
    assert words[0].sample < words[1].sample < words[2].sample < len(samples)


def test_espeak_stops(espeak: Espeak) -> None:
    """Once the callback has said no, it is not called again."""
    calls = []

    def emit(pcm: bytes, _events: list[WordEvent]) -> bool:
        calls.append(len(pcm))
        return len(calls) < 2

    assert espeak.speak(SpeakRequest("word " * 1000, "gmw/en", 175), emit) is None
    assert len(calls) == 2


def test_espeak_refuses_unknown_voices(espeak: Espeak) -> None:
    """A voice that does not exist is refused instead of another one speaking."""
    reason = espeak.speak(SpeakRequest("x", "nobody", 175), lambda _pcm, _words: True)
    assert reason == "eSpeak NG does not know the voice 'nobody'"


def test_every_voice_speaks(espeak: Espeak) -> None:
    """Each voice that is listed makes sound; the ones without a dictionary are not listed."""
    first, *voices = espeak.describe().split("\n")
    assert first.split("\t")[0] == "22050"
    identifiers = [voice.split("\t")[0] for voice in voices]
    assert "gmq/fo" not in identifiers
    assert {"gmq/nb", "ine/hyw", "bat/ltg"} < set(identifiers)
    for identifier in identifiers:
        heard: list[bytes] = []
        request = SpeakRequest("Hello 1 2", identifier, 175)
        assert espeak.speak(request, lambda pcm, _words, to=heard: to.append(pcm) or True) is None
        samples = array.array("h", b"".join(heard))
        assert len(samples) > 5000, identifier
        assert max(samples) > 1000, identifier


def test_data_behind_a_long_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The library cuts paths at 160 bytes; a virtual environment may well lie deeper."""
    monkeypatch.chdir(tmp_path)
    library, data = find_library()
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    (deep / "espeak-ng-data").symlink_to(data)
    espeak = Espeak(library, str(deep / "espeak-ng-data"))
    assert espeak.speak(SpeakRequest("x", "gmw/de", 175), lambda _pcm, _words: True) is None
    espeak._library.espeak_Terminate()


def _serve(library: str, data: str, requests: bytes) -> tuple[list[Frame], list[int]]:
    """Serve requests over two pipes; the answers and the exit statuses."""
    source, parent_writes = os.pipe()
    parent_reads, sink = os.pipe()
    left: list[int] = []
    os.write(parent_writes, requests)
    os.close(parent_writes)
    serve(library, data, source=source, sink=sink, leave=left.append)
    answers = os.read(parent_reads, 65_536)
    for descriptor in (source, sink, parent_reads):
        os.close(descriptor)
    return FrameDecoder().feed(answers), left


def test_serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The program introduces itself, speaks what it is asked to and leaves with its input."""
    monkeypatch.chdir(tmp_path)
    request = encode_request(SpeakRequest("a", "gmw/en", 350))
    frames, left = _serve(*find_library(), encode_frame(Frame(Kind.SPEAK, 7, request)))
    assert frames[0].kind is Kind.READY
    assert frames[-1] == Frame(Kind.DONE, 7)
    assert {frame.kind for frame in frames[1:-1]} == {Kind.WORDS, Kind.AUDIO}
    assert left == [0]


def test_serve_without_a_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What keeps the library from loading is said, and the program leaves with status 1."""
    monkeypatch.chdir(tmp_path)
    _, data = find_library()
    ((kind, _, reason),), left = _serve("/nonexistent.so", data, b"")
    assert (kind, left) == (Kind.BROKEN, [1])
    assert b"/nonexistent.so" in reason


def test_serve_without_a_parent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """If nobody can read any more, the program leaves."""
    monkeypatch.chdir(tmp_path)
    source, parent_writes = os.pipe()
    parent_reads, sink = os.pipe()
    os.close(parent_reads)
    os.close(parent_writes)
    left: list[int] = []
    serve(*find_library(), source=source, sink=sink, leave=left.append)
    assert left == [0, 0]
    os.close(source)
    os.close(sink)
