"""API keys, the one in use first."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import SecretStr


class Keyring:
    """Keys in the order in which to try them; a refused one goes to the back.

    It is not thrown away: credit is topped up and rate limits pass.
    """

    def __init__(self, keys: Sequence[SecretStr]) -> None:
        self._keys = list(keys)

    def __repr__(self) -> str:
        return f"Keyring(<{len(self._keys)} keys>)"

    def in_order(self) -> tuple[SecretStr, ...]:
        """Every key, the best first."""
        return tuple(self._keys)

    def refuse(self, key: SecretStr) -> None:
        """Prefer every other key from now on."""
        self._keys.remove(key)
        self._keys.append(key)
