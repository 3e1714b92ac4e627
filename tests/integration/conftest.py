"""A broker in this process, and stubs that call it over a real connection."""

from collections.abc import AsyncIterator

import grpc
import pytest

from osqueue_service.app import App
from osqueue_service.testing.in_process import broker_in_process
from osqueue_stubs.osqueue.v1 import admin_pb2_grpc, flow_pb2_grpc, queue_pb2_grpc


@pytest.fixture
async def app() -> AsyncIterator[App]:
    async with broker_in_process() as broker:
        yield broker


@pytest.fixture
async def channel(app: App) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(app.address) as opened:
        yield opened


@pytest.fixture
def queue(channel: grpc.aio.Channel) -> queue_pb2_grpc.QueueServiceStub:
    return queue_pb2_grpc.QueueServiceStub(channel)


@pytest.fixture
def flow(channel: grpc.aio.Channel) -> flow_pb2_grpc.FlowServiceStub:
    return flow_pb2_grpc.FlowServiceStub(channel)


@pytest.fixture
def admin(channel: grpc.aio.Channel) -> admin_pb2_grpc.AdminServiceStub:
    return admin_pb2_grpc.AdminServiceStub(channel)
