"""Public ids: one for each number, told apart at a glance, and valid for ever."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osqueue_service.state.job_ids import ALPHABET, ID_CHARS, JobIds

numbers = st.integers(1, 2**40 - 1)
salts = st.text(ALPHABET, min_size=6, max_size=6)


@given(salts, numbers)
def test_every_number_has_an_id_of_its_own(salt, number):
    ids = JobIds(salt, 1)
    job_id = ids.of(number)
    assert len(job_id) == ID_CHARS and set(job_id) <= set(ALPHABET)
    assert ids.number_of(job_id) == number and ids.owns(job_id)


@given(salts, numbers, numbers)
def test_two_jobs_differ_in_their_first_eight_characters(salt, one, other):
    """A list that shows no more than those must not show every row alike."""
    ids = JobIds(salt, 1)
    assert (ids.of(one)[:8] == ids.of(other)[:8]) == (one == other)


def test_neighbours_are_told_apart_at_a_glance():
    ids = JobIds("s4lt00", 1)
    shown = [ids.of(number) for number in range(1, 2_001)]
    assert len({job_id[:4] for job_id in shown}) > 1_800


@given(salts, salts, numbers)
def test_ids_of_two_queues_never_meet(one, other, number):
    assert (JobIds(other, 1).number_of(JobIds(one, 1).of(number)) is None) == (one != other)


@given(numbers)
def test_a_named_queue_is_named_in_its_ids(number):
    name = "a" * 40
    ids = JobIds("s4lt00", 1, name)
    job_id = ids.of(number)
    assert job_id.rpartition("_")[0] == name and len(job_id) <= 64
    assert ids.number_of(job_id) == number
    assert ids.number_of(job_id.removeprefix(f"{name}_")) is None
    assert JobIds("s4lt00", 1).number_of(job_id) is None


@given(numbers, numbers)
def test_ids_of_the_first_form_stay_valid(since, number):
    before, after = JobIds("s4lt00", 0), JobIds("s4lt00", since)
    old = before.of(number)
    assert old == f"s4lt00{number:010x}" and before.number_of(old) == number
    if number < since:
        assert after.of(number) == old and after.number_of(old) == number
    else:
        assert after.number_of(old) is None, "a job has one id"


NO_IDS = (
    "", "x", "s4lt00", "s4lt00-000000001", "s4lt000000000000", "uuuuuuuu00s4lt00", "_" * 16, "é" * 16,
    # What `int` would read as digits.
    "Zm1zh5z200s4lt00", "+m1zh5z200s4lt00", " m1zh5z200s4lt00", "z_1zh5z200s4lt00", "zm1zh5zé00s4lt00",
    "zm1zh5z\ud80000s4lt00",
)  # fmt: skip


@pytest.mark.parametrize("text", NO_IDS, ids=ascii)
def test_what_is_no_id_is_none(text):
    assert JobIds("s4lt00", 1).number_of(text) is None


def test_the_form_is_frozen():
    assert JobIds("s4lt00", 1).of(1) == "zm1zh5z200s4lt00"
    assert JobIds("s4lt00", 1, "emails").of(3) == "emails_8j8sevpe00s4lt00"
