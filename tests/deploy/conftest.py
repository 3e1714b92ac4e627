"""An account of AWS that an emulator plays, and deployments into it."""

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from osqueue_deploy.aws import stack
from osqueue_deploy.aws.account import Account, open_account
from osqueue_deploy.aws.deployment import Deployment, Surroundings
from osqueue_deploy.aws.stage import Stage
from tests import servers
from tests.servers import NotInstalled

REGION = "us-east-1"
ACCOUNT = "000000000000"


@pytest.fixture(scope="session")
def emulator() -> Iterator[str]:
    """The address of an emulator of all of AWS; skipped where it is not installed, unless servers are required."""
    try:
        with servers.ministack(services="") as running:
            yield running.endpoint
    except NotInstalled as reason:
        if servers.REQUIRED:
            pytest.fail(str(reason), pytrace=False)
        pytest.skip(str(reason))


@pytest.fixture
def account(emulator: str, monkeypatch: pytest.MonkeyPatch) -> Account:
    """The account, as the environment names it."""
    for name, value in {
        "AWS_ENDPOINT_URL": emulator,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        # The emulator has no Service Quotas, and takes its time to find that out.
        "AWS_ENDPOINT_URL_SERVICE_QUOTAS": "http://127.0.0.1:9",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(stack, "LOOK_S", 0.05)
    return open_account(region=REGION)


class Told:
    """A deployment whose words are kept, and whose questions are answered yes."""

    def __init__(self, account: Account) -> None:
        self.lines: list[str] = []
        self.questions: list[str] = []
        self._account = account
        self._numbers = itertools.count(time.monotonic_ns())

    def of(self, stage: Stage) -> Deployment:
        around = Surroundings(self.lines.append, self.questions.append, time.sleep, lambda: f"n{next(self._numbers)}")
        return Deployment(self._account, stage, around)

    @property
    def plan(self) -> set[tuple[str, str]]:
        """The changes that were shown: (what, the resource)."""
        shown = [line.split() for line in self.lines if line.startswith("  ")]
        return {(words[0], words[1]) for words in shown}


@pytest.fixture
def told(account: Account) -> Told:
    return Told(account)


@pytest.fixture
def stage(account: Account, told: Told) -> Iterator[Callable[..., Stage]]:
    """Makes stages; what is left of them in the end is removed."""
    made: list[Stage] = []

    def make(name: str, **sizes: Any) -> Stage:
        made.append(Stage(name, **sizes))
        return made[-1]

    yield make
    for each in {one.name: one for one in made}.values():
        deployment = told.of(each)
        deployment.remove()
        if deployment.what_is_there():
            bucket = account.session.resource("s3").Bucket(each.bucket(account.number, account.region))
            bucket.object_versions.delete()
            bucket.delete()


@pytest.fixture(scope="session")
def aws_page() -> str:
    return (Path(__file__).resolve().parents[2] / "docs/operations/aws.md").read_text()
