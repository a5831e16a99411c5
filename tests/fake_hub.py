"""A loopback model hub: the few routes that a download needs, and ways to fail."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """A hub with one repository, on 127.0.0.1, for as long as it is entered.

    Attributes:
        files: content by name.
        refusal: status and error code that every file is refused with; with ``refuses_listing``
            the list of files is, too.
        before_half: called with a file's name when half of it has been sent.
        requests: what was asked for, such as ``GET codec.pth``.
    """

    repository: str
    files: dict[str, bytes]
    refusal: tuple[int, str] | None = None
    refuses_listing: bool = False
    before_half: Callable[[str], None] = lambda name: None
    requests: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                hub.answer(self)

            def do_GET(self) -> None:
                hub.answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """What ``HF_ENDPOINT`` is to be."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, call: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        path = call.path.split("?")[0].strip("/")
        api = f"api/models/{self.repository}"
        resolve = f"{self.repository}/resolve/{COMMIT}/"
        if path == api or path.startswith(f"{api}/revision/"):
            self.requests.append(f"{call.command} listing")
            self._send_listing(call)
        elif path.startswith(resolve) and path.removeprefix(resolve) in self.files:
            name = path.removeprefix(resolve)
            self.requests.append(f"{call.command} {name}")
            self._send_file(call, name)
        else:
            self._refuse(call, 404, "RepoNotFound")

    def _send_listing(self, call: BaseHTTPRequestHandler) -> None:
        if self.refusal is not None and self.refuses_listing:
            self._refuse(call, *self.refusal)
            return
        siblings = [{"rfilename": name, "size": len(data)} for name, data in self.files.items()]
        body = json.dumps({"id": self.repository, "sha": COMMIT, "siblings": siblings}).encode()
        call.send_response(200)
        call.send_header("Content-Type", "application/json")
        call.send_header("Content-Length", str(len(body)))
        call.end_headers()
        call.wfile.write(body)

    def _send_file(self, call: BaseHTTPRequestHandler, name: str) -> None:
        if self.refusal is not None:
            self._refuse(call, *self.refusal)
            return
        data = self.files[name]
        call.send_response(200)
        call.send_header("X-Repo-Commit", COMMIT)
        call.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        call.send_header("Content-Length", str(len(data)))
        call.end_headers()
        if call.command == "GET":
            call.wfile.write(data[: len(data) // 2])
            self.before_half(name)
            call.wfile.write(data[len(data) // 2 :])

    def _refuse(self, call: BaseHTTPRequestHandler, status: int, code: str) -> None:
        call.send_response(status)
        call.send_header("X-Error-Code", code)
        call.send_header("Content-Length", "0")
        call.end_headers()
