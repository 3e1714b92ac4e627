"""Who shows a token that an issuer has signed (a JWT)."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, NoReturn

import jwt

from osqueue_protocol.callers import JWT_BYTES_MAX
from osqueue_service.clock import Clock
from osqueue_service.errors import OsqueueError, StorageUnavailable, Unauthenticated
from osqueue_service.rpc.access.principal import Principal
from osqueue_service.rpc.access.signed.issuers import Issuer
from osqueue_service.rpc.access.signed.keys import Fetch, Key, Keys

LEEWAY_MS = 30_000
"""How far apart the clocks of issuer and broker may be."""

SUBJECT_CHARS_MAX = 200
KNOWN_MAX = 10_000
"""Tokens that are remembered once they are verified; beyond it those that were verified first are verified again."""


class Bearer(NamedTuple):
    """A token that was verified: who shows it, and by which key of which issuer."""

    principal: Principal
    issuer: str
    kid: str


class Unverified(Exception):
    """A token is not let in; the message says why. `keys`: those of its issuer, which may have another one by now."""

    def __init__(self, why: str, keys: Keys | None = None) -> None:
        super().__init__(why)
        self.keys = keys


class Bearers:
    """Finds the principal behind a signed token, from what is in memory."""

    def __init__(self, issuers: Sequence[Issuer], fetch: Fetch, clock: Clock) -> None:
        self._clock = clock
        self._issuers = {issuer.issuer: issuer for issuer in issuers}
        self._keys = {
            issuer.issuer: Keys(issuer, fetch, clock, partial(self._withdraw, issuer.name)) for issuer in issuers
        }
        self._known: dict[bytes, Bearer] = {}

    def start(self) -> None:
        """Fetch the issuers' keys, now and again."""
        for keys in self._keys.values():
            keys.start()

    async def stop(self) -> None:
        """Ask no issuer any more."""
        for keys in self._keys.values():
            await keys.stop()

    def admit(self, shown: bytes) -> Principal | OsqueueError:
        """Who shows this token, or why it is not let in."""
        print_ = hashlib.sha256(shown).digest()
        known = self._known.get(print_)
        if known is not None:
            if self._clock.wall_ms() < known.principal.expires_at:
                return known.principal
            del self._known[print_]
        try:
            bearer = self._verified(shown)
        except Unverified as refusal:
            return Unauthenticated(f"the token is a JWT that is not let in: {refusal}")
        while len(self._known) >= KNOWN_MAX:
            del self._known[next(iter(self._known))]
        self._known[print_] = bearer
        return bearer.principal

    async def second_look(self, shown: bytes) -> OsqueueError | None:
        """What a caller hears whose token names an unknown key: its issuer may have another one by now, or may not be
        asked at the moment. None: nothing else than before."""
        try:
            self._verified(shown)
        except Unverified as refusal:
            if refusal.keys is None:
                return None
            await refusal.keys.look()
            if isinstance(self.admit(shown), OsqueueError):
                trouble = refusal.keys.trouble
                del refusal
                return _unavailable(f"the keys of the token's issuer cannot be fetched: {trouble}") if trouble else None
        return _unavailable("this broker has learned of the token's key just now: call again", 1)

    def _withdraw(self, issuer: str, kids: set[str]) -> None:
        gone = [print_ for print_, known in self._known.items() if known.issuer == issuer and known.kid in kids]
        for print_ in gone:
            self._known.pop(print_).principal.ended.set()

    def _verified(self, shown: bytes) -> Bearer:
        if len(shown) > JWT_BYTES_MAX:
            raise Unverified(f"it has {len(shown)} bytes; at most {JWT_BYTES_MAX} are taken")
        header, claims = _parsed(shown)
        issuer = self._issuers.get(claims["iss"]) if isinstance(claims.get("iss"), str) else None
        if issuer is None:
            raise Unverified(f"its issuer (iss) {_short(claims.get('iss'))} is not one that this broker trusts")
        algorithm = header.get("alg")
        if algorithm not in issuer.algorithms:
            allowed = ", ".join(issuer.algorithms)
            raise Unverified(f"it is signed by {_short(algorithm)}, and those of {issuer.name} by {allowed}")
        if "crit" in header:
            raise Unverified("it has critical headers (crit), of which this broker knows none")
        keys, kid = self._keys[issuer.issuer], header.get("kid")
        key = keys.find(kid, algorithm) if kid is None or isinstance(kid, str) else None
        if key is None:
            raise Unverified(f"its key (kid) {_short(kid)} is none that {issuer.name} has for {algorithm}", keys)
        _check_signature(shown, key, algorithm, issuer)
        expires_at = self._check_times(claims)
        subject = claims.get("sub")
        if not isinstance(subject, str) or not subject.isprintable() or not 0 < len(subject) <= SUBJECT_CHARS_MAX:
            raise Unverified(f"its subject (sub) must be 1 to {SUBJECT_CHARS_MAX} printable characters")
        rights = issuer.rights(claims)
        if rights is None:
            raise Unverified(f"none of the rules for {issuer.name} gives {subject!r} a scope")
        principal = Principal(f"{issuer.name}:{subject}", subject, rights, expires_at)
        return Bearer(principal, issuer.name, key.kid)

    def _check_times(self, claims: Mapping[str, Any]) -> int:
        now_ms = self._clock.wall_ms()
        ends_ms = _moment(claims, "exp") + LEEWAY_MS
        if now_ms >= ends_ms:
            raise Unverified("it has expired (exp): get another one from its issuer")
        if "nbf" in claims and _moment(claims, "nbf") > now_ms + LEEWAY_MS:
            raise Unverified("it is not valid yet (nbf): is this broker's clock behind?")
        return ends_ms


def _parsed(shown: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, of which nothing is verified."""
    try:
        text = shown.decode("ascii")
        header = jwt.get_unverified_header(text)
        return header, jwt.decode(text, options={"verify_signature": False})
    except Exception as error:  # noqa: BLE001 - whatever a library makes of a stranger's bytes, they are refused
        _refuse(f"it cannot be read: {_short(str(error))}")


def _check_signature(shown: bytes, key: Key, algorithm: str, issuer: Issuer) -> None:
    options: Any = {"require": ["exp", "sub", "aud"], "verify_exp": False, "verify_nbf": False, "verify_iat": False}
    try:
        jwt.decode(
            shown.decode(),
            key.public,
            algorithms=[algorithm],
            audience=issuer.audience,
            issuer=issuer.issuer,
            options=options,
        )
    except jwt.InvalidAudienceError:
        _refuse(f"it is for another audience (aud) than {issuer.audience!r}")
    except jwt.MissingRequiredClaimError as error:
        _refuse(f"it lacks a claim: {error}")
    except jwt.InvalidSignatureError:
        _refuse(f"its signature is not that of the key {_short(key.kid)} of {issuer.name}")
    except Exception as error:  # noqa: BLE001 - as in `_parsed`
        _refuse(f"it cannot be verified: {_short(str(error))}")


def _moment(claims: Mapping[str, Any], name: str) -> int:
    said = claims.get(name)
    if isinstance(said, bool) or not isinstance(said, (int, float)) or not math.isfinite(said) or abs(said) > 10**12:
        raise Unverified(f"{name} must be a number of seconds since 1970")
    return int(said * 1_000)


def _short(said: object) -> str:
    return repr(said if isinstance(said, str | int | None) else type(said).__name__)[:100]


def _refuse(why: str) -> NoReturn:
    raise Unverified(why) from None


def _unavailable(why: str, retry_after_ms: int = 1_000) -> OsqueueError:
    return StorageUnavailable(why, retry_after_ms=retry_after_ms)
