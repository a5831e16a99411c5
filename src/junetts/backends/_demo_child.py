"""The program of the demo voice's child process: eSpeak NG behind two pipes.

It runs alone in a process because eSpeak NG keeps its state in globals: two threads in it mix
their audio or abort. It reads frames from standard input, writes frames to standard output,
ignores the terminal's interrupts and ends as soon as its standard input does. It imports
nothing but small parts of the standard library, so that it is there in milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

from junetts.backends._demo_frames import (
    Frame,
    FrameDecoder,
    Kind,
    SpeakRequest,
    WordEvent,
    decode_request,
    encode_frame,
    encode_words,
)

BUFFER_MS = 200  # of sound per callback: 0.2 ms of work, so it delays nothing

# From eSpeak NG's speak_lib.h.
_OUTPUT_SYNCHRONOUS = 2
_PHONEME_EVENTS = 1
_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1  # and neither SSML (0x10) nor [[phonemes]] (0x100): text is only ever text
_END_PAUSE = 0x1000  # the pause of a sentence, 0.3 s: the next segment follows without one
_RATE = 1
_EVENT_LIST_END = 0
_EVENT_WORD = 1
_EVENT_PHONEME = 7
_PAUSE = b"_:"

Emit = Callable[[bytes, list[WordEvent]], bool]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position_ms", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    ]


class _Voice(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event))


class Synthesiser(Protocol):
    """What a `Session` speaks with."""

    def describe(self) -> str:
        """The payload of ``READY``."""

    def speak(self, request: SpeakRequest, emit: Emit) -> str | None:
        """Speak until ``emit`` returns False; returns why it could not, if so."""


class Espeak:
    """The eSpeak NG library; at most one per process, used by one thread.

    Changes the working directory to the data's: the library cuts paths at 160 bytes.

    Raises:
        OSError: the library or its data cannot be loaded.
    """

    def __init__(self, library: str, data: str) -> None:
        self._data = data
        os.chdir(os.path.dirname(data))
        self._library = ctypes.CDLL(library)
        self._declare()
        rate = self._library.espeak_Initialize(
            _OUTPUT_SYNCHRONOUS, BUFFER_MS, b".", _DONT_EXIT | _PHONEME_EVENTS
        )
        if rate <= 0:
            raise OSError(f"eSpeak NG cannot read its data in {data}")
        self.sample_rate = int(rate)
        self._emit: Emit = lambda _pcm, _words: False
        self._callback = _Callback(self._on_sound)  # kept: the library calls it later
        self._library.espeak_SetSynthCallback(self._callback)

    def _declare(self) -> None:
        library = self._library
        library.espeak_Initialize.argtypes = [
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_char_p,
            ctypes.c_int,
        ]
        library.espeak_Info.restype = ctypes.c_char_p
        library.espeak_ListVoices.argtypes = [ctypes.c_void_p]
        library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
        library.espeak_Synth.argtypes = [
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.c_uint,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]

    def describe(self) -> str:
        """Sample rate and version, then per voice: identifier, name, languages by priority."""
        version = self._library.espeak_Info(None).decode()
        return "\n".join([f"{self.sample_rate}\t{version}", *self._voices()])

    def _voices(self) -> Iterator[str]:
        dictionaries = set(os.listdir(self._data))
        listed = self._library.espeak_ListVoices(None)
        index = 0
        while listed[index]:
            voice = listed[index].contents
            index += 1
            identifier = voice.identifier.decode()
            languages = list(_languages(voice.languages))
            if self._has_dictionary(identifier, languages[0][1], dictionaries):
                tags = ",".join(f"{tag} {priority}" for priority, tag in languages)
                yield f"{identifier}\t{voice.name.decode()}\t{tags}"

    def _has_dictionary(self, identifier: str, language: str, dictionaries: set[str]) -> bool:
        """Whether a voice can speak: some are listed whose dictionary was never shipped."""
        if f"{language.split('-')[0]}_dict" in dictionaries:
            return True
        with open(os.path.join(self._data, "lang", identifier), encoding="utf-8") as file:
            settings = [line.split() for line in file]
        return any(
            line[0] == "dictionary" and f"{line[1]}_dict" in dictionaries
            for line in settings
            if len(line) > 1
        )

    def speak(self, request: SpeakRequest, emit: Emit) -> str | None:
        """Speak, handing sound and words to ``emit`` until it returns False."""
        if self._library.espeak_SetVoiceByName(request.voice.encode()) != 0:
            return f"eSpeak NG does not know the voice {request.voice!r}"
        self._library.espeak_SetParameter(_RATE, request.words_per_minute, 0)
        self._emit = emit
        text = request.text.encode()
        flags = _CHARS_UTF8 | _END_PAUSE
        status = self._library.espeak_Synth(text, len(text) + 1, 0, 1, 0, flags, None, None)
        return None if status == 0 else f"eSpeak NG failed with status {status}"

    def _on_sound(self, wav: int | None, n_samples: int, events: ctypes.Array[_Event]) -> int:
        pcm = ctypes.string_at(wav, 2 * n_samples) if wav else b""
        words = []
        index = 0
        while events[index].type != _EVENT_LIST_END:
            event = events[index]
            index += 1
            if event.type == _EVENT_WORD and event.text_position > 0:
                words.append(WordEvent(event.text_position - 1, event.length, event.sample))
            elif event.type == _EVENT_PHONEME and event.id.startswith(_PAUSE):
                words.append(WordEvent(0, 0, event.sample))
        return 0 if self._emit(pcm, words) else 1


def _languages(address: int) -> Iterator[tuple[int, str]]:
    """A voice's languages: a byte of priority and a terminated string each, then a zero byte."""
    while priority := ctypes.c_ubyte.from_address(address).value:
        tag = ctypes.string_at(address + 1)
        address += len(tag) + 2
        yield priority, tag.decode()


