import logging

import pytest

from osqueue.errors import BrokerLeadershipError, OsqueueError, TransportConnectionError, Violation, from_reason
from osqueue_gateway.errors import CONNECT_STATUS, FAULTS, Refusal, problem_of
from osqueue_stubs.osqueue.v1 import job_pb2

NAMES = job_pb2.ErrorReason.DESCRIPTOR.values_by_name
REASONS = [name.removeprefix("ERROR_REASON_") for name in NAMES if "UNSPECIFIED" not in name]

CONTRACT = {
    "INVALID_REQUEST": (400, "BrokerProtocolError"),
    "PAYLOAD_TOO_LARGE": (413, "BrokerProtocolError"),
    "JOB_NOT_FOUND": (404, "JobNotFoundError"),
    "SCHEDULE_NOT_FOUND": (404, "ScheduleNotFoundError"),
    "QUEUE_NOT_FOUND": (404, "QueueNotFoundError"),
    "REVISION_CONFLICT": (409, "RevisionConflictError"),
    "BATCH_NOT_FOUND": (404, "JobNotFoundError"),
    "WORKFLOW_NOT_FOUND": (404, "JobNotFoundError"),
    "LEASE_LOST": (409, "LeaseLostError"),
    "IDEMPOTENCY_CONFLICT": (409, "IdempotencyConflictError"),
    "UNIQUE_CONFLICT": (409, "UniqueConflictError"),
    "QUEUE_FULL": (429, "QueueFullError"),
    "TOO_MANY_REQUESTS": (429, "QueueFullError"),
    "NOT_LEADER": (503, "BrokerLeadershipError"),
    "OUTCOME_UNKNOWN": (503, "EngineStateError"),
    "STORAGE_UNAVAILABLE": (503, "StorageBackendError"),
    "UNAUTHENTICATED": (401, "AuthError"),
    "PERMISSION_DENIED": (403, "AuthError"),
    "INTERNAL": (500, "EngineStateError"),
}


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_the_status_and_tag_of_the_contract(reason):
    problem = problem_of(from_reason(reason, "why"))
    assert (problem.fault.status, problem.fault.tag) == CONTRACT[reason]
    assert problem.as_json()["_tag"] == from_reason(reason, "why").tag
    assert problem.fault.code in CONNECT_STATUS


def test_the_table_has_no_row_that_nobody_uses():
    assert FAULTS.keys() - CONTRACT.keys() == {"UNIMPLEMENTED", "DEADLINE_EXCEEDED"}


def test_violations_speak_json_and_the_leader_is_named():
    error = BrokerLeadershipError("not I", reason="NOT_LEADER", violations=[Violation("max_attempts", "no")])
    error.leader = "b:1"
    assert problem_of(error).as_json() == {
        "_tag": "BrokerLeadershipError",
        "message": "not I",
        "reason": "NOT_LEADER",
        "violations": [{"field": "maxAttempts", "description": "no"}],
        "retryAfterMs": 1_000,
        "leader": "b:1",
    }


def test_no_answer_to_a_change_is_an_unknown_outcome_unless_it_never_left():
    broken = TransportConnectionError("cannot reach the broker at b:1: Socket closed", reason="UNAVAILABLE")
    unsent = TransportConnectionError("cannot reach the broker at b:1: failed to connect to all", reason="UNAVAILABLE")
    late = TransportConnectionError("b:1 did not answer", reason="DEADLINE_EXCEEDED")
    assert [problem_of(error, mutates=True).reason for error in (broken, unsent, late)] == [
        "OUTCOME_UNKNOWN",
        "NOT_LEADER",
        "OUTCOME_UNKNOWN",
    ]
    assert {problem_of(error).reason for error in (broken, unsent, late)} == {"NOT_LEADER"}


def test_a_refusal_keeps_its_own_status():
    assert problem_of(Refusal(405, "no")).fault.status == 405
    assert problem_of(Refusal(413, "no")).reason == "PAYLOAD_TOO_LARGE"


@pytest.mark.parametrize("error", [RuntimeError("secret"), OsqueueError("secret", reason="NEWER_THAN_US")])
def test_what_nobody_foresaw_is_logged_and_not_shown(error, caplog):
    with caplog.at_level(logging.ERROR):
        problem = problem_of(error)
    assert (problem.reason, "secret" in problem.message) == ("INTERNAL", False)
    assert problem.message.split()[-1] in caplog.text
    assert "secret" in caplog.text
