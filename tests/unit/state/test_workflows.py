"""Jobs that need others: what unblocks, cuts off, holds and revives them, and how long a workflow is kept."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from osqueue_service.errors import IdempotencyConflict, InvalidRequest, LeaseLost, QueueFull, WorkflowNotFound
from osqueue_service.limits import DAY_MS, DEFAULT_LIMITS, HOUR_MS
from osqueue_service.state.commands import (
    AddToWorkflow,
    CancelWorkflow,
    Granted,
    Node,
    NodeNeed,
    SubmitWorkflow,
)
from osqueue_service.state.model import Status
from osqueue_service.state.needs import Policy
from osqueue_service.state.workflows import graph_of
from tests.core import Core, spec

RUN, HOLD = Policy.RUN, Policy.HOLD


@pytest.fixture
def core() -> Core:
    return Core()


def node(name: str, *needs: str | NodeNeed, **fields: object) -> Node:
    """A node whose job's type is its name."""
    wanted = [need if isinstance(need, NodeNeed) else NodeNeed(need) for need in needs]
    return Node(name, spec(name, **{"max_attempts": 1, **fields}), wanted)


class Flow:
    """A workflow, its jobs by the names of their nodes."""

    def __init__(self, core: Core, *nodes: Node, request_id: str = "") -> None:
        self.core = core
        answer = core.do(SubmitWorkflow("flow", nodes, request_id))
        self.number = answer.number
        self.ids = dict(zip([each.name for each in nodes], answer.job_ids, strict=True))

    def __getattr__(self, name: str) -> str:
        return self.core.status(self.ids[name]).wire

    def claim(self, name: str) -> Granted:
        return self.core.claim_one(types=[name])

    def complete(self, *names: str) -> None:
        for name in names:
            self.core.complete(self.claim(name), result=name.encode())

    def die(self, name: str) -> None:
        self.core.fail(self.claim(name))

    @property
    def graph(self):
        return self.core.state.graphs.by_number.get(self.number)


class TestUnblocking:
    def test_a_job_runs_when_all_that_it_needs_is_completed(self, core):
        flow = Flow(core, node("a"), node("b"), node("c", "a", "b"))
        assert (flow.a, flow.b, flow.c) == ("unclaimed", "unclaimed", "blocked")
        flow.complete("a")
        assert flow.c == "blocked"
        flow.complete("b")
        assert flow.c == "unclaimed"
        flow.complete("c")
        core.check_replay()

    def test_it_is_unblocked_in_the_commit_of_the_end_that_does_it(self, core):
        flow = Flow(core, node("a"), node("b", "a"))
        granted = flow.claim("a")
        commits = len(core.log)
        core.complete(granted)
        assert len(core.log) == commits + 1
        assert flow.b == "unclaimed"

    def test_one_that_was_to_run_later_waits_for_its_time_then(self, core):
        flow = Flow(core, node("a"), node("b", "a", run_at=core.now_ms + 1_000))
        assert flow.b == "blocked"
        flow.complete("a")
        assert flow.b == "scheduled"
        core.advance(1_000)
        core.sweep()
        assert flow.b == "unclaimed"

    def test_a_wide_fan_out_is_unblocked_over_many_commits(self):
        core = Core(replace(DEFAULT_LIMITS, sweep_jobs=10))
        flow = Flow(core, node("a"), *[node(f"b{n}", "a") for n in range(25)])
        flow.complete("a")
        seen = []
        while (waiting := core.state.count(Status.BLOCKED)) > 0:
            seen.append(waiting)
            core.sweep()
        assert seen == [15, 5]
        core.check_replay()

    def test_a_thousand_levels_in_one_workflow(self, core):
        flow = Flow(core, *[node(f"n{n}", *([f"n{n - 1}"] if n else [])) for n in range(60)])
        for n in range(60):
            flow.complete(f"n{n}")
        assert flow.graph.workflow.settled_at


