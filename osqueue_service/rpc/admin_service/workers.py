"""ListWorkers."""

from heapq import nsmallest

from osqueue_service.engine.workers import Worker
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import Violations, check_name, check_number
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.positions import check_live, durable_position
from osqueue_stubs.osqueue.v1 import admin_pb2

WORKER_JOBS_SHOWN = 100


class Workers:
    """Serves ListWorkers."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._limits = broker.limits

    async def ListWorkers(
        self, request: admin_pb2.ListWorkersRequest, context: Context
    ) -> admin_pb2.ListWorkersResponse:
        engine = self._broker.engine
        limits, wrong = self._limits, Violations()
        size = request.page_size or limits.page_items
        check_number(size, "page_size", 1, limits.page_items, wrong)
        check_name(request.page_token, "page_token", limits.id_chars, wrong)
        wrong.check()
        check_live(engine)
        # The token is the last id of the page before, so a page is right whoever came or went meanwhile.
        later = (worker for worker in engine.views.workers if worker.id > request.page_token)
        page = nsmallest(size + 1, later, key=lambda worker: worker.id)
        shown = page[:size]
        return admin_pb2.ListWorkersResponse(
            workers=[_worker(worker, engine.views.leases_of(worker.id)) for worker in shown],
            next_page_token=shown[-1].id if len(page) > size else "",
            position=durable_position(engine),
        )


def _worker(worker: Worker, job_ids: list[str]) -> admin_pb2.WorkerInfo:
    return admin_pb2.WorkerInfo(
        worker_id=worker.id,
        types=worker.types,
        slots=worker.slots,
        leases=worker.leases,
        job_ids=job_ids[:WORKER_JOBS_SHOWN],
        first_seen_at=worker.first_seen,
        last_seen_at=worker.last_seen,
        version=worker.version,
        streaming=bool(worker.streams),
        draining=worker.draining,
        completed=worker.completed,
        failed=worker.failed,
    )
