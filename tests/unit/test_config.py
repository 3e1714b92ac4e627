"""A broker's settings: defaults, precedence, and that a wrong value stops the start, naming it."""

import logging
from dataclasses import replace

import pytest

from osqueue_service.config import Settings
from osqueue_service.errors import ConfigError
from osqueue_service.limits import DEFAULT_LIMITS
from osqueue_service.storage.backends import BACKENDS


def refused(**environment: str) -> str:
    with pytest.raises(ConfigError) as raised:
        Settings.read(environment)
    return str(raised.value)


def test_an_empty_environment_gives_the_defaults():
    settings = Settings.read({})
    assert settings == Settings()
    assert (settings.host, settings.http_port, settings.grpc_port) == ("0.0.0.0", 8080, 8081)
    assert settings.storage_backend == "memory"
    assert (settings.group_commit_interval_ms, settings.commit_spacing_ms) == (50, 0)
    assert (settings.heartbeat_interval_ms, settings.heartbeat_timeout_ms) == (3_000, 10_000)
    assert (settings.max_reads_per_minute, settings.max_writes_per_minute, settings.max_writes_per_day) == (0, 0, 0)
    assert settings.token == "" and not settings.allow_remote
    assert settings.limits == DEFAULT_LIMITS


def test_empty_means_unset():
    assert Settings.read({"BROKER_GRPC_PORT": "", "STORAGE_BACKEND": ""}) == Settings()


def test_flags_win_over_the_environment():
    settings = Settings.read({"BROKER_GRPC_PORT": "1", "LOG_LEVEL": "debug"}, {"BROKER_GRPC_PORT": "2"})
    assert (settings.grpc_port, settings.log_level) == (2, "debug")


@pytest.mark.parametrize(
    ("name", "value", "field", "read"),
    [
        ("BROKER_HOST", "::1", "host", "::1"),
        ("BROKER_GRPC_PORT", "0", "grpc_port", 0),
        ("BROKER_PORT", "65535", "http_port", 65_535),
        ("BROKER_ADVERTISE_ADDRESS", "broker-1.internal:8081", "advertise_address", "broker-1.internal:8081"),
        ("BROKER_HTTP_ADDRESS", "[::1]:80", "http_address", "[::1]:80"),
        ("STORAGE_BACKEND", "FILE", "storage_backend", "file"),
        ("S3_MAX_WRITES_PER_DAY", "20000", "max_writes_per_day", 20_000),
        ("GROUP_COMMIT_INTERVAL_MS", "0", "group_commit_interval_ms", 0),
        ("COMMIT_SPACING_MS", "200", "commit_spacing_ms", 200),
        ("DEFAULT_TIMEOUT_MS", "60000", "default_timeout_ms", 60_000),
        ("DEFAULT_TIMEOUT_MS", "604800000", "default_timeout_ms", 604_800_000),
        ("DEFAULT_MAX_ATTEMPTS", "1", "default_max_attempts", 1),
        ("DEFAULT_MAX_ATTEMPTS", "1000", "default_max_attempts", 1_000),
        ("BROKER_WARM_STANDBY", "0", "warm_standby", False),
        ("OSQUEUE_ALLOW_REMOTE", "1", "allow_remote", True),
        ("OSQUEUE_ALLOW_REMOTE", "false", "allow_remote", False),
        ("OSQUEUE_TOKEN", "s3cret!", "token", "s3cret!"),
        ("OSQUEUE_STORAGE_PRICES", "r2", "storage_prices", "r2"),
        ("LOG_LEVEL", "WARNING", "log_level", "warning"),
        ("LOG_FORMAT", "json", "log_format", "json"),
    ],
)
def test_each_setting_is_read(name, value, field, read):
    assert getattr(Settings.read({name: value}), field) == read


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("OSQUEUE_DATA_DIR", "/var/lib/osqueue", "/var/lib/osqueue"),
        ("S3_ENDPOINT_URL", "http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("STORAGE_EMULATOR_HOST", "http://localhost:4443", "http://localhost:4443"),
        ("STORAGE_EMULATOR_HOST", "localhost:4443", "http://localhost:4443"),
    ],
)
def test_each_setting_of_a_backend_is_read(name, value, read):
    assert Settings.read({name: value}).store == {name: read}


