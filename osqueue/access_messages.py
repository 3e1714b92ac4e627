"""Who may do what: callers and tokens, as the broker tells of them.

Times ending in `_at` are milliseconds since the Unix epoch by the broker's clock, 0 when there is none.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from osqueue.job import Position
from osqueue.messages import Question


@dataclass(slots=True)
class WhoAmI:
    """The caller: its id (that of its token, "boot" for OSQUEUE_TOKEN, "local" where no token is asked for), and what
    it may do, as scopes are written. `expires_at` 0: never."""

    principal: str
    name: str = ""
    scopes: list[str] = field(default_factory=list)
    expires_at: int = 0


@dataclass(slots=True)
class WhoAmIRequest(Question[WhoAmI]):
    """Who the caller is."""


@dataclass(slots=True)
class TokenInfo:
    """A token without its secret. `last_used_at` is what the answering broker has seen since it started; `secrets` is 2
    after a rotation that kept the old one; `declared`: it stands in a file, and is changed there."""

    id: str
    name: str = ""
    scopes: list[str] = field(default_factory=list)
    created_at: int = 0
    expires_at: int = 0
    last_used_at: int = 0
    secrets: int = 1
    declared: bool = False


@dataclass(slots=True)
class NewToken:
    """A token that was made, or got another secret. `token` is what callers show; nobody can ask for it again."""

    token: str = field(repr=False)
    info: TokenInfo = field(default_factory=lambda: TokenInfo(""))


@dataclass(slots=True)
class NewTokenRequest(Question[NewToken]):
    """A token to make."""

    name: str = ""
    scopes: Sequence[str] = ()
    expires_at: int = 0


@dataclass(slots=True)
class RotatedToken:
    """A token with its new secret."""

    token: str = field(repr=False)
    info: TokenInfo = field(default_factory=lambda: TokenInfo(""))


@dataclass(slots=True)
class RotateTokenRequest(Question[RotatedToken]):
    """Another secret for a token."""

    token_id: str
    revoke_old: bool = False


class TokenPage(NamedTuple):
    """Tokens in order of their ids; an empty next_page_token ends the walk."""

    tokens: list[TokenInfo]
    next_page_token: str = ""


@dataclass(slots=True)
class TokensRequest(Question[TokenPage]):
    """A page of tokens."""

    page_size: int = 0
    page_token: str = ""


@dataclass(slots=True)
class AuditEntry:
    """Who changed the course of jobs: `action` is one of those of `client.tokens.audit`, `count` how many jobs,
    types, schedules or limits it concerned, `names` the first 10 of them. `origin` is the peer in gRPC's notation;
    behind a gateway that is the gateway."""

    number: int
    at: int
    principal: str
    origin: str = ""
    action: str = ""
    count: int = 0
    names: list[str] = field(default_factory=list)


class AuditPage(NamedTuple):
    """Changes, the newest first; an empty next_page_token ends the walk."""

    entries: list[AuditEntry]
    next_page_token: str = ""
    position: Position | None = None


@dataclass(slots=True)
class AuditRequest(Question[AuditPage]):
    """Which changes."""

    principal: str = ""
    action: str = ""
    since: int = 0
    page_size: int = 0
    page_token: str = ""


@dataclass(slots=True)
class RevokedToken:
    """A token is no longer let in."""


@dataclass(slots=True)
class RevokeTokenRequest(Question[RevokedToken]):
    """A token to end."""

    token_id: str
