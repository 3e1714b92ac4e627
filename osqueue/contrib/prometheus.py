"""A worker's figures for Prometheus.

    from osqueue.contrib.prometheus import WorkerMetrics
    from prometheus_client import start_http_server

    WorkerMetrics(worker)
    start_http_server(9100)
    await worker.run()

`osqueue work --metrics-port` does the same. Needs `osqueue[prometheus]`. What a worker cannot know, such as how many
jobs wait, is among the broker's own metrics.
"""

import time
from collections.abc import Iterable
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from osqueue.context import JobContext
from osqueue.middleware import Proceed
from osqueue.worker import Worker

EVENTS = ("claimed", "completed", "failed", "released", "lost", "unsettled")
BOUNDS_S = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0)
ANY = "(any)"
"""The type of jobs whose handler takes any: only names that the program itself has given become labels."""


class WorkerMetrics(Collector):
    """Shows the worker in the registry, and times its handlers. One for each worker, in a registry of its own if a
    process has several."""

    def __init__(self, worker: Worker, registry: CollectorRegistry = REGISTRY) -> None:
        self._worker = worker
        self._known: frozenset[str] | None = None
        self._seconds = Histogram(
            "osqueue_worker_handler_seconds",
            "How long handlers ran, whatever came of it.",
            ["type"],
            registry=registry,
            buckets=BOUNDS_S,
        )
        registry.register(self)
        worker.use(self.timed)

    async def timed(self, context: JobContext, proceed: Proceed) -> Any:
        """Middleware: how long a handler runs."""
        if self._known is None:
            self._known = frozenset(self._worker.state().types)
        name = context.job.type if context.job.type in self._known else ANY
        began = time.monotonic()
        try:
            return await proceed()
        finally:
            self._seconds.labels(name).observe(time.monotonic() - began)

    def collect(self) -> Iterable[Metric]:
        """The worker as it is now; from any thread."""
        state = self._worker.state()
        yield GaugeMetricFamily("osqueue_worker_slots", "Jobs that may run at a time.", state.slots)
        yield GaugeMetricFamily("osqueue_worker_busy", "Jobs that run.", state.busy)
        yield GaugeMetricFamily("osqueue_worker_ahead", "Jobs claimed ahead, for which no slot is free.", state.ahead)
        jobs = CounterMetricFamily(
            "osqueue_worker_jobs", "What became of claimed jobs since it runs.", labels=["event"]
        )
        for event in EVENTS:
            jobs.add_metric([event], getattr(state, event))
        yield jobs
        yield CounterMetricFamily(
            "osqueue_worker_leases_renewed", "Leases renewed from outside the event loop.", state.leases_renewed
        )
        yield CounterMetricFamily(
            "osqueue_worker_loop_blocked", "Times that something held up the event loop.", state.loop_blocked
        )

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry need not ask a worker that has not begun."""
        return ()
