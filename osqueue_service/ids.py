"""Identity and randomness, as the rest of the broker sees them.

Only this module draws random numbers. Everything else is handed an `IdSource`, so
that a simulator decides them.
"""

import os
import random
from typing import Protocol

# Crockford's base 32: no i, l, o or u, so that an id survives being read aloud.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
# Eight bytes stand for each character, so each is as likely as any other.
_CHARACTER_OF = bytes(ord(_ALPHABET[byte % 32]) for byte in range(256))


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

    _BLOCK_CHARS = 8_192

    def __init__(self) -> None:
        self._block = ""
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
        """`length` random characters, five bits each; no character is ever given twice."""
        start = self._offset
        end = start + length
        if end > len(self._block):
            self._block = os.urandom(self._BLOCK_CHARS).translate(_CHARACTER_OF).decode("ascii")
            start, end = 0, length
        self._offset = end
        return self._block[start:end]
