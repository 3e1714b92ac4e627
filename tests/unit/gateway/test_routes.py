import pytest

from osqueue_gateway.routes import CONNECT_PATHS, ROUTES, WS_METHODS, find
from osqueue_protocol.rpcs import CLIENT_RPCS as RPCS


def test_every_rpc_but_the_worker_stream_has_a_route():
    assert {route.rpc.name for route in ROUTES} == RPCS.keys() - {"Work"}


def test_every_unary_rpc_is_a_websocket_method():
    unary = {name for name, rpc in RPCS.items() if not rpc.server_streaming}
    assert {route.rpc.name for route in WS_METHODS.values()} == unary
    assert all(
        method == name[0].lower() + name[1:]
        for method, name in zip(WS_METHODS, (route.rpc.name for route in WS_METHODS.values()), strict=True)
    )


def test_every_rpc_has_a_connect_path():
    assert CONNECT_PATHS["/osqueue.v1.QueueService/SubmitJob"] is RPCS["SubmitJob"]
    assert len(CONNECT_PATHS) == len(RPCS)


def test_routes_do_not_collide():
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)


@pytest.mark.parametrize("identifier", ["a", "A-b_9", "0" * 64])
def test_ids_in_paths(identifier):
    routes, found = find(f"/v1/jobs/{identifier}/complete")
    assert (routes["POST"].rpc.name, found) == ("CompleteJob", identifier)


@pytest.mark.parametrize("identifier", ["", "0" * 65, "a.b", "a%20b", "é", "a\n", "a/b"])
def test_what_is_no_id_leads_nowhere(identifier):
    assert find(f"/v1/jobs/{identifier}/complete") == ({}, "")


def test_fixed_paths_win_over_ids():
    assert find("/v1/jobs/claim")[0]["POST"].rpc.name == "ClaimJob"
    assert "GET" not in find("/v1/jobs/claim")[0]


def test_a_repeated_field_takes_the_id_as_its_only_element():
    retry = find("/v1/jobs/j/retry")[0]["POST"]
    assert retry.given("j") == {"job_ids": ["j"]}
