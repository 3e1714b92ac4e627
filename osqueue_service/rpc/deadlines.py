"""How long a call may wait so that its answer still comes before the caller's deadline."""

from msgspec import Struct

from osqueue_service.engine.engine import Engine
from osqueue_service.rpc.handlers import Context

RETURN_MS = 100
"""What an answer needs to get back to the caller."""
COMMITS = 2
"""What is found at the last moment still has to be committed, perhaps behind a commit under way."""


class AllowedWait(Struct, frozen=True, gc=False):
    """`wait_ms`: how long to look for something. `answer_ms`: when an answer must be given whatever happens, None
    without a deadline."""

    wait_ms: int
    answer_ms: float | None


def allowed_wait(context: Context, asked_ms: int, engine: Engine) -> AllowedWait:
    """The wait that was asked for, cut to the limit and to what the deadline leaves."""
    wait_ms = min(asked_ms, engine.limits.wait_ms_max)
    remaining_s = context.time_remaining()
    if remaining_s is None or wait_ms <= 0:
        return AllowedWait(max(wait_ms, 0), None)
    answer_ms = remaining_s * 1_000 - RETURN_MS
    longest_ms = int(answer_ms - COMMITS * engine.term.appender.latency_ms)
    return AllowedWait(max(0, min(wait_ms, longest_ms)), max(answer_ms, 0.0))
