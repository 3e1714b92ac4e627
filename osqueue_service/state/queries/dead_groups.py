"""Dead letters by type and error."""

from heapq import nlargest
from itertools import islice

from msgspec import Struct

from osqueue_service.state.index import Index
from osqueue_service.state.state import State

SAMPLES = 10
LOOKED_AT_MAX = 1_000
"""Dead letters of one group that are looked at for the times of the first and the last."""


class DeadGroup(Struct, frozen=True):
    """Dead letters of one type whose last attempts ended with one error. The sample is of the newest."""

    type: str
    error_type: str
    count: int
    oldest_at: int
    newest_at: int
    sample_message: str
    sample_job_ids: list[str]


def group_dead(state: State, types: frozenset[str], most: int) -> tuple[list[DeadGroup], int]:
    """The largest groups of these types (none: of all), and how many dead letters are in the others."""
    groups = [(key, group) for key, group in state.dead_groups.items() if not types or key[0] in types]
    largest = nlargest(most, groups, key=lambda item: item[1].count)
    others = sum(group.count for _, group in groups) - sum(group.count for _, group in largest)
    return [_group(state, *key, group) for key, group in largest], others


def _group(state: State, type_name: str, error_type: str, group: Index) -> DeadGroup:
    newest = list(islice(group.backwards(), LOOKED_AT_MAX))
    last = max(newest, key=lambda job: job.finished_at)
    return DeadGroup(
        type=type_name,
        error_type=error_type,
        count=group.count,
        oldest_at=min(job.finished_at for job in islice(group, LOOKED_AT_MAX)),
        newest_at=last.finished_at,
        sample_message=last.history[-1].error_message,
        sample_job_ids=[state.job_id(job) for job in newest[:SAMPLES]],
    )
