"""What /openapi.json says of values is what a broker with default limits accepts."""

from osqueue_gateway import constraints
from osqueue_gateway.constraints import BY_FIELD, BY_NAME, DELAY, LEASE, NAME, PAGE, TYPE
from osqueue_protocol.rpcs import CLIENT_RPCS as RPCS
from osqueue_protocol.rpcs import MODULES
from osqueue_service.limits import DEFAULT_LIMITS as LIMITS


def test_they_are_the_brokers_limits():
    assert NAME["maxLength"] == LIMITS.id_chars
    assert f"{{0,{LIMITS.type_chars}}}" in TYPE["pattern"]
    assert DELAY["maximum"] == LIMITS.delay_ms_max
    assert LEASE["oneOf"][1] == {"minimum": LIMITS.lease_ms_min, "maximum": LIMITS.lease_ms_max}
    assert PAGE["maximum"] == LIMITS.page_items
    assert BY_NAME["types"]["maxItems"] == LIMITS.claim_types
    assert BY_FIELD["SubmitJobsRequest.jobs"]["maxItems"] == LIMITS.batch_items
    assert BY_FIELD["SubmitJobRequest.max_attempts"]["maximum"] == LIMITS.max_attempts
    assert BY_FIELD["SubmitJobRequest.priority"]["maximum"] == LIMITS.priority_max
    assert BY_FIELD["SubmitJobRequest.timeout_ms"]["maximum"] == LIMITS.timeout_ms_max
    assert BY_FIELD["SubmitJobRequest.retention_ms"]["maximum"] == LIMITS.retention_ms_max
    assert BY_FIELD["JobError.type"]["maxLength"] == LIMITS.error_type_bytes


def test_each_is_about_a_field_that_exists():
    def message(name: str) -> object:
        return next(getattr(module, name) for module in MODULES if hasattr(module, name))

    for key in [*BY_FIELD, *(f"{name}.{field}" for name, fields in constraints.REQUIRED.items() for field in fields)]:
        name, _, field = key.partition(".")
        assert field in message(name).DESCRIPTOR.fields_by_name, key
    every = {field.name for rpc in RPCS.values() for field in rpc.request.DESCRIPTOR.fields}
    assert BY_NAME.keys() <= every