class TestBadEnds:
    def test_a_death_cascades_and_names_the_parent(self, core):
        flow = Flow(core, node("a"), node("b", "a"), node("c", "b"), node("d"))
        flow.die("a")
        assert (flow.b, flow.c, flow.d) == ("cancelled", "cancelled", "unclaimed")
        assert core.job(flow.ids["b"]).more.cut_by == core.job(flow.ids["a"]).number
        assert core.job(flow.ids["c"]).more.cut_by == core.job(flow.ids["b"]).number
        core.check_replay()

    def test_a_cancellation_cascades(self, core):
        flow = Flow(core, node("a"), node("b", "a"))
        core.cancel(flow.ids["a"])
        assert flow.b == "cancelled"

    @pytest.mark.parametrize(("if_dead", "b"), [(Policy.CASCADE, "cancelled"), (RUN, "unclaimed"), (HOLD, "blocked")])
    def test_each_policy_for_a_death(self, core, if_dead, b):
        flow = Flow(core, node("a"), node("b", NodeNeed("a", if_dead=if_dead)))
        flow.die("a")
        assert flow.b == b

    @pytest.mark.parametrize(("policy", "b"), [(Policy.CASCADE, "cancelled"), (RUN, "unclaimed"), (HOLD, "blocked")])
    def test_each_policy_for_a_cancellation(self, core, policy, b):
        flow = Flow(core, node("a"), node("b", NodeNeed("a", if_cancelled=policy)))
        core.cancel(flow.ids["a"])
        assert flow.b == b

    def test_one_bad_end_is_enough_while_others_still_run(self, core):
        flow = Flow(core, node("a"), node("b"), node("c", "a", "b"))
        flow.die("a")
        assert (flow.b, flow.c) == ("unclaimed", "cancelled")

    @pytest.mark.parametrize("when", ["live", "dead"])
    @pytest.mark.parametrize(
        ("if_dead", "if_cancelled", "b"),
        [(Policy.CASCADE, Policy.CASCADE, "cancelled"), (HOLD, HOLD, "cancelled"), (RUN, RUN, "unclaimed")],
    )
    def test_purging_never_leaves_one_waiting_for_what_is_gone(self, core, when, if_dead, if_cancelled, b):
        flow = Flow(core, node("a"), node("b", NodeNeed("a", if_dead, if_cancelled)))
        if when == "dead":
            flow.die("a")
        core.purge(flow.ids["a"])
        assert flow.b == b
        core.check_replay()


class TestRetrying:
    def test_retrying_the_parent_revives_what_it_cut_off_and_only_that(self, core):
        flow = Flow(core, node("a"), node("b", "a"), node("c", "b"), node("d", "a"))
        core.cancel(flow.ids["d"])
        flow.die("a")
        assert (flow.b, flow.c, flow.d) == ("cancelled", "cancelled", "cancelled")
        core.retry(flow.ids["a"])
        assert (flow.b, flow.c, flow.d) == ("blocked", "blocked", "cancelled")
        assert core.job(flow.ids["b"]).more is None
        flow.complete("a", "b", "c")
        core.check_replay()

    def test_one_that_was_cut_off_by_two_waits_for_both(self, core):
        flow = Flow(core, node("a"), node("b"), node("c", "a", "b"))
        flow.die("a")
        flow.die("b")
        core.retry(flow.ids["a"])
        assert flow.c == "cancelled"
        core.retry(flow.ids["b"])
        assert flow.c == "blocked"

    def test_retrying_what_is_held_goes_on(self, core):
        flow = Flow(core, node("a"), node("b", NodeNeed("a", if_dead=HOLD)))
        flow.die("a")
        core.retry(flow.ids["a"])
        flow.complete("a")
        assert flow.b == "unclaimed"

    def test_a_parent_retried_after_its_children_ran_runs_nobody_again(self, core):
        flow = Flow(core, node("a"), node("b", NodeNeed("a", if_dead=RUN)))
        flow.die("a")
        flow.complete("b")
        core.retry(flow.ids["a"])
        flow.complete("a")
        assert flow.b == "completed"

    def test_a_child_that_was_about_to_run_waits_again_when_its_parent_is_retried(self):
        core = Core(replace(DEFAULT_LIMITS, sweep_jobs=1))
        flow = Flow(core, node("a"), *[node(f"b{n}", NodeNeed("a", if_dead=RUN)) for n in range(3)])
        flow.die("a")
        core.retry(flow.ids["a"])
        assert core.state.count(Status.BLOCKED) == 2
        core.sweep()
        assert core.state.count(Status.BLOCKED) == 2
        core.check_replay()

    def test_a_workflow_is_revived_after_an_hour(self, core):
        flow = Flow(core, node("x"), node("a", "x"), node("b", "a"))
        flow.complete("x")
        flow.die("a")
        assert flow.graph.workflow.settled_at
        core.advance(2 * HOUR_MS)
        core.sweep()
        assert (flow.x, flow.b) == ("completed", "cancelled")
        core.retry(flow.ids["a"])
        assert not flow.graph.workflow.settled_at
        flow.complete("a", "b")
        core.check_replay()


