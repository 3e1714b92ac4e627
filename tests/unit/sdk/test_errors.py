"""Every tag of the contract has its class, and every edge its translation."""

import copy
import pickle

import pytest

import osqueue
from osqueue.errors import (
    OsqueueError,
    TransportRequestError,
    Violation,
    from_reason,
    from_tag,
    is_osqueue_error,
)
from osqueue_stubs.osqueue.v1 import job_pb2

TAGS = [
    "AuthError",
    "BrokerLeadershipError",
    "BrokerProtocolError",
    "CASConflictError",
    "ConfigError",
    "DiscoveryError",
    "EngineStateError",
    "IdempotencyConflictError",
    "JobNotFoundError",
    "LeaseLostError",
    "QueueFullError",
    "StorageBackendError",
    "TransportConfigError",
    "TransportConnectionError",
    "TransportRequestError",
    "WorkerExecutionError",
]

REASONS = {
    "INVALID_REQUEST": "BrokerProtocolError",
    "PAYLOAD_TOO_LARGE": "BrokerProtocolError",
    "JOB_NOT_FOUND": "JobNotFoundError",
    "SCHEDULE_NOT_FOUND": "ScheduleNotFoundError",
    "QUEUE_NOT_FOUND": "QueueNotFoundError",
    "REVISION_CONFLICT": "RevisionConflictError",
    "BATCH_NOT_FOUND": "JobNotFoundError",
    "WORKFLOW_NOT_FOUND": "JobNotFoundError",
    "LEASE_LOST": "LeaseLostError",
    "IDEMPOTENCY_CONFLICT": "IdempotencyConflictError",
    "UNIQUE_CONFLICT": "UniqueConflictError",
    "QUEUE_FULL": "QueueFullError",
    "TOO_MANY_REQUESTS": "QueueFullError",
    "NOT_LEADER": "BrokerLeadershipError",
    "OUTCOME_UNKNOWN": "EngineStateError",
    "STORAGE_UNAVAILABLE": "StorageBackendError",
    "UNAUTHENTICATED": "AuthError",
    "PERMISSION_DENIED": "AuthError",
    "INTERNAL": "EngineStateError",
}


@pytest.mark.parametrize("tag", TAGS)
def test_a_tag_is_a_class_of_that_name(tag):
    kind = getattr(osqueue, tag)
    assert kind.tag == tag
    error = from_tag(tag, "what happened")
    assert type(error) is kind
    assert is_osqueue_error(error)
    assert str(error) == "what happened"


def test_other_errors_are_not_ours():
    assert not is_osqueue_error(ValueError("no"))


def test_every_reason_of_the_api_is_translated():
    reasons = {name.removeprefix("ERROR_REASON_") for name in job_pb2.ErrorReason.DESCRIPTOR.values_by_name} - {
        "UNSPECIFIED"
    }
    assert reasons == set(REASONS)


@pytest.mark.parametrize(("reason", "tag"), REASONS.items())
def test_a_reason_has_its_tag(reason, tag):
    error = from_reason(reason, "message", violations=[Violation("type", "too long")], retry_after_ms=5, leader="b:1")
    assert (error.tag, error.reason, error.retry_after_ms) == (tag, reason, 5)
    assert error.violations == (("type", "too long"),)


def test_a_leader_is_passed_on():
    assert from_reason("NOT_LEADER", "not me", leader="b:1").leader == "b:1"


def test_a_method_is_passed_on():
    assert from_reason("INVALID_REQUEST", "wrong", method="SubmitJob").method == "SubmitJob"


def test_an_unknown_tag_is_kept():
    error = from_tag("QuantumError", "?", method="POST", path="/v1/jobs", status=418)
    assert type(error) is TransportRequestError
    assert (error.method, error.path, error.status, error.remote_tag) == ("POST", "/v1/jobs", 418, "QuantumError")


@pytest.mark.parametrize("duplicate", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_can_be_copied(duplicate):
    error = from_reason("NOT_LEADER", "not me", leader="b:1", retry_after_ms=9)
    again = duplicate(error)
    assert (type(again), str(again), again.leader, again.retry_after_ms) == (type(error), "not me", "b:1", 9)


def test_the_base_catches_them_all():
    assert all(issubclass(getattr(osqueue, tag), OsqueueError) for tag in TAGS)
