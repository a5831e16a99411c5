"""Recordings to imitate as codes: encoded once, then remembered by their content."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from junetts._errors import CheckpointError
from junetts._runtime.recording import read_recording
from junetts._utterance import ReferenceClip

MAX_BYTES = 64 * 2**20  # codes of 120 s take 0.2 MB: room for hundreds of voices
_EDGE_BYTES = 2**20  # of a checkpoint's file, from each end
_MAX_FILE_BYTES = 16 * 2**20
_FORMAT = b"junetts voice 1\n"  # another one whenever clips are decoded or stored differently
_DIGEST_BYTES = hashlib.sha256().digest_size
_MODE_PRIVATE = 0o700  # a voice is a person's

_logger = logging.getLogger("junetts")


def fingerprint_of(path: Path) -> str:
    """What tells one codec file from another, from its size and both ends.

    Raises:
        CheckpointError: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(_EDGE_BYTES)
            file.seek(max(0, size - _EDGE_BYTES))
            tail = file.read(_EDGE_BYTES)
    except OSError as error:
        problem = f"{path} cannot be read: {error.strerror}"
        raise CheckpointError(problem, path=str(path)) from error
    return hashlib.sha256(b"%d\n%b%b" % (size, head, tail)).hexdigest()


class Voices:
    """The codes of recordings, by what is in them and not by their names.

    Guarantees: a clip is encoded once while it is remembered, here or in the directory; what
    cannot be read or written there costs time and never an utterance; no file is trusted that is
    not exactly what was written for this clip and this codec, and none is unpickled. It may be
    asked from several threads; two that ask for the same new clip at once both encode it.

    Args:
        encode: samples float32 [n_samples] to codes int64 [codebook, frame].
        sample_rate: of those samples, in Hz.
        fingerprint: of the codec, see `fingerprint_of`.
        directory: where codes outlive the process; None for memory alone.
        max_bytes: of codes kept in memory; those that were not needed for longest go first.
    """

    def __init__(
        self,
        encode: Callable[[Tensor], Tensor],
        *,
        sample_rate: int,
        fingerprint: str,
        directory: Path | None,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._encode = encode
        self._sample_rate = sample_rate
        self._codec = f"{sample_rate} {fingerprint}".encode()
        self._directory = directory
        self._max_bytes = max_bytes
        self._remembered: OrderedDict[str, Tensor] = OrderedDict()  # least recently used first
        self._n_bytes = 0
        self._lock = Lock()  # held for looking and counting, never while encoding or on the disk
        self._has_warned = False

    def codes(self, clip: ReferenceClip) -> Tensor:
        """The clip's codes, int64 [codebook, frame] on the CPU; shared, not to be changed.

        Raises:
            InvalidRequestError: naming ``voice.audio``, if it cannot be used.
        """
        key = self._key(clip)
        if (remembered := self._recall(key)) is not None:
            return remembered
        codes = self._load(key)
        if codes is None:
            codes = self._encoded(clip)
            self._store(key, codes)
        self._remember(key, codes)
        return codes

    def _key(self, clip: ReferenceClip) -> str:
        audio = hashlib.sha256(clip.audio).digest()
        return hashlib.sha256(_FORMAT + audio + self._codec).hexdigest()

    def _encoded(self, clip: ReferenceClip) -> Tensor:
        samples = read_recording(clip.audio, self._sample_rate)
        codes = self._encode(torch.from_numpy(samples))
        assert codes.dim() == 2, codes.shape
        return codes.to("cpu", torch.int64)

    def _recall(self, key: str) -> Tensor | None:
        with self._lock:
            if key in self._remembered:
                self._remembered.move_to_end(key)
            return self._remembered.get(key)

    def _remember(self, key: str, codes: Tensor) -> None:
        with self._lock:
            if key in self._remembered:  # by another thread, meanwhile
                return
            self._remembered[key] = codes
            self._n_bytes += codes.nbytes
            while self._n_bytes > self._max_bytes:
                _, forgotten = self._remembered.popitem(last=False)
                self._n_bytes -= forgotten.nbytes

    def _load(self, key: str) -> Tensor | None:
        """What was written under this key, or None if there is nothing or something else."""
        if self._directory is None:
            return None
        path = self._directory / key
        try:
            if not path.is_file() or path.stat().st_size > _MAX_FILE_BYTES:
                return None
            data = path.read_bytes()
        except OSError as error:
            self._warn(error)
            return None
        return _unpacked(data, key)

    def _store(self, key: str, codes: Tensor) -> None:
        if self._directory is None:
            return
        try:
            self._directory.mkdir(mode=_MODE_PRIVATE, parents=True, exist_ok=True)
            _write_whole(self._directory / key, _packed(codes, key))
        except OSError as error:
            self._warn(error)

    def _warn(self, error: OSError) -> None:
        if not self._has_warned:
            self._has_warned = True
            _logger.warning(
                "voices are not kept in %s: %s", self._directory, error.strerror or error
            )


def _packed(codes: Tensor, key: str) -> bytes:
    file = io.BytesIO()
    np.save(file, codes.numpy().astype(np.int32), allow_pickle=False)
    return _digest(file.getvalue(), key) + file.getvalue()


def _unpacked(data: bytes, key: str) -> Tensor | None:
    payload = data[_DIGEST_BYTES:]
    if data[:_DIGEST_BYTES] != _digest(payload, key):
        return None
    codes = np.load(io.BytesIO(payload), allow_pickle=False)
    return torch.from_numpy(codes.astype(np.int64))


def _digest(payload: bytes, key: str) -> bytes:
    """Of the codes and of whose they are, so that a file under a wrong name is none."""
    return hashlib.sha256(_FORMAT + key.encode() + payload).digest()


def _write_whole(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read; whoever reads sees all of it or none."""
    descriptor, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        os.replace(name, path)
    except BaseException:  # (noqa: reviewed) raised again, without leaving the file
        with suppress(OSError):
            os.unlink(name)
        raise
