"""Changes carry who asked for them into their records."""

import logging
from typing import Any

from msgspec.structs import replace

from osqueue_service.engine.engine import Engine
from osqueue_service.errors import FeatureUnavailable
from osqueue_service.rpc.access.principal import LOCAL, caller
from osqueue_service.rpc.handlers import Context
from osqueue_service.state.commands import Command
from osqueue_service.state.records import By

log = logging.getLogger(__name__)


async def execute_signed(engine: Engine, command: Command, context: Context) -> Any:
    """Execute the command, which has a field `by`, with the caller's name in its records.

    While a broker that could take over does not know of names in records, the change is made without: what an operator
    asks for waits for no upgrade.
    """
    by = signature(context)
    if by is None:
        return await engine.execute(command)
    try:
        return await engine.execute(replace(command, by=by))
    except FeatureUnavailable:
        log.warning("%s asked for %s; a standby of an earlier release keeps that out of the record", by.principal,
                    type(command).__name__)  # fmt: skip
    return await engine.execute(command)


def signature(context: Context) -> By | None:
    """Who makes this call, and from where; None where nobody has to say."""
    principal = caller()
    return None if principal is LOCAL else By(principal.id, context.peer())
