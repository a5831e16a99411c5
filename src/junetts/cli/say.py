"""``junetts say``: text to a file, a pipe or the loudspeaker."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import typer

from junetts._assembly import LOCAL, chosen
from junetts._client import TTS
from junetts._errors import AudioDeviceError, InvalidRequestError, JuneTtsError
from junetts._segmentation import is_speakable
from junetts._utterance import Prosody, Voice
from junetts.cli.failures import (
    BROKEN_PIPE,
    FAILED,
    complain,
    drop_stdout,
    hint_of,
    is_broken_pipe,
    say_on_stderr,
)
from junetts.cli.interruption import interruptible
from junetts.cli.loudspeaker import Loudspeaker
from junetts.cli.outlets import STDOUT, Outlet, open_outlet
from junetts.cli.progress import progress, summary_line
from junetts.cli.trouble import Trouble

if TYPE_CHECKING:
    import io

    from junetts._config import Config
    from junetts._report import SpeechReport
    from junetts._stream import SpeechStream

_STDIN_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was asked for on the command line, checked.

    Attributes:
        text: what to say.
        config: the settings in force.
        output: a file's name, ``-`` for standard output, or None.
        play: whether to play the speech.
        as_json: whether to print the report for programs instead of people.
    """

    text: str
    config: Config
    voice: Voice | None = None
    prosody: Prosody | None = None
    output: str | None = None
    play: bool = False
    as_json: bool = False


@dataclass(slots=True)
class Ending:
    """How it came out: the report if speaking began, and what ended it before its time."""

    report: SpeechReport | None = None
    error: JuneTtsError | OSError | None = None
    interrupted: int | None = None
    outlets: list[Outlet] = field(default_factory=list)

    @property
    def is_failure(self) -> bool:
        """Whether something went wrong by itself: no signal, no reader who had enough."""
        return (
            self.error is not None and self.interrupted is None and not is_broken_pipe(self.error)
        )

    @property
    def exit_status(self) -> int:
        """0, or 1 on failure, or what a shell expects after a signal that was not too late."""
        if self.error is not None and self.interrupted is None:
            return BROKEN_PIPE if is_broken_pipe(self.error) else FAILED
        if self.error is None and self.report is not None and self.report.outcome == "complete":
            return 0
        return FAILED if self.interrupted is None else self.interrupted


def say(order: Order) -> int:
    """Speak, tell how it went, and return the exit status.

    Raises:
        JuneTtsError: if nothing could be begun, such as a file that cannot be written.
    """
    ending = Ending(outlets=_open_outlets(order))
    asyncio.run(_speak(order, ending))
    _finish(ending)
    _settle(ending)
    _tell(order, ending)
    return ending.exit_status


def _open_outlets(order: Order) -> list[Outlet]:
    outlets: list[Outlet] = []
    if order.output is not None:
        outlets.append(open_outlet(order.output))
    if order.play or order.output is None:
        outlets.append(Loudspeaker())
    return outlets


async def _speak(order: Order, ending: Ending) -> None:
    stream: SpeechStream | None = None
    trouble = Trouble(lambda: () if stream is None else stream.report.segments)
    with interruptible() as interruption:
        try:
            async with TTS(order.config, on_event=None if order.as_json else trouble) as tts:
                await _load_model(tts, order)
                stream = tts.stream(order.text, voice=order.voice, prosody=order.prosody)
                ending.error = await _deliver(stream, order, ending.outlets)
        except JuneTtsError as error:
            ending.error = error
    ending.interrupted = interruption.exit_status
    ending.report = stream.report if stream is not None else None


async def _load_model(tts: TTS, order: Order) -> None:
    """Load a model on this machine beforehand: that may take longer than a first sound may.

    Only if nobody else would speak; of several, the deadlines choose.
    """
    if is_speakable(order.text) and await chosen(order.config) == (LOCAL,):
        if not order.as_json and sys.stderr is not None and sys.stderr.isatty():
            say_on_stderr(f"loading {order.config.local.checkpoint}")
        await tts.warmup()


async def _deliver(
    stream: SpeechStream, order: Order, outlets: list[Outlet]
) -> JuneTtsError | OSError | None:
    """Hand every chunk to every outlet; returns what went wrong with either."""
    async with stream:
        with progress("" if order.as_json else order.text) as show:
            try:
                async for chunk in stream:
                    for outlet in outlets:
                        await outlet.write(chunk)
                    show(lambda: stream.report)
            except (JuneTtsError, OSError) as error:
                return error
    return None


def _finish(ending: Ending) -> None:
    """End the outlets in order; what never had audio stays untouched, unless none was due."""
    report = ending.report
    if report is None or (report.outcome != "complete" and not report.audio_s):
        return
    for outlet in ending.outlets:
        try:
            outlet.finish(report)
        except (JuneTtsError, OSError) as error:
            ending.error = ending.error or error


def _settle(ending: Ending) -> None:
    """Speech that could not be delivered has failed, even if for the stream it was cancelled."""
    if ending.is_failure and ending.report is not None:
        ending.report = dataclasses.replace(ending.report, outcome="failed")


def _tell(order: Order, ending: Ending) -> None:
    if order.as_json:
        typer.echo(json.dumps(_as_json(ending)), err=order.output == STDOUT)
    if ending.error is not None and is_broken_pipe(ending.error):
        drop_stdout()
    elif isinstance(ending.error, JuneTtsError):
        complain(ending.error)
    elif ending.error is not None:
        say_on_stderr(f"junetts: {ending.error.strerror or ending.error}")
    if not order.as_json and not _is_quiet(ending):
        for outlet in ending.outlets:
            say_on_stderr(summary_line(ending.report, outlet.name))


def _is_quiet(ending: Ending) -> bool:
    """Whether a summary would only repeat the complaint, or is for nobody."""
    if ending.error is None:
        return False
    if is_broken_pipe(ending.error) or isinstance(ending.error, AudioDeviceError):
        return True
    return ending.report is None or not ending.report.audio_s


def _as_json(ending: Ending) -> dict[str, object]:
    """The report, and what went wrong."""
    if ending.report is not None:
        found = dataclasses.asdict(ending.report)
    else:
        found = {"outcome": "failed" if ending.interrupted is None else "cancelled"}
    if ending.error is not None and not is_broken_pipe(ending.error):
        found["error"] = str(ending.error)
    if isinstance(ending.error, JuneTtsError):
        found["hint"] = hint_of(ending.error)
    return found


def voice_of(voice: str | None) -> Voice | None:
    """The voice that ``--voice`` names."""
    return None if voice is None else Voice(voice)


def prosody_of(speed: float | None) -> Prosody | None:
    """The pace that ``--speed`` names."""
    return None if speed is None else Prosody(speed=speed)


def read_text(argument: str | None) -> str:
    """The text to speak: the argument, or standard input for ``-`` or nothing.

    Raises:
        InvalidRequestError: if there is none, or it is not UTF-8.
    """
    if argument is not None and argument != STDOUT:
        return _checked(argument)
    if sys.stdin is None or (argument is None and sys.stdin.isatty()):
        raise InvalidRequestError("there is no text: junetts say TEXT, or pipe it in")
    stdin = cast("io.BufferedReader", sys.stdin.buffer)
    # Piece by piece, as one long read in C can miss a Ctrl-C that comes between two pieces.
    data = b"".join(iter(lambda: stdin.read1(_STDIN_BYTES), b""))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem = f"standard input is not UTF-8 text (byte {error.start})"
    raise InvalidRequestError(problem)


def _checked(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        problem = f"the text is not valid UTF-8 (character {error.start + 1})"
        raise InvalidRequestError(problem) from None
    return text
