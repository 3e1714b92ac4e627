"""`osqueue doctor` finds what is wrong, and says how to mend it."""

import os

import pytest

from osqueue_cli.checks import Verdict, check_clock, mend_storage
from osqueue_cli.exits import Exit
from osqueue_service.errors import ConfigError, StoreDenied, StoreUnavailable
from osqueue_service.limits import HOUR_MS
from osqueue_service.storage.store import TimedStore
from tests.unit.storage.manual_clock import ManualClock


@pytest.fixture
def examine(broker, anywhere, tmp_path, monkeypatch):
    """What the doctor finds, by check, on a machine where all is well but for what the test changes."""
    # What tells the tests themselves which tools must be there is no setting of a broker.
    for name in [name for name in os.environ if name.startswith("OSQUEUE_REQUIRE_")]:
        monkeypatch.delenv(name)

    def run(*arguments, env=None):
        variables = {"BROKER_URL": f"grpc://{broker.address}", "OSQUEUE_DATA_DIR": str(tmp_path / "queue"),
                     "BROKER_GRPC_PORT": "0", "BROKER_PORT": "0", "OSQUEUE_TOKEN": ""}  # fmt: skip
        answer = anywhere("doctor", "--json", *arguments, env={**variables, **(env or {})})
        return answer, {check["check"]: check for check in answer.json}

    return run


def test_all_is_well(examine):
    answer, found = examine()
    assert answer.exit_code == 0
    assert {check["verdict"] for check in found.values()} == {"ok"}


def test_a_wrong_setting_is_named(examine):
    answer, found = examine(env={"BROKER_GRPC_PORT": "eighty"})
    assert answer.exit_code == Exit.FAILED
    assert "BROKER_GRPC_PORT" in found["settings"]["found"]
    assert found["settings"]["fix"]


def test_an_unknown_setting_is_a_warning(examine):
    answer, found = examine(env={"OSQUEUE_DATADIR": "x"})
    assert answer.exit_code == 0
    assert "OSQUEUE_DATADIR" in found["settings"]["found"]


def test_a_foreign_directory_is_a_problem(examine, tmp_path):
    (tmp_path / "queue").mkdir()
    (tmp_path / "queue" / "thesis.tex").touch()
    answer, found = examine()
    assert answer.exit_code == Exit.FAILED
    assert found["storage"]["verdict"] == "problem"


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (StoreDenied("InvalidAccessKeyId"), "correct the credentials"),
        (StoreUnavailable("connection refused"), "check endpoint, region and network"),
        (TimeoutError(), "check endpoint, region and network"),
        (ConfigError("accepted a put-if-absent of an object that exists"), "keeps conditions of puts"),
    ],
)
def test_the_way_out_of_trouble_with_the_store_fits_the_trouble(error, hint):
    assert hint in mend_storage(error)


def test_credentials_that_the_self_test_met_are_credentials_still():
    refused = ConfigError("s3://jobs/: InvalidAccessKeyId")
    refused.__cause__ = StoreDenied("InvalidAccessKeyId")
    assert "correct the credentials" in mend_storage(refused)


def test_no_broker_is_a_warning(examine):
    answer, found = examine("--broker", "grpc://127.0.0.1:1", "--timeout", "0.5")
    assert answer.exit_code == 0
    assert "osqueue serve" in found["broker"]["fix"]


def test_a_taken_port_is_a_warning(examine, broker):
    port = broker.address.rpartition(":")[2]
    answer, _ = examine("--grpc-port", port, "--broker", "grpc://127.0.0.1:1", "--timeout", "0.5")
    (warning,) = [check for check in answer.json if check["check"] == "ports" and check["verdict"] == "warning"]
    assert f"port {port} is taken" in warning["found"]
    assert "BROKER_GRPC_PORT" in warning["fix"]


def test_for_people(broker, anywhere, tmp_path):
    answer = anywhere("doctor", "--data-dir", tmp_path / "queue", env={"BROKER_URL": f"grpc://{broker.address}"})
    assert "✔ storage" in answer.out
    assert "nothing must be fixed" in answer.out


class TellsTime(TimedStore):
    """A store whose answers tell this time."""

    def __init__(self, now_ms):
        self._now_ms = now_ms

    def store_time_ms(self):
        return self._now_ms


@pytest.mark.parametrize(
    ("there_ms", "verdicts"),
    [(lambda now_ms: now_ms, []), (lambda now_ms: None, []), (lambda now_ms: now_ms - HOUR_MS, [Verdict.PROBLEM])],
    ids=["in step", "unknown", "an hour ahead"],
)
def test_a_clock_with_which_no_broker_would_lead_is_a_problem(there_ms, verdicts):
    clock = ManualClock()
    found = check_clock(clock, TellsTime(there_ms(clock.wall_ms())), "s3://bucket/")
    assert [each.verdict for each in found] == verdicts
    assert all("that of s3://bucket/" in each.found and "NTP" in each.fix for each in found)


PROXY = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "", "grpc_proxy": "", "no_proxy": "", "no_grpc_proxy": ""}


def test_a_proxy_on_the_way_to_the_broker_is_a_warning(examine):
    address = {"BROKER_URL": "grpc://queue.invalid:8081"}
    _, found = examine("--timeout", "0.1", env={**PROXY, **address})
    assert found["proxy"]["verdict"] == "warning"
    assert "queue.invalid:8081" in found["proxy"]["found"] and "http_proxy" in found["proxy"]["found"]
    assert "no_proxy" in found["proxy"]["fix"]
    _, found = examine("--timeout", "0.1", env={**PROXY, **address, "no_proxy": "queue.invalid"})
    assert "proxy" not in found


def test_no_proxy_stands_before_a_broker_on_this_machine(examine):
    answer, found = examine(env=PROXY)
    assert answer.exit_code == 0 and "proxy" not in found
    assert found["broker"]["verdict"] == "ok"
