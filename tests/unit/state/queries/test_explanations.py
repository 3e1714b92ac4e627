"""Why a job does not run, where a gate is the reason."""

from osqueue_service.state.queries.explanations import Serving, Why, explain
from tests.core import Core


def why(core: Core, job_id: str):
    return explain(core.state, core.job(job_id), lambda name: Serving(1, False))


def test_a_waiting_job_is_told_the_gate_of_its_line():
    core = Core()
    job_id = core.submit("mail")
    core.pause("mail")
    answer = why(core, job_id)
    assert answer.reasons == [Why.TYPE_PAUSED]
    assert answer.message == "It waits: its type 'mail' is paused."
    core.resume("mail")
    assert why(core, job_id).reasons == [Why.NEXT]


def test_a_delayed_job_is_told_the_gate_that_it_will_meet():
    core = Core()
    core.pause("mail")
    job_id = core.submit("mail", run_at=core.now_ms + 5_000)
    answer = why(core, job_id)
    assert answer.reasons == [Why.DELAYED, Why.TYPE_PAUSED]
    assert answer.message.endswith("Its type 'mail' is paused, so it will wait even then.")
    core.resume("mail")
    assert why(core, job_id).reasons == [Why.DELAYED]
