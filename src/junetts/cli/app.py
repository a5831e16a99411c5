"""The commands and their options."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, NoReturn

import typer

from junetts import __version__
from junetts._errors import InvalidRequestError, JuneTtsError
from junetts.cli.failures import (
    BROKEN_PIPE,
    FAILED,
    INTERRUPTED,
    complain,
    drop_stdout,
    is_broken_pipe,
    say_on_stderr,
)

app = typer.Typer(
    name="junetts",
    help="Speak text with Fish Speech: in the cloud, on a server, or on this machine.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # its tracebacks show local variables, keys among them
)

ConfigPath = Annotated[
    str | None, typer.Option("--config", metavar="PATH", help="Settings file to use.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def run() -> NoReturn:
    """Run the command line and exit with its status."""
    sys.exit(app(prog_name="junetts"))


def _exit_with(work: Callable[[], int]) -> NoReturn:
    """Turn whatever a user can cause into an exit status and one line."""
    try:
        status = work()
    except InvalidRequestError as error:
        raise typer.BadParameter(str(error)) from None
    except JuneTtsError as error:
        complain(error)
        status = FAILED
    except KeyboardInterrupt:
        status = INTERRUPTED
    except OSError as error:  # of the text on stdout: audio has its own errors
        drop_stdout()
        status = BROKEN_PIPE if is_broken_pipe(error) else FAILED
        if status == FAILED:
            say_on_stderr(f"junetts: {error.strerror or error}")
    raise typer.Exit(status)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"junetts {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Options of the program as a whole."""


@app.command()
def say(
    text: Annotated[
        str | None,
        typer.Argument(metavar="TEXT|-", help="What to say; - or nothing reads standard input."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|-",
            help="Write a .wav, .flac, .ogg, .opus or .mp3 file; - writes WAV to standard output.",
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Speak with cloud, server, local or demo only."),
    ] = None,
    voice: Annotated[
        str | None, typer.Option(metavar="ID", help="The voice, by its id on the backend.")
    ] = None,
    speed: Annotated[
        float | None, typer.Option(metavar="X", help="Pace from 0.5 to 2; 1 is the voice's own.")
    ] = None,
    play: Annotated[bool, typer.Option("--play", help="Play it; the default without -o.")] = False,
    as_json: AsJson = False,
    config: ConfigPath = None,
) -> None:
    """Speak text."""

    def work() -> int:
        from junetts._config import BACKEND_NAMES, resolve
        from junetts.cli.say import Order, prosody_of, read_text, say, voice_of

        if backend is not None and backend not in BACKEND_NAMES:
            known = ", ".join(BACKEND_NAMES)
            raise InvalidRequestError(f"--backend must be one of {known}, not {backend!r}")
        overrides = {} if backend is None else {"backends": backend}
        order = Order(
            voice=voice_of(voice),
            prosody=prosody_of(speed),
            config=resolve(config, overrides),
            text=read_text(text),
            output=output,
            play=play,
            as_json=as_json,
        )
        return say(order)

    _exit_with(work)


@app.command()
def doctor(as_json: AsJson = False, config: ConfigPath = None) -> None:
    """Check each backend, and print the fix for what does not work."""

    def work() -> int:
        from junetts.cli.doctor import doctor

        return doctor(config, as_json=as_json)

    _exit_with(work)


@app.command()
def download(
    model: Annotated[str, typer.Argument(metavar="s1-mini|s2-pro", help="Which model.")],
    to: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Where to, instead of a directory in checkpoints."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Accept the licence of the weights, and do not ask.")
    ] = False,
) -> None:
    """Download a model to speak with on this machine, after showing its licence."""

    def work() -> int:
        from junetts.cli.download import download

        return download(model, to=to, is_agreed=yes)

    _exit_with(work)


@app.command("config")
def show_config(as_json: AsJson = False, config: ConfigPath = None) -> None:
    """Print the settings in force, and where each comes from."""

    def work() -> int:
        from junetts.cli.settings import show_settings

        return show_settings(config, as_json=as_json)

    _exit_with(work)
