"""A broker process to measure: prints its address, serves until its standard input is closed.

`python -m benchmarks.server memory 50` (a put takes 50 ms), `... file DIRECTORY`, `... empty` (a server whose SubmitJob
does nothing: what gRPC costs by itself).
"""

import asyncio
import sys

import grpc

from osqueue_service.app import App, build
from osqueue_service.clock import SystemClock
from osqueue_service.config import Settings
from osqueue_service.ids import SystemIds
from osqueue_service.memory_policy import settle_memory
from osqueue_service.rpc.server import Server, ServerSettings
from osqueue_service.storage.factory import OpenedStore
from osqueue_service.storage.instrumented import InstrumentedStore
from osqueue_service.storage.memory import MemoryStore
from osqueue_stubs.osqueue.v1 import queue_pb2, queue_pb2_grpc


async def _closed_stdin() -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


def _memory_app(put_ms: float) -> App:
    settings = Settings(host="127.0.0.1", grpc_port=0)
    clock, ids = SystemClock(), SystemIds()
    server = Server(ServerSettings(), settings.limits, clock=clock, ids=ids)
    store = InstrumentedStore(MemoryStore(clock=clock, put_ms=put_ms), clock)
    opened = OpenedStore(store, store.usage)
    return App(settings, opened, server, clock=clock, ids=ids, on_loaded=settle_memory)


class _Empty(queue_pb2_grpc.QueueServiceServicer):
    async def SubmitJob(self, request: object, context: object) -> queue_pb2.SubmitJobResponse:  # type: ignore[override]
        return queue_pb2.SubmitJobResponse(job_id="x")


async def _serve_empty() -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    queue_pb2_grpc.add_QueueServiceServicer_to_server(_Empty(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await _closed_stdin()
    await server.stop(0)


async def main(kind: str, argument: str = "0") -> None:
    if kind == "empty":
        return await _serve_empty()
    if kind == "memory":
        app = _memory_app(float(argument))
    else:
        settings = Settings(host="127.0.0.1", grpc_port=0, storage_backend="file", store={"OSQUEUE_DATA_DIR": argument})
        app = await build(settings)
    await app.start(stand_by=False)
    print(app.address, flush=True)
    await _closed_stdin()
    await app.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
