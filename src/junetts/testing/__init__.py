"""Servers, voices, clocks and checks for tests of whatever uses junetts or is a backend of it."""

from __future__ import annotations

from junetts.testing._backend_faults import faulty
from junetts.testing._fault_plan import FaultPlan, FaultRule, Strike
from junetts.testing._web_socket import PeerLeftError
from junetts.testing.cloud import CloudServer, Knock, Refusal
from junetts.testing.cloud_session import CloudSession, ReceivedRequest
from junetts.testing.contract import BackendContract, ContractError, check_backend
from junetts.testing.faults import (
    AFTER_END,
    AT_END,
    BEFORE_ANSWER,
    BEFORE_SOUND,
    Application,
    Detection,
    Fault,
    FaultKind,
    Where,
    after_bytes,
    after_events,
    applies,
)
from junetts.testing.server import FishServer
from junetts.testing.server_call import ServerAnswer, ServerCall
from junetts.testing.tone_backend import ToneBackend
from junetts.testing.tone_voice import Heard, ToneVoice
from junetts.testing.virtual_time import VIRTUAL_TIME, StuckError, VirtualTimeLoop

__all__ = [
    "AFTER_END",
    "AT_END",
    "BEFORE_ANSWER",
    "BEFORE_SOUND",
    "VIRTUAL_TIME",
    "Application",
    "BackendContract",
    "CloudServer",
    "CloudSession",
    "ContractError",
    "Detection",
    "Fault",
    "FaultKind",
    "FaultPlan",
    "FaultRule",
    "FishServer",
    "Heard",
    "Knock",
    "PeerLeftError",
    "ReceivedRequest",
    "Refusal",
    "ServerAnswer",
    "ServerCall",
    "Strike",
    "StuckError",
    "ToneBackend",
    "ToneVoice",
    "VirtualTimeLoop",
    "Where",
    "after_bytes",
    "after_events",
    "applies",
    "check_backend",
    "faulty",
]
