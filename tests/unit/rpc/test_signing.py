"""Who asked for a change goes into its record, unless a standby could not read that."""

from typing import Any

from osqueue_protocol.rights import EVERYTHING
from osqueue_service.errors import FeatureUnavailable
from osqueue_service.rpc.access.principal import LOCAL, Principal, answer_for
from osqueue_service.rpc.access.signing import execute_signed
from osqueue_service.state.commands import Cancel
from osqueue_service.state.records import By


class Context:
    def peer(self) -> str:
        return "ipv4:10.0.0.7:1"


class Engine:
    """Takes commands; where a standby is old, none that names somebody."""

    def __init__(self, *, old_standby: bool = False) -> None:
        self.old_standby = old_standby
        self.executed: list[Any] = []

    async def execute(self, command: Any) -> str:
        if self.old_standby and command.by is not None:
            raise FeatureUnavailable("a standby of an earlier release attends")
        self.executed.append(command)
        return "done"


async def signed_by(principal: Principal, engine: Engine) -> Any:
    answer_for(principal)
    assert await execute_signed(engine, Cancel(["x"]), Context()) == "done"  # type: ignore[arg-type]
    (command,) = engine.executed
    return command.by


async def test_the_record_names_who_asked_and_from_where():
    assert await signed_by(Principal("ada", "", EVERYTHING), Engine()) == By("ada", "ipv4:10.0.0.7:1")


async def test_who_shows_no_token_is_not_named():
    assert await signed_by(LOCAL, Engine()) is None


async def test_the_change_waits_for_no_upgrade_of_a_standby():
    assert await signed_by(Principal("ada", "", EVERYTHING), Engine(old_standby=True)) is None
