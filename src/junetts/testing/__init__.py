"""Real loopback servers that speak the Fish protocols, for tests of whatever uses junetts."""

from __future__ import annotations

from junetts.testing._web_socket import PeerLeftError
from junetts.testing.cloud import CloudServer, Knock, Refusal
from junetts.testing.cloud_session import CloudSession, ReceivedRequest
from junetts.testing.server import FishServer
from junetts.testing.server_call import ServerAnswer, ServerCall

__all__ = [
    "CloudServer",
    "CloudSession",
    "FishServer",
    "Knock",
    "PeerLeftError",
    "ReceivedRequest",
    "Refusal",
    "ServerAnswer",
    "ServerCall",
]
