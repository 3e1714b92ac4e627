"""How such an application is tested: the request, what it enqueued, the work, and what the next request shows."""

from collections.abc import Iterator

import pytest
from app import create_app
from fastapi.testclient import TestClient
from jobs import Report, report
from worker import handlers

from osqueue_testing import InProcessQueue


@pytest.fixture
def web(job_queue: InProcessQueue) -> Iterator[TestClient]:
    with TestClient(create_app()) as web:
        yield web


def test_a_report_is_ordered_once_and_written(web: TestClient, job_queue: InProcessQueue) -> None:
    ordered = web.post("/reports", json={"customer": 7, "year": 2030})
    assert ordered.status_code == 202
    assert web.post("/reports", json={"customer": 7, "year": 2030}).json() == ordered.json()
    job_queue.assert_enqueued(report, matching=Report(customer=7, year=2030), count=1)

    path = f"/reports/{ordered.json()['id']}"
    assert web.get(path).json() == {"status": "unclaimed", "progress": None, "result": None}
    assert job_queue.run_until_idle_sync(handlers).completed == 1
    assert web.get(path).json()["result"] == {"pages": 12}

    job_queue.advance(hours=1, seconds=1)
    assert web.get(path).status_code == 404


def test_what_makes_no_sense_is_refused(web: TestClient, job_queue: InProcessQueue) -> None:
    assert web.post("/reports", json={"customer": "x"}).status_code == 422
    assert web.get("/reports/nosuchjob").status_code == 404
    job_queue.assert_not_enqueued()
