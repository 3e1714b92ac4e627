"""A worker's figures: what it holds, what became of its jobs, how long its handlers ran."""

from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from osqueue import OsqueueClient, Worker
from osqueue.contrib.prometheus import ANY, WorkerMetrics
from osqueue_service.testing.in_process import broker_in_process


async def figures(handlers: dict[str, Any], *types: str) -> dict[str, float]:
    """The metrics of a worker that has done a job of each of these types."""
    registry = CollectorRegistry()
    async with broker_in_process() as app, OsqueueClient(app.address) as client:
        for name in types:
            await client.submit_job(name, {}, max_attempts=1)
        worker = Worker(client, handlers, guarded=False, concurrency=3)
        WorkerMetrics(worker, registry)
        assert b"osqueue_worker_slots 0.0" in generate_latest(registry), "it has not begun"
        await worker.run(until_idle=True, handle_signals=False)
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


async def test_what_became_of_its_jobs() -> None:
    async def email(payload: Any) -> None: ...

    async def report(payload: Any) -> None:
        raise ValueError("no")

    shown = await figures({"email": email, "report": report}, "email", "email", "report")
    assert (shown["osqueue_worker_slots"], shown["osqueue_worker_busy"]) == (3, 0)
    events = {
        event: shown[f'osqueue_worker_jobs_total{{event="{event}"}}'] for event in ("claimed", "completed", "failed")
    }
    assert events == {"claimed": 3, "completed": 2, "failed": 1}
    assert shown['osqueue_worker_handler_seconds_count{type="email"}'] == 2
    assert shown['osqueue_worker_handler_seconds_count{type="report"}'] == 1


async def test_types_that_callers_choose_are_no_labels() -> None:
    async def anything(payload: Any) -> None: ...

    shown = await figures({"*": anything}, *(f"type-{number}" for number in range(20)))
    assert [name for name in shown if "handler_seconds_count" in name] == [
        f'osqueue_worker_handler_seconds_count{{type="{ANY}"}}'
    ]
