"""One file of a checkpoint, looked at before anything is read from it."""

from __future__ import annotations

import stat
from pathlib import Path

from junetts._errors import CheckpointError

DOWNLOAD_AGAIN = "the file is damaged or incomplete; delete it, and download it again"
INCOMPLETE = "the download may be incomplete; run it again"
LFS_MAGIC = b"version https://git-lfs"


def check_file(path: Path) -> bytes:
    """Check that ``path`` is a readable file with content of its own; return its first bytes.

    Raises:
        CheckpointError: it is missing, not a regular file, unreadable, empty, or a git-lfs pointer.
    """
    try:
        head = _head(path)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist", path=str(path), hint=INCOMPLETE) from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}", path=str(path)) from error
    if head is None:
        raise CheckpointError(f"{path} is not a file", path=str(path))
    if not head:
        raise CheckpointError(f"{path} is empty", path=str(path), hint=DOWNLOAD_AGAIN)
    if head.startswith(LFS_MAGIC):
        raise CheckpointError(
            f"{path} is a git-lfs pointer, not the file that it stands for",
            path=str(path),
            hint="run `git lfs pull` in the clone, or download the checkpoint without git",
        )
    return head


def _head(path: Path) -> bytes | None:
    """The first bytes; None if it is not a regular file (opening a pipe would wait for ever)."""
    if not stat.S_ISREG(path.stat().st_mode):
        return None
    with path.open("rb") as file:
        return file.read(64)


def read_text(path: Path) -> str:
    """The whole of a text file.

    Raises:
        CheckpointError: as `check_file` does, or it is not UTF-8.
    """
    check_file(path)
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}", path=str(path)) from error
    except UnicodeDecodeError as error:
        raise CheckpointError(
            f"{path} is not a UTF-8 text file", path=str(path), hint=DOWNLOAD_AGAIN
        ) from error
