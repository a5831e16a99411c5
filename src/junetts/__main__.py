"""The ``junetts`` command."""

from __future__ import annotations

import sys
from typing import NoReturn

from junetts.cli.failures import INTERRUPTED


def main() -> NoReturn:
    """Run the command line and exit; its own dependencies are in the extra ``cli``."""
    try:
        from junetts.cli.app import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("typer", "click", "rich"):
            raise
        sys.stderr.write('junetts: the command line needs typer: pip install "junetts[cli]"\n')
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    run()


if __name__ == "__main__":
    main()
