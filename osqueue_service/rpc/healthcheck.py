"""Asks a broker on this machine whether its process lives; for container health checks.

`python -m osqueue_service.rpc.healthcheck [host:port]` exits 0 when grpc.health.v1 answers SERVING for "", 1 otherwise.
A standby is healthy too: whether a broker leads is the health of "osqueue.v1.QueueService", which is not asked here.
"""

import os
import sys

import grpc
from grpc_health.v1 import health_pb2

TIMEOUT_S = 3.0
METHOD = "/grpc.health.v1.Health/Check"


def check(address: str) -> str | None:
    """What is wrong with the broker at `address`, or None."""
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            METHOD,
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = call(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            return f"no broker answers at {address}: {error.code().name}: {error.details()}"
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        return f"the broker at {address} is {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)}"
    return None


def main() -> None:
    default = f"127.0.0.1:{os.environ.get('BROKER_GRPC_PORT', '8081')}"
    sys.exit(check(sys.argv[1] if len(sys.argv) > 1 else default))


if __name__ == "__main__":
    main()
