"""Whether an account has room, and the image that is built and pushed, with answers written by hand."""

import base64
import os
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from osqueue_deploy.aws import image
from osqueue_deploy.aws.account import Account, check_quotas, open_account
from osqueue_deploy.aws.stage import Stage
from osqueue_deploy.errors import DeployError

PAGE = Path(__file__).resolve().parents[2]


class Cloud:
    """Answers of the services that are asked about room: five VPCs are in use."""

    def __init__(self, allowed: dict[str, float]) -> None:
        self._allowed = allowed

    def client(self, service: str) -> Any:
        return self

    def describe_vpcs(self) -> dict[str, Any]:
        return {"Vpcs": [{"VpcId": f"vpc-{n}"} for n in range(5)]}

    def describe_load_balancers(self) -> dict[str, Any]:
        return {"LoadBalancers": [{"Type": "application"}]}

    def get_service_quota(self, *, ServiceCode: str, QuotaCode: str) -> dict[str, Any]:
        if QuotaCode not in self._allowed:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not yours"}}, "GetServiceQuota")
        return {"Quota": {"Value": self._allowed[QuotaCode]}}


ROOM = {"L-F678F1CE": 6.0, "L-53DA6B97": 50.0, "L-69A177A2": 50.0, "L-3032A538": 1.25}


def room(**changed: float) -> Account:
    allowed = ROOM | {code.replace("_", "-"): value for code, value in changed.items()}
    return Account(Cloud(allowed), "000000000000", "us-east-1", "arn")


def test_a_profile_brings_its_region_and_a_given_one_wins(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text("[profile work]\nregion = eu-central-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    (tmp_path / "credentials").write_text("[work]\naws_access_key_id = test\naws_secret_access_key = test\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    assert open_account(profile="work").region == "eu-central-1"
    assert open_account(profile="work", region="us-east-1").region == "us-east-1"
    monkeypatch.setenv("AWS_PROFILE", "work")
    assert open_account().region == "eu-central-1"


def test_a_stage_that_just_fits() -> None:
    said: list[str] = []
    check_quotas(room(), Stage("dev"), said.append)
    assert said == []


@pytest.mark.parametrize(
    ("quota", "value", "said"),
    [
        ("L_F678F1CE", 5.0, "us-east-1 has room for 5 VPCs, 5 are in use, and the stage needs 1 more"),
        ("L_53DA6B97", 1.0, "room for 1 application load balancers, 1 are in use"),
        ("L_3032A538", 1.0, "room for 1 processors on Fargate, 0 are in use, and the stage needs 1.25 more"),
    ],
)
def test_a_stage_that_does_not_fit(quota: str, value: float, said: str) -> None:
    with pytest.raises(DeployError, match=said) as refused:
        check_quotas(room(**{quota: value}), Stage("dev"), lambda _: None)
    assert quota.replace("_", "-") in refused.value.hint


def test_a_quota_that_may_not_be_looked_at_is_told_and_stops_nobody() -> None:
    said: list[str] = []
    check_quotas(Account(Cloud({}), "0", "us-east-1", "arn"), Stage("dev"), said.append)
    assert "the quota of VPCs is not known (AccessDenied: not yours)" in said


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for Docker that writes down what it is called with; it fails where a file `broken` lies beside it."""
    calls = tmp_path / "calls"
    program = tmp_path / "docker"
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {calls}\n[ "$1" = login ] && cat >> {calls}\n'
        f'if [ -e {tmp_path}/broken ]; then echo "no space left on device" >&2; exit 1; fi\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return calls


def test_an_image_is_built_for_fargate_and_pushed(
    account: Account, engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage("imaged")
    build = image.find_build(PAGE)
    ecr = account.client("ecr")
    monkeypatch.setattr(Account, "client", lambda self, name: Registry(ecr))
    pushed = image.build_and_push(account, stage, build, lambda _: None)
    repository = ecr.describe_repositories(repositoryNames=[stage.stack])["repositories"][0]["repositoryUri"]
    assert pushed == f"{repository}@sha256:{'1' * 64}"
    called = engine.read_text().splitlines()
    assert called == [
        "info",
        f"build --platform linux/amd64 --tag {repository}:imaged {PAGE}",
        f"login --username AWS --password-stdin {repository.partition('/')[0]}",
        f"secretpush {repository}:imaged",
    ]
    said: list[str] = []
    image.delete_repository(account, stage, said.append)
    image.delete_repository(account, stage, said.append)
    assert said == ["deleted repository osqueue-imaged"]


class Registry:
    """The emulator's ECR, into which nothing is pushed by the stand-in: it says what a push would have left."""

    def __init__(self, ecr: Any) -> None:
        self._ecr = ecr

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ecr, name)

    def get_authorization_token(self) -> dict[str, Any]:
        return {"authorizationData": [{"authorizationToken": base64.b64encode(b"AWS:secret").decode()}]}

    def describe_images(self, **_: Any) -> dict[str, Any]:
        return {"imageDetails": [{"imageDigest": f"sha256:{'1' * 64}"}]}


def test_a_build_that_fails_says_what_the_engine_said(account: Account, engine: Path) -> None:
    build = image.find_build(PAGE)
    (engine.parent / "broken").touch()
    with pytest.raises(DeployError, match=r"`docker build` failed:\nno space left on device"):
        image.build_and_push(account, Stage("full"), build, lambda _: None)
    with pytest.raises(DeployError, match="docker does not run here"):
        image.find_build(PAGE)
    account.client("ecr").delete_repository(repositoryName="osqueue-full", force=True)


def test_where_there_is_no_engine_an_image_must_be_given() -> None:
    with pytest.raises(DeployError, match="there is no nosuchengine here") as refused:
        image.find_build(PAGE, "nosuchengine")
    assert "--image" in refused.value.hint
