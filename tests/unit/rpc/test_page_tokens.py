"""Page tokens: a walk goes on where it was, and only there."""

import pytest

from osqueue_service.errors import InvalidRequest
from osqueue_service.rpc.page_tokens import Walk
from osqueue_service.state.job_ids import JobIds
from osqueue_stubs.osqueue.v1 import job_pb2
from tests.core import Core


def test_a_token_goes_on_where_the_page_ended():
    core = Core()
    walk = Walk("ListJobs", None)
    assert walk.start(core.state, "") == 0
    assert walk.start(core.state, walk.token(core.state, 41)) == 41


@pytest.mark.parametrize("token", ["x", "%%%", "é", "AAAA", "k8QI" * 40, "\x00"])
def test_what_is_no_token_is_refused(token):
    with pytest.raises(InvalidRequest, match="page_token"):
        Walk("ListJobs", None).start(Core().state, token)


@pytest.mark.parametrize(
    "other",
    [
        Walk("CancelJobs", None),
        Walk("ListJobs", job_pb2.JobFilter(types=["a"])),
        Walk("ListJobs", None, job_pb2.JOB_VIEW_FULL),
    ],
)
def test_a_token_of_another_walk_is_refused(other):
    core = Core()
    with pytest.raises(InvalidRequest, match="another filter, view or order"):
        Walk("ListJobs", None).start(core.state, other.token(core.state, 1))


def test_a_token_of_another_queue_is_refused():
    here, there = Core(), Core()
    there.state.ids = JobIds("other0", 1)
    walk = Walk("ListJobs", None)
    with pytest.raises(InvalidRequest, match="another queue"):
        walk.start(here.state, walk.token(there.state, 1))
