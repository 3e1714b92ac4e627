"""The gateway's JSON: pieces stay as they were written, errors become exceptions."""

import pytest

from osqueue.api.events import frame_of
from osqueue.api.json_shapes import read_answer, shape
from osqueue.api.json_text import JsonError, encode, items, spaced_members
from osqueue.api.queries import query_of
from osqueue.errors import (
    BrokerLeadershipError,
    BrokerProtocolError,
    QueueFullError,
    TransportRequestError,
)
from osqueue.transports.json_errors import from_tagged
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"{}", {}),
        (b" { } ", {}),
        (b'{"a":1}', {"a": b"1"}),
        (b'{"a": 1 ,"b":[1, {"c":2}]}', {"a": b" 1 ", "b": b'[1, {"c":2}]'}),
        (b'{"a":\n1\t}', {"a": b"\n1\t"}),
        (b'{"\\u0061":"\\u00e4"}', {"a": b'"\\u00e4"'}),
        (b'{"n":' + b"9" * 10_000 + b"}", {"n": b"9" * 10_000}),
    ],
)
def test_members_are_cut_out_not_rewritten(text, found):
    assert spaced_members(text) == found


@pytest.mark.parametrize(("text", "found"), [(b"[]", []), (b" [ ] ", []), (b'[1, "a",{}]', [b"1", b'"a"', b"{}"])])
def test_items_are_cut_out_not_rewritten(text, found):
    assert [bytes(item) for item in items(text)] == found


@pytest.mark.parametrize(
    "text",
    ["", "[", "{", '{"a"}', '{"a":}', '{"a":1', "{1:2}", '{"a":1 "b":2}', "null", '{"a":NaN}', '{"a":1,"a":1}', "{}{}"],
)
def test_what_is_no_object_is_refused(text):
    with pytest.raises(JsonError):
        spaced_members(text.encode())


def test_half_a_surrogate_pair_is_no_text_and_no_gateway_sends_it():
    with pytest.raises(JsonError):
        spaced_members(b'{"a":"\\ud800"}')
    answer = queue_pb2.GetJobResponse(job=job_pb2.JobInfo(payload=b'"\\ud800"'))
    sent = encode(shape(answer.DESCRIPTOR).write(answer))
    assert b'"payloadBase64"' in sent
    assert read_answer(sent, queue_pb2.GetJobResponse()) == answer


def test_what_is_not_utf_8_is_refused():
    with pytest.raises(JsonError, match="not UTF-8"):
        spaced_members(b'{"a":"\xff"}')


@pytest.mark.parametrize("text", ["", "{}", "[1", "[1 2]", "[,]"])
def test_what_is_no_array_is_refused(text):
    with pytest.raises(JsonError):
        items(text.encode())


def test_a_request_in_json():
    request = queue_pb2.SubmitJobsRequest(
        jobs=[queue_pb2.SubmitJobRequest(payload=b"\xff", max_attempts=0, type="t", metadata={"a": "ö"})],
        atomic=False,
    )
    assert shape(request.DESCRIPTOR).write_request(request) == {
        "jobs": [{"payloadBase64": "/w==", "maxAttempts": 0, "type": "t", "metadata": {"a": "ö"}}],
        "atomic": False,
    }


def test_a_request_as_query():
    request = queue_pb2.ListJobsRequest(
        filter=job_pb2.JobFilter(statuses=["dead", "completed"], metadata={"k": "a=b"}, created_from=5),
        view=job_pb2.JOB_VIEW_BASIC,
        page_size=7,
        linearizable=True,
    )
    assert sorted(query_of(request)) == [
        ("createdFrom", "5"), ("linearizable", "true"), ("metadata", "k=a=b"), ("pageSize", "7"),
        ("statuses", "completed"), ("statuses", "dead"), ("view", "BASIC"),
    ]  # fmt: skip
    watch = queue_pb2.WatchJobsRequest(job_ids=["a"])
    watch.after.epoch, watch.after.sequence = 3, 1_042
    assert sorted(query_of(watch)) == [("after", "3.1042"), ("jobIds", "a")]


def test_a_response_is_read_and_what_is_new_passed_over():
    text = """{"job": {"id": "j", "payload": {"a" : 1}, "resultBase64": "AP8=", "attempts": 2, "error": null,
        "history": [{"number": 1, "outcome": "FAILED"}, {"number": 2, "outcome": "EXPLODED"}], "retryPolicy": {},
        "metadata": {"k": "v"}, "newer": [1, {"x": 2}], "retentionMs": 0}}"""
    job = read_answer(text.encode(), queue_pb2.GetJobResponse()).job
    assert (job.id, job.payload, job.result, job.attempts) == ("j", b' {"a" : 1}', b"\x00\xff", 2)
    assert not job.HasField("error")
    assert job.HasField("retry_policy")
    assert job.HasField("retention_ms")
    assert [attempt.outcome for attempt in job.history] == [job_pb2.ATTEMPT_OUTCOME_FAILED, 0]
    assert dict(job.metadata) == {"k": "v"}


def test_reasons_are_read_by_name_or_number():
    response = read_answer(b'{"reasons": ["BEHIND", 99, "NEWER"]}', queue_pb2.ExplainJobResponse())
    assert list(response.reasons) == [queue_pb2.EXPLAIN_REASON_BEHIND, 99, 0]


@pytest.mark.parametrize(
    "text", ['{"job": 5}', '{"job": {"id": 5}}', '{"job": {"attempts": "x"}}', '{"job": {"resultBase64": "%"}}']
)
def test_a_response_of_another_shape_is_refused(text):
    with pytest.raises(JsonError):
        read_answer(text.encode(), queue_pb2.GetJobResponse())


def test_events_become_responses():
    assert frame_of("job", b'{"kind": "DEAD", "jobId": "j"}').events[0].kind == queue_pb2.JOB_EVENT_KIND_DEAD
    assert frame_of("resync", b'{"reason": "GAP"}').resync.reason == queue_pb2.RESYNC_REASON_GAP
    assert frame_of("stats", b'{"total": 3}').stats.total == 3
    assert frame_of("newer", b"{}") is None


def error(found, status=400):
    return from_tagged(found, method="POST", path="/v1/jobs", status=status)


def test_a_tagged_error_with_everything():
    found = error(
        {
            "_tag": "BrokerProtocolError",
            "message": "no",
            "reason": "INVALID_REQUEST",
            "violations": [{"field": "jobs[1].maxAttempts", "description": "too many"}, "odd"],
        }
    )
    assert (type(found), found.reason, found.message) == (BrokerProtocolError, "INVALID_REQUEST", "no")
    assert found.violations == (("jobs[1].max_attempts", "too many"),)
    full = error({"_tag": "QueueFullError", "message": "full", "reason": "QUEUE_FULL", "retryAfterMs": 500}, 429)
    assert (type(full), full.retry_after_ms) == (QueueFullError, 500)
    led = error({"_tag": "BrokerLeadershipError", "message": "not me", "reason": "NOT_LEADER", "leader": "b:1"}, 503)
    assert (type(led), led.leader) == (BrokerLeadershipError, "b:1")


@pytest.mark.parametrize("found", [None, [], "text", {}, {"_tag": 5}, {"message": "no tag"}])
def test_what_is_not_tagged_is_not_a_gateways(found):
    problem = error(found, 502)
    assert type(problem) is TransportRequestError
    assert (problem.method, problem.path, problem.status) == ("POST", "/v1/jobs", 502)
    assert "not by a gateway of osqueue" in problem.message
