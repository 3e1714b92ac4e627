import json
from base64 import b64encode
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from osqueue.api.descriptors import is_map
from osqueue.api.json_readers import ShapeError
from osqueue.api.json_shapes import ABSENT_WITHOUT, shape
from osqueue.api.json_text import encode
from osqueue.api.json_writers import ABSENT_WHEN_EMPTY
from osqueue_protocol.rpcs import MODULES, RPCS
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2

REQUESTS = sorted({rpc.request.DESCRIPTOR.name for rpc in RPCS.values() if not rpc.client_streaming})
RESPONSES = sorted({rpc.response.DESCRIPTOR.name for rpc in RPCS.values() if not rpc.client_streaming})


def message_type(name: str) -> Any:
    return next(getattr(module, name) for module in MODULES if hasattr(module, name))


def filled(kind: Any, draw: Any, depth: int = 3) -> Any:
    """A message with fields set at random."""
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        if field.containing_oneof is not None and field.containing_oneof.fields[0] is not field:
            continue
        if draw(st.booleans()):
            fill(message, field, draw, depth)
    return message


def fill(message: Any, field: Any, draw: Any, depth: int) -> None:
    if is_map(field):
        getattr(message, field.name).update(draw(st.dictionaries(st.text(), st.text(), max_size=2)))
    elif field.message_type is not None:
        if depth == 0:
            return
        parts = [filled(message_type(field.message_type.name), draw, depth - 1)]
        target = getattr(message, field.name)
        target.extend(parts) if field.is_repeated else target.CopyFrom(parts[0])
    elif field.is_repeated:
        getattr(message, field.name).append(draw(scalars(field)))
    else:
        setattr(message, field.name, draw(scalars(field)))


def scalars(field: Any) -> Any:
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    return {
        FieldDescriptor.TYPE_BYTES: st.binary(max_size=5) | st.sampled_from([b"{}", b"[1]"]),
        FieldDescriptor.TYPE_STRING: st.text(max_size=5),
        FieldDescriptor.TYPE_BOOL: st.booleans(),
        FieldDescriptor.TYPE_DOUBLE: st.floats(allow_nan=False, allow_infinity=False),
        FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
        FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    }[field.type]


@pytest.mark.parametrize("name", REQUESTS)
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_whatever_is_written_is_read_back(name, data):
    message = filled(message_type(name), data.draw)
    text = encode(shape(message.DESCRIPTOR).write(message))
    back = shape(message.DESCRIPTOR).read(text)
    # An empty payload has no key of its own, so that a required one is missed.
    assert back == message


@pytest.mark.parametrize("name", RESPONSES)
def test_zero_values_are_written_out(name):
    kind = message_type(name)
    if kind.DESCRIPTOR.full_name in ABSENT_WITHOUT:
        return
    written = shape(kind.DESCRIPTOR).write(kind())
    absent = ABSENT_WHEN_EMPTY.get(kind.DESCRIPTOR.full_name, set())
    for field in kind.DESCRIPTOR.fields:
        always = (field.is_repeated or not field.has_presence) and field.type != FieldDescriptor.TYPE_BYTES
        assert (field.json_name in written) == (always and field.name not in absent)


def test_keys_are_camel_case_and_numbers_are_numbers():
    job = job_pb2.JobInfo(id="j", created_at=2**60, lease_expires_at=5, type="t", payload=b'{"a": 1}')
    written = json.loads(encode(shape(job.DESCRIPTOR).write(job)))
    assert (written["createdAt"], written["leaseExpiresAt"], written["payload"]) == (2**60, 5, {"a": 1})


def test_enums_are_short_words():
    attempt = job_pb2.Attempt(outcome=job_pb2.ATTEMPT_OUTCOME_TIMED_OUT)
    assert shape(attempt.DESCRIPTOR).write(attempt)["outcome"] == "TIMED_OUT"
    read = shape(queue_pb2.ListJobsRequest.DESCRIPTOR).read(b'{"view": "FULL"}')
    assert read.view == job_pb2.JOB_VIEW_FULL
    with pytest.raises(ShapeError, match="BASIC, FULL"):
        shape(queue_pb2.ListJobsRequest.DESCRIPTOR).read(b'{"view": "JOB_VIEW_FULL"}')


def test_a_newer_brokers_word_is_shown_as_its_number():
    attempt = job_pb2.Attempt(outcome=77)
    assert shape(attempt.DESCRIPTOR).write(attempt)["outcome"] == 77


@pytest.mark.parametrize("payload", [b"\xff\x00", b"plain", b"[" * 65 + b"]" * 65])
def test_bytes_that_are_no_json_have_the_other_key(payload):
    job = job_pb2.JobInfo(payload=payload)
    written = shape(job.DESCRIPTOR).write(job)
    assert written["payloadBase64"] == b64encode(payload).decode()
    assert "payload" not in written


def test_an_empty_result_is_not_an_absent_one():
    assert "resultBase64" not in shape(job_pb2.JobInfo.DESCRIPTOR).write(job_pb2.JobInfo())
    assert shape(job_pb2.JobInfo.DESCRIPTOR).write(job_pb2.JobInfo(result=b""))["resultBase64"] == ""


def test_violations_name_fields_as_json_does():
    violation = job_pb2.FieldViolation(field="jobs[3].max_attempts", description="x")
    assert shape(violation.DESCRIPTOR).write(violation)["field"] == "jobs[3].maxAttempts"


@pytest.mark.parametrize("number", ["4.0", "4", "4e0", "40e-1", "-0.0"])
def test_an_integer_may_be_written_as_json_likes(number):
    read = shape(queue_pb2.SubmitJobRequest.DESCRIPTOR).read(f'{{"priority": {number}}}'.encode())
    assert read.priority == float(number)


@pytest.mark.parametrize("number", ["4.5", "1e300", "9007199254740993.0", '"4"', "true", "null", "[4]", "-1e-400e"])
def test_nothing_else_is_one(number):
    with pytest.raises(ShapeError):
        shape(queue_pb2.SubmitJobRequest.DESCRIPTOR).read(f'{{"leaseMs": {number}}}'.encode())


def test_a_value_is_shown_shortened():
    with pytest.raises(ShapeError) as refused:
        shape(queue_pb2.SubmitJobRequest.DESCRIPTOR).read(b'{"type": [' + b"1," * 1_000 + b"1]}")
    assert len(refused.value.message) < 200


def test_a_thousand_wrong_items_are_not_told_one_by_one():
    jobs = ",".join(['{"x": 1}'] * 1_000)
    with pytest.raises(ShapeError) as refused:
        shape(queue_pb2.SubmitJobsRequest.DESCRIPTOR).read(f'{{"jobs": [{jobs}]}}'.encode())
    assert len(refused.value.violations) == 20


def test_what_the_path_holds_may_not_be_given_again():
    with pytest.raises(ShapeError, match="path"):
        shape(queue_pb2.CompleteJobRequest.DESCRIPTOR).read(b'{"jobId": "x"}', given={"job_id": "y"})
