"""What a seed stands for: the shape of the cluster, its load, and which faults are on.

Each seed draws which faults there are at all (swarm testing): a world in which everything
goes wrong at once hides the bugs that need one thing to go right.
"""

import random
from dataclasses import dataclass, field, replace

from osqueue_service.limits import DEFAULT_LIMITS, MINUTE_MS, Limits
from osqueue_service.storage.throttled import ThrottleLimits
from osqueue_service.testing.faulty import FaultKind

NEMESES = (
    "kill broker",
    "stop broker",
    "suspend broker",
    "cut broker from store",
    "cut clients from broker",
    "step down",
    "restart broker",
    "shift wall clock",
    "store brownout",
    "store slow",
    "store gone",
    "disk failure",
    "kill worker",
    "stop worker",
    "kill producer",
    "ambush",
    "store denies",
)

DAMAGE = "object damaged"
WRONG_CLOCK = "wrong clock"
"""Only where the store tells the time: nobody could know elsewhere."""

# Those that make brokers believe what is no longer so.
_SUBTLE = ("stop broker", "suspend broker", "ambush")

STORE_FAULTS = (
    FaultKind.UNAVAILABLE,
    FaultKind.FAIL_BEFORE,
    FaultKind.FAIL_AFTER,
    FaultKind.LAND_LATE,
    FaultKind.REFUSED_AFTER,
)

# Promises made to real users are hours long; worlds are minutes long. The windows shrink with the world, but stay
# longer than an SDK goes on retrying a call, which is what they are for.
_SIM_LIMITS = replace(
    DEFAULT_LIMITS,
    default_lease_ms=2_500,
    default_retention_ms=8_000,
    dead_retention_ms=5 * MINUTE_MS,
    idempotency_ttl_ms=90_000,
    request_ttl_ms=90_000,
    settled_ttl_ms=90_000,
)

_TIGHT_LIMITS = replace(
    _SIM_LIMITS,
    jobs=40,
    reserve_jobs=5,
    idempotency_keys=25,
    finished_jobs=15,
    finished_bytes=2_000,
    promised_jobs=10,
    dead_jobs=10,
    inbox_commands=8,
    waiting_claims=3,
    sweep_jobs=3,
    commit_bytes=200,
    work_streams=2,
    watch_events=20,
)


THROTTLES = (
    ThrottleLimits(reads_per_minute=300),
    ThrottleLimits(writes_per_minute=400),
    ThrottleLimits(reads_per_minute=600, writes_per_minute=300, writes_per_day=60),
)


