"""What a caller may do with jobs of one type, asked where the types are known."""

from collections.abc import Sequence

from osqueue_protocol.rights import EVERYTHING, SUBMIT, WORK, Rights
from osqueue_service.errors import PermissionDenied
from osqueue_service.rpc.access.principal import caller, rights_here
from osqueue_service.rpc.fields import Violations


def check_submit(type_name: str, wrong: Violations) -> None:
    """Whether the caller may submit a job of this type, by itself or as a part of something else."""
    rights = rights_here()
    if not rights.may_with(SUBMIT, type_name):
        allowed = _patterns(rights, SUBMIT)
        wrong.deny("type", f"is {type_name!r}, and the token {caller().id} may submit only jobs of {allowed}")


def check_claim(types: Sequence[str]) -> None:
    """Raises `PermissionDenied` when the caller may not work on jobs of these types; of all, when none is named."""
    rights, principal = rights_here(), caller()
    if rights is EVERYTHING or rights.everywhere(WORK):
        return
    allowed = _patterns(rights, WORK)
    if not types:
        raise PermissionDenied(
            f"types: none are named, which means all, and the token {principal.id} may work only on {allowed}: name "
            "those that are wanted"
        )
    for name in types:
        if not rights.may_with(WORK, name):
            raise PermissionDenied(
                f"types: {name!r} is none of those that the token {principal.id} may work on: {allowed}"
            )


def _patterns(rights: Rights, right: str) -> str:
    return ", ".join(rights.patterns(right)) or "no type"
