"""What a job of a workflow waits for, as it is stored with the job."""

from enum import IntEnum

from msgspec import Struct


class Policy(IntEnum):
    """What a bad end of a job means to one that needs it."""

    CASCADE = 1
    """It will not run either."""
    RUN = 2
    """It runs, and sees how the other ended."""
    HOLD = 3
    """It waits until somebody retries or purges the other."""


class Need(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """That a job waits for another of its workflow to end, by number and node name. `pass_result`: it is given the
    other's result."""

    number: int
    node: str
    if_dead: Policy = Policy.CASCADE
    if_cancelled: Policy = Policy.CASCADE
    pass_result: bool = False


class Member(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """A job's place in a workflow, by the workflow's number and the name of its node there."""

    workflow: int
    node: str
    needs: tuple[Need, ...] = ()