@pytest.mark.parametrize(
    ("name", "value", "way_out"),
    [
        ("BROKER_HOST", "host:80", "without a port"),
        ("BROKER_HOST", "a b", "host name or an IP address"),
        ("BROKER_GRPC_PORT", "65536", "from 0 to 65,535"),
        ("BROKER_GRPC_PORT", "-1", "from 0 to 65,535"),
        ("BROKER_GRPC_PORT", "8081.0", "whole number"),
        ("BROKER_GRPC_PORT", "eighty", "whole number"),
        ("BROKER_PORT", "9" * 30, "whole number"),
        ("BROKER_ADVERTISE_ADDRESS", "broker", "host:port"),
        ("BROKER_ADVERTISE_ADDRESS", "broker:0", "host:port"),
        ("BROKER_ADVERTISE_ADDRESS", "http://broker:80", "host:port"),
        ("BROKER_HTTP_ADDRESS", "broker:65536", "host:port"),
        ("STORAGE_BACKEND", "redis", "one of memory, file, s3, gcs"),
        ("S3_BUCKET", "a\nb", "printable"),
        ("GROUP_COMMIT_INTERVAL_MS", "60001", "from 0 to 60,000"),
        ("COMMIT_SPACING_MS", "-1", "from 0 to 60,000"),
        ("DEFAULT_TIMEOUT_MS", "604800001", "from 0 to 604,800,000"),
        ("DEFAULT_MAX_ATTEMPTS", "0", "from 1 to 1,000"),
        ("DEFAULT_MAX_ATTEMPTS", "1001", "from 1 to 1,000"),
        ("S3_ENDPOINT_URL", "localhost:9000", "begins with http:// or https://"),
        ("S3_ENDPOINT_URL", "https://", "begins with http:// or https://"),
        ("STORAGE_EMULATOR_HOST", "ftp://localhost", "begins with http:// or https://"),
        ("BROKER_HEARTBEAT_INTERVAL_MS", "5", "from 10"),
        ("BROKER_HEARTBEAT_TIMEOUT_MS", "x", "whole number"),
        ("S3_MAX_READS_PER_MINUTE", "-1", "from 0"),
        ("OSQUEUE_ALLOW_REMOTE", "maybe", "1 or 0"),
        ("OSQUEUE_STORAGE_PRICES", "azure", "one of none, s3"),
        ("OSQUEUE_LIMIT_JOBS", "0", "from 1"),
        ("OSQUEUE_LIMIT_PAYLOAD_BYTES", "1MB", "whole number"),
        ("LOG_LEVEL", "loud", "one of debug, info, warning, error"),
        ("LOG_FORMAT", "xml", "one of text, json"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(name, value, way_out):
    message = refused(**{name: value})
    assert message.startswith(f"{name}: ")
    assert way_out in message


@pytest.mark.parametrize("token", ["with space", "a\ttab", "sécret"])
def test_a_token_that_fits_in_no_header_is_refused_without_showing_it(token):
    message = refused(OSQUEUE_TOKEN=token)
    assert "OSQUEUE_TOKEN" in message and token not in message


def test_the_token_is_not_in_what_is_logged_of_settings():
    assert "s3cret" not in repr(Settings(token="s3cret"))


def test_defaults_of_jobs_are_limits_by_another_name():
    settings = Settings.read({"DEFAULT_TIMEOUT_MS": "60000", "DEFAULT_MAX_ATTEMPTS": "1"})
    assert settings.limits == replace(DEFAULT_LIMITS, default_timeout_ms=60_000, default_max_attempts=1)
    assert Settings.read({"OSQUEUE_LIMIT_DEFAULT_MAX_ATTEMPTS": "7"}).limits.default_max_attempts == 7


def test_a_default_of_jobs_has_one_value():
    message = refused(DEFAULT_MAX_ATTEMPTS="1", OSQUEUE_LIMIT_DEFAULT_MAX_ATTEMPTS="7")
    assert message == "DEFAULT_MAX_ATTEMPTS and OSQUEUE_LIMIT_DEFAULT_MAX_ATTEMPTS: set one of them"
    Settings.read({"DEFAULT_MAX_ATTEMPTS": "7", "OSQUEUE_LIMIT_DEFAULT_MAX_ATTEMPTS": "7"})


def test_an_interval_not_below_the_timeout_is_refused():
    message = refused(BROKER_HEARTBEAT_INTERVAL_MS="10000")
    assert "BROKER_HEARTBEAT_INTERVAL_MS" in message and "BROKER_HEARTBEAT_TIMEOUT_MS" in message


@pytest.mark.parametrize(("backend", "name"), [("s3", "S3_BUCKET"), ("gcs", "GCS_BUCKET")])
def test_a_bucket_is_required(backend, name):
    assert refused(STORAGE_BACKEND=backend).startswith(f"{name}: is required")


def test_a_certificate_needs_its_key():
    assert "OSQUEUE_TLS_KEY_FILE" in refused(OSQUEUE_TLS_CERT_FILE="/x.pem")


def test_limits_are_changed_by_name():
    settings = Settings.read({"OSQUEUE_LIMIT_PAYLOAD_BYTES": "2097152", "OSQUEUE_LIMIT_DEFAULT_LEASE_MS": "5000"})
    assert (settings.limits.payload_bytes, settings.limits.default_lease_ms) == (2_097_152, 5_000)
    assert settings.limits.jobs == DEFAULT_LIMITS.jobs


def test_an_unknown_variable_is_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        Settings.read({"OSQUEUE_DATADIR": "/x", "PATH": "/bin"})
    (record,) = caplog.records
    assert "OSQUEUE_DATADIR" in record.getMessage() and "is OSQUEUE_DATA_DIR meant?" in record.getMessage()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("FRONTEND_PORT", "here it is BROKER_PORT (HTTP) and BROKER_GRPC_PORT"),
        ("DB_PATH", "here it is OSQUEUE_DATA_DIR"),
        ("RETRY_COUNT", "max_attempts"),
        ("S3_BUCKETS", "is S3_BUCKET meant?"),
        ("BROKER_HEARTBEAT_TIMEOUTS_MS", "is BROKER_HEARTBEAT_TIMEOUT_MS meant?"),
    ],
)
def test_what_looks_like_a_setting_is_not_ignored_in_silence(name, said, caplog):
    with caplog.at_level(logging.WARNING):
        assert Settings.read({name: "1"}) == Settings()
    (record,) = caplog.records
    assert name in record.getMessage() and said in record.getMessage()


def test_what_others_set_is_nothing_to_warn_of(caplog):
    with caplog.at_level(logging.WARNING):
        Settings.read({"BROKER_SERVICE_HOST": "10.0.0.1", "BROKER_PORT_8081_TCP": "tcp://10.0.0.1", "S3_USE_SSL": "1"})
    assert caplog.records == []


REQUIRED = {"s3": {"S3_BUCKET": "b"}, "gcs": {"GCS_BUCKET": "b"}}
VALUES = {"S3_ENDPOINT_URL": "http://h", "STORAGE_EMULATOR_HOST": "http://h", "BROKER_WARM_STANDBY": "0"}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", [*(each.name for one in BACKENDS.values() for each in one.settings), *VALUES])
def test_a_setting_has_an_effect_or_is_warned_of(name, backend, caplog):
    given = {**REQUIRED.get(backend, {}), "STORAGE_BACKEND": backend, name: VALUES.get(name, "x")}
    with caplog.at_level(logging.WARNING):
        settings = Settings.read(given)
    own = {each.name for each in settings.backend.settings}
    effective = settings.backend.shared if name == "BROKER_WARM_STANDBY" else name in own
    said = [record.getMessage() for record in caplog.records]
    assert said == ([] if effective else [f"the setting {name} has no effect with STORAGE_BACKEND={backend}"])


def test_a_directory_is_used_though_no_backend_was_chosen():
    settings = Settings.read({"OSQUEUE_DATA_DIR": "/var/lib/osqueue"})
    assert (settings.storage_backend, settings.store) == ("file", {"OSQUEUE_DATA_DIR": "/var/lib/osqueue"})


@pytest.mark.parametrize(("name", "backend"), [("S3_BUCKET", "s3"), ("GCS_BUCKET", "gcs")])
def test_a_bucket_without_a_backend_is_refused_because_memory_keeps_nothing(name, backend):
    message = refused(**{name: "jobs"})
    assert message.startswith(f"{name}: ") and f"STORAGE_BACKEND={backend}" in message


def test_memory_can_be_chosen_beside_a_directory():
    assert Settings.read({"OSQUEUE_DATA_DIR": "/x", "STORAGE_BACKEND": "memory"}).storage_backend == "memory"


@pytest.mark.parametrize("name", ["S3_ENDPOINT_URL", "STORAGE_EMULATOR_HOST"])
def test_credentials_in_an_address_are_refused_without_being_shown(name):
    message = refused(**{name: "https://key:hunter2@minio:9000"})
    assert message.startswith(f"{name}: its value") and "credentials" in message and "hunter2" not in message


class TestAddresses:
    def test_on_one_machine_they_need_not_be_said(self):
        assert Settings(storage_backend="file").addresses(8081, shared=False) == ("127.0.0.1:8080", "127.0.0.1:8081")

    def test_a_host_that_others_can_dial_is_enough(self):
        settings = Settings(host="10.0.0.7", storage_backend="s3", store={"S3_BUCKET": "b"})
        assert settings.addresses(8081, shared=True) == ("10.0.0.7:8080", "10.0.0.7:8081")

    def test_ipv6_is_bracketed(self):
        assert Settings(host="fe80::7").addresses(1, shared=False) == ("[fe80::7]:8080", "[fe80::7]:1")

    @pytest.mark.parametrize("host", ["0.0.0.0", "::"])
    def test_with_a_wildcard_and_a_shared_store_they_are_this_machines_own(self, host):
        settings = Settings(host=host, storage_backend="gcs", store={"GCS_BUCKET": "b"}, http_address="a:1")
        assert settings.addresses(8081, shared=True, outward=lambda: "10.0.0.7") == ("a:1", "10.0.0.7:8081")
        assert settings.guessed_addresses(shared=True) == ["BROKER_ADVERTISE_ADDRESS"]

    def test_a_machine_without_a_way_to_others_says_its_loopback(self):
        settings = Settings(storage_backend="s3", store={"S3_BUCKET": "b"})
        assert settings.addresses(8081, shared=True, outward=lambda: "") == ("127.0.0.1:8080", "127.0.0.1:8081")

    def test_the_first_osqueues_documented_environment_is_enough(self):
        settings = Settings.read({"STORAGE_BACKEND": "s3", "S3_BUCKET": "jobs", "S3_REGION": "eu-central-1"})
        assert settings.addresses(8081, shared=True, outward=lambda: "fd00::7") == ("[fd00::7]:8080", "[fd00::7]:8081")

    def test_nothing_is_guessed_where_others_know_it_or_there_are_none(self):
        assert Settings().guessed_addresses(shared=False) == []
        assert Settings(host="h").guessed_addresses(shared=True) == []

    def test_what_is_said_wins(self):
        settings = Settings(advertise_address="a:1", http_address="b:2")
        assert settings.addresses(8081, shared=True) == ("b:2", "a:1")
