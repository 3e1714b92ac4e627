"""Job types: what their payloads and results are."""

from dataclasses import dataclass

import pytest
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from osqueue import BrokerProtocolError, ConfigError, JobType, Registry


class Email(BaseModel):
    to: str
    retries: int = Field(default=0, ge=0)


class Receipt(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)
    message_id: str


@dataclass
class Resize:
    width: int


def test_a_model_travels_as_json():
    email = Registry().job("email", Email)
    assert email.encode_payload(Email(to="ada")) == b'{"to":"ada","retries":0}'
    assert email.decode_payload(b'{"to":"ada"}') == Email(to="ada")


def test_aliases_survive_the_round_trip():
    receipts = JobType("email", Email, Receipt)
    data = receipts.encode_result(Receipt.model_validate({"messageId": "m1"}))
    assert data == b'{"messageId":"m1"}'
    assert receipts.decode_result(data).message_id == "m1"


@pytest.mark.parametrize(
    ("kind", "value", "data"),
    [
        (Resize, Resize(3), b'{"width":3}'),
        (list[int], [1, 2], b"[1,2]"),
        (int, 7, b"7"),
        (str, "x", b'"x"'),
    ],
)
def test_any_type_that_pydantic_knows_will_do(kind, value, data):
    job_type = JobType("any", kind)
    assert job_type.encode_payload(value) == data
    assert job_type.decode_payload(data) == value


def test_a_type_that_pydantic_cannot_validate_is_a_mistake_in_the_program():
    class Opaque:
        pass

    with pytest.raises(ConfigError, match="the type of the odd payload cannot be validated"):
        JobType("odd", Opaque).encode_payload(Opaque())


def test_bytes_as_the_type_are_raw_bytes():
    raw = JobType("raw", bytes)
    assert raw.decode_payload(raw.encode_payload(b"\x00\xff")) == b"\x00\xff"


def test_a_mapping_is_validated_into_the_model():
    assert JobType("email", Email).encode_payload({"to": "ada"}) == b'{"to":"ada","retries":0}'


def test_a_wrong_payload_names_its_fields():
    with pytest.raises(BrokerProtocolError, match="email payload does not validate") as refused:
        JobType("email", Email).encode_payload({"retries": -1})
    assert [violation.field for violation in refused.value.violations] == ["payload.to", "payload.retries"]
    assert refused.value.reason == "INVALID_REQUEST"


@pytest.mark.parametrize("data", [b"{}", b"not json", b"", b'{"to": 1}'])
def test_a_payload_that_does_not_validate_is_refused_when_read(data):
    with pytest.raises(BrokerProtocolError, match="email payload"):
        JobType("email", Email).decode_payload(data)


def test_without_types_values_are_json_and_none_is_no_result():
    untyped = JobType("any")
    assert untyped.decode_payload(untyped.encode_payload({"a": 1})) == {"a": 1}
    assert untyped.encode_result(None) is None
    assert untyped.decode_result(None) is None
    assert untyped.decode_result(b"\xff") == b"\xff"


def test_a_result_of_type_none_is_a_result():
    assert JobType("x", int, type(None)).encode_result(None) == b"null"


def test_a_registry_knows_its_types():
    registry = Registry()
    email = registry.job("email", Email)
    assert registry["email"] is email
    assert registry.get("email") is email
    assert "email" in registry
    assert [kind.name for kind in registry] == ["email"]
    assert len(registry) == 1
    assert registry.get("other").name == "other"


def test_a_registry_with_types_refuses_names_that_it_does_not_have():
    registry = Registry()
    assert registry.known("emial") == "emial", "an empty one takes every name"
    email = registry.job("email", Email)
    assert registry.known("email") is email
    with pytest.raises(ConfigError, match=r"no job type 'emial'; did you mean 'email'\? .*registry\.job\('emial'"):
        registry.known("emial")
    with pytest.raises(ConfigError, match=r"no job type 'wholly-other'; Register it .*JobType\('wholly-other'\)"):
        registry.known("wholly-other")
    outside = JobType("wholly-other")
    assert registry.known(outside) is outside


def test_a_name_is_registered_once():
    registry = Registry(JobType("email"))
    with pytest.raises(ConfigError, match="'email' is registered twice"):
        registry.job("email")
