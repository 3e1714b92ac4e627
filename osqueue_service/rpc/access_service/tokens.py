"""WhoAmI, CreateToken, ListTokens, RotateToken, RevokeToken."""

import logging
from collections.abc import Awaitable
from typing import TypeVar

from osqueue_protocol.rights import ScopeError, rights_of
from osqueue_service.clock import Clock
from osqueue_service.errors import (
    CorruptObject,
    InvalidRequest,
    OutcomeUnknown,
    StorageUnavailable,
    StoreError,
    StoreFailed,
    StoreUnknown,
)
from osqueue_service.rpc.access.document import KEY, NAME_CHARS_MAX, TOKENS_MAX
from osqueue_service.rpc.access.principal import caller
from osqueue_service.rpc.access.registry import Declared, Known, NoSuchToken, Registry, TooManyTokens
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import Violations, check_number
from osqueue_service.rpc.handlers import Context
from osqueue_stubs.osqueue.v1 import access_pb2

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

PAGE_DEFAULT = 100
PAGE_MAX = 1_000


class Tokens:
    """Serves AccessService. The leader alone changes tokens, so that one broker's view is always the newest."""

    def __init__(self, broker: Broker, registry: Registry, clock: Clock, *, asks: bool) -> None:
        """`asks`: whether callers must show a token at all."""
        self._broker = broker
        self._registry = registry
        self._clock = clock
        self._asks = asks

    async def WhoAmI(self, request: access_pb2.WhoAmIRequest, context: Context) -> access_pb2.WhoAmIResponse:
        principal = caller()
        return access_pb2.WhoAmIResponse(
            principal=principal.id,
            name=principal.name,
            scopes=principal.rights.names(),
            expires_at=principal.expires_at,
        )

    async def CreateToken(
        self, request: access_pb2.CreateTokenRequest, context: Context
    ) -> access_pb2.CreateTokenResponse:
        self._require_door()
        wrong = Violations()
        if len(request.name) > NAME_CHARS_MAX:
            wrong.add("name", f"has {len(request.name)} characters; at most {NAME_CHARS_MAX} are taken")
        now_ms = self._clock.wall_ms()
        if request.expires_at and request.expires_at <= now_ms:
            wrong.add("expires_at", f"is {request.expires_at}, which is over; 0: never")
        try:
            rights = rights_of(request.scopes)
        except ScopeError as error:
            wrong.add("scopes", str(error))
        wrong.check()
        changed = await _stored(self._registry.create(request.name, rights, request.expires_at))
        log.info("%s made the token %s with %s", caller().id, changed.known.token.id, ", ".join(rights.names()))
        return access_pb2.CreateTokenResponse(token=changed.secret, info=self._info(changed.known))

    async def ListTokens(
        self, request: access_pb2.ListTokensRequest, context: Context
    ) -> access_pb2.ListTokensResponse:
        self._require_leader()
        wrong = Violations()
        check_number(request.page_size, "page_size", 0, PAGE_MAX, wrong)
        wrong.check()
        size, after = request.page_size or PAGE_DEFAULT, request.page_token
        ids = sorted(each for each in self._registry.known if each > after)
        response = access_pb2.ListTokensResponse(tokens=[self._info(self._registry.known[each]) for each in ids[:size]])
        if len(ids) > size:
            response.next_page_token = ids[size - 1]
        return response

    async def RotateToken(
        self, request: access_pb2.RotateTokenRequest, context: Context
    ) -> access_pb2.RotateTokenResponse:
        self._require_door()
        changed = await _stored(self._registry.rotate(request.token_id, keep_old=not request.revoke_old))
        log.info("%s rotated the token %s", caller().id, request.token_id)
        return access_pb2.RotateTokenResponse(token=changed.secret, info=self._info(changed.known))

    async def RevokeToken(
        self, request: access_pb2.RevokeTokenRequest, context: Context
    ) -> access_pb2.RevokeTokenResponse:
        self._require_door()
        await _stored(self._registry.revoke(request.token_id))
        log.info("%s revoked the token %s", caller().id, request.token_id)
        return access_pb2.RevokeTokenResponse()

    def _require_leader(self) -> None:
        """The leader alone answers, so that nobody is told of tokens as they were."""
        _ = self._broker.engine

    def _require_door(self) -> None:
        self._require_leader()
        if not self._asks:
            raise InvalidRequest(
                "this broker asks for no token, so that one would protect nothing: start it with OSQUEUE_TOKEN, which "
                "stays the way in when all others are lost"
            )

    def _info(self, known: Known) -> access_pb2.TokenInfo:
        token = known.token
        return access_pb2.TokenInfo(
            id=token.id,
            name=token.name,
            scopes=known.principal.rights.names(),
            created_at=token.created_at,
            expires_at=known.principal.expires_at,
            last_used_at=self._registry.used_at(token.id),
            secrets=len(token.hashes),
            declared=known.declared,
        )


async def _stored(change: Awaitable[Answer]) -> Answer:
    """What the change answers; what went wrong as callers know it."""
    try:
        return await change
    except NoSuchToken as error:
        raise InvalidRequest.field(
            "token_id", f"{str(error)!r} is not the id of a token; ListTokens names them all"
        ) from None
    except Declared as error:
        raise InvalidRequest.field(
            "token_id", f"{error} is declared in the file of OSQUEUE_ACCESS_FILE: change it there"
        ) from None
    except TooManyTokens:
        raise InvalidRequest(f"there are {TOKENS_MAX:,} tokens, which is the limit: revoke those nobody uses") from None
    except CorruptObject as error:
        raise StorageUnavailable(str(error)) from None
    except (StoreUnknown, StoreFailed) as error:
        raise OutcomeUnknown(f"{KEY} may or may not have been written: look with ListTokens ({error})") from None
    except StoreError as error:
        raise StorageUnavailable(f"{KEY} could not be written: {error}") from None
