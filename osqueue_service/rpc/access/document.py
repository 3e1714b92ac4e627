"""Tokens as they are written down: `access.json` in the bucket, and the file of those who keep theirs beside the code.

Both hold `{"tokens": [{id, name, hashes, scopes, created_at, expires_at}]}`, times in milliseconds since 1970 or as RFC
3339 text. What the broker writes ends with a seal over the tokens, so that a damaged one is noticed; a file by hand
has none.
"""

import hashlib
from datetime import datetime
from typing import Any

import msgspec

from osqueue_protocol.rights import Rights, ScopeError, rights_of
from osqueue_service.rpc.access import tokens

KEY = "access.json"
"""Where it lies, beside the queue."""

TOKENS_MAX = 10_000
HASHES_MAX = 2
"""The secret in use, and the one that takes its place."""

NAME_CHARS_MAX = 100
DOCUMENT_BYTES_MAX = 16 * 1024 * 1024


class DocumentError(ValueError):
    """What is written cannot be taken; the message says which token, and why."""


class Token(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One token as it is kept. Either of the hashes is of a secret that is let in."""

    id: str
    hashes: list[str]
    scopes: list[str]
    name: str = ""
    created_at: int = 0
    expires_at: int | str = 0

    @property
    def expires_ms(self) -> int:
        """When it ends (wall time); 0: never."""
        if isinstance(self.expires_at, int):
            return self.expires_at
        moment = datetime.fromisoformat(self.expires_at)
        if moment.tzinfo is None:
            raise ValueError("it needs a time zone, such as the Z of 2027-01-31T00:00:00Z")
        return int(moment.timestamp() * 1_000)

    @property
    def rights(self) -> Rights:
        """What its scopes give."""
        return rights_of(self.scopes)


class Certified(msgspec.Struct, forbid_unknown_fields=True):
    """Who shows a certificate of one of these alternative names: host names, addresses, URIs such as SPIFFE's."""

    id: str
    names: list[str]
    scopes: list[str]


class _Document(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    tokens: list[Token]
    seal: str = ""
    certificates: list[Certified] = []


_decoder = msgspec.json.Decoder(_Document)


def read(body: bytes, *, sealed: bool) -> dict[str, Token]:
    """The tokens by id. `DocumentError` when anything in it is wrong, or when it must be `sealed` and the seal does not
    fit."""
    document = _decoded(body)
    if sealed and (document.certificates or document.seal != _seal(document.tokens)):
        raise DocumentError("its seal does not fit what it says: it is damaged, or was changed by hand")
    if len(document.tokens) > TOKENS_MAX:
        raise DocumentError(f"it has {len(document.tokens):,} tokens; at most {TOKENS_MAX:,} are taken")
    found: dict[str, Token] = {}
    for token in document.tokens:
        if token.id in found:
            raise DocumentError(f"the id {token.id!r} is there twice")
        _check(token)
        found[token.id] = token
    return found


def certificates(body: bytes) -> list[Certified]:
    """Whose certificates a file declares. `DocumentError` as in `read`."""
    document = _decoded(body)
    rows = document.certificates
    if len(rows) > TOKENS_MAX:
        raise DocumentError(f"it has {len(rows):,} certificates; at most {TOKENS_MAX:,} are taken")
    ids = {token.id for token in document.tokens}
    names: set[str] = set()
    for row in rows:
        if not tokens.is_id(row.id) or row.id in ids:
            raise DocumentError(
                f"the id {row.id[:60]!r} is there twice, or not 2 to 40 small letters, digits and hyphens"
            )
        if not row.names or not all(row.names) or not names.isdisjoint(row.names):
            raise DocumentError(f"certificate {row.id}: names must be one or more, each in one place alone")
        try:
            rights_of(row.scopes)
        except ScopeError as error:
            raise DocumentError(f"certificate {row.id}: {error}") from None
        ids.add(row.id)
        names.update(row.names)
    return rows


def _decoded(body: bytes) -> _Document:
    if len(body) > DOCUMENT_BYTES_MAX:
        raise DocumentError(f"it has {len(body):,} bytes; at most {DOCUMENT_BYTES_MAX:,} are read")
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DocumentError(f"it cannot be read: {error}") from None


def written(known: dict[str, Token]) -> bytes:
    """The document that `read` reads, sealed."""
    rows = sorted(known.values(), key=lambda token: token.id)
    body: Any = _Document(rows, _seal(rows))
    return msgspec.json.format(msgspec.json.encode(body), indent=1) + b"\n"


def _check(token: Token) -> None:
    if not tokens.is_id(token.id):
        raise DocumentError(f"{token.id[:60]!r} is not an id: 2 to 40 small letters, digits and hyphens")
    if not 1 <= len(token.hashes) <= HASHES_MAX or not all(map(tokens.is_hash, token.hashes)):
        raise DocumentError(
            f"token {token.id}: hashes must be one or two, each sha256: and 64 hexadecimal digits; "
            "`osqueue tokens hash` makes one of a token"
        )
    if len(token.name) > NAME_CHARS_MAX:
        raise DocumentError(f"token {token.id}: the name has more than {NAME_CHARS_MAX} characters")
    try:
        _ = token.rights
    except ScopeError as error:
        raise DocumentError(f"token {token.id}: {error}") from None
    try:
        if token.expires_ms < 0:
            raise ValueError("it must not be negative")
    except ValueError as error:
        raise DocumentError(f"token {token.id}: expires_at {token.expires_at!r}: {error}") from None


def _seal(rows: list[Token]) -> str:
    ordered = sorted(rows, key=lambda token: token.id)
    return hashlib.sha256(msgspec.json.encode(ordered)).hexdigest()
