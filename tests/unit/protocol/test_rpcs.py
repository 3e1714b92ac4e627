"""The table of RPCs: every method of every service has a row, and every row says what can be true."""

import pytest
from google.protobuf import descriptor_pool

from osqueue_gateway.routes import CONNECT_PATHS, MANNERS, ROUTES, WS_METHODS
from osqueue_protocol.rpcs import CLIENT_RPCS, RPCS, Repeat, Rpc, message_class
from osqueue_service.rpc.services import ACCESS, ADMIN, BATCHES, FLOW, QUEUE, SCHEDULES, STANDBY, WORKFLOWS
from osqueue_stubs.osqueue.v1 import options_pb2, queue_pb2
from tests.protos import files_of

# What each right is for, by hand: a new RPC is a decision, not an accident.
SCOPES = {
    "submit": {"SubmitJob", "SubmitJobs", "SubmitWorkflow", "OpenBatch", "SealBatch"},
    "work": {
        "ClaimJob",
        "ClaimJobs",
        "Heartbeat",
        "HeartbeatJobs",
        "CompleteJob",
        "CompleteJobs",
        "FailJob",
        "ReleaseJob",
        "Work",
        "AddToWorkflow",
        "AddToBatch",
    },
    "read": {
        "GetJob",
        "WaitJob",
        "ListJobs",
        "WatchJobs",
        "ExplainJob",
        "GetStats",
        "GetInfo",
        "GetState",
        "GetHistory",
        "ListWorkers",
        "GroupDead",
        "GetWorkflow",
        "ListWorkflows",
        "GetBatch",
        "ListBatches",
        "GetLimit",
        "ListLimits",
        "ListLimitKeys",
        "ListFairnessKeys",
        "GetSchedule",
        "ListSchedules",
        "PreviewSchedule",
        "GetQueue",
        "ListQueues",
    },
    "manage": {
        "CancelJob",
        "CancelJobs",
        "CancelWorkflow",
        "CancelBatch",
        "RetryJobs",
        "RunJobs",
        "UpdateJobs",
        "PauseTypes",
        "ResumeTypes",
        "PutLimit",
        "DeleteLimit",
        "SetLimitOverride",
        "ResetLimitKey",
        "PutFairnessWeight",
        "PutSchedule",
        "DeleteSchedule",
        "PauseSchedule",
        "ResumeSchedule",
        "TriggerSchedule",
        "BackfillSchedule",
    },
    "operate": {"GetAudit", "GetStorageStats", "StepDown"},
    "admin": {
        "Purge",
        "Attend",
        "CreateToken",
        "ListTokens",
        "RotateToken",
        "RevokeToken",
        "CreateQueue",
        "UpdateQueue",
        "DeleteQueue",
    },
    "any": {"WhoAmI"},
}
NEVER_REPEATED = {"Work", "StepDown", "Attend", "CreateToken", "RotateToken", "RevokeToken"}

every_rpc = pytest.mark.parametrize("rpc", RPCS.values(), ids=RPCS.keys())


def test_every_method_of_the_proto_has_one_row_and_every_row_a_method():
    methods = [method for file in files_of("osqueue.v1") for service in file.service for method in service.method]
    assert sorted(method.name for method in methods) == sorted(RPCS)
    services = {each.full_name for each in (QUEUE, ADMIN, ACCESS, BATCHES, FLOW, SCHEDULES, WORKFLOWS, STANDBY)}
    assert services == {rpc.service for rpc in RPCS.values()}


def test_every_rpc_needs_the_right_it_was_given():
    assert {scope: {name for name, rpc in RPCS.items() if rpc.scope == scope} for scope in SCOPES} == SCOPES
    named = {name.removeprefix("SCOPE_").lower() for name, number in options_pb2.Scope.items() if number}
    assert named == SCOPES.keys()


@every_rpc
def test_a_row_is_found_in_the_descriptors(rpc: Rpc):
    method = descriptor_pool.Default().FindMethodByName(f"{rpc.service}.{rpc.name}")
    assert rpc.request is message_class(method.input_type)
    assert rpc.response is message_class(method.output_type)


@every_rpc
def test_what_makes_a_repetition_harmless_is_a_field(rpc: Rpc):
    assert all(field in rpc.request.DESCRIPTOR.fields_by_name for field in rpc.once_by)
    assert not rpc.once_by or rpc.repeat is Repeat.HARMS
    if rpc.repeat is Repeat.HARMS and not rpc.once_by:
        assert rpc.name in NEVER_REPEATED


@every_rpc
def test_what_is_got_changes_nothing_and_what_is_posted_does(rpc: Rpc):
    assert {route.method for route in rpc.routes} <= ({"POST"} if rpc.mutates else {"GET"})


def test_a_claim_may_be_repeated_only_under_its_key():
    claim = RPCS["ClaimJob"]
    assert not claim.may_repeat(queue_pb2.ClaimJobRequest(worker_id="w"))
    assert claim.may_repeat(queue_pb2.ClaimJobRequest(worker_id="w", claim_key="k"))
    assert RPCS["GetJob"].may_repeat(queue_pb2.GetJobRequest())


class TestSurfaces:
    def test_every_rpc_but_the_worker_stream_has_a_route(self):
        assert {route.rpc.name for route in ROUTES} == CLIENT_RPCS.keys() - {"Work"}

    def test_every_manner_belongs_to_a_route(self):
        assert MANNERS.keys() <= {f"{route.method} {route.path}" for route in ROUTES}

    def test_every_unary_rpc_is_a_websocket_method_and_every_rpc_a_connect_path(self):
        unary = {name for name, rpc in CLIENT_RPCS.items() if not rpc.server_streaming}
        assert {route.rpc.name for route in WS_METHODS.values()} == unary
        assert {rpc.name for rpc in CONNECT_PATHS.values()} == CLIENT_RPCS.keys()
