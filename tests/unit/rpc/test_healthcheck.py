"""The health check of containers, against a real health service."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from osqueue_service.rpc import healthcheck

Status = health_pb2.HealthCheckResponse


@pytest.fixture
def served():
    """A health servicer and the address where it is served."""
    server = grpc.server(ThreadPoolExecutor(1))
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_a_standby_is_healthy(served):
    servicer, address = served
    servicer.set("osqueue.v1.QueueService", Status.NOT_SERVING)
    assert healthcheck.check(address) is None


def test_a_broker_that_is_stopping_is_not(served):
    servicer, address = served
    servicer.set("", Status.NOT_SERVING)
    assert healthcheck.check(address) == f"the broker at {address} is NOT_SERVING"


def test_where_nobody_answers_the_message_names_the_address():
    # Port 1 is never a broker's.
    assert healthcheck.check("127.0.0.1:1").startswith("no broker answers at 127.0.0.1:1: UNAVAILABLE")


def test_the_port_is_that_of_the_broker(served, monkeypatch):
    _, address = served
    monkeypatch.setenv("BROKER_GRPC_PORT", address.rpartition(":")[2])
    monkeypatch.setattr("sys.argv", ["healthcheck"])
    with pytest.raises(SystemExit) as exit_:
        healthcheck.main()
    assert exit_.value.code is None
