"""What is left out of an answer for callers who may see jobs and not their data: payloads, results, labels, errors."""

from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

DATA = frozenset(
    {
        "osqueue.v1.JobInfo.payload",
        "osqueue.v1.JobInfo.result",
        "osqueue.v1.JobInfo.metadata",
        "osqueue.v1.JobInfo.idempotency_key",
        "osqueue.v1.JobTemplate.payload",
        "osqueue.v1.JobTemplate.metadata",
        "osqueue.v1.JobTemplate.idempotency_key",
        "osqueue.v1.SubmitJobRequest.payload",
        "osqueue.v1.SubmitJobRequest.metadata",
        "osqueue.v1.SubmitJobRequest.idempotency_key",
        "osqueue.v1.JobError.message",
        "osqueue.v1.Progress.message",
        "osqueue.v1.DeadGroup.sample_message",
    }
)
"""The fields that hold what producers and workers sent. An error's type is none of it: dead letters go by it."""


def withhold(message: Message) -> None:
    """Clear the fields that are data, wherever in the message they are."""
    for field, inside in _plan(message.DESCRIPTOR):
        if not inside:
            message.ClearField(field.name)
            continue
        value = getattr(message, field.name)
        for each in [value] if isinstance(value, Message) else value:
            withhold(each)


@cache
def _plan(of: Descriptor) -> tuple[tuple[FieldDescriptor, bool], ...]:
    """The fields to clear, and those inside which there is something to clear."""
    steps: list[tuple[FieldDescriptor, bool]] = []
    for field in of.fields:
        if field.full_name in DATA:
            steps.append((field, False))
        elif (
            field.message_type is not None
            and not field.message_type.GetOptions().map_entry
            and _plan(field.message_type)
        ):
            steps.append((field, True))
    return tuple(steps)
