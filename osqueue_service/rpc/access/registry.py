"""The tokens that are let in, as this broker knows them.

They come from three places: the setting OSQUEUE_TOKEN, a file that is read again when it changes, and `access.json` in
the bucket, which CreateToken and its like write with compare-and-swap. A call is checked against memory alone. The
bucket's are read at the start, at the beginning of a term, and when somebody shows a token that is not known.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from osqueue_protocol.rights import Rights, rights_of
from osqueue_service.clock import Clock
from osqueue_service.errors import ConfigError, CorruptObject, StoreError, StoreRefused
from osqueue_service.ids import IdSource
from osqueue_service.rpc.access import document, tokens
from osqueue_service.rpc.access.document import DocumentError, Token
from osqueue_service.rpc.access.principal import Principal
from osqueue_service.storage.store import ObjectStore

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

LOOK_MS = 1_000
"""How often the file is looked at, and at most how often the bucket is, for a token that nobody knows."""

TRIES_MAX = 8
"""Writers of `access.json` that may come first before a change gives up."""


class Known(NamedTuple):
    """A token and who shows it."""

    token: Token
    principal: Principal
    declared: bool
    """It stands in the file, and is changed there."""


class Changed(NamedTuple):
    """A token that was created or rotated, with the secret that is shown this once."""

    known: Known
    secret: str


class Registry:
    """Finds the principal behind a token, and changes the tokens in the bucket."""

    def __init__(self, store: ObjectStore, clock: Clock, ids: IdSource, *, file: Path | None = None) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._file = file
        self._file_stamp: tuple[int, int] | None = None
        self._declared: dict[str, Token] = {}
        self._stored: dict[str, Token] = {}
        self._version = ""
        self._known: dict[str, Known] = {}
        self._by_hash: dict[str, Known] = {}
        self._certified: dict[str, Principal] = {}
        self._used: dict[str, int] = {}
        self._looked_ms = float("-inf")
        self._changing = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None

    @property
    def known(self) -> Mapping[str, Known]:
        """All tokens by their ids."""
        return self._known

    def used_at(self, token_id: str) -> int:
        """When the token was last shown to this broker (wall time); 0: not since it started."""
        return self._used.get(token_id, 0)

    def find(self, shown: bytes) -> Principal | None:
        """Who shows this token; None for one that is unknown or over."""
        token_id = tokens.id_of(shown)
        if not token_id:
            return None
        known = self._by_hash.get(tokens.hashed(shown))
        now_ms = self._clock.wall_ms()
        if known is None or _is_over(known.principal, now_ms):
            return None
        self._used[token_id] = now_ms
        return known.principal

    @property
    def knows_certificates(self) -> bool:
        """Whether the file declares any."""
        return bool(self._certified)

    def of_certificate(self, names: Iterable[str]) -> Principal | None:
        """Who shows a certificate with these alternative names; None: nobody that is declared."""
        return next((self._certified[name] for name in names if name in self._certified), None)

    def has_expired(self, shown: bytes) -> bool:
        """Whether the token was let in once, and is over."""
        known = self._by_hash.get(tokens.hashed(shown))
        return known is not None and _is_over(known.principal, self._clock.wall_ms())

    async def start(self) -> None:
        """Read file and bucket. `ConfigError` for a file that cannot be taken, `CorruptObject` for a damaged
        `access.json`: a broker that knows nobody must not guess who may call."""
        if self._file is not None:
            self._read_file()
        await self._read_store()
        if self._file is not None:
            self._watching = asyncio.get_running_loop().create_task(self._watch_file())

    async def stop(self) -> None:
        """Look at nothing any more."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})

    async def refresh(self) -> None:
        """Read the bucket's tokens again. When that is not possible, go on with those that are known."""
        self._looked_ms = self._clock.monotonic_ms()
        try:
            await self._read_store()
        except (CorruptObject, StoreError) as error:
            log.error("cannot read the tokens in %s: %s; going on with the %d known ones", document.KEY, error,
                      len(self._stored))  # fmt: skip

    async def look_for(self, shown: bytes) -> Principal | None:
        """Who shows a token that was not known: it may have been created on another broker a moment ago."""
        if not tokens.id_of(shown) or self._clock.monotonic_ms() - self._looked_ms < LOOK_MS:
            return self.find(shown)
        await self.refresh()
        return self.find(shown)

    async def create(self, name: str, rights: Rights, expires_at: int) -> Changed:
        """A new token. Raises `StoreError` when it could not be written, `TooManyTokens` when there are too many."""

        def add(known: dict[str, Token]) -> tuple[str, str]:
            if len(known) >= document.TOKENS_MAX:
                raise TooManyTokens
            minted = tokens.mint(self._ids)
            known[minted.id] = Token(
                minted.id, [minted.hashed], rights.names(), name, self._clock.wall_ms(), expires_at
            )
            return minted.id, minted.token

        token_id, secret = await self._change(add)
        return Changed(self._known[token_id], secret)

    async def rotate(self, token_id: str, *, keep_old: bool) -> Changed:
        """A new secret for a token; the one before stays valid if `keep_old`. Raises `NoSuchToken`."""

        def turn(known: dict[str, Token]) -> str:
            token = self._changeable(known, token_id)
            minted = tokens.mint(self._ids, token_id)
            token.hashes = [minted.hashed, *token.hashes[:1]] if keep_old else [minted.hashed]
            return minted.token

        secret = await self._change(turn)
        return Changed(self._known[token_id], secret)

    async def revoke(self, token_id: str) -> None:
        """The token lets nobody in any more, here at once. Raises `NoSuchToken`."""

        def remove(known: dict[str, Token]) -> None:
            del known[self._changeable(known, token_id).id]

        await self._change(remove)

    def _changeable(self, known: dict[str, Token], token_id: str) -> Token:
        if token_id in self._declared:
            raise Declared(token_id)
        if token_id not in known:
            raise NoSuchToken(token_id)
        return known[token_id]

    async def _change(self, change: Callable[[dict[str, Token]], Answer]) -> Answer:
        async with self._changing:
            for _ in range(TRIES_MAX):
                await self._read_store()
                stored = {each: _copy(token) for each, token in self._stored.items()}
                answer = change(stored)
                body = document.written(stored)
                try:
                    if self._version:
                        version = await self._store.put_if_version(document.KEY, body, self._version)
                    else:
                        version = await self._store.put_if_absent(document.KEY, body)
                except StoreRefused:
                    continue
                self._take(stored, version)
                return answer
        raise StoreRefused(f"{document.KEY} is being changed by others all the time; try again")

    async def _read_store(self) -> None:
        found = await self._store.read(document.KEY)
        if found is None:
            self._take({}, "")
            return
        if found.version == self._version:
            return
        try:
            stored = document.read(found.body, sealed=True)
        except DocumentError as error:
            raise CorruptObject(document.KEY, f"{error}; restore it from a backup, or delete it to begin with no token"
                                ) from None  # fmt: skip
        self._take(stored, found.version)

    def _read_file(self) -> None:
        assert self._file is not None
        try:
            stat = self._file.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            if stamp == self._file_stamp:
                return
            body = self._file.read_bytes()
            declared, certified = document.read(body, sealed=False), document.certificates(body)
        except (OSError, DocumentError) as error:
            raise ConfigError(f"OSQUEUE_ACCESS_FILE: {self._file}: {error}") from None
        self._file_stamp = stamp
        self._declared = declared
        self._certify(certified)
        self._rebuild()
        log.info("%d tokens are declared in %s", len(declared), self._file)

    async def _watch_file(self) -> None:
        complained = ""
        while True:
            await self._clock.sleep_ms(LOOK_MS)
            try:
                self._read_file()
                complained = ""
            except ConfigError as error:
                if str(error) != complained:
                    log.error("%s; going on with the tokens that it declared before", error)
                complained = str(error)

    def _take(self, stored: dict[str, Token], version: str) -> None:
        self._stored, self._version = stored, version
        self._rebuild()

    def _rebuild(self) -> None:
        """What is declared wins over what is stored. Who is unchanged stays the same principal: streams go on."""
        before, self._known, self._by_hash = self._known, {}, {}
        for token in (*self._stored.values(), *self._declared.values()):
            self._known[token.id] = self._as_known(token, before.get(token.id))
        for known in self._known.values():
            for each in known.token.hashes:
                self._by_hash[each] = known
        kept = {id(known.principal) for known in self._known.values()}
        for known in before.values():
            if id(known.principal) not in kept:
                known.principal.ended.set()

    def _certify(self, rows: list[document.Certified]) -> None:
        """As in `_rebuild`."""
        before = {principal.id: principal for principal in self._certified.values()}
        self._certified = {}
        for row in rows:
            principal, rights = before.pop(row.id, None), rights_of(row.scopes)
            if principal is None or principal.rights != rights:
                if principal is not None:
                    principal.ended.set()
                principal = Principal(row.id, row.id, rights)
            self._certified.update(dict.fromkeys(row.names, principal))
        for principal in before.values():
            principal.ended.set()

    def _as_known(self, token: Token, before: Known | None) -> Known:
        rights, expires = rights_of(token.scopes), token.expires_ms
        principal = before.principal if before is not None else None
        if principal is None or (principal.rights, principal.expires_at) != (rights, expires):
            principal = Principal(token.id, token.name, rights, expires)
        return Known(token, principal, token.id in self._declared)


class TooManyTokens(Exception):
    """There are as many tokens as there may be."""


class NoSuchToken(Exception):
    """No token has this id."""


class Declared(Exception):
    """The token stands in the file, which is where it is changed."""


def _is_over(principal: Principal, now_ms: int) -> bool:
    return bool(principal.expires_at) and now_ms >= principal.expires_at


def _copy(token: Token) -> Token:
    return Token(token.id, [*token.hashes], [*token.scopes], token.name, token.created_at, token.expires_at)
