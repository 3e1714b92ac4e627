"""A queue of its own made from a state of another: one checkpoint, and the root that vouches for it."""

from osqueue_service.engine.past import Past
from osqueue_service.errors import ConfigError
from osqueue_service.log import CheckpointWriter, Root, Settler
from osqueue_service.log.paths import ROOT
from osqueue_service.state import image
from osqueue_service.state.state import State


async def write_restored(settler: Settler, past: Past, needs: tuple[str, ...], state: State) -> None:
    """Put the queue into an empty store, the root last. Its log goes on from the place that the state is of.

    `needs` are the features that the stored data uses. `ConfigError` names the store that is not empty.
    """
    if await settler.list_after("", "", 1):
        raise ConfigError(
            f"{settler.store.description} is not empty: a queue is restored beside others, never over one; "
            "name a new place"
        )
    incarnation = settler.ids.incarnation()
    written = await CheckpointWriter(settler, incarnation, past.position).write(image.Snapshot(state).parts())
    root = Root(
        needs=needs,
        nonce=settler.ids.nonce(),
        epoch=max(1, past.position.lane),
        incarnation=incarnation,
        broker=None,
        grpc_address=None,
        broker_heartbeat=settler.clock.wall_ms(),
        checkpoint=written.ref,
        completed_total=state.counters.completed,
        state=written.state,
    )
    if (await settler.put(ROOT, root.encode())).other is not None:
        raise ConfigError(f"{settler.store.description} got a queue while it was written to: name a new place")
