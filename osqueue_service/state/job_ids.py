"""Public ids: what a job's number is called outside.

An id is 16 characters of base 32: eight that scramble the number, two that are kept for a shard and are
"00", and the six of the queue's salt. The scrambling is a bijection of 40 bits with the salt for its key,
so that no table is needed, ids of neighbours differ from the first characters on, and no two jobs share
one. Jobs of a named queue carry its name in front: `{name}_{id}`.

Buckets of the first format gave out ids of another form, the salt and the number in hexadecimal digits. Those of the
jobs numbered below `since` are of that form for ever.
"""

from hashlib import blake2b
from typing import Final

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
SALT_CHARS: Final = 6
ID_CHARS: Final = 16
SHARD: Final = "00"

_BITS: Final = 40
_MASK: Final = (1 << _BITS) - 1
_HALF: Final = _BITS // 2  # shifted by half or more, the xor undoes itself
_NUMBER_CHARS: Final = 8
_PAIRS: Final = tuple(a + b for a in ALPHABET for b in ALPHABET)
_PLAIN_DIGITS: Final = bytes(
    # Any other character, such as a capital, becomes one that `int` refuses, too.
    ord("0123456789abcdefghijklmnopqrstuv"[ALPHABET.index(chr(code))]) if chr(code) in ALPHABET else ord("!")
    for code in range(256)
)
"""Our digits as those that `int` reads to the base 32."""


class JobIds:
    """The ids of one queue. `since`: the first number whose id is of today's form; 0: none is yet."""

    __slots__ = ("_add", "_back", "_multiply", "_prefix", "_suffix", "queue", "salt", "since")

    def __init__(self, salt: str = "", since: int = 0, queue: str = "") -> None:
        """`queue` is the name of a named queue; the default queue has none."""
        self.salt = salt
        self.since = since
        self.queue = queue
        self._prefix = f"{queue}_" if queue else ""
        self._suffix = SHARD + salt
        key = blake2b(salt.encode(), digest_size=10).digest()
        self._add = int.from_bytes(key[:5], "big")
        # Odd, so that it has an inverse modulo a power of two; and large, so that neighbours are far apart.
        self._multiply = int.from_bytes(key[5:], "big") | 1 | 1 << (_BITS - 1)
        self._back = pow(self._multiply, -1, 1 << _BITS)

    def of(self, number: int) -> str:
        """The id of the job with this number."""
        if not 0 < self.since <= number:
            return f"{self.salt}{number:010x}"
        # Multiplying carries what differs upwards only; the shift brings it down again.
        x = (number * self._multiply + self._add) & _MASK
        x ^= x >> _HALF
        pairs = _PAIRS
        return (
            f"{self._prefix}{pairs[x >> 30]}{pairs[x >> 20 & 1023]}{pairs[x >> 10 & 1023]}{pairs[x & 1023]}"
            f"{self._suffix}"
        )

    def number_of(self, job_id: str) -> int | None:
        """The number behind this id, whether there is such a job or not; None if it is not an id of this queue."""
        number = self._parsed(job_id)
        if number is not None and 0 < self.since <= number:
            return number  # it needs no comparison with the id: each id of today's form is that of one number
        if job_id.startswith(self.salt):
            try:
                number = int(job_id[SALT_CHARS:], 16)
            except ValueError:
                return None
            # What reads as a number and is not that number's id, such as "+1", names nothing.
            return number if number > 0 and self.of(number) == job_id else None
        return None

    def owns(self, job_id: str) -> bool:
        """Whether the id looks like one of this queue's own, whatever its number."""
        return job_id.startswith(self.salt) or (
            len(job_id) == len(self._prefix) + ID_CHARS and job_id.endswith(self._suffix)
        )

    def _parsed(self, job_id: str) -> int | None:
        """Every call of a worker names its jobs, so this leaves the digits to `int`."""
        at = len(self._prefix)
        if len(job_id) != at + ID_CHARS or not (job_id.endswith(self._suffix) and job_id.startswith(self._prefix)):
            return None
        try:
            x = int(job_id[at : at + _NUMBER_CHARS].encode().translate(_PLAIN_DIGITS), 32)
        except ValueError:
            return None
        x ^= x >> _HALF
        return (x - self._add) * self._back & _MASK
