"""The model hub's failures, in our words."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from junetts._errors import JuneTtsError

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

RESUME = "run the same command again to go on; files that are complete are kept"
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))  # Windows has no quotas


@contextmanager
def translated(page: str, target: Path) -> Iterator[None]:
    """Turn what the hub's library raises, while it loads ``page`` to ``target``, into ours.

    Raises:
        JuneTtsError: saying whether it is the licence, the connection or the disk.
    """
    from huggingface_hub.errors import HfHubHTTPError

    # What the library's HTTP client raises: httpx's errors in version 1, httpx2's in version 2.
    transport = [kind for kind in HfHubHTTPError.__bases__ if issubclass(kind, Exception)]
    # RuntimeError is what its fast transfer raises.
    foreign: tuple[type[Exception], ...] = (OSError, RuntimeError, *transport)
    try:
        yield
    except foreign as error:
        raise _problem(error, page, target) from error


def no_room(target: Path, detail: str) -> JuneTtsError:
    """What to say of a full disk."""
    return JuneTtsError(
        f"no space left in {target}: {detail}", hint="free some, or use --to DIR on another disk"
    )


def _problem(error: BaseException, page: str, target: Path) -> JuneTtsError:
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    while isinstance(error, LocalEntryNotFoundError) and error.__cause__ is not None:
        error = error.__cause__  # it stands before the reason
    if isinstance(error, HfHubHTTPError):
        return _refusal(error, page)
    if isinstance(error, OfflineModeIsEnabled):
        return JuneTtsError(
            "the hub's library is set to be offline", hint="unset HF_HUB_OFFLINE, and try again"
        )
    if isinstance(error, OSError) and error.errno in _FULL:
        return no_room(target, error.strerror or "the disk is full")
    if isinstance(error, OSError) and error.filename is not None:
        return JuneTtsError(f"cannot write {error.filename}: {error.strerror}")
    reason = str(error).strip() or type(error).__name__
    return JuneTtsError(
        f"the download from {page} broke off or could not begin: {reason}",
        retryable=True,
        hint=f"check the connection, then {RESUME}",
    )


def _refusal(error: HfHubHTTPError, page: str) -> JuneTtsError:
    status = error.response.status_code
    if status in (401, 403):
        return JuneTtsError(
            f"{page} refuses the download (status {status}): it is given only to those who have "
            "accepted its terms there",
            status=status,
            hint=f"accept them on {page}, then `hf auth login`, then try again",
        )
    if status == 404:
        return JuneTtsError(f"there is no {page} (status 404)", status=status)
    return JuneTtsError(
        f"the hub answers with status {status}",
        status=status,
        retryable=True,
        hint=f"try again later; {RESUME}",
    )
