"""KEDA's calls, by a client made from its proto: how many workers there should be."""

import asyncio
import re
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from osqueue import Limit, OsqueueClient
from osqueue_service.app import App
from osqueue_service.limits import DEFAULT_LIMITS
from osqueue_service.rpc.fields import TypeNames
from osqueue_service.rpc.scaler_service.scaled import read
from osqueue_service.testing.in_process import broker_in_process
from osqueue_stubs.externalscaler import externalscaler_pb2 as pb
from osqueue_stubs.externalscaler.externalscaler_pb2_grpc import ExternalScalerStub

ROOT = Path(__file__).parents[2]
EMAIL = {"types": "email", "target": "5"}


@asynccontextmanager
async def scaled(**settings: str) -> AsyncIterator[tuple[App, Any]]:
    async with (
        broker_in_process(settings=settings) as app,
        grpc.aio.insecure_channel(app.address) as channel,
    ):
        yield app, ExternalScalerStub(channel)


def ref(**metadata: str) -> pb.ScaledObjectRef:
    return pb.ScaledObjectRef(name="worker", namespace="default", scalerMetadata={**EMAIL, **metadata})


async def load(scaler: Any, **metadata: str) -> float:
    answer = await scaler.GetMetrics(pb.GetMetricsRequest(scaledObjectRef=ref(**metadata), metricName="osqueue-jobs"))
    (value,) = answer.metricValues
    assert value.metricValue == value.metricValueFloat
    return float(value.metricValueFloat)


async def test_workers_are_wanted_for_what_runs_and_what_could() -> None:
    async with scaled() as (app, scaler), OsqueueClient(app.address) as client:
        assert not (await scaler.IsActive(ref())).result
        for name in ("email", "email", "email", "report"):
            await client.submit_job(name, {})
        assert await load(scaler) == 3
        assert await load(scaler, types="email, report") == 4
        assert await load(scaler, types="*") == 4
        assert (await scaler.IsActive(ref())).result
        job = await client.claim_job("w", types=["email"])
        assert job is not None
        assert await load(scaler) == 3, "its worker is needed until it has ended"
        await client.admin.pause(["email"])
        assert await load(scaler) == 1, "what is paused needs nobody"
        await client.complete_job(job)
        assert not (await scaler.IsActive(ref())).result


async def test_jobs_that_a_limit_has_no_room_for_need_no_workers() -> None:
    async with scaled() as (app, scaler), OsqueueClient(app.address) as client:
        await client.limits.put("api", max_running=0)
        await client.submit_job("email", {}, limits=[Limit("api")])
        assert await load(scaler) == 0


async def test_one_worker_is_for_what_the_manifest_says() -> None:
    async with scaled() as (_, scaler):
        (spec,) = (await scaler.GetMetricSpec(ref(target="2.5"))).metricSpecs
        assert (spec.metricName, spec.targetSize, spec.targetSizeFloat) == ("osqueue-jobs", 3, 2.5)
        stream = scaler.StreamMetricSpec(ref(target="2.5"))
        assert (await stream.read()).metricSpecs[0] == spec
        stream.cancel()


async def test_a_stream_tells_when_there_is_work_and_when_there_is_none() -> None:
    async with scaled() as (app, scaler), OsqueueClient(app.address) as client:
        stream = scaler.StreamIsActive(ref())
        assert not (await stream.read()).result
        await client.submit_job("email", {})
        assert (await stream.read()).result
        job = await client.claim_job("w")
        assert job is not None
        await client.complete_job(job)
        assert not (await stream.read()).result
        stream.cancel()


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"types": ""}, "metadata.types: is required"),
        ({"types": "a b"}, ""),
        ({"target": ""}, "metadata.target: is required"),
        ({"target": "0"}, "a number above 0"),
        ({"target": "nan"}, "a number above 0"),
        ({"queue": "other"}, "metadata.queue: 'other' is not a queue of this broker"),
        ({"types": ",".join(f"t{number}" for number in range(129))}, "claim_types"),
    ],
)
async def test_what_is_wrong_with_a_manifest_is_named(metadata: dict[str, str], says: str) -> None:
    async with scaled() as (_, scaler):
        if not says:
            await scaler.IsActive(ref(**metadata))
            return
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await scaler.IsActive(ref(**metadata))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert says in str(refused.value.details())


async def test_the_token_comes_with_the_manifest() -> None:
    async with scaled(OSQUEUE_TOKEN="secret" * 5) as (app, scaler):
        for wrong in ({}, {"token": "wrong" * 6}):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await scaler.IsActive(ref(**wrong))
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        await scaler.IsActive(ref(tokenFromEnv="secret" * 5))
        await scaler.IsActive(ref(token="secret" * 5))
        async with OsqueueClient(app.address, token="secret" * 5) as client:
            worker = await client.tokens.create("submits", scopes=["submit"])
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await scaler.IsActive(ref(token=worker.token))
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_streams_are_limited_and_give_their_place_back() -> None:
    async with scaled(OSQUEUE_LIMIT_SCALER_STREAMS="1") as (_, scaler):
        first = scaler.StreamIsActive(ref())
        await first.read()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await scaler.StreamIsActive(ref()).read()
        assert "scaler_streams" in str(refused.value.details())
        first.cancel()
        while True:
            try:
                await scaler.StreamIsActive(ref()).read()
                break
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.01)


def test_numbers_and_names_are_those_that_keda_sends() -> None:
    spec = pb.MetricSpec(metricName="m", targetSize=5, targetSizeFloat=5.0)
    value = pb.MetricValue(metricName="m", metricValue=5, metricValueFloat=5.0)
    wire = b"\x0a\x01m\x10\x05\x19" + struct.pack("<d", 5.0)
    assert spec.SerializeToString() == value.SerializeToString() == wire
    asked = pb.ScaledObjectRef(name="n", namespace="s", scalerMetadata={"k": "v"})
    assert asked.SerializeToString() == b"\x0a\x01n\x12\x01s\x1a\x06\x0a\x01k\x12\x01v"
    request = pb.GetMetricsRequest(scaledObjectRef=pb.ScaledObjectRef(name="n"), metricName="m")
    assert request.SerializeToString() == b"\x0a\x03\x0a\x01n\x12\x01m"
    assert pb.IsActiveResponse(result=True).SerializeToString() == b"\x08\x01"
    assert pb.GetMetricSpecResponse(metricSpecs=[spec]).SerializeToString() == b"\x0a" + bytes([len(wire)]) + wire
    assert pb.GetMetricsResponse(metricValues=[value]).SerializeToString() == b"\x0a" + bytes([len(wire)]) + wire
    assert [method.full_name for method in pb.DESCRIPTOR.services_by_name["ExternalScaler"].methods] == [
        f"externalscaler.ExternalScaler.{name}"
        for name in ("IsActive", "StreamIsActive", "GetMetricSpec", "GetMetrics", "StreamMetricSpec")
    ]


def test_the_manifest_has_what_is_asked_for() -> None:
    manifest = yaml.safe_load((ROOT / "deploy/keda/scaledobject.yaml").read_text())
    (trigger,) = manifest["spec"]["triggers"]
    documented = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/operations/autoscaling.md").read_text(), re.M))
    assert set(trigger["metadata"]) <= documented
    scaled = read(trigger["metadata"], TypeNames(128), DEFAULT_LIMITS)
    assert (scaled.types, scaled.target) == (("email", "report"), 10)
