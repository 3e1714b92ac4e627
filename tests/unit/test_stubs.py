"""The generated stubs: what existing clients put on the wire, room for later fields, and freshness."""

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from osqueue_stubs.osqueue.v1 import admin_pb2, job_pb2, options_pb2, queue_pb2, schedules_pb2, standby_pb2
from tests import wire

ROOT = Path(__file__).resolve().parents[2]

# Existing clients rely on every name, number and wire type here: (field, number, a value as it travels).
WIRE = {
    queue_pb2.SubmitJobRequest: [("payload", 1, b'{"n":1}'), ("max_attempts", 2, 5), ("type", 3, "email")],
    queue_pb2.SubmitJobResponse: [("job_id", 1, "j1")],
    queue_pb2.ClaimJobRequest: [("worker_id", 1, "w1"), ("types", 2, "email")],
    queue_pb2.ClaimJobResponse: [("job_id", 1, "j1"), ("payload", 2, b"x"), ("type", 3, "email")],
    queue_pb2.HeartbeatRequest: [("job_id", 1, "j1"), ("worker_id", 2, "w1")],
    queue_pb2.CompleteJobRequest: [("job_id", 1, "j1"), ("worker_id", 2, "w1")],
    queue_pb2.GetStatsResponse: [
        ("total", 1, 12),
        ("unclaimed", 2, 7),
        ("in_progress", 3, 5),
        ("broker_address", 4, "broker:8080"),
    ],
    job_pb2.JobInfo: [
        ("id", 1, "j1"),
        ("status", 2, "in_progress"),
        ("payload", 3, b"x"),
        ("type", 4, "email"),
        ("worker_id", 5, "w1"),
        ("created_at", 6, 1_700_000_000_000),
        ("attempts", 7, 1),
        ("max_attempts", 8, 3),
        ("heartbeat", 9, 1_700_000_000_500),
    ],
    queue_pb2.ListJobsResponse: [
        ("jobs", 1, wire.encode([(1, "j1"), (2, "unclaimed")])),
        ("total", 2, 12),
        ("unclaimed", 3, 7),
        ("in_progress", 4, 5),
        ("completed_total", 5, 99),
        ("broker_address", 6, "broker:8080"),
    ],
}

REPEATED = {"types", "jobs"}

METHODS = ["SubmitJob", "ClaimJob", "Heartbeat", "CompleteJob", "GetStats", "ListJobs"]


@pytest.mark.parametrize("message", WIRE, ids=lambda message: message.DESCRIPTOR.name)
def test_bytes_of_existing_clients_are_understood(message):
    fields = WIRE[message]
    parsed = message.FromString(wire.encode((number, value) for _, number, value in fields))
    for name, _, value in fields:
        got = getattr(parsed, name)
        if name in REPEATED:
            assert len(got) == 1
            got = got[0]
        assert (got.SerializeToString() if name == "jobs" else got) == value, name


@pytest.mark.parametrize("message", WIRE, ids=lambda message: message.DESCRIPTOR.name)
def test_existing_clients_understand_our_bytes(message):
    fields = WIRE[message]
    built = message()
    for name, _, value in fields:
        if name == "jobs":
            built.jobs.append(job_pb2.JobInfo(id="j1", status="unclaimed"))
        elif name in REPEATED:
            getattr(built, name).append(value)
        else:
            setattr(built, name, value)
    expected = [(number, value.encode() if isinstance(value, str) else value) for _, number, value in fields]
    assert wire.decode(built.SerializeToString()) == expected


@pytest.mark.parametrize(
    "message",
    [queue_pb2.HeartbeatResponse, queue_pb2.CompleteJobResponse, queue_pb2.GetStatsRequest, queue_pb2.ListJobsRequest],
    ids=lambda message: message.DESCRIPTOR.name,
)
def test_messages_that_were_empty_may_still_be(message):
    assert message().SerializeToString() == b""
    assert message.FromString(b"") == message()


def test_an_empty_queue_answers_without_a_job():
    assert queue_pb2.ClaimJobResponse().SerializeToString() == b""
    assert not queue_pb2.ClaimJobResponse.FromString(b"").HasField("job_id")
    empty_payload = queue_pb2.ClaimJobResponse(job_id="j1", payload=b"")
    assert wire.decode(empty_payload.SerializeToString()) == [(1, b"j1"), (2, b"")]


def test_max_attempts_zero_is_told_from_absent():
    assert not queue_pb2.SubmitJobRequest.FromString(wire.encode([(1, b"x")])).HasField("max_attempts")
    assert queue_pb2.SubmitJobRequest.FromString(wire.encode([(1, b"x"), (2, 0)])).HasField("max_attempts")


def test_fields_of_later_versions_are_skipped():
    parsed = queue_pb2.SubmitJobRequest.FromString(wire.encode([(1, b"x"), (999, "later")]))
    assert parsed.payload == b"x"


def test_methods_keep_their_names():
    service = queue_pb2.DESCRIPTOR.services_by_name["QueueService"]
    assert service.full_name == "osqueue.v1.QueueService"
    for method in METHODS:
        descriptor = service.methods_by_name[method]
        assert descriptor.input_type.full_name == f"osqueue.v1.{method}Request"
        assert descriptor.output_type.full_name == f"osqueue.v1.{method}Response"


@pytest.mark.parametrize(
    "module", [queue_pb2, admin_pb2, schedules_pb2], ids=lambda module: module.__name__.rpartition(".")[2]
)
def test_every_request_keeps_a_number_for_a_queue(module):
    """Kept by a comment and by this test: a reserved number could never be used without breaking the released API."""
    file = FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
    requests = [message for message in file.message_type if message.name.endswith("Request")]
    assert requests
    for message in requests:
        assert not message.reserved_range and not message.reserved_name, message.name
        assert all((field.number == 100) == (field.name == "queue") for field in message.field), message.name


@pytest.mark.parametrize(
    "module",
    [queue_pb2, admin_pb2, job_pb2, options_pb2, schedules_pb2, standby_pb2],
    ids=lambda module: module.DESCRIPTOR.name,
)
def test_every_file_says_where_other_languages_put_it(module):
    options = module.DESCRIPTOR.GetOptions()
    assert options.go_package.endswith("/osqueue/v1;osqueuev1")
    assert (options.java_package, options.java_multiple_files) == ("io.osqueue.v1", True)
    assert (options.csharp_namespace, options.php_namespace) == ("Osqueue.V1", "Osqueue\\V1")
    assert (options.ruby_package, options.objc_class_prefix) == ("Osqueue::V1", "OSQ")


def test_enums_start_unspecified():
    for module in (job_pb2, queue_pb2, admin_pb2, schedules_pb2):
        for enum in module.DESCRIPTOR.enum_types_by_name.values():
            assert enum.values_by_number[0].name.endswith("_UNSPECIFIED"), enum.name


def test_stubs_are_those_of_the_proto():
    result = subprocess.run(
        [sys.executable, "scripts/generate_stubs.py", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("word", ["runtime_version", "GRPC_GENERATED_VERSION", "_registered_method"])
def test_the_stubs_refuse_no_runtime(word):
    """They would force upgrades on whoever installs osqueue beside other packages; scripts/prove_runtimes.py."""
    assert [
        path.name for path in (ROOT / "osqueue_stubs").rglob("*.py") if word in path.read_text(errors="replace")
    ] == []
