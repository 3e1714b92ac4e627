"""CompleteJob, CompleteJobs."""

from osqueue_service.errors import OsqueueError
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import Violations
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.positions import commit_position
from osqueue_service.rpc.queue_service.attempts import AttemptReader
from osqueue_service.rpc.queue_service.following import Answers, complete, completions_bytes, tell
from osqueue_service.rpc.queue_service.submissions import numbers_of
from osqueue_service.rpc.refusals import told
from osqueue_service.rpc.status import item_error
from osqueue_service.state.commands import CompleteItem, Followed
from osqueue_stubs.osqueue.v1 import queue_pb2


class Completions:
    """Serves CompleteJob and CompleteJobs."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._reader = AttemptReader(broker.limits, numbers_of(broker))

    async def CompleteJob(
        self, request: queue_pb2.CompleteJobRequest, context: Context
    ) -> queue_pb2.CompleteJobResponse:
        engine = self._broker.engine
        wrong = Violations()
        item = self._reader.completion(request, wrong, engine.now_ms())
        self._reader.request_id(request.request_id, wrong)
        wrong.check()
        followed = told(*await complete(engine, [item], completions_bytes([item])))
        response = queue_pb2.CompleteJobResponse(commit=commit_position(engine))
        if followed is not None:
            tell(followed, response)
        return response

    async def CompleteJobs(
        self, request: queue_pb2.CompleteJobsRequest, context: Context
    ) -> queue_pb2.CompleteJobsResponse:
        engine = self._broker.engine
        self._reader.batch(len(request.completions), "completions", request.request_id)
        items, refused = self._read_completions(request, engine.now_ms())
        answers: Answers = []
        if items:
            answers = await complete(engine, items, completions_bytes(items))
        response = queue_pb2.CompleteJobsResponse()
        add = response.results.add
        left = iter(answers)
        for position in range(len(request.completions)):
            answer = refused[position] if position in refused else next(left)
            if answer is None:
                add().completed.SetInParent()
            elif isinstance(answer, Followed):
                completed = add().completed
                completed.SetInParent()
                tell(answer, completed)
            else:
                add().error.CopyFrom(item_error(answer))
        if not all(isinstance(answer, OsqueueError) for answer in answers):
            response.commit.CopyFrom(commit_position(engine))
        return response

    def _read_completions(
        self, request: queue_pb2.CompleteJobsRequest, now_ms: int
    ) -> tuple[list[CompleteItem], dict[int, OsqueueError]]:
        """The good completions, and what is wrong with each of the others by position."""
        read = self._reader.completion
        wrong = Violations()
        items: list[CompleteItem] = []
        refused: dict[int, OsqueueError] = {}
        for position, completion in enumerate(request.completions):
            item = read(completion, wrong, now_ms)
            if completion.request_id:
                wrong.add("request_id", "is set inside a batch; the batch has its own")
            if wrong:
                refused[position] = wrong.refusal()
            else:
                items.append(item)
        self._reader.check_follow_ups(items, wrong)
        wrong.check()
        return items, refused
