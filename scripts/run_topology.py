"""Two brokers, a gateway and an S3 server on this machine: what deploy/compose.yaml starts, without containers.

    python scripts/run_topology.py [--folder DIRECTORY] [--minio PROGRAM]

The bucket is SeaweedFS, as scripts/install_test_servers.sh installs it, or your MinIO program. Prints a line of JSON
with all addresses and process ids once all are ready, and runs until SIGINT or SIGTERM. Logs lie in the
directory. Whatever is killed stays dead: that is what one wants to try.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from osqueue_cli.processes import Children
from tests.servers import LOOPBACK, free_ports, seaweedfs, wait_until

BUCKET = "osqueue"
USER, PASSWORD = "osqueue", "osqueue-secret"
TOKEN = "topology"
BROKERS = 2


@contextlib.contextmanager
def minio(program: str, folder: Path) -> Iterator[str]:
    """MinIO on a directory, with the bucket in it; its URL."""
    (folder / BUCKET).mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [program, "server", "--quiet", "--address", f"{LOOPBACK}:{port}", str(folder)],
        env={**os.environ, "MINIO_ROOT_USER": USER, "MINIO_ROOT_PASSWORD": PASSWORD},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        url = f"http://{LOOPBACK}:{port}"
        wait_until(lambda: _answers(f"{url}/minio/health/ready"), "MinIO to be ready")
        yield url
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def seaweed() -> Iterator[str]:
    """SeaweedFS with the bucket in it; its URL."""
    import boto3

    with seaweedfs() as server:
        session = boto3.session.Session(USER, PASSWORD)
        session.client("s3", endpoint_url=server.endpoint, region_name="us-east-1").create_bucket(Bucket=BUCKET)
        yield server.endpoint


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


async def run(folder: Path, bucket_url: str) -> None:
    """Start everything, say where it is, and wait for the end."""
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    grpc, http = free_ports(BROKERS), free_ports(BROKERS + 1)
    addresses = [f"{LOOPBACK}:{port}" for port in grpc]
    gateway_address = f"{LOOPBACK}:{http[-1]}"
    common = {
        "OSQUEUE_TOKEN": TOKEN,
        "STORAGE_BACKEND": "s3",
        "S3_BUCKET": BUCKET,
        "S3_ENDPOINT_URL": bucket_url,
        "AWS_ACCESS_KEY_ID": USER,
        "AWS_SECRET_ACCESS_KEY": PASSWORD,
        "BROKER_HOST": LOOPBACK,
        "BROKER_HTTP_ADDRESS": gateway_address,
        "LOG_FORMAT": "json",
    }
    async with Children(folder) as children:
        brokers = []
        for number, address in enumerate(addresses):
            own = {
                "BROKER_GRPC_PORT": str(grpc[number]),
                "BROKER_METRICS_PORT": str(http[number]),
                "BROKER_ADVERTISE_ADDRESS": address,
            }
            name = f"broker-{number + 1}"
            process = await children.start(name, "osqueue_cli.child", "broker", variables={**common, **own})
            brokers.append({"name": name, "address": address, "metrics": f"{LOOPBACK}:{http[number]}"}
                           | {"pid": process.pid})  # fmt: skip
        variables = {**common, "BROKER_PORT": str(http[-1]), "BROKER_GRPC_ADDRESSES": ",".join(addresses)}
        gateway = await children.start("gateway", "osqueue_cli.child", "gateway", variables=variables)
        pages = [f"http://{LOOPBACK}:{port}/healthz" for port in http[:-1]] + [f"http://{gateway_address}/readyz"]
        await asyncio.to_thread(
            wait_until, lambda: ended.is_set() or all(map(_answers, pages)), "brokers and gateway to be ready"
        )
        topology = {
            "gateway": f"http://{gateway_address}",
            "gatewayPid": gateway.pid,
            "token": TOKEN,
            "brokers": brokers,
            "bucket": bucket_url,
            "logs": str(folder),
        }
        print(json.dumps(topology), flush=True)
        await ended.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="Where logs, and MinIO's data, go; a temporary one if not given.")
    parser.add_argument("--minio", metavar="PROGRAM", help="Run this MinIO instead of SeaweedFS.")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="osqueue-topology-")))
        folder.mkdir(parents=True, exist_ok=True)
        bucket = minio(options.minio, folder / "minio") if options.minio else seaweed()
        asyncio.run(run(folder, stack.enter_context(bucket)))


if __name__ == "__main__":
    main()
