"""An issuer's public keys, as this broker knows them. Tokens are verified by those in memory alone."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import jwt
import msgspec

from osqueue_service.clock import Clock
from osqueue_service.rpc.access.signed.issuers import Issuer, is_trusted_address

log = logging.getLogger(__name__)

Fetch = Callable[[str], Awaitable[bytes]]
"""What is at an address. Raises `FetchError`."""

LOOK_MS = 10_000
"""At most this often an issuer is asked because somebody shows a key that is not known."""

EVERY_MS = 300_000
"""How often it is asked anyway: a key that it withdraws is out of use then."""

WAITING_MAX = 64
"""Callers that may wait for an answer of the issuer; others with unknown keys are refused at once."""

KEYS_MAX = 100
RSA_BITS = range(2_048, 8_193)
"""Shorter ones can be broken, and longer ones take too long to verify by."""

_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


class FetchError(Exception):
    """An address does not answer what it should; the message says what it does."""


class Key:
    """One public key, and the algorithms that it may verify."""

    __slots__ = ("algorithms", "kid", "public")

    def __init__(self, kid: str, public: Any, algorithms: frozenset[str]) -> None:
        self.kid = kid
        self.public = public
        self.algorithms = algorithms


class Keys:
    """The keys of one issuer. While it does not answer, or answers nonsense, those that it last named go on."""

    def __init__(self, issuer: Issuer, fetch: Fetch, clock: Clock, on_withdrawn: Callable[[set[str]], None]) -> None:
        self.trouble = "they were not fetched yet"
        """Why they could not be fetched; "" when they could, the last time."""
        self._issuer = issuer
        self._fetch = fetch
        self._clock = clock
        self._on_withdrawn = on_withdrawn
        self._keys: dict[str, Key] = {}
        self._looked_ms = float("-inf")
        self._waiting = 0
        self._looking: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Fetch them now and again. Nobody waits for it."""
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self) -> None:
        """Ask nothing any longer."""
        tasks = {task for task in (self._watching, self._looking) if task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        """The key of that id, or the only one where a token names none, if it can verify the algorithm."""
        if kid is not None:
            key = self._keys.get(kid)
        else:
            fitting = [key for key in self._keys.values() if algorithm in key.algorithms]
            key = fitting[0] if len(fitting) == 1 else None
        return key if key is not None and algorithm in key.algorithms else None

    async def look(self) -> None:
        """Ask the issuer again, unless that was done a moment ago. Callers that come meanwhile wait for the same
        answer."""
        if self._waiting >= WAITING_MAX:
            return
        if self._looking is None or self._looking.done():
            if self._clock.monotonic_ms() - self._looked_ms < LOOK_MS:
                return
            self._looking = asyncio.get_running_loop().create_task(self._refresh())
        self._waiting += 1
        try:
            await asyncio.shield(self._looking)
        finally:
            self._waiting -= 1

    async def _watch(self) -> None:
        while True:
            await self.look()
            await self._clock.sleep_ms(EVERY_MS)

    async def _refresh(self) -> None:
        try:
            found = await self._fetched()
        except Exception as error:  # noqa: BLE001 - whatever goes wrong with it, the known keys go on
            if str(error) != self.trouble:
                log.error("the keys of the issuer %s cannot be fetched: %s; going on with the %d known ones",
                          self._issuer.issuer, error, len(self._keys))  # fmt: skip
            self.trouble = str(error)
        else:
            before, self._keys, self.trouble = self._keys, found, ""
            gone = {kid for kid, key in before.items() if kid not in found or not _same(found[kid], key)}
            if found.keys() != before.keys():
                log.info("the issuer %s has the keys %s", self._issuer.issuer, ", ".join(sorted(found)))
            if gone:
                self._on_withdrawn(gone)
        finally:
            self._looked_ms = self._clock.monotonic_ms()

    async def _fetched(self) -> dict[str, Key]:
        address = self._issuer.keys
        if not address:
            place = self._issuer.issuer.rstrip("/") + "/.well-known/openid-configuration"
            said = _json(await self._fetch(place), place)
            if said.get("issuer") != self._issuer.issuer:
                raise FetchError(f"{place} is that of another issuer: {str(said.get('issuer'))[:100]!r}")
            named = said.get("jwks_uri")
            if not isinstance(named, str) or not is_trusted_address(named):
                raise FetchError(f"{place}: jwks_uri must begin with https://")
            address = named
        rows = _json(await self._fetch(address), address).get("keys")
        if not isinstance(rows, list) or len(rows) > KEYS_MAX:
            raise FetchError(f"{address}: `keys` must be a list of at most {KEYS_MAX}")
        keys = [key for row in rows if (key := _key(row)) is not None]
        if not keys:
            raise FetchError(f"{address} names no key that verifies signatures")
        return {key.kid: key for key in keys}


def _json(body: bytes, address: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise FetchError(f"{address} does not answer with a JSON object") from None


def _key(row: Any) -> Key | None:
    """The key that the row describes; None for one of another use or kind: that does no harm."""
    if not isinstance(row, dict) or row.get("kty") not in ("RSA", "EC", "OKP") or row.get("use", "sig") != "sig":
        return None
    row = {name: value for name, value in row.items() if name != "d"}  # a private key is none of ours
    kid, said = row.get("kid", ""), row.get("alg")
    try:
        public: Any = jwt.PyJWK(row, said if isinstance(said, str) else _algorithm(row)).key
    except Exception:  # noqa: BLE001 - whatever a library makes of a stranger's key, it is not used
        return None
    able = _algorithms(public)
    algorithms = able if said is None else able & {said}
    if not isinstance(kid, str) or not algorithms:
        return None
    return Key(kid, public, frozenset(algorithms))


def _algorithm(row: dict[str, Any]) -> str:
    return {"RSA": "RS256", "OKP": "EdDSA"}.get(row["kty"]) or {
        "P-256": "ES256", "P-384": "ES384", "P-521": "ES512"
    }.get(str(row.get("crv")), "")  # fmt: skip


def _algorithms(public: Any) -> set[str]:
    bits = getattr(public, "key_size", 0)
    curve = getattr(getattr(public, "curve", None), "name", "")
    if curve:
        return {_CURVES[curve]} if curve in _CURVES else set()
    if hasattr(public, "public_numbers"):
        return {f"{kind}{size}" for kind in ("RS", "PS") for size in (256, 384, 512)} if bits in RSA_BITS else set()
    return {"EdDSA"} if type(public).__name__.endswith("Ed25519PublicKey") else set()


def _same(one: Key, other: Key) -> bool:
    return bool(one.public == other.public) and one.algorithms == other.algorithms