@dataclass
class Swarm:
    """One seed's world."""

    seed: int
    brokers: int = 3
    workers: int = 3
    pushed_workers: int = 0
    """Workers with a Work stream, beside those that claim."""
    producers: int = 2
    operators: int = 1
    schedulers: int = 0
    planners: int = 0
    """Who submit workflows, and fill batches."""
    depth: int = 4
    spacing_ms: int = 0
    heartbeat_ms: tuple[float, float, float] = (600, 2_000, 250)
    sole_owner: bool = False
    """Whether a broker takes over without waiting, as over a directory that it has locked."""
    inherited_jobs: int | None = None
    """So many jobs an earlier osqueue has left; None: the bucket is empty."""
    old_releases: bool = False
    """Whether some lives of brokers are of an earlier release, which knows none of the features."""
    throttle: ThrottleLimits | None = None
    """What each broker may ask of the store."""
    limits: Limits = _SIM_LIMITS
    checkpoint_segments: int = 60
    tail_segments: int = 200
    inline_bytes: int = 256 * 1024
    part_bytes: int = 8 * 1024 * 1024
    jobs_per_part: int = 256
    thread_ms: float = 0.0
    """What is given to a thread, as every chunk of a checkpoint then is, takes up to so long."""
    latency_ms: tuple[float, float] = (1.0, 20.0)
    network_ms: tuple[float, float] = (0.2, 5.0)
    fault_rate: float = 0.0
    store_faults: tuple[FaultKind, ...] = ()
    stall_rate: float = 0.0
    late_ms_max: float = 10_000.0
    nemeses: tuple[str, ...] = ()
    fault_every_ms: float = 6_000.0
    trouble_ms: float = 18_000.0
    think_ms: float = 250.0
    clock_rates: tuple[float, float] = (1.0, 1.0)
    types: tuple[str, ...] = ("", "mail", "thumb")
    etags: bool = False
    """Whether the store's versions are digests of the bytes."""
    raw_errors: bool = False
    """Whether the store's client raises whatever it likes."""
    uneven_limits: bool = False
    """Whether each broker's life has limits of its own, never above those of the world."""
    dated: bool = False
    """Whether the store's answers tell the time."""
    retention_ms: int = 0
    """How far back in time there is a way."""
    behaviours: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        limits = "tight" if self.limits.jobs == _TIGHT_LIMITS.jobs else "usual"
        habits = ", ".join(name for name, chance in self.behaviours.items() if chance)
        return (
            f"seed {self.seed}: {self.brokers} brokers of depth {self.depth}, {self.producers} producers, "
            f"{self.workers} workers and {self.pushed_workers} with a stream; {limits} limits; "
            f"store {self.latency_ms} ms, network {self.network_ms} ms; "
            f"{'throttled; ' if self.throttle else ''}{'versions are digests; ' if self.etags else ''}"
            f"{f'{self.retention_ms} ms of log kept; ' if self.retention_ms else ''}"
            f"{'answers are dated; ' if self.dated else ''}"
            f"{'limits differ; ' if self.uneven_limits else ''}{'raw errors; ' if self.raw_errors else ''}"
            f"{'brokers of two releases; ' if self.old_releases else ''}"
            f"{'' if self.inherited_jobs is None else f'{self.inherited_jobs} jobs inherited; '}"
            f"checkpoints from {self.checkpoint_segments} segments, inline up to {self.inline_bytes} bytes\n"
            f"  requests fail at {self.fault_rate}: {', '.join(kind.name.lower() for kind in self.store_faults)}\n"
            f"  every {self.fault_every_ms:.0f} ms: {', '.join(self.nemeses)}\n"
            f"  people: {habits}"
        )


_HABITS = (
    ("fail", 0.2), ("die", 0.05), ("release", 0.1), ("vanish", 0.1), ("slow", 0.1), ("repeat", 0.2), ("late", 0.1),
    ("beat", 0.5), ("batch", 0.3), ("key", 0.3), ("cancel call", 0.1), ("delay", 0.15), ("retention", 0.2),
    ("timeout", 0.15), ("priority", 0.3), ("policy", 0.3), ("conflict", 0.05), ("cancel", 0.3), ("retry", 0.3),
    ("update", 0.3), ("purge", 0.1), ("pause", 0.15), ("walk", 0.3), ("await", 0.2), ("wander", 0.5),
)  # fmt: skip
"""What people and workers do, and how often at a time where they do it at all."""

_HABITS_ON_STREAMS = (
    ("slots", 0.3), ("drain", 0.2), ("hang up", 0.2), ("slow reader", 0.05), ("watch", 0.5), ("steer", 0.15),
    ("explain", 0.2), ("ask to step down", 0.02), ("lease", 0.2), ("claim key", 0.1),
)  # fmt: skip


def _draw_faults(swarm: Swarm, source: random.Random) -> None:
    chance, choice = source.random, source.choice
    if chance() < 0.8:
        swarm.store_faults = tuple(kind for kind in STORE_FAULTS if chance() < 0.5)
        swarm.fault_rate = choice([0.002, 0.02, 0.1]) if swarm.store_faults else 0.0
        swarm.stall_rate = choice([0.0, 0.0, 0.01, 0.05])
        swarm.late_ms_max = choice([500.0, 5_000.0, 30_000.0])
    if chance() < 0.9:
        swarm.nemeses = tuple(name for name in NEMESES if chance() < (0.5 if name in _SUBTLE else 0.3))
        swarm.fault_every_ms = choice([1_000.0, 2_000.0, 4_000.0])


