"""The filter of a request: each field read, each field checked."""

import pytest

from osqueue_service.errors import InvalidRequest
from osqueue_service.limits import DEFAULT_LIMITS
from osqueue_service.rpc.fields import TypeNames, Violations
from osqueue_service.rpc.filters import read_filter
from osqueue_service.state.model import FINISHED, LIVE, Status
from osqueue_service.state.queries.filters import Filter
from osqueue_stubs.osqueue.v1 import job_pb2


def read(*, allowed: tuple[Status, ...] = tuple(Status), **fields: object) -> Filter:
    wrong = Violations()
    found = read_filter(job_pb2.JobFilter(**fields), DEFAULT_LIMITS, TypeNames(128), wrong, allowed=allowed)
    wrong.check()
    return found


def refused(**fields: object) -> set[str]:
    with pytest.raises(InvalidRequest) as raised:
        read(**fields)
    return {violation.field for violation in raised.value.violations}


class TestFilters:
    def test_nothing_said_means_live_jobs(self):
        assert read() == Filter(LIVE)

    def test_each_field_of_the_message_is_read(self):
        assert read(
            statuses=["dead", "completed", "dead"],
            types=["a", ""],
            worker_id="w",
            created_from=1,
            created_before=2,
            metadata={"k": "v"},
            error_type="E",
        ) == Filter((Status.COMPLETED, Status.DEAD), frozenset({"a", ""}), "w", 1, 2, {"k": "v"}, "E")

    @pytest.mark.parametrize(
        ("fields", "named"),
        [
            ({"statuses": ["running"]}, "filter.statuses[0]"),
            ({"statuses": ["dead"] * 8}, "filter.statuses"),
            ({"types": ["t"] * 129}, "filter.types"),
            ({"types": ["t" * 1_025]}, "filter.types[0]"),
            ({"worker_id": "w" * 129}, "filter.worker_id"),
            ({"created_from": -1}, "filter.created_from"),
            ({"created_before": -1}, "filter.created_before"),
            ({"metadata": {f"k{n}": "" for n in range(9)}}, "filter.metadata"),
            ({"error_type": "E" * 257}, "filter.error_type"),
            ({"error_type": "\n"}, "filter.error_type"),
        ],
    )
    def test_each_field_may_be_wrong(self, fields, named):
        assert refused(**fields) == {named}

    def test_a_call_may_be_for_some_statuses_only(self):
        with pytest.raises(InvalidRequest, match="must be one of completed, dead, cancelled"):
            read(allowed=FINISHED, statuses=["unclaimed"])
