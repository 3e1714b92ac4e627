import pytest

from osqueue.api.json_readers import ShapeError
from osqueue.api.queries import query_shape
from osqueue_gateway.routes import ROUTES
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2

LIST = query_shape(queue_pb2.ListJobsRequest.DESCRIPTOR)


def test_an_empty_query_is_an_empty_request():
    assert LIST.read("") == queue_pb2.ListJobsRequest()


def test_a_filters_fields_are_parameters():
    read = LIST.read("statuses=dead&statuses=completed&types=&workerId=w%201&metadata=a=b=c&metadata=d=&pageSize=5")
    expected = job_pb2.JobFilter(
        statuses=["dead", "completed"], types=[""], worker_id="w 1", metadata={"a": "b=c", "d": ""}
    )
    assert (read.filter, read.page_size) == (expected, 5)


def test_flags_numbers_enums_and_positions():
    assert LIST.read("linearizable=true&view=BASIC").linearizable is True
    watch = query_shape(queue_pb2.WatchJobsRequest.DESCRIPTOR).read("after=3.14&statsIntervalMs=1000&types=a&types=b")
    assert (watch.after.epoch, watch.after.sequence, watch.stats_interval_ms) == (3, 14, 1000)


def test_the_path_holds_its_field():
    shape = query_shape(queue_pb2.WaitJobRequest.DESCRIPTOR)
    assert shape.read("waitMs=5", {"job_id": "j"}) == queue_pb2.WaitJobRequest(job_id="j", wait_ms=5)
    with pytest.raises(ShapeError, match="waitMs"):
        shape.read("jobId=k", {"job_id": "j"})


@pytest.mark.parametrize(
    "query",
    [
        "limit=1", "statuses", "=1", "pageSize=", "pageSize=1.5", "pageSize=%31%30x", "pageSize=9999999999",
        "linearizable=TRUE", "view=JOB_VIEW_FULL", "metadata=x", "workerId=a&workerId=b", "filter=x", "types=%ff",
        "&".join(["types=a"] * 1_001),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused(query):
    if query == "statuses":
        assert LIST.read(query).filter.statuses == [""]
        return
    with pytest.raises(ShapeError):
        LIST.read(query)


def test_every_get_route_has_a_query_shape():
    for route in ROUTES:
        if route.method == "GET":
            query_shape(route.rpc.request.DESCRIPTOR)
