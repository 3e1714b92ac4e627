"""Servers for the suite, started when a test first asks for one and shared by all of the session."""

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests import servers
from tests.servers import NotInstalled, Server

BUCKET = "osqueue"
_prefixes = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def credentials() -> Iterator[None]:
    """Any credentials will do for servers that are our own, and nobody else must be asked for some."""
    ours = {
        "AWS_ACCESS_KEY_ID": "osqueue",
        "AWS_SECRET_ACCESS_KEY": "osqueue-secret",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in ours.items():
            patch.setenv(name, value)
        yield


def started(server: Callable[[], AbstractContextManager[Server]]) -> Iterator[Server]:
    """The running server; a skipped test where it is not installed, unless servers are required."""
    try:
        with server() as running:
            yield running
    except NotInstalled as reason:
        if servers.REQUIRED:
            pytest.fail(str(reason), pytrace=False)
        pytest.skip(str(reason))


def create_bucket(server: Server, bucket: str = BUCKET) -> Server:
    client: Any = boto3.session.Session().client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        config=Config(connect_timeout=2, retries={"total_max_attempts": 10, "mode": "standard"}),
    )
    client.create_bucket(Bucket=bucket)
    return server


@pytest.fixture(scope="session")
def aws_session(credentials: None) -> Any:
    """One for all stores: reading the SDK's description of S3 takes as long as many a test."""
    return boto3.session.Session()


@pytest.fixture(scope="session")
def ministack(credentials: None) -> Iterator[Server]:
    yield from map(create_bucket, started(servers.ministack))


@pytest.fixture(scope="session")
def seaweedfs(credentials: None) -> Iterator[Server]:
    yield from map(create_bucket, started(servers.seaweedfs))


@pytest.fixture(scope="session")
def minio(credentials: None) -> Iterator[Server]:
    yield from map(create_bucket, started(servers.minio))


@pytest.fixture(scope="session")
def versitygw(credentials: None) -> Iterator[Server]:
    yield from map(create_bucket, started(servers.versitygw))


@pytest.fixture(scope="session")
def fake_gcs_server() -> Iterator[Server]:
    yield from started(servers.fake_gcs_server)


@pytest.fixture(scope="session")
def s3rver(credentials: None) -> Iterator[Server]:
    yield from started(servers.s3rver)


@pytest.fixture
def prefix() -> str:
    """A prefix that no other test uses: an empty bucket for every test."""
    return f"test-{next(_prefixes)}/"