def draw(seed: int) -> Swarm:
    """The world of a seed."""
    source = random.Random(f"swarm {seed}")
    chance = source.random
    choice = source.choice
    swarm = Swarm(seed)
    swarm.brokers = choice([1, 2, 2, 3, 3, 3])
    swarm.workers = choice([1, 2, 3, 4])
    swarm.producers = choice([1, 2, 3])
    swarm.operators = choice([1, 2])
    swarm.depth = choice([1, 2, 4, 4, 8])
    swarm.spacing_ms = choice([0, 0, 0, 20, 100])
    swarm.limits = _TIGHT_LIMITS if chance() < 0.25 else _SIM_LIMITS
    swarm.checkpoint_segments = choice([15, 40, 100, 1_000])
    swarm.tail_segments = choice([30, 100, 1_000])
    swarm.inline_bytes = choice([0, 3_000, 256 * 1024])
    swarm.part_bytes = choice([300, 8 * 1024 * 1024])
    swarm.jobs_per_part = choice([2, 10, 256])
    swarm.latency_ms = choice([(0.5, 3.0), (1.0, 20.0), (5.0, 120.0), (30.0, 400.0)])
    swarm.network_ms = choice([(0.1, 1.0), (0.2, 20.0), (1.0, 300.0)])
    swarm.think_ms = choice([80.0, 200.0, 600.0])
    swarm.clock_rates = choice([(1.0, 1.0), (0.98, 1.02)])
    _draw_faults(swarm, source)
    swarm.behaviours = {name: choice([0.0, weight]) for name, weight in _HABITS}
    swarm.pushed_workers = choice([0, 1, 2])
    swarm.workers = max(1, swarm.workers - swarm.pushed_workers)
    swarm.behaviours |= {name: choice([0.0, weight]) for name, weight in _HABITS_ON_STREAMS}
    if chance() < 0.15:
        swarm.inherited_jobs = choice([0, 3, 20])
    if chance() < 0.15:
        swarm.throttle = choice(THROTTLES)
    swarm.etags = chance() < 0.5
    swarm.raw_errors = chance() < 0.5
    swarm.uneven_limits = chance() < 0.3
    # Producers' keys mean nothing to retries, which go by request ids: in most worlds they are forgotten many times.
    if chance() < 0.7:
        swarm.limits = replace(swarm.limits, idempotency_ttl_ms=choice([1_000, 4_000, 10_000]))
        swarm.behaviours["key"] = choice([0.2, 0.5])
    swarm.behaviours["large"] = choice([0.0, 0.05])
    swarm.behaviours |= {"unique": choice([0.0, 0.3]), "sequence": choice([0.0, 0.3])}
    swarm.old_releases = swarm.brokers > 1 and chance() < 0.25
    swarm.retention_ms = choice([0, 0, 5_000, 15_000, 3_600_000])
    swarm.dated = chance() < 0.5
    if swarm.dated and swarm.nemeses and chance() < 0.5:
        swarm.nemeses += (WRONG_CLOCK,)
    swarm.schedulers = choice([0, 0, 1])
    if swarm.nemeses and chance() < 0.25:
        swarm.nemeses += (DAMAGE,)
    swarm.thread_ms = choice([0.0, 5.0, 50.0])
    swarm.behaviours["limit"] = choice([0.0, 0.5])
    swarm.planners = choice([0, 0, 1, 2])
    swarm.behaviours |= {"join": choice([0.0, 0.3]), "follow up": choice([0.0, 0.3])}
    return swarm


def limits_of_a_life(limits: Limits, draw: random.Random) -> Limits:
    """Limits as another operator might have set them."""

    def lower(limit: int) -> int:
        return max(1, int(limit * draw.choice([0.3, 0.6, 1.0])))

    return replace(
        limits,
        jobs=lower(limits.jobs),
        finished_jobs=lower(limits.finished_jobs),
        finished_bytes=lower(limits.finished_bytes),
        dead_jobs=lower(limits.dead_jobs),
        promised_jobs=lower(limits.promised_jobs),
        idempotency_keys=lower(limits.idempotency_keys),
        waiting_claims=lower(limits.waiting_claims),
        sweep_jobs=lower(limits.sweep_jobs),
        commit_bytes=lower(limits.commit_bytes),
        history_attempts=lower(limits.history_attempts),
    )


def least_sweep_jobs(swarm: Swarm) -> int:
    """How many effects every life of a broker has room for in a commit."""
    most = swarm.limits.sweep_jobs
    return max(1, int(most * 0.3)) if swarm.uneven_limits else most
