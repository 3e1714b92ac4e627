"""Proves that the SDK runs beside any runtime it allows.

For each pair of protobuf and grpcio an environment of its own takes the wheel, and the life of a job is lived there
against a broker from here. Pairs that pip cannot install, because there is no wheel for this Python, are named.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from osqueue_service.testing.in_process import broker_in_process

ROOT = Path(__file__).resolve().parent.parent

PROTOBUF = ("==4.25.*", "==5.*", "==6.*", "==7.*")
GRPCIO = ("==1.62.*", "")

LIFE_OF_A_JOB = """
import asyncio, sys
import google.protobuf, grpc
from osqueue import OsqueueClient, Worker
from osqueue_stubs.osqueue.v1 import admin_pb2_grpc, queue_pb2_grpc

async def main():
    async with OsqueueClient(sys.argv[1]) as client:
        handle = await client.submit_job("t", {"n": 1}, max_attempts=2, metadata={"a": "b"})

        async def handler(payload, context):
            context.progress(0.5, "half")
            if context.attempt == 1:
                raise ValueError("again")
            return payload["n"] + 1

        await Worker(client, {"t": handler}).run(until_idle=True)
        assert await handle.result(10_000) == 2
        job = await handle.job()
        assert (job.status, [attempt.outcome for attempt in job.history]) == ("completed", ["failed", "completed"])
        assert (await client.get_stats()).counts.completed == 1
    async with grpc.aio.insecure_channel(sys.argv[1].removeprefix("grpc://")) as channel:
        queue_pb2_grpc.QueueServiceStub(channel)
    print(google.protobuf.__version__, grpc.__version__)

asyncio.run(main())
"""


def run(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(list(map(str, arguments)), capture_output=True, text=True, cwd=ROOT)


def prove(wheel: Path, protobuf: str, grpcio: str, place: Path) -> tuple[bool | None, str]:
    """Whether it works, None where there is nothing to install, and what was said."""
    venv.create(place, with_pip=True)
    python = place / "bin" / "python"
    wanted = [f"protobuf{protobuf}", f"grpcio{grpcio}"]
    installed = run(python, "-m", "pip", "install", "-q", "--only-binary", ":all:", wheel, *wanted)
    if installed.returncode != 0:
        return None, installed.stderr.strip().splitlines()[-1]
    return asyncio.run(live(python, place))


async def live(python: Path, place: Path) -> tuple[bool, str]:
    async with broker_in_process() as broker:
        program = place / "life.py"
        program.write_text(LIFE_OF_A_JOB)
        done = await asyncio.to_thread(
            subprocess.run,
            [python, "-I", program, f"grpc://{broker.address}"],
            capture_output=True,
            text=True,
            timeout=120,
        )
    return done.returncode == 0, (done.stdout if done.returncode == 0 else done.stderr).strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corners", action="store_true", help="only the oldest and the newest pair")
    corners = parser.parse_args().corners
    pairs = [(protobuf, grpcio) for protobuf in PROTOBUF for grpcio in GRPCIO]
    if corners:
        pairs = [pairs[0], pairs[-1]]
    failed = False
    with tempfile.TemporaryDirectory() as directory:
        built = run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", directory, ROOT)
        if built.returncode != 0:
            raise SystemExit(built.stderr)
        (wheel,) = Path(directory).glob("*.whl")
        for number, (protobuf, grpcio) in enumerate(pairs):
            works, said = prove(wheel, protobuf, grpcio, Path(directory) / str(number))
            failed |= works is False
            word = "no wheels" if works is None else "works" if works else "FAILS"
            print(f"protobuf{protobuf} grpcio{grpcio or ' newest'}: {word}: {said}", flush=True)
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
