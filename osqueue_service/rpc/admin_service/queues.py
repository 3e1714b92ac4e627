"""CreateQueue, GetQueue, ListQueues, UpdateQueue, DeleteQueue."""

from osqueue_service.errors import InvalidRequest
from osqueue_service.log.root import NamedQueue as QueueSettings
from osqueue_service.queues.catalogue import Listed, check_queue_name
from osqueue_service.queues.queue_store import NAME
from osqueue_service.rpc.broker import Peer
from osqueue_service.rpc.fields import Violations, check_number, check_text
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.queue_service.stats import job_counts
from osqueue_stubs.osqueue.v1 import admin_pb2

PAGE_QUEUES = 100


class Queues:
    """Serves CreateQueue, GetQueue, ListQueues, UpdateQueue and DeleteQueue."""

    def __init__(self, broker: Peer) -> None:
        self._queues = broker.queues
        self._limits = broker.limits

    async def CreateQueue(
        self, request: admin_pb2.CreateQueueRequest, context: Context
    ) -> admin_pb2.CreateQueueResponse:
        self._check_settings(request.description, request.max_jobs)
        listed, created = await self._queues.create(
            request.name, description=request.description, max_jobs=request.max_jobs
        )
        return admin_pb2.CreateQueueResponse(queue=self._info(listed), created=created)

    async def GetQueue(self, request: admin_pb2.GetQueueRequest, context: Context) -> admin_pb2.GetQueueResponse:
        self._queues.check_leads()
        listed = await self._queues.catalogue.read(check_queue_name(request.name))
        return admin_pb2.GetQueueResponse(queue=self._info(listed))

    async def ListQueues(self, request: admin_pb2.ListQueuesRequest, context: Context) -> admin_pb2.ListQueuesResponse:
        self._queues.check_leads()
        wrong = Violations()
        check_number(request.page_size, "page_size", 0, self._limits.page_items, wrong)
        wrong.check()
        if request.prefix and not NAME.fullmatch(request.prefix):
            raise InvalidRequest.field("prefix", "no name of a queue begins so: they are of a-z, 0-9 and hyphens")
        if request.page_token and not NAME.fullmatch(request.page_token):
            raise InvalidRequest.field("page_token", "it is not the next_page_token of a page of queues")
        found, more = await self._queues.catalogue.page(
            request.prefix, request.page_token, request.page_size or PAGE_QUEUES
        )
        return admin_pb2.ListQueuesResponse(queues=map(self._info, found), next_page_token=more)

    async def UpdateQueue(
        self, request: admin_pb2.UpdateQueueRequest, context: Context
    ) -> admin_pb2.UpdateQueueResponse:
        self._check_settings(request.description, request.max_jobs)
        await self._queues.change(
            request.name,
            description=request.description if request.HasField("description") else None,
            max_jobs=request.max_jobs if request.HasField("max_jobs") else None,
        )
        return admin_pb2.UpdateQueueResponse(queue=self._info(await self._queues.catalogue.read(request.name)))

    async def DeleteQueue(
        self, request: admin_pb2.DeleteQueueRequest, context: Context
    ) -> admin_pb2.DeleteQueueResponse:
        check_queue_name(request.name)
        if request.confirm != request.name:
            raise InvalidRequest.field("confirm", f"repeat the queue's name here, {request.name!r}, to delete it")
        return admin_pb2.DeleteQueueResponse(live_jobs=await self._queues.delete(request.name, force=request.force))

    def _check_settings(self, description: str, max_jobs: int) -> None:
        wrong = Violations()
        check_text(description, "description", self._limits.reason_bytes, "reason_bytes", wrong)
        check_number(max_jobs, "max_jobs", 0, self._limits.jobs, wrong)
        wrong.check()

    def _info(self, listed: Listed) -> admin_pb2.QueueInfo:
        settings: QueueSettings = listed.settings
        info = admin_pb2.QueueInfo(
            name=settings.name,
            uid=listed.root.uid or "",
            description=settings.description,
            max_jobs=settings.max_jobs,
            created_at=settings.created_at,
        )
        queue = self._queues.find(settings.name)
        if queue is not None and queue.root.uid == listed.root.uid:
            info.open = True
            info.counts.CopyFrom(job_counts(queue.engine.views.totals))
        return info
