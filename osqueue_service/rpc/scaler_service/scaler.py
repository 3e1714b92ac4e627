"""IsActive, StreamIsActive, GetMetricSpec, GetMetrics, StreamMetricSpec: how many workers there should be, for KEDA.

KEDA sends no metadata with its calls but what the manifest says in the request. So a token, where the broker asks for
one, comes with the request, and is looked at here.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from math import ceil

from osqueue_protocol.rights import DEFAULT_QUEUE, READ
from osqueue_service.clock import Clock
from osqueue_service.errors import OsqueueError, PermissionDenied, TooManyRequests
from osqueue_service.rpc.auth import Guard
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import TypeNames
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.scaler_service.scaled import Scaled, read
from osqueue_stubs.externalscaler import externalscaler_pb2 as pb

METRIC = "osqueue-jobs"
LOOK_MS = 1_000
"""How often a stream looks whether there is work."""

TOKEN_KEYS = ("tokenFromEnv", "token")
"""What the manifest may call it: where a key ends in FromEnv, KEDA puts a variable's value in the place of its name."""


class Scaler:
    """Serves ExternalScaler."""

    def __init__(self, broker: Broker, guard: Guard, types: TypeNames, clock: Clock) -> None:
        self._broker = broker
        self._guard = guard
        self._types = types
        self._clock = clock
        self._streams = 0

    async def IsActive(self, request: pb.ScaledObjectRef, context: Context) -> pb.IsActiveResponse:
        return pb.IsActiveResponse(result=await self._load(await self._scaled(request, context)) > 0)

    async def StreamIsActive(
        self, request: pb.ScaledObjectRef, context: Context
    ) -> AsyncGenerator[pb.IsActiveResponse, None]:
        told: bool | None = None
        with self._streaming():
            while True:
                # Asked each time: a token may have been revoked.
                active = await self._load(await self._scaled(request, context)) > 0
                if active is not told:
                    told = active
                    yield pb.IsActiveResponse(result=active)
                await self._clock.sleep_ms(LOOK_MS)

    async def GetMetricSpec(self, request: pb.ScaledObjectRef, context: Context) -> pb.GetMetricSpecResponse:
        target = (await self._scaled(request, context)).target
        return pb.GetMetricSpecResponse(
            metricSpecs=[pb.MetricSpec(metricName=METRIC, targetSize=ceil(target), targetSizeFloat=target)]
        )

    async def StreamMetricSpec(
        self, request: pb.ScaledObjectRef, context: Context
    ) -> AsyncGenerator[pb.GetMetricSpecResponse, None]:
        with self._streaming():
            # What one worker is for is in the manifest, so that nothing changes while this stream lives.
            yield await self.GetMetricSpec(request, context)
            await asyncio.Event().wait()

    async def GetMetrics(self, request: pb.GetMetricsRequest, context: Context) -> pb.GetMetricsResponse:
        load = await self._load(await self._scaled(request.scaledObjectRef, context))
        return pb.GetMetricsResponse(
            metricValues=[pb.MetricValue(metricName=METRIC, metricValue=load, metricValueFloat=load)]
        )

    async def _load(self, scaled: Scaled) -> int:
        return await self._broker.engine.views.read(scaled.load)

    async def _scaled(self, request: pb.ScaledObjectRef, context: Context) -> Scaled:
        await self._admit(request.scalerMetadata, context)
        return read(request.scalerMetadata, self._types, self._broker.limits)

    async def _admit(self, told: Mapping[str, str], context: Context) -> None:
        """Raise what the caller hears that may not read."""
        shown = list(context.invocation_metadata() or ())
        shown += [("authorization", f"Bearer {told[key]}") for key in TOKEN_KEYS if told.get(key)]
        principal = self._guard.admit(shown)
        if isinstance(principal, OsqueueError):
            raise await self._guard.second_look(shown, principal)
        if not principal.rights.in_queue(DEFAULT_QUEUE).may(READ):
            raise PermissionDenied(f"scaling needs the scope {READ}, and the token {principal.id} does not have it")

    @contextmanager
    def _streaming(self) -> Iterator[None]:
        most = self._broker.limits.scaler_streams
        if self._streams >= most:
            raise TooManyRequests(f"{most} streams of scalers are open, which is the limit (scaler_streams)")
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1
