"""Random graphs under random ends, against what the documentation says of each job: at rest nobody waits for what has
ended, nobody runs before what it needs, and nobody is cut off by what is no longer bad."""

import random
from dataclasses import replace
from unittest import mock

import pytest

from osqueue_service.limits import DEFAULT_LIMITS
from osqueue_service.state.commands import AddToWorkflow, CancelWorkflow, Node, NodeNeed, SubmitWorkflow
from osqueue_service.state.graphs import Graphs
from osqueue_service.state.model import Status
from osqueue_service.state.needs import Policy
from tests.core import Core, spec


class Run:
    """One queue with a few workflows, and what was told of their needs."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.core = Core(replace(DEFAULT_LIMITS, sweep_jobs=self.draw.choice([1, 3, 250])))
        self.needs: dict[str, list[tuple[str, Policy, Policy]]] = {}
        self.names: dict[str, dict[str, str]] = {}
        self.purged: set[str] = set()
        self.by_hand: set[str] = set()
        self.freed: set[str] = set()
        """Seen outside of `blocked`: what becomes of its parents later is nothing to it any more."""

    def submit(self) -> None:
        names = [f"n{n}" for n in range(self.draw.randint(1, 9))]
        nodes = [self.node(name, names[:place]) for place, name in enumerate(names)]
        self.draw.shuffle(nodes)
        answer = self.core.do(SubmitWorkflow("w", nodes))
        self.noted(self.core.state.id_of_number(answer.number), nodes, answer.job_ids)

    def node(self, name: str, earlier: list[str]) -> Node:
        chosen = self.draw.sample(earlier, min(len(earlier), self.draw.choice([0, 1, 1, 2, 3])))
        policies = list(Policy)
        needs = [NodeNeed(each, self.draw.choice(policies), self.draw.choice(policies)) for each in chosen]
        return Node(name, spec("t", max_attempts=self.draw.choice([1, 2])), needs)

    def noted(self, workflow: str, nodes: list[Node], ids: list[str]) -> None:
        known = self.names.setdefault(workflow, {})
        for node, job_id in zip(nodes, ids, strict=True):
            if node.name not in known:
                known[node.name] = job_id
        for node, job_id in zip(nodes, ids, strict=True):
            self.needs.setdefault(job_id, [(known[need.node], need.if_dead, need.if_cancelled) for need in node.needs])

    def step(self) -> None:
        core, draw = self.core, self.draw
        action = draw.choice(["submit", "work", "work", "work", "work", "add", "cancel", "retry", "purge", "flow"])
        job = draw.choice(list(core.state.jobs.values()) or [None])
        job_id = core.state.job_id(job) if job is not None else ""
        if action == "submit":
            self.submit()
        elif action in ("work", "add"):
            for granted in core.claim(max_jobs=draw.choice([1, 3])):
                self.begins(granted.job_id)
                if action == "add":
                    self.add(granted)
                draw.choice([core.complete, core.complete, core.fail, core.release, lambda each: None])(granted)
        elif action == "cancel" and job is not None:
            before = job.status
            core.cancel(job_id)
            if not before.finished and before is not Status.IN_PROGRESS:
                self.by_hand.add(job_id)
        elif action == "retry" and job is not None and job.status is Status.DEAD:
            core.retry(job_id)
        elif action == "purge" and job is not None and draw.random() < 0.5:
            core.purge(job_id)
            self.purged.add(job_id)
        elif action == "flow" and core.state.graphs.by_number and draw.random() < 0.3:
            number = draw.choice(list(core.state.graphs.by_number))
            for each in core.state.graphs.by_number[number].nodes.values():
                if not core.state.jobs[each].status.finished:
                    self.by_hand.add(core.state.id_of_number(each))
            core.do(CancelWorkflow(number))

    def add(self, granted) -> None:
        graph = self.core.state.graphs.of(self.core.job(granted.job_id))
        if graph.workflow.cancelled:
            return
        node = self.node(f"m{self.draw.randint(0, 99)}", list(graph.nodes))
        workflow = self.core.state.id_of_number(graph.workflow.number)
        if node.name not in graph.nodes:
            self.names[workflow].pop(node.name, None)
        answer = self.core.do(AddToWorkflow(granted.job_id, "w", granted.token, [node]))
        self.noted(workflow, [node], answer.job_ids)

    def begins(self, job_id: str) -> None:
        """It may only be claimed once all that it needs lets it."""
        self.free(job_id)

    def free(self, job_id: str) -> None:
        if job_id not in self.freed:
            self.freed.add(job_id)
            assert self.by_needs(job_id) == "runs", f"job {job_id} runs too early"

    def by_needs(self, job_id: str) -> str:
        said = "runs"
        for parent, if_dead, if_cancelled in self.needs[job_id]:
            if parent in self.purged:
                if not if_dead is if_cancelled is Policy.RUN:
                    return "cut off"
                continue
            job = self.core.job(parent)
            if job.status is Status.COMPLETED:
                continue
            policy = {Status.DEAD: if_dead, Status.CANCELLED: if_cancelled}.get(job.status)
            if policy is Policy.CASCADE:
                return "cut off"
            if policy is not Policy.RUN:
                said = "waits"
        return said

    def rest(self) -> None:
        for _ in range(1_000):
            if not self.core.state.graphs.fates:
                return
            self.core.sweep()
        raise AssertionError("it never comes to rest")

    def check(self) -> None:
        for number, job in self.core.state.jobs.items():
            job_id = self.core.state.id_of_number(number)
            if job.status is Status.BLOCKED:
                self.freed.discard(job_id)  # it may have been cut off, and revived
                assert self.by_needs(job_id) == "waits", f"job {number} is blocked for nothing"
            elif job.status is Status.CANCELLED and job.more is not None and job.more.cut_by:
                assert self.by_needs(job_id) == "cut off", f"job {number} is cut off by nothing"
            elif job.status is Status.CANCELLED:
                assert job_id in self.by_hand or job.cancel_requested
            else:
                self.free(job_id)


def run(seed: int, steps: int = 60) -> None:
    queue = Run(seed)
    queue.submit()
    for _ in range(steps):
        queue.step()
        queue.rest()
        queue.check()
    queue.core.check_replay()


@pytest.mark.parametrize("seed", range(60))
def test_at_rest_every_job_is_where_its_needs_say(seed: int) -> None:
    run(seed)


def test_it_catches_a_broker_that_forgets_those_who_need_a_job() -> None:
    def forgetful(self, jobs, numbers):
        """The planted bug: only the first of them is looked at."""
        return original(self, jobs, list(numbers)[:1])

    original = Graphs.reconsider
    with (
        mock.patch.object(Graphs, "reconsider", forgetful),
        mock.patch("tests.core.check_derived"),
        mock.patch("tests.core.check"),
        pytest.raises(AssertionError, match=r"blocked for nothing|runs too early|cut off by nothing"),
    ):
        for seed in range(60):
            run(seed)
