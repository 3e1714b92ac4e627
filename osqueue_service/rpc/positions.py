"""Where in the log an answer stands, and whether this broker may still give one."""

from osqueue_service.engine.engine import Engine
from osqueue_service.errors import NotLeader
from osqueue_stubs.osqueue.v1 import job_pb2


def check_live(engine: Engine) -> None:
    """Raise `NotLeader` once another broker may lead: what this one remembers could be outdated."""
    if not engine.term.is_live():
        raise NotLeader("this broker could not renew its leadership in time, so its answers may be stale")


def durable_position(engine: Engine, sequence: int | None = None) -> job_pb2.ReadPosition:
    """Of an answer about the last durable commit, or the one given, which is durable; given at once."""
    return job_pb2.ReadPosition(
        epoch=engine.term.epoch,
        sequence=engine.sequence if sequence is None else sequence,
        commit_lag_ms=engine.commit_lag_ms,
    )


def view_position(engine: Engine) -> job_pb2.ReadPosition:
    """Of an answer that shows the state as it is now, and is given when that is durable. Call it with the view."""
    return job_pb2.ReadPosition(epoch=engine.term.epoch, sequence=engine.term.appender.next_sequence - 1)


def commit_position(engine: Engine) -> job_pb2.CommitPosition:
    """Of a change that has just become durable."""
    return job_pb2.CommitPosition(epoch=engine.term.epoch, sequence=engine.sequence)
