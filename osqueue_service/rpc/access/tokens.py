"""Tokens: `osq_{id}_{secret}`. The id is public and names the token; of the secret only a hash is kept."""

import hashlib
import re
from typing import NamedTuple

from osqueue_service.ids import IdSource

PREFIX = "osq_"
ID_CHARS = 12
HASH = "sha256:"

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,38}[a-z0-9]")
_TOKEN = re.compile(rf"{PREFIX}({_ID.pattern})_([a-z0-9]{{20,64}})")
_HASHED = re.compile(rf"{HASH}[0-9a-f]{{64}}")

SHOWN_BYTES_MAX = 512
"""A longer one is none of ours, and is not hashed."""


class Minted(NamedTuple):
    """A new token: shown once to whoever asked for it, and kept as its hash."""

    id: str
    token: str
    hashed: str


def mint(ids: IdSource, token_id: str = "") -> Minted:
    """A token with 130 bits that cannot be guessed; another one of the same id for a rotation."""
    token_id = token_id or ids.nonce()[:ID_CHARS]
    token = f"{PREFIX}{token_id}_{ids.incarnation()}"
    return Minted(token_id, token, hashed(token.encode()))


def id_of(shown: bytes) -> str:
    """The id in a token; "" for what has another form."""
    if len(shown) > SHOWN_BYTES_MAX:
        return ""
    match = _TOKEN.fullmatch(shown.decode("ascii", "replace"))
    return match[1] if match else ""


def hashed(token: bytes) -> str:
    """What is kept of a token. Its secret is drawn at random, so a plain hash is as good as a slow one."""
    return HASH + hashlib.sha256(token).hexdigest()


def is_id(text: str) -> bool:
    """Whether a token can have this id."""
    return _ID.fullmatch(text) is not None


def is_hash(text: str) -> bool:
    """Whether it is what `hashed` makes."""
    return _HASHED.fullmatch(text) is not None
