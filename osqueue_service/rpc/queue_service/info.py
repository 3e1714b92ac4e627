"""GetInfo."""

from importlib import metadata

from osqueue_protocol.rpcs import CLIENT_RPCS
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.handlers import Context
from osqueue_stubs.osqueue.v1 import queue_pb2

RELEASE = metadata.version("osqueue")


class Info:
    """Serves GetInfo. A standby answers, too, of itself."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._fields = _fields()

    async def GetInfo(self, request: queue_pb2.GetInfoRequest, context: Context) -> queue_pb2.GetInfoResponse:
        broker = self._broker
        return queue_pb2.GetInfoResponse(
            release=RELEASE, fields=self._fields, leads=broker.is_leader, leader_address=broker.leader_address
        )


def _fields() -> list[str]:
    """The fields of every request and of its parts, as the descriptors have them."""
    messages = {}
    left = [rpc.request.DESCRIPTOR for rpc in CLIENT_RPCS.values()]
    while left:
        message = left.pop()
        if message.full_name not in messages and not message.GetOptions().map_entry:
            messages[message.full_name] = message
            left += [field.message_type for field in message.fields if field.message_type is not None]
    return sorted(f"{message.name}.{field.name}" for message in messages.values() for field in message.fields)
