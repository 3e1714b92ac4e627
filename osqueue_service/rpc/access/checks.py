"""What a caller may do with jobs of one type, asked where the types are known."""

from collections.abc import Sequence

from osqueue_protocol.rights import EVERYTHING, SUBMIT, WORK
from osqueue_service.errors import PermissionDenied
from osqueue_service.rpc.access.principal import Principal, caller
from osqueue_service.rpc.fields import Violations


def check_submit(type_name: str, wrong: Violations) -> None:
    """Whether the caller may submit a job of this type, by itself or as a part of something else."""
    principal = caller()
    if not principal.rights.may_with(SUBMIT, type_name):
        allowed = _patterns(principal, SUBMIT)
        wrong.deny("type", f"is {type_name!r}, and the token {principal.id} may submit only jobs of {allowed}")


def check_claim(types: Sequence[str]) -> None:
    """Raises `PermissionDenied` when the caller may not work on jobs of these types; of all, when none is named."""
    principal = caller()
    if principal.rights is EVERYTHING or principal.rights.everywhere(WORK):
        return
    allowed = _patterns(principal, WORK)
    if not types:
        raise PermissionDenied(
            f"types: none are named, which means all, and the token {principal.id} may work only on {allowed}: name "
            "those that are wanted"
        )
    for name in types:
        if not principal.rights.may_with(WORK, name):
            raise PermissionDenied(
                f"types: {name!r} is none of those that the token {principal.id} may work on: {allowed}"
            )


def _patterns(principal: Principal, right: str) -> str:
    return ", ".join(principal.rights.patterns(right)) or "no type"
