"""Completions and what follows them, as callers are answered."""

from collections.abc import Sequence
from typing import Protocol

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
from msgspec.structs import replace

from osqueue_service.engine.engine import Engine
from osqueue_service.errors import FeatureUnavailable, OsqueueError, kept
from osqueue_service.rpc.status import item_error
from osqueue_service.state.commands import Complete, CompleteItem, Followed
from osqueue_stubs.osqueue.v1 import queue_pb2

Answers = list[Followed | OsqueueError | None]


class Told(Protocol):
    """The messages that say what became of a completion's follow-ups."""

    follow_ups_withheld: bool

    @property
    def follow_ups(self) -> RepeatedCompositeFieldContainer[queue_pb2.FollowUp]: ...


async def complete(engine: Engine, items: Sequence[CompleteItem], size: int) -> Answers:
    """Execute the completions. While a broker that could take over knows nothing of follow-ups they are refused, and
    nothing else: a completion waits for no upgrade."""
    try:
        answers: Answers = await engine.execute(Complete(items), size)
    except FeatureUnavailable as error:
        refusal = kept(error)
    else:
        return answers
    answers = await engine.execute(Complete([replace(item, follow_ups=()) for item in items]), size)
    return [
        Followed((refusal,) * len(item.follow_ups)) if item.follow_ups and answer is None else answer
        for item, answer in zip(items, answers, strict=True)
    ]


def tell(followed: Followed, into: Told) -> None:
    """Write what became of the follow-ups."""
    into.follow_ups_withheld = followed.withheld
    for answer in followed.answers:
        told = into.follow_ups.add()
        if isinstance(answer, OsqueueError):
            told.error.CopyFrom(item_error(answer))
        else:
            told.job_id, told.deduplicated = answer.job_id, answer.deduplicated


def completions_bytes(items: Sequence[CompleteItem]) -> int:
    """Bytes that completions take in the inbox."""
    results = sum([len(item.result) for item in items if item.result])
    return results + sum([spec.size for item in items if item.follow_ups for spec in item.follow_ups])
