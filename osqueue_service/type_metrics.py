"""The figures of types and named limits as metrics. What callers choose is a label's value up to a limit only
(`metric_types`, `metric_limits`)."""

from collections.abc import Callable, Iterator

from osqueue_service.engine.queue_figures import LimitFigures, QueueFigures, TypeFigures
from osqueue_service.engine.type_tallies import TypeTally
from osqueue_service.metrics import Durations, Family, gauge, line
from osqueue_service.state.model import Status


def type_families(figures: QueueFigures) -> list[Family]:
    """Depth, age, pauses and what became of jobs, by type; nothing is computed before it is shown."""
    types = figures.types
    return [
        Family("osqueue_type_jobs", "gauge", "Jobs in the queue, by type and status.", more=_depths(types)),
        Family(
            "osqueue_type_oldest_seconds",
            "gauge",
            "How long the oldest waiting job of the type has waited; 0: none waits.",
            more=_ages(figures),
        ),
        Family("osqueue_type_paused", "gauge", "1 while no jobs of the type are handed out.", more=_pauses(types)),
        _count("submitted", "Jobs submitted under this leader.", types, lambda tally: tally.submitted),
        _count("claimed", "Claims of jobs under this leader.", types, lambda tally: tally.claimed),
        _count("died", "Jobs that became dead letters under this leader.", types, lambda tally: tally.died),
        Family(
            "osqueue_type_attempts_total",
            "counter",
            "Attempts that ended under this leader, by how they ended.",
            more=_attempts(types),
        ),
        _spread("wait", "From a job's being ready to its claim.", types, lambda tally: tally.wait),
        _spread("run", "From a claim to the attempt's end, however it ended.", types, lambda tally: tally.run),
    ]


def limit_families(limits: list[LimitFigures]) -> list[Family]:
    """What runs and waits under each named limit."""
    running = gauge("osqueue_limit_running", "The cost of what runs under a named limit, all keys together.")
    waiting = gauge("osqueue_limit_waiting", "Jobs under a named limit that do not run.")
    most = gauge("osqueue_limit_max_running", "The cost that may run at a time under a limit that all jobs share.")
    for limit in limits:
        running.add(limit.running, limit=limit.name)
        waiting.add(limit.waiting, limit=limit.name)
        if limit.most >= 0:
            most.add(limit.most, limit=limit.name)
    return [running, waiting, most]


def _depths(types: list[TypeFigures]) -> Iterator[str]:
    for each in types:
        for status in Status:
            yield line("osqueue_type_jobs", {"type": each.name, "status": status.wire}, each.counts[status])


def _ages(figures: QueueFigures) -> Iterator[str]:
    for age in figures.ages_ms():
        yield "" if age is None else line("osqueue_type_oldest_seconds", {"type": age[0]}, age[1] / 1_000)


def _attempts(types: list[TypeFigures]) -> Iterator[str]:
    for each in types:
        for outcome, count in list(each.tally.attempts.items()):
            yield line("osqueue_type_attempts_total", {"type": each.name, "outcome": outcome}, count)


def _pauses(types: list[TypeFigures]) -> Iterator[str]:
    for each in types:
        if each.paused is not None:
            yield line("osqueue_type_paused", {"type": each.name}, each.paused)


def _count(what: str, help: str, types: list[TypeFigures], of: Callable[[TypeTally], int]) -> Family:
    name = f"osqueue_type_{what}_total"
    return Family(name, "counter", help, more=(line(name, {"type": each.name}, of(each.tally)) for each in types))


def _spread(what: str, help: str, types: list[TypeFigures], of: Callable[[TypeTally], Durations]) -> Family:
    name = f"osqueue_type_{what}_seconds"
    return Family(name, "histogram", help, more=(of(each.tally).text(name, "type", each.name) for each in types))
