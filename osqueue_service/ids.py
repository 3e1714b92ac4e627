"""Identity and randomness, as the rest of the broker sees them.

Only this module draws random numbers. Everything else is handed an `IdSource`, so
that a simulator decides them.
"""

import os
import random
from typing import Protocol

# Crockford's base 32: no i, l, o or u, so that an id survives being read aloud.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]


class IdSource(Protocol):
    """A source of identities and jitter."""

    def salt(self) -> str:
        """6 characters that begin every job id of one queue, so that ids of two queues never meet."""
        ...

    def token(self) -> str:
        """A lease token: 22 characters, 110 bits that cannot be guessed."""
        ...

    def incarnation(self) -> str:
        """The identity of one life of one broker: 26 characters."""
        ...

    def nonce(self) -> str:
        """16 characters that make every body of the root differ."""
        ...

    def jitter(self) -> float:
        """A number in [0, 1) to spread retries with."""
        ...


class SystemIds:
    """Ids from the operating system's random numbers, drawn in blocks because a system call per id is slow."""

    _BLOCK_BYTES = 8_192

    def __init__(self) -> None:
        self._block = b""
        self._offset = 0
        self._random = random.Random(os.urandom(32))

    def salt(self) -> str:
        return self._text(6)

    def token(self) -> str:
        return self._text(22)

    def incarnation(self) -> str:
        return self._text(26)

    def nonce(self) -> str:
        return self._text(16)

    def jitter(self) -> float:
        return self._random.random()

    def _text(self, length: int) -> str:
        """`length` random characters (an even number), five bits each."""
        size = (length * 5 + 7) // 8
        start = self._offset
        if start + size > len(self._block):
            self._block = os.urandom(self._BLOCK_BYTES)
            start = 0
        self._offset = start + size
        bits = int.from_bytes(self._block[start : start + size], "big")
        return "".join([_PAIRS[bits >> shift & 1023] for shift in range(0, length * 5, 10)])
