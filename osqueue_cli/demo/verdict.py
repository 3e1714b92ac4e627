"""The check at the end: every job, asked for by its id, and what became of it."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from osqueue import OsqueueClient
    from osqueue.job import Job

PARALLEL = 32


@dataclass(slots=True)
class Verdict:
    """What the broker says of all jobs, held against what the workers say."""

    jobs: int = 0
    completed: int = 0
    lost: list[str] = field(default_factory=list)
    """Not to be found, or not completed."""
    twice: list[str] = field(default_factory=list)
    """Completed more than once by the broker's account: must be empty."""
    repeated: int = 0
    """Jobs that needed more than one attempt."""
    broken_off: Counter[str] = field(default_factory=Counter)
    """How the attempts ended that completed nothing."""
    ran_again: int = 0
    """Runs of a handler beyond the first of each job, by the workers' account. At-least-once allows them."""
    results: dict[str, bytes] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        return not self.lost and not self.twice and self.completed == self.jobs


async def judge(client: "OsqueueClient", job_ids: Sequence[str], runs: Mapping[str, int]) -> Verdict:
    """Ask for every job."""
    from osqueue import JobNotFoundError

    verdict = Verdict(jobs=len(job_ids))
    gate = asyncio.Semaphore(PARALLEL)

    async def ask(job_id: str) -> None:
        async with gate:
            try:
                _judge_one(verdict, await client.get_job(job_id))
            except JobNotFoundError:
                verdict.lost.append(job_id)

    async with asyncio.TaskGroup() as group:
        for job_id in job_ids:
            group.create_task(ask(job_id))
    verdict.ran_again = sum(runs.values()) - len(runs)
    return verdict


def _judge_one(verdict: Verdict, job: "Job") -> None:
    outcomes = [attempt.outcome for attempt in job.history]
    if job.status != "completed":
        verdict.lost.append(job.id)
        return
    verdict.completed += 1
    if outcomes.count("completed") != 1:
        verdict.twice.append(job.id)
    if job.attempt_number > 1:
        verdict.repeated += 1
        verdict.broken_off.update(outcome for outcome in outcomes if outcome != "completed")
    if job.result is not None:
        verdict.results[job.id] = job.result
