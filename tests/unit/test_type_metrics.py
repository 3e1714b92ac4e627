"""What the metrics show of types and named limits."""

import asyncio
import re
from collections.abc import Iterator

from osqueue_protocol.in_turns import TURN_S, written
from osqueue_service.engine.queue_figures import QueueFigures
from osqueue_service.engine.type_tallies import TypeTallies
from osqueue_service.limits import DEFAULT_LIMITS, Limits
from osqueue_service.metrics import Registry
from osqueue_service.type_metrics import limit_families, type_families
from tests.core import Core, under


def shown(core: Core, *known: str, limits: Limits = DEFAULT_LIMITS) -> dict[str, float]:
    tallies = TypeTallies(limits.metric_types, core.state.type_counts)
    for name in known:
        tallies.know(name, 1)
    seen = QueueFigures(core.state, tallies, core.now_ms, limits)
    registry = Registry()
    registry.add(lambda: [*type_families(seen), *limit_families(seen.limits)])
    lines = [line for line in registry.render().splitlines() if not line.startswith("#")]
    samples = dict(line.rsplit(" ", 1) for line in lines)
    assert len(samples) == len(lines), "no sample twice"
    return {name: float(value) for name, value in samples.items()}


def test_depths_by_type_and_status_and_those_of_all_others_together() -> None:
    core = Core()
    for name in ("a", "a", "b", "c", "c", "c"):
        core.submit(name)
    core.claim(types=["a"])
    core.claim(types=["c"])
    figures = shown(core, "a", "gone")
    assert figures['osqueue_type_jobs{type="a",status="unclaimed"}'] == 1
    assert figures['osqueue_type_jobs{type="a",status="in_progress"}'] == 1
    assert figures['osqueue_type_jobs{type="gone",status="unclaimed"}'] == 0
    assert figures['osqueue_type_jobs{type="(other)",status="unclaimed"}'] == 3
    assert figures['osqueue_type_jobs{type="(other)",status="in_progress"}'] == 1


def test_the_age_is_that_of_the_oldest_job_that_waits() -> None:
    core = Core()
    core.submit("a", priority=1)
    core.advance(5_000)
    core.submit("a", priority=9)
    core.advance(2_000)
    figures = shown(core, "a", "b")
    assert figures['osqueue_type_oldest_seconds{type="a"}'] == 7
    assert figures['osqueue_type_oldest_seconds{type="b"}'] == 0
    assert 'osqueue_type_oldest_seconds{type="(other)"}' not in figures


def test_pauses() -> None:
    core = Core()
    core.pause("a")
    figures = shown(core, "a", "b")
    assert (figures['osqueue_type_paused{type="a"}'], figures['osqueue_type_paused{type="b"}']) == (1, 0)


def test_limits_are_shown_with_what_runs_and_waits_up_to_the_limit_of_them() -> None:
    core = Core()
    for name in ("api", "db", "mail"):
        core.put_limit(name, 1)
        for _ in range(3):
            core.submit("a", more=under((name, "")))
    core.claim()
    figures = shown(core, limits=Limits(metric_limits=2))
    assert figures['osqueue_limit_running{limit="api"}'] == 1
    assert figures['osqueue_limit_waiting{limit="api"}'] == 2
    assert figures['osqueue_limit_max_running{limit="db"}'] == 1
    assert not [name for name in figures if "mail" in name]


async def test_others_have_their_turn_while_a_long_page_is_written() -> None:
    now, pauses = 0.0, 0

    def pieces() -> Iterator[str]:
        nonlocal now
        for number in range(100):
            now += TURN_S / 10
            yield f"{number}\n"

    async def pause() -> None:
        nonlocal pauses
        pauses += 1
        await asyncio.sleep(0)

    parts = await written(pieces(), lambda: now, pause)
    assert b"".join(parts).decode().split() == [str(number) for number in range(100)]
    assert 8 <= pauses <= 10


def test_a_hostile_type_cannot_break_the_page() -> None:
    core = Core()
    hostile = 'a"}\n# HELP x\\'
    core.submit(hostile)
    tallies = TypeTallies(10, core.state.type_counts)
    tallies.know(hostile, 1)
    registry = Registry()
    registry.add(lambda: type_families(QueueFigures(core.state, tallies, core.now_ms, DEFAULT_LIMITS)))
    sample = re.compile(r'[a-z_]+\{type="([^"\\\n]|\\["\\n])*"(,[a-z]+="[^"]*")?\} \S+')
    assert all(line.startswith("# ") or sample.fullmatch(line) for line in registry.render().splitlines())
    assert r'osqueue_type_paused{type="a\"}\n# HELP x\\"} 0' in registry.render()
