"""deploy/compose.yaml by the schema of the Compose specification, and what every container may have and do."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.tools import program, run

FILE = Path(__file__).resolve().parents[2] / "deploy/compose.yaml"
SCHEMA = json.loads(Path(__file__).with_name("compose-spec.json").read_text())


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    asked = {"yaml": FILE.read_text(), "schemas": {"*": SCHEMA}}
    python = program("kubernetes-validate", "bin/python")
    checked = run(python, Path(__file__).with_name("validation.py"), given=json.dumps(asked))
    assert checked.returncode == 0, checked.stderr
    answer = json.loads(checked.stdout)
    assert answer["problems"] == []
    found: dict[str, Any] = answer["documents"][0]["services"]
    return found


def test_every_service_has_limits_and_writes_nowhere(services: dict[str, Any]) -> None:
    assert set(services) == {"broker-1", "broker-2", "gateway", "bucket"}
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["mem_limit"] and service["cpus"] and service["pids_limit"], name
        assert service["logging"]["options"]["max-size"], name


def test_a_broker_has_the_time_to_hand_over(services: dict[str, Any]) -> None:
    assert {services[f"broker-{number}"]["stop_grace_period"] for number in (1, 2)} == {"30s"}


def test_nothing_is_open_to_other_machines(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:8080:8080"]


def test_no_secret_has_a_default() -> None:
    variables = re.findall(r"\$\{([^}]+)\}", FILE.read_text())
    assert {each.partition(":")[0] for each in variables} == {"OSQUEUE_TOKEN", "BUCKET_PASSWORD"}
    assert all(":?" in each for each in variables)
