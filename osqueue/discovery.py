"""Finding the leader where the queue itself says it is: in `queue.json`, on the storage."""

import json
from typing import Any, Protocol

from osqueue.errors import DiscoveryError

ROOT_KEY = "queue.json"


class RootReader(Protocol):
    """Whatever can read an object: its bytes (or something whose `body` they are), None when there is none."""

    async def read(self, key: str, /) -> Any: ...


class LeaderFinder:
    """Looks up the leader's gRPC address, host:port, at every call."""

    def __init__(self, storage: RootReader, prefix: str = "") -> None:
        self._storage = storage
        self._key = prefix + ROOT_KEY

    async def __call__(self) -> str:
        try:
            found = await self._storage.read(self._key)
        except Exception as error:
            raise DiscoveryError(f"cannot read {self._key}: {error}") from error
        if found is None:
            raise DiscoveryError(
                f"the storage holds no {self._key}: no broker has run there yet, or the prefix is wrong"
            )
        return leader_address(getattr(found, "body", found))


def leader_address(root: bytes) -> str:
    """The gRPC address that a root names. `DiscoveryError` when it names none."""
    try:
        fields = json.loads(root)
    except ValueError as error:
        raise DiscoveryError(f"{ROOT_KEY} is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise DiscoveryError(f"{ROOT_KEY} is not the root of a queue")
    address = fields.get("grpcAddress")
    if isinstance(address, str) and address:
        return address
    if fields.get("broker"):
        raise DiscoveryError(f"{ROOT_KEY} names {fields['broker']} as broker, but no grpcAddress: it speaks no gRPC")
    raise DiscoveryError("no broker leads this queue at the moment; start one, or wait for the standby to take over")
