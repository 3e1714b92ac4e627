import pytest

from osqueue.errors import ConfigError
from osqueue_gateway.config import GatewayConfig
from osqueue_gateway.limits import Limits


def test_the_defaults():
    config = GatewayConfig.from_environment({})
    assert (config.host, config.port, config.brokers) == ("0.0.0.0", 8080, ("127.0.0.1:8081",))
    assert (config.token, config.allow_remote, config.origins) == ("", False, ())


def test_everything_from_the_environment():
    config = GatewayConfig.from_environment(
        {
            "BROKER_HOST": "::1",
            "BROKER_PORT": "80",
            "BROKER_GRPC_ADDRESSES": "a:1, grpc://b:2 ,",
            "BROKER_HTTP_ADDRESS": "queue.internal:80",
            "OSQUEUE_TOKEN": "t0ken",
            "OSQUEUE_ALLOW_REMOTE": "1",
            "CORS_ORIGINS": "https://a.example, http://localhost:3000",
        }
    )
    assert (config.host, config.port, config.token, config.allow_remote) == ("::1", 80, "t0ken", True)
    assert [endpoint.authority for endpoint in config.endpoints()] == ["a:1", "b:2"]
    assert config.origins == ("https://a.example", "http://localhost:3000")
    assert config.own_hosts == ("::1", "queue.internal")


def test_the_size_of_messages_is_that_of_the_brokers():
    limits = GatewayConfig.from_environment({"OSQUEUE_LIMIT_MESSAGE_BYTES": str(100 << 20)}).limits
    assert (limits.message_bytes, limits.body_bytes, limits.body_bytes_total) == (100 << 20, 150 << 20, 300 << 20)
    assert GatewayConfig.from_environment({}).limits == Limits()


def test_breezeqs_variables_are_not_ignored_in_silence(caplog):
    GatewayConfig.from_environment({"FRONTEND_PORT": "1", "DB_PATH": "", "PATH": "/bin"})
    (record,) = caplog.records
    assert "FRONTEND_PORT" in record.getMessage() and "BROKER_PORT" in record.getMessage()


def test_the_broker_beside_it_by_its_port():
    assert GatewayConfig.from_environment({"BROKER_GRPC_PORT": "9000"}).brokers == ("127.0.0.1:9000",)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BROKER_PORT", "eighty"),
        ("BROKER_PORT", "-1"),
        ("BROKER_PORT", "65536"),
        ("BROKER_GRPC_ADDRESSES", "http://a:1"),
        ("BROKER_GRPC_ADDRESSES", "a:port"),
        ("OSQUEUE_TOKEN", "two words"),
        ("OSQUEUE_TOKEN", "schlüssel"),
        ("OSQUEUE_ALLOW_REMOTE", "yes"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "dashboard.example"),
        ("CORS_ORIGINS", "https://a.example/"),
        ("CORS_ORIGINS", "https://A.example"),
        ("CORS_ORIGINS", "null"),
    ],
)
def test_a_wrong_value_is_named(name, value):
    with pytest.raises(ConfigError, match=name):
        GatewayConfig.from_environment({name: value})


def test_the_token_may_stand_in_a_file(tmp_path):
    path = tmp_path / "token"
    path.write_text("t0ken\n")
    assert GatewayConfig.from_environment({"OSQUEUE_TOKEN_FILE": str(path)}).token == "t0ken"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff"])
def test_a_file_without_a_token_is_named(tmp_path, content):
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"OSQUEUE_TOKEN_FILE: {path}"):
        GatewayConfig.from_environment({"OSQUEUE_TOKEN_FILE": str(path)})


def test_a_token_and_a_file_are_one_too_many(tmp_path):
    with pytest.raises(ConfigError, match="set one of them"):
        GatewayConfig.from_environment({"OSQUEUE_TOKEN": "t", "OSQUEUE_TOKEN_FILE": str(tmp_path)})