class TestKeeping:
    def test_its_finished_jobs_are_kept_until_the_last_has_ended_and_then_all_alike(self, core):
        flow = Flow(core, node("a", retention_ms=1), node("b", "a"))
        flow.complete("a")
        core.advance(3 * HOUR_MS)
        core.sweep()
        assert flow.a == "completed"
        assert len(core.state.graphs.pinned) == 1
        assert core.state.graphs.pinned_bytes > 0
        flow.complete("b")
        assert len(core.state.graphs.pinned) == core.state.graphs.pinned_bytes == 0
        assert core.job(flow.ids["a"]).keep_until == core.job(flow.ids["b"]).keep_until
        core.check_replay()
        core.advance(HOUR_MS)
        core.sweep()
        assert flow.graph is None
        assert core.state.jobs == {}
        core.check_replay()

    def test_with_a_dead_letter_they_are_kept_as_long_as_that(self, core):
        flow = Flow(core, node("a"), node("b"))
        flow.complete("a")
        flow.die("b")
        core.advance(13 * DAY_MS)
        core.sweep()
        assert flow.a == "completed"

    def test_too_much_that_is_pinned_refuses_the_next_workflow_and_no_completion(self):
        core = Core(replace(DEFAULT_LIMITS, pinned_bytes=10))
        flow = Flow(core, node("a"), node("b", "a"))
        core.complete(flow.claim("a"), result=b"x" * 100)
        with pytest.raises(QueueFull, match="pinned_bytes"):
            Flow(core, node("a"))
        flow.complete("b")
        Flow(core, node("a"))

    def test_there_may_be_so_many_workflows(self):
        core = Core(replace(DEFAULT_LIMITS, workflows=1))
        Flow(core, node("a"))
        with pytest.raises(QueueFull, match=r"\(workflows\)"):
            Flow(core, node("a"))

    def test_a_queue_that_is_full_takes_none_of_it(self):
        core = Core(replace(DEFAULT_LIMITS, jobs=1))
        with pytest.raises(QueueFull):
            Flow(core, node("a"), node("b", "a"))
        assert core.state.jobs == core.state.graphs.by_number == {}


