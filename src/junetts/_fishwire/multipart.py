"""``multipart/form-data`` bodies, written and read (RFC 7578)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from junetts._errors import InvalidRequestError

_BOUNDARY = re.compile(r'boundary="?([^";,]+)"?', re.IGNORECASE)
_NAME = re.compile(rb'[;\s]name="([^"]*)"', re.IGNORECASE)
_FILENAME = re.compile(rb'[;\s]filename="', re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One field of a form; a file if ``is_file``."""

    name: str
    content: bytes
    is_file: bool = False


def write_form(parts: Iterable[Part]) -> tuple[str, bytes]:
    """The content type and the body.

    The boundary is a hash of the contents, so that it depends on nothing else and occurs in none.
    """
    parts = tuple(parts)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.content)
    boundary = digest.hexdigest()[:32]
    opening = f"--{boundary}\r\n".encode()
    pieces = [opening + _head(part) + part.content + b"\r\n" for part in parts]
    body = b"".join([*pieces, f"--{boundary}--\r\n".encode()])
    return f"multipart/form-data; boundary={boundary}", body


def _head(part: Part) -> bytes:
    head = f'Content-Disposition: form-data; name="{part.name}"'
    if part.is_file:
        head += f'; filename="{part.name}"\r\nContent-Type: application/octet-stream'
    return f"{head}\r\n\r\n".encode()


def read_form(content_type: str, body: bytes) -> tuple[Part, ...]:
    """The parts of a body.

    Raises:
        InvalidRequestError: if it is not a form.
    """
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise InvalidRequestError("a form must name its boundary", field="body")
    delimiter = b"\r\n--" + boundary[1].encode("utf-8", "replace")
    _, *pieces = (b"\r\n" + body).split(delimiter)
    if not pieces or not pieces[-1].startswith(b"--"):
        raise InvalidRequestError("a form must end with its boundary", field="body")
    return tuple(_part(piece) for piece in pieces[:-1])


def _part(piece: bytes) -> Part:
    head, blank, content = piece.partition(b"\r\n\r\n")
    name = _NAME.search(head)
    if not blank or name is None:
        raise InvalidRequestError("a part of a form must have a name", field="body")
    is_file = _FILENAME.search(head) is not None
    return Part(name=name[1].decode("utf-8", "replace"), content=content, is_file=is_file)
