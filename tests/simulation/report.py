"""Many seeds, in several processes, and what they came to."""

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from tests.simulation.run import OPTIONS, run_seed
from tests.simulation.swarm import NEMESES, draw

COMMANDS = (
    "submit", "claim", "heartbeat", "complete", "fail", "release", "cancel", "retry", "purge", "update", "run", "pause",
    "resume", "get", "page", "walk", "stats", "watch", "CancelJobs", "RetryJobs", "RunJobs", "Purge", "StepDown",
    "ExplainJob",
    "SubmitWorkflow", "AddToWorkflow", "CancelWorkflow", "OpenBatch", "AddToBatch", "SealBatch", "CancelBatch",
)  # fmt: skip
"""Each was executed, and answered."""

RARE = (
    "takeovers",
    "unknown outcomes that happened",
    "unknown outcomes that did not",
    "complete LEASE_LOST",
    "jobs that ended dead",
    "jobs that ended cancelled",
    "attempts expired",
    "attempts timed_out",
    "attempts released",
    "running times told",
    "deduplicated",
    "unique kept",
    "unique replaced",
    "unique queued_after",
    "unique cancelling",
    "submit IDEMPOTENCY_CONFLICT",
    "submit QUEUE_FULL",
    "claim TOO_MANY_REQUESTS",
    "claims cancelled",
    "actions repeated",
    "recoveries from inline",
    "recoveries from objects",
    "log puts_settled_ours",
    "log puts_settled_other",
    "log root_swaps_unsettled",
    "log candidacies_lost",
    "log checkpoints",
    "times fired",
    "times skipped",
    "times buffered",
    "times missed",
    "times delayed",
    "nodes unblocked",
    "nodes cutoff",
    "nodes revived",
    "callbacks first_dead",
    "callbacks success",
    "callbacks finished",
    "jobs that followed",
    "jobs submitted by a death",
    "jobs added by members",
    "log deletes",
    "late requests landed",
    "late requests refused",
    "brokers stopped by a failed store",
    "requests denied",
    "recoveries from seed",
    "inherited attempts ended",
    "reads throttled",
    "writes throttled",
    "heartbeat LEASE_LOST",
    "jobs pushed",
    "complete receipts",
    "fail receipts",
    "release receipts",
    "renewals of all",
    "resumed leases live",
    "resumed leases lost",
    "lost leases noticed",
    "cancellations noticed",
    "streams broken",
    "streams ended in order",
    "streams drained by the broker",
    "streams drained by the worker",
    "stream TOO_MANY_REQUESTS",
    "claims answered again",
    "cancelled by filter",
    "retried by filter",
    "run by filter",
    "purged by filter",
    "asked to step down",
    "watch JobEvent",
    "watch Resync",
    "watch Stats",
    "waits that saw the end",
    *(f"submit with {option}" for option in OPTIONS),
    *(f"{command} ok" for command in COMMANDS),
)
"""What must have happened somewhere in a long run; otherwise the run proves little."""

CHECKS = (
    "acknowledged jobs, claims and ends are in the log, and were durable before the answer left",
    "what operators were told of cancels, retries, purges and pauses is in the log, and was durable",
    "what was refused is not in the log; what was unknown may be",
    "attempts are numbered without a gap, one lease at a time, within the budget; exhausted jobs are dead letters",
    "a finished job is not handed out; a stale token changes nothing; a repeated action answers as it did",
    "first in, first out, within a type and priority",
    "one key, one job, across retries, failovers and checkpoints",
    "under a unique key one job runs at a time, and the jobs of a sequence in their order",
    "a node runs, or is cut off, and a callback is submitted, once, in the commit that decides it",
    "under a limit no more run than may, and no more start in any window, over all takeovers",
    "every recovery and every checkpoint equals a replay of the whole log, byte for byte",
    "jobs are conserved at every commit; counters never fall; every buffer is within its limit",
    "a receipt is told when it is durable, a stream's slots are a cap, who hangs up hears of all that was sent",
    "a watch tells each commit once; a live lease is renewed and settled, and a lost one is not",
    "linearizable reads see all that was acknowledged; a walk shows every job once",
    "epochs rise; fences stay; nothing is deleted that a recovery needs; pointers only rise",
    "after the trouble every job comes to its end, and nobody fails unheard",
    "no commit is stamped far ahead of the store's clock",
    "moments within the retention are built, and each as the log says",
)


@dataclass
class Total:
    """The sum of many seeds."""

    seeds: int = 0
    simulated_ms: float = 0.0
    steps: int = 0
    operations: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, list[str]]] = field(default_factory=list)
    seconds: float = 0.0
    cpu_s: float = 0.0

    def add(self, outcome: "Outcome") -> None:
        self.seeds += 1
        self.simulated_ms += outcome.simulated_ms
        self.steps += outcome.steps
        self.operations += outcome.operations
        self.cpu_s += outcome.cpu_s
        self.counts.update(outcome.counts)
        if outcome.problems:
            self.failures.append((outcome.seed, outcome.problems))

    @property
    def missing(self) -> list[str]:
        """Rare things that did not happen."""
        return [name for name in RARE if not self.counts[name]]

    def lines(self) -> Iterator[str]:
        """The report."""
        yield (
            f"{self.seeds:,} seeds, {self.simulated_ms / 3_600_000:,.1f} simulated hours, "
            f"{self.operations:,} operations, {self.counts['commits']:,} commits, {self.steps:,} steps "
            + (f"in {self.seconds:,.0f} s ({self.seeds / self.seconds:.1f} seeds/s), " if self.seconds else "")
            + f"{self.cpu_s / max(self.seeds, 1) * 1_000:.0f} ms of CPU per seed"
        )
        yield "faults: " + ", ".join(f"{name} {self.counts[name]:,}" for name in NEMESES if self.counts[name])
        store = sorted(name for name in self.counts if name.startswith("store ") and name not in NEMESES)
        yield "store: " + ", ".join(f"{name[6:]} {self.counts[name]:,}" for name in store)
        yield "seen: " + ", ".join(f"{name} {self.counts[name]:,}" for name in RARE)
        yield "checked: " + "; ".join(CHECKS)
        for seed, problems in self.failures:
            yield f"seed {seed} FAILED: {problems[0]}"
            yield f"  reproduce: python -m tests.simulation --seed {seed} --trace"


@dataclass
class Outcome:
    """What one seed sends home from its process."""

    seed: int
    problems: list[str]
    simulated_ms: float
    steps: int
    operations: int
    counts: Counter[str]
    cpu_s: float


def outcome_of(seed: int) -> Outcome:
    began = time.process_time()
    result = run_seed(draw(seed), hashed=False)
    cpu_s = time.process_time() - began
    return Outcome(seed, result.problems, result.simulated_ms, result.steps, result.operations, result.counts, cpu_s)


def run_many(
    seeds: Iterable[int],
    *,
    processes: int,
    budget_s: float = float("inf"),
    progress: Callable[[Total], None] = lambda total: None,
    keep: Callable[[Outcome], None] = lambda outcome: None,
) -> Total:
    """Run the seeds until all are done or the time is up. `keep` is shown each outcome."""
    total = Total()
    began = time.monotonic()

    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for outcome in pool.imap_unordered(outcome_of, seeds):
            total.add(outcome)
            keep(outcome)
            total.seconds = time.monotonic() - began
            progress(total)
            if total.seconds > budget_s:
                pool.terminate()
                break
    total.seconds = time.monotonic() - began
    return total