class TestCalls:
    def test_a_repeated_call_answers_the_same(self, core):
        nodes = [node("a"), node("b", "a")]
        first = Flow(core, *nodes, request_id="r")
        commits = len(core.log)
        again = Flow(core, *nodes, request_id="r")
        assert (again.number, again.ids, len(core.log)) == (first.number, first.ids, commits)
        with pytest.raises(IdempotencyConflict):
            Flow(core, node("a"), node("b"), request_id="r")
        core.check_replay()

    def test_a_running_member_adds_nodes_once(self, core):
        flow = Flow(core, node("a"), node("z", "a"))
        granted = flow.claim("a")
        add = AddToWorkflow(granted.job_id, "w", granted.token, [node("b", "a"), node("c", "b"), node("z", "c")])
        answer = core.do(add)
        assert answer.number == flow.number
        assert answer.job_ids[2] == flow.ids["z"], "it is there already, and gains no needs"
        assert core.do(add) == answer
        core.complete(granted)
        assert core.status(answer.job_ids[0]) is Status.UNCLAIMED
        assert core.status(answer.job_ids[1]) is Status.BLOCKED
        assert flow.z == "unclaimed"
        core.check_replay()

    def test_a_node_that_needs_what_has_ended_already_goes_its_way_at_once(self, core):
        flow = Flow(core, node("a"), node("dead"), node("m"))
        flow.complete("a")
        flow.die("dead")
        granted = flow.claim("m")
        nodes = [node("b", "a"), node("c", "dead"), node("d", NodeNeed("dead", if_dead=RUN))]
        answer = core.do(AddToWorkflow(granted.job_id, "w", granted.token, nodes))
        assert [core.status(each).wire for each in answer.job_ids] == ["unclaimed", "cancelled", "unclaimed"]
        core.check_replay()

    def test_who_has_no_lease_or_no_workflow_adds_nothing(self, core):
        flow = Flow(core, node("a"))
        granted = flow.claim("a")
        with pytest.raises(LeaseLost):
            core.do(AddToWorkflow(granted.job_id, "w", "wrong", [node("b")]))
        core.submit("plain")
        plain = core.claim_one(types=["plain"])
        with pytest.raises(InvalidRequest, match="not part of a workflow"):
            core.do(AddToWorkflow(plain.job_id, "w", plain.token, [node("b")]))
        with pytest.raises(InvalidRequest, match=r"nodes\[0\]\.needs\[0\]\.node"):
            core.do(AddToWorkflow(granted.job_id, "w", granted.token, [node("b", "nowhere")]))
        core.do(CancelWorkflow(flow.number))
        with pytest.raises(InvalidRequest, match="was cancelled"):
            core.do(AddToWorkflow(granted.job_id, "w", granted.token, [node("b")]))

    def test_there_may_be_a_thousand_nodes_and_not_one_more(self):
        core = Core(replace(DEFAULT_LIMITS, workflow_nodes=3))
        flow = Flow(core, node("a"), node("b"))
        granted = flow.claim("a")
        add: Sequence[Node] = [node("c"), node("d")]
        with pytest.raises(QueueFull, match="workflow_nodes"):
            core.do(AddToWorkflow(granted.job_id, "w", granted.token, add))
        core.do(AddToWorkflow(granted.job_id, "w", granted.token, add[:1]))

    def test_cancelling_ends_what_waits_and_asks_what_runs(self, core):
        flow = Flow(core, node("a"), node("b", "a"), node("c", run_at=core.now_ms + 5), node("d"))
        granted = flow.claim("a")
        flow.complete("d")
        assert core.do(CancelWorkflow(flow.number)) == (2, 1)
        assert (flow.a, flow.b, flow.c, flow.d) == ("in_progress", "cancelled", "cancelled", "completed")
        assert core.job(granted.job_id).cancel_requested
        assert core.do(CancelWorkflow(flow.number)) == (0, 1)
        core.fail(granted)
        assert flow.graph.workflow.settled_at
        core.check_replay()

    def test_what_does_not_exist_is_not_found(self, core):
        with pytest.raises(WorkflowNotFound):
            core.do(CancelWorkflow(7))
        flow = Flow(core, node("a"))
        with pytest.raises(WorkflowNotFound):
            graph_of(core.state, flow.ids["a"])
        assert graph_of(core.state, core.state.id_of_number(flow.number)) is flow.graph
