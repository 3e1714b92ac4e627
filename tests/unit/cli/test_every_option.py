"""Whatever a producer may ask for and whatever a filter can say has an option."""

from typing import get_args, get_type_hints

import pytest

from osqueue.job import FINISHED_STATUSES, LIVE_STATUSES, FilterOptions, JobStatus, SubmitOptions
from osqueue_cli.commands.dead import list_dead, retry
from osqueue_cli.commands.jobs import jobs
from osqueue_cli.commands.purge import purge
from osqueue_cli.commands.submit import submit
from osqueue_cli.commands.update import run_now, update
from osqueue_cli.filters import FINISHED, STATUSES
from osqueue_cli.output import STATUS_COLOURS
from osqueue_service.state.model import Status

OTHERWISE = {"retry_policy": "backoff", "idempotency_key": "key", "metadata": "meta"}
"""What `submit` calls otherwise than the SDK does."""


def test_every_status_can_be_chosen_and_has_a_colour():
    assert set(STATUSES) == set(STATUS_COLOURS) == {status.wire for status in Status} == set(get_args(JobStatus))
    assert {*LIVE_STATUSES, *FINISHED_STATUSES} == set(get_args(JobStatus))
    assert FINISHED == FINISHED_STATUSES


def test_submit_offers_everything_that_a_producer_may_ask_for():
    offered = {parameter.name for parameter in submit.params}
    assert {OTHERWISE.get(name, name) for name in get_type_hints(SubmitOptions)} <= offered


@pytest.mark.parametrize(
    ("command", "without"),
    [
        (jobs, set()),
        (purge, set()),
        (update, set()),
        (run_now, set()),
        (list_dead, {"statuses"}),
        (retry, {"statuses"}),
    ],
)
def test_a_command_that_chooses_jobs_offers_every_part_of_a_filter(command, without):
    offered = {parameter.name for parameter in command.params}
    assert get_type_hints(FilterOptions).keys() - offered == without


def test_dead_letters_are_chosen_by_any_part_of_a_filter(osqueue, job_type):
    assert osqueue("dead", "list", "--type", job_type, "--since", "1h", "--meta", "a=b").exit_code == 0
    assert osqueue("dead", "retry", "--type", job_type, "--worker", "w", "--dry-run").exit_code == 0
    assert osqueue("dead", "list", "--by-error", "--worker", "w").exit_code == 2
