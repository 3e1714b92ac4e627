"""The API's own messages, for calls that are rare: the SDK's wire at one end, the broker's servicers at the other."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from osqueue.errors import TransportConnectionError
from osqueue_service import errors as service_errors
from osqueue_service.broker import Broker
from osqueue_stubs.osqueue.v1 import queue_pb2
from tests.checkers.history import OK
from tests.simulation import service
from tests.simulation.service import Answer, Sent
from tests.simulation.streams import StreamBroken

if TYPE_CHECKING:
    from tests.simulation.transport import SimTransport


class SimLink:
    """What `WireTransport` needs: one message there and one back, or a stream of them back."""

    def __init__(self, transport: "SimTransport") -> None:
        self._transport = transport

    @property
    def address(self) -> str:
        return self._transport.address

    def clone(self) -> "SimLink":
        return SimLink(self._transport.clone())

    async def close(self) -> None:
        """Nothing to close."""

    async def call(self, name: str, request: Any, timeout_ms: int) -> Any:
        """The response. What it changed is in the history, job by job, with the outcome of each."""
        transport = self._transport
        whole = transport.begin(name)

        async def handler(broker: Broker) -> Answer:
            return await service.rpc(transport.world.servicers_of(broker), name, request)

        jobs = [
            transport.begin("submit", key=payload, arguments={"payload": payload})
            for payload in _submits(name, request)
        ]
        answer = await transport.attempt(handler, timeout_ms, [whole, *jobs])
        transport.accepted(whole, answer)
        told = answer.value.jobs if name == "AddToBatch" else answer.value.nodes if jobs else ()
        for event, submitted in zip(jobs, told, strict=True):
            event.job = submitted.job_id
            transport.accepted(event, answer)
        return answer.value

    async def stream(self, name: str, request: Any) -> AsyncIterator[Any]:
        """The messages of a watch. What it told goes into the history, as of when, between resyncs."""
        transport = self._transport
        stream, target = transport.server_stream(name, request)
        watched: _Watched | None = None
        try:
            async for sent in stream.answers():
                if watched is None or sent.message.HasField("resync"):
                    watched = _Watched(transport, sent, whole=not request.job_ids and not request.types)
                else:
                    watched.told(sent)
                yield sent.message
        except StreamBroken:
            transport.move_on(target)
            raise TransportConnectionError("the stream broke") from None
        except service_errors.OsqueueError as refusal:
            raise transport.followed(refusal, target) from None
        finally:
            stream.give_up()


def _submits(name: str, request: Any) -> list[str]:
    """The payloads of the jobs that this call submits."""
    if name == "AddToBatch":
        return [job.payload.decode() for job in request.jobs]
    nodes = request.nodes if name in ("SubmitWorkflow", "AddToWorkflow") else ()
    return [node.job.payload.decode() for node in nodes]


class _Watched:
    """All that a watch told from one position on, without a gap: an event of the history."""

    def __init__(self, transport: "SimTransport", first: Sent, *, whole: bool) -> None:
        self._event = transport.begin("watch", arguments={"from": first.message.position.sequence, "whole": whole})
        self._event.epoch = first.message.position.epoch
        self._event.answer = []
        self._event.outcome = OK
        self._keep(first)

    def told(self, sent: Sent) -> None:
        told = [
            (queue_pb2.JobEventKind.Name(event.kind).removeprefix("JOB_EVENT_KIND_"), event.job_id, event.attempt)
            for event in sent.message.events
        ]
        self._event.answer.append((sent.answered, sent.message.position.sequence, told))
        self._keep(sent)

    def _keep(self, sent: Sent) -> None:
        if sent.message.HasField("position"):
            self._event.sequence = sent.message.position.sequence
        self._event.answered = self._event.returned = sent.answered
