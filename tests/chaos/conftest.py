"""A run of chaos: a real S3 server, brokers as processes, and a seed that is told with everything that goes wrong.

CHAOS_SEED repeats a run's draws; CHAOS_DIR keeps histories and logs.
"""

import os
import random
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from osqueue_service.clock import SystemClock
from osqueue_service.storage.s3 import S3Store
from tests import servers
from tests.chaos.bell import Bell
from tests.chaos.cluster import CREDENTIALS
from tests.chaos.run import Run
from tests.servers import NotInstalled, Server

BUCKET = "chaos"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "chaos" in Path(item.fspath).parts:
            item.add_marker(pytest.mark.chaos)
            item.add_marker(pytest.mark.timeout(150))


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[Server]:
    """SeaweedFS with an empty bucket; a skipped test where it is not installed, unless servers are required."""
    try:
        with servers.seaweedfs() as server:
            _session().client(
                "s3",
                endpoint_url=server.endpoint,
                region_name="us-east-1",
                config=Config(connect_timeout=2, retries={"total_max_attempts": 10, "mode": "standard"}),
            ).create_bucket(Bucket=BUCKET)
            yield server
    except NotInstalled as reason:
        if servers.REQUIRED:
            pytest.fail(str(reason), pytrace=False)
        pytest.skip(str(reason))


def _session() -> Any:
    return boto3.session.Session(CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"])


@pytest.fixture
def seed() -> int:
    """Where all of a run's draws come from."""
    return int(os.environ.get("CHAOS_SEED") or secrets.randbelow(1_000_000))


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where a run leaves its history and its logs."""
    kept = os.environ.get("CHAOS_DIR")
    folder = Path(kept) / request.node.name if kept else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
async def run(request: pytest.FixtureRequest, seaweedfs: Server, folder: Path, seed: int) -> AsyncIterator[Run]:
    """Three brokers over SeaweedFS, and their load when the scenario asks for it."""
    prefix = f"{request.node.name}/"
    store = S3Store(BUCKET, clock=SystemClock(), prefix=prefix, endpoint_url=seaweedfs.endpoint, session=_session())
    print(f"seed {seed}, history and logs in {folder}")
    try:
        async with Run(seaweedfs, BUCKET, prefix, store, folder, Bell(), random.Random(seed)) as run:
            yield run
    finally:
        await store.close()
