"""The containers' command lines, settings and health checks, run on this machine as the template writes them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from osqueue import SyncClient
from osqueue_deploy.aws.functions import Json
from osqueue_deploy.aws.stage import Stage
from osqueue_deploy.aws.template import template
from tests.deploy.conftest import ACCOUNT, REGION
from tests.servers import free_ports, wait_until

TOKEN = "the-token-of-secrets-manager"
BIN = Path(sys.executable).parent
DEV = Stage("dev")
VALUES = {"Bucket": DEV.bucket(ACCOUNT, REGION), "AWS::Region": REGION}


class Container:
    """A container of the template: the image's entry point with its command, in its environment and no other."""

    def __init__(self, made: Json, settings: dict[str, str]) -> None:
        (self._container,) = made["Properties"]["ContainerDefinitions"]
        written = {each["Name"]: self._value(each["Value"]) for each in self._container["Environment"]}
        secrets = {each["Name"]: TOKEN for each in self._container["Secrets"]}
        self._environment = {"PATH": f"{BIN}:/usr/bin:/bin", **written, **secrets, **settings}

    @staticmethod
    def _value(value: Any) -> str:
        return VALUES[value["Ref"]] if isinstance(value, dict) else value

    @contextmanager
    def running(self, log: Path) -> Iterator["Container"]:
        with log.open("w") as output:
            command = ["osqueue", *self._container["Command"]]
            process = subprocess.Popen(command, env=self._environment, stderr=output, cwd=log.parent)
        try:
            wait_until(lambda: process.poll() is not None or self.is_healthy(), f"{command} to be healthy")
            assert process.poll() is None, log.read_text()
            yield self
            process.terminate()
            assert process.wait(self._container["StopTimeout"]) == 0, log.read_text()
        finally:
            process.kill()
            process.wait()

    def is_healthy(self) -> bool:
        """What its health check says; ECS runs it in the container's environment."""
        how, *check = self._container["HealthCheck"]["Command"]
        assert how == "CMD"
        # The gateway's port stands in its check; here it is another one.
        port = self._environment.get("BROKER_PORT", "8080")
        check = [word.replace(":8080/", f":{port}/") for word in check]
        return subprocess.run(check, env=self._environment, capture_output=True, timeout=30).returncode == 0


def test_a_job_goes_through_the_containers(emulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)
    s3 = boto3.session.Session().client("s3", endpoint_url=emulator, region_name=REGION)
    s3.create_bucket(Bucket=VALUES["Bucket"])
    made = template(DEV)["Resources"]
    *grpc, http, metrics_1, metrics_2 = free_ports(5)
    # The brokers tell others their names in the stage's network, which nobody here can dial: this is how a client sees
    # them from outside, through a port of the load balancer for each.
    brokers = [f"127.0.0.1:{port}" for port in grpc]
    here = {"S3_ENDPOINT_URL": emulator, **credentials, "HOME": str(tmp_path), "LANG": os.environ.get("LANG", "C")}
    with ExitStack() as stack:
        for number, metrics in ((1, metrics_1), (2, metrics_2)):
            settings = {
                **here,
                "BROKER_GRPC_PORT": str(grpc[number - 1]),
                "BROKER_METRICS_PORT": str(metrics),
            }
            container = Container(made[f"Broker{number}Task"], settings)
            stack.enter_context(container.running(tmp_path / f"broker-{number}.log"))
        settings = {**here, "BROKER_GRPC_ADDRESSES": ",".join(brokers), "BROKER_PORT": str(http)}
        gateway = Container(made["GatewayTask"], settings)
        stack.enter_context(gateway.running(tmp_path / "gateway.log"))
        with SyncClient(f"http://127.0.0.1:{http}", token=TOKEN) as client:
            job = client.submit_job("hello", {"name": "you"})
            assert client.get_job(job.id).status == "unclaimed"
        standby_first = [f"grpc://{address}" for address in reversed(brokers)]
        with SyncClient(standby_first, token=TOKEN) as client:
            assert client.get_job(job.id).status == "unclaimed"
    keys = {each["Key"] for each in s3.list_objects_v2(Bucket=VALUES["Bucket"])["Contents"]}
    assert keys and all(key.startswith("queue/") for key in keys)
    assert not list(tmp_path.glob("osqueue-data"))


def test_the_image_starts_what_the_template_says() -> None:
    dockerfile = (Path(__file__).resolve().parents[2] / "Dockerfile").read_text()
    assert 'ENTRYPOINT ["osqueue"]' in dockerfile
    for name in ("Broker1Task", "Broker2Task", "GatewayTask"):
        (container,) = template(DEV)["Resources"][name]["Properties"]["ContainerDefinitions"]
        assert container["Command"] == [container["Name"]]
        assert "EntryPoint" not in container
