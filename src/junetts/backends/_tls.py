"""The process's one TLS context."""

from __future__ import annotations

import ssl
from functools import cache

import httpx


@cache
def shared_tls() -> ssl.SSLContext:
    """The context that all backends share, for making one takes 20 ms of CPU."""
    return httpx.create_ssl_context()
