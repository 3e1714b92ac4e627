"""Errors as gRPC statuses: the table, the details, and that they fit in metadata."""

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from osqueue_service import errors
from osqueue_service.errors import InvalidRequest, NotLeader, OsqueueError, QueueFull, Violation
from osqueue_service.rpc.status import code_of, item_error, message_of, trailing_metadata
from osqueue_stubs.osqueue.v1 import job_pb2

TABLE = {
    "INVALID_REQUEST": grpc.StatusCode.INVALID_ARGUMENT,
    "PAYLOAD_TOO_LARGE": grpc.StatusCode.INVALID_ARGUMENT,
    "JOB_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "SCHEDULE_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "QUEUE_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "REVISION_CONFLICT": grpc.StatusCode.ABORTED,
    "BATCH_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "WORKFLOW_NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "LEASE_LOST": grpc.StatusCode.FAILED_PRECONDITION,
    "IDEMPOTENCY_CONFLICT": grpc.StatusCode.ALREADY_EXISTS,
    "UNIQUE_CONFLICT": grpc.StatusCode.ALREADY_EXISTS,
    "QUEUE_FULL": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "TOO_MANY_REQUESTS": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "NOT_LEADER": grpc.StatusCode.UNAVAILABLE,
    "OUTCOME_UNKNOWN": grpc.StatusCode.UNAVAILABLE,
    "STORAGE_UNAVAILABLE": grpc.StatusCode.UNAVAILABLE,
    "UNAUTHENTICATED": grpc.StatusCode.UNAUTHENTICATED,
    "PERMISSION_DENIED": grpc.StatusCode.PERMISSION_DENIED,
    "INTERNAL": grpc.StatusCode.INTERNAL,
}


def all_errors() -> list[type[OsqueueError]]:
    return [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, OsqueueError)]


def details(error: OsqueueError) -> tuple[status_pb2.Status, dict[str, object]]:
    trailing = dict(trailing_metadata(error))
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    found: dict[str, object] = {}
    for packed in status.details:
        kind = getattr(error_details_pb2, packed.type_url.rpartition(".")[2])
        found[kind.DESCRIPTOR.name] = message = kind()
        assert packed.Unpack(message)
    return status, found


@pytest.mark.parametrize("error", all_errors(), ids=lambda each: each.__name__)
def test_every_error_has_the_code_of_the_contract(error):
    assert code_of(error("why")) is TABLE[error.reason]


def test_every_reason_of_the_api_is_in_the_table():
    names = {name.removeprefix("ERROR_REASON_") for name, _ in job_pb2.ErrorReason.items()} - {"UNSPECIFIED"}
    assert names == set(TABLE)


def test_the_details_say_the_reason():
    status, found = details(errors.JobNotFound("no job has the id 'x'"))
    assert status.code == grpc.StatusCode.NOT_FOUND.value[0]
    assert status.message == "no job has the id 'x'"
    assert found == {"ErrorInfo": error_details_pb2.ErrorInfo(reason="JOB_NOT_FOUND", domain="osqueue")}


def test_the_details_name_the_fields():
    error = InvalidRequest("two are wrong", violations=(Violation("a", "is odd"), Violation("b", "is even")))
    _, found = details(error)
    assert [(each.field, each.description) for each in found["BadRequest"].field_violations] == [
        ("a", "is odd"),
        ("b", "is even"),
    ]


def test_the_details_say_when_to_try_again():
    _, found = details(QueueFull("full", retry_after_ms=1_250))
    assert found["RetryInfo"].retry_delay.ToMilliseconds() == 1_250


def test_not_leader_says_where_the_leader_is():
    error = NotLeader("ask the leader", leader_address="broker-2.internal:8081")
    assert dict(trailing_metadata(error))["osqueue-leader"] == "broker-2.internal:8081"


@pytest.mark.parametrize("address", ["", "broker\n", "bröker:8081"])
def test_what_is_no_address_is_not_sent(address):
    assert "osqueue-leader" not in dict(trailing_metadata(NotLeader("ask the leader", leader_address=address)))


def test_a_long_message_is_cut_so_that_it_fits():
    error = InvalidRequest("x" * 100_000)
    assert len(message_of(error)) == 1_500
    assert message_of(error).endswith("…")
    assert sum(len(value) for _, value in trailing_metadata(error)) < 4_096


def test_an_item_has_the_same_reason_and_violations():
    error = item_error(QueueFull("full", retry_after_ms=7, violations=(Violation("a", "is odd"),)))
    assert error == job_pb2.ItemError(
        reason=job_pb2.ERROR_REASON_QUEUE_FULL,
        message="full",
        retry_after_ms=7,
        violations=[job_pb2.FieldViolation(field="a", description="is odd")],
    )
