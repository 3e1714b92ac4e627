"""What may happen to the bytes of an object."""

import random
from collections.abc import Callable

Mutation = Callable[[bytes, random.Random], bytes]


def flip(body: bytes, bit: int) -> bytes:
    """One bit the other way round."""
    damaged = bytearray(body)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def _flip_some(body: bytes, draw: random.Random) -> bytes:
    for _ in range(draw.choice([1, 1, 2, 8])):
        body = flip(body, draw.randrange(8 * len(body)))
    return body


def _truncate(body: bytes, draw: random.Random) -> bytes:
    return body[: draw.randrange(len(body))]


def _append(body: bytes, draw: random.Random) -> bytes:
    return body + draw.randbytes(draw.choice([1, 1, 16, 200]))


def _overwrite(body: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(body))
    length = min(len(body) - start, draw.choice([1, 4, 32, 512]))
    new = draw.choice([bytes(length), draw.randbytes(length), b"\xff" * length])
    return body[:start] + new + body[start + length :]


def _cut_out(body: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(body))
    return body[:start] + body[start + draw.choice([1, 4, 32]) :]


def _repeat(body: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(body))
    return body[:start] + body[start : start + 32] + body[start:]


def _other_digit(body: bytes, draw: random.Random) -> bytes:
    """What a person would do to JSON."""
    places = [place for place, byte in enumerate(body) if 48 <= byte < 58]
    if not places:
        return _flip_some(body, draw)
    place = draw.choice(places)
    return body[:place] + draw.choice(b"0123456789").to_bytes() + body[place + 1 :]


MUTATIONS: tuple[Mutation, ...] = (
    _flip_some,
    _truncate,
    _append,
    _overwrite,
    _cut_out,
    _repeat,
    _other_digit,
)


def mutated(body: bytes, draw: random.Random) -> bytes:
    """Something else than the body."""
    while (damaged := draw.choice(MUTATIONS)(body, draw)) == body:
        pass
    return damaged