class Session:
    """Speaks requests one after another, in the order in which they came.

    `accept` may be called from another thread than `serve`: that is how a request is cancelled
    while it is spoken.
    """

    def __init__(self, synthesiser: Synthesiser, write: Callable[[bytes], None]) -> None:
        self._synthesiser = synthesiser
        self._write = write
        self._decoder = FrameDecoder()
        self._requests: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self._cancelled: set[int] = set()

    def accept(self, data: bytes) -> None:
        """Take in bytes from the parent; none at all mean that no more will come."""
        if not data:
            self._requests.put(None)
        for frame in self._decoder.feed(data):
            if frame.kind is Kind.CANCEL:
                self._cancelled.add(frame.request)
            else:
                self._requests.put(frame)

    def serve(self) -> None:
        """Speak until no more requests can come."""
        self._send(Kind.READY, 0, self._synthesiser.describe().encode())
        while frame := self._requests.get():
            if frame.request not in self._cancelled:
                self._speak(frame)
            self._send(Kind.DONE, frame.request)
            # Requests are numbered upwards: a cancel that came too late goes with the next.
            self._cancelled = {one for one in self._cancelled if one > frame.request}

    def _speak(self, frame: Frame) -> None:
        def emit(pcm: bytes, words: list[WordEvent]) -> bool:
            if frame.request in self._cancelled:
                return False
            data = b""
            if words:
                data += encode_frame(Frame(Kind.WORDS, frame.request, encode_words(words)))
            if pcm:
                data += encode_frame(Frame(Kind.AUDIO, frame.request, pcm))
            self._write(data)
            return True

        refusal = self._synthesiser.speak(decode_request(frame.payload), emit)
        if refusal is not None:
            self._send(Kind.REFUSED, frame.request, refusal.encode())

    def _send(self, kind: Kind, request: int, payload: bytes = b"") -> None:
        self._write(encode_frame(Frame(kind, request, payload)))


def main(library: str, data: str) -> None:
    """Serve standard input and output until either closes; does not return."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = os.dup(1)
    os.dup2(2, 1)  # what the library prints must not get between the frames
    serve(library, data, source=0, sink=out, leave=os._exit)


def serve(library: str, data: str, *, source: int, sink: int, leave: Callable[[int], None]) -> None:
    """Serve two file descriptors until either closes; then ``leave``, from whatever thread."""

    def write(frames: bytes) -> None:
        left = memoryview(frames)
        try:
            while left:
                left = left[os.write(sink, left) :]
        except OSError:
            leave(0)  # the parent is gone, and this may be inside a callback of the library

    def listen() -> None:
        while received := os.read(source, 65_536):
            session.accept(received)
        leave(0)  # whatever the library is doing
        session.accept(b"")

    try:
        session = Session(Espeak(library, data), write)
    except OSError as error:
        write(encode_frame(Frame(Kind.BROKEN, 0, str(error).encode())))
        leave(1)
        return
    threading.Thread(target=listen, daemon=True).start()
    session.serve()
