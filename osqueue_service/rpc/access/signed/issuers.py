"""The file that names whose signed tokens are let in, and what their claims give.

    {"issuers": [{"name": "corp", "issuer": "https://login.example.org", "audience": "osqueue",
                  "rules": [{"claim": "groups", "value": "mail-team", "scopes": ["submit:mail.*", "read"]}]}]}

`keys` is the address of the issuer's public keys (JWKS); without it the issuer is asked where they are. `algorithms`
are those that its tokens may be signed by, by default RS256 and ES256. A rule without a claim is met by every token of
the issuer.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from osqueue_protocol.callers import is_loopback_name
from osqueue_protocol.rights import Rights, ScopeError, rights_of

ISSUERS_MAX = 16
RULES_MAX = 256
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""What a token can be signed by. None of them takes a secret that both sides know, and `none` is not among them."""


class IssuersError(ValueError):
    """What the file says cannot be taken; the message names what, and why."""


class Rule(msgspec.Struct, forbid_unknown_fields=True):
    """What a token is given that says `value` in `claim`, as a text, as a word of a text, or in a list."""

    scopes: list[str]
    claim: str = ""
    value: str = ""

    def is_met(self, claims: Mapping[str, Any]) -> bool:
        """Whether the claims say so."""
        if not self.claim:
            return True
        said = _claim(claims, self.claim)
        if isinstance(said, str):
            return self.value == said or self.value in said.split(" ")
        return isinstance(said, list) and self.value in [each for each in said if isinstance(each, str)]


class Issuer(msgspec.Struct, forbid_unknown_fields=True):
    """One issuer. `name` begins the ids of those it vouches for: `corp:ada`."""

    name: str
    issuer: str
    audience: str
    rules: list[Rule]
    keys: str = ""
    algorithms: list[str] = msgspec.field(default_factory=lambda: ["RS256", "ES256"])

    def rights(self, claims: Mapping[str, Any]) -> Rights | None:
        """What the claims give; None: nothing."""
        scopes = [scope for rule in self.rules if rule.is_met(claims) for scope in rule.scopes]
        return Rights(frozenset().union(*(rights_of([scope]).scopes for scope in scopes))) if scopes else None


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    issuers: list[Issuer]


def read(body: bytes) -> list[Issuer]:
    """The issuers that the file names. `IssuersError` when anything in it is wrong."""
    try:
        issuers = msgspec.json.decode(body, type=_Document).issuers
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise IssuersError(f"it is not what it should be: {error}") from None
    if not 1 <= len(issuers) <= ISSUERS_MAX:
        raise IssuersError(f"issuers: {len(issuers)} are named; at least one and at most {ISSUERS_MAX} are taken")
    for place, issuer in enumerate(issuers):
        try:
            _check(issuer)
        except (IssuersError, ScopeError) as error:
            raise IssuersError(f"issuers[{place}].{error}") from None
        if any(issuer.name == other.name or issuer.issuer == other.issuer for other in issuers[:place]):
            raise IssuersError(f"issuers[{place}]: the name {issuer.name!r} or its issuer is there twice")
    return issuers


def is_trusted_address(url: str) -> bool:
    """Whether what an address answers is what its host said: https, or this machine."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and is_loopback_name(parts.hostname or ""))
    )


def _check(issuer: Issuer) -> None:
    if not issuer.name.isidentifier() or len(issuer.name) > 32:
        raise IssuersError("name: must be a word of at most 32 letters, digits and underscores")
    for field in ("issuer", "audience"):
        if not getattr(issuer, field):
            raise IssuersError(f"{field}: must not be empty")
    for field, address in (("keys", issuer.keys), ("issuer", issuer.keys or issuer.issuer)):
        if address and not is_trusted_address(address):
            raise IssuersError(f"{field}: {address!r} must begin with https:// (http:// only on this machine)")
    unknown = [name for name in issuer.algorithms if name not in ALGORITHMS]
    if unknown or not issuer.algorithms:
        raise IssuersError(
            f"algorithms: {', '.join(unknown) or 'none'} cannot be taken; there are {', '.join(ALGORITHMS)}"
        )
    if not 1 <= len(issuer.rules) <= RULES_MAX:
        raise IssuersError(f"rules: there are {len(issuer.rules)}; at least one and at most {RULES_MAX} are taken")
    for place, rule in enumerate(issuer.rules):
        if bool(rule.claim) != bool(rule.value):
            raise IssuersError(f"rules[{place}]: claim and value belong together")
        try:
            rights_of(rule.scopes)
        except ScopeError as error:
            raise IssuersError(f"rules[{place}].scopes: {error}") from None


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """The claim of that name or, where there is none, what a path of names leads to: `realm_access.roles`."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
