"""Deciding what is asked of workflows, and what becomes of jobs whose needs have ended."""

from collections.abc import Sequence
from hashlib import blake2b
from itertools import islice

from msgspec.structs import astuple, replace

from osqueue_service.errors import IdempotencyConflict, InvalidRequest, QueueFull, WorkflowNotFound
from osqueue_service.limits import Limits
from osqueue_service.state.commands import (
    AddToWorkflow,
    CancelWorkflow,
    Node,
    SubmitWorkflow,
    WorkflowAnswer,
)
from osqueue_service.state.graphs import NOT_FOUND, Fate, Graph
from osqueue_service.state.model import IN_PROGRESS, JobSpec, MoreOfSpec, fingerprint_of_call
from osqueue_service.state.needs import Member, Need
from osqueue_service.state.records import (
    AnyRecord,
    Cancelled,
    CancelRequested,
    CutOff,
    Revived,
    Unblocked,
    WorkflowAdded,
    WorkflowCancelled,
)
from osqueue_service.state.settling import holder
from osqueue_service.state.state import State
from osqueue_service.state.submission import Admission, public_id


def decide_submit_workflow(
    state: State, command: SubmitWorkflow, now_ms: int, limits: Limits
) -> tuple[list[AnyRecord], WorkflowAnswer]:
    """All of it in one record; a repeated call becomes none and answers as it did."""
    call_print = _print_of(command) if command.request_id else b""
    known = state.requests.get(command.request_id, now_ms) if command.request_id else None
    if known is not None:
        if known.fingerprint != call_print:
            raise IdempotencyConflict(
                f"request_id {command.request_id!r} was used within the last 10 minutes for another call: draw a new "
                "request_id for every new call"
            )
        ids = [public_id(state, known.first + 1 + offset) for offset in range(len(command.nodes))]
        return [], WorkflowAnswer(known.first, state.id_of_number(known.first), ids)
    _check_room(state, limits)
    number = state.next_number
    numbers = {node.name: number + 1 + offset for offset, node in enumerate(command.nodes)}
    specs = _admitted(state, [_spec(node, number, numbers) for node in command.nodes], now_ms, limits)
    ttl_ms = limits.request_ttl_ms if command.request_id else 0
    record = WorkflowAdded(number, number, command.name, specs, command.request_id, ttl_ms, call_print)
    return [record], WorkflowAnswer(
        number, state.id_of_number(number), [state.id_of_number(each) for each in numbers.values()]
    )


def decide_add_to_workflow(
    state: State, command: AddToWorkflow, now_ms: int, limits: Limits
) -> tuple[list[AnyRecord], WorkflowAnswer]:
    """New nodes may need any that are there; those that are there keep what they have."""
    graph = state.graphs.of(holder(state, command.job_id, command.worker_id, command.token))
    if graph is None:
        raise InvalidRequest.field("job_id", f"job {command.job_id} is not part of a workflow")
    if graph.workflow.cancelled:
        raise InvalidRequest.field("job_id", "its workflow was cancelled and takes no more jobs")
    new = [node for node in command.nodes if node.name not in graph.nodes]
    if graph.workflow.total + len(new) > limits.workflow_nodes:
        raise QueueFull(
            f"the workflow has {graph.workflow.total:,} nodes; at most {limits.workflow_nodes:,} are allowed in all "
            "(workflow_nodes): submit another workflow"
        )
    numbers = graph.nodes | {node.name: state.next_number + offset for offset, node in enumerate(new)}
    for position, node in enumerate(command.nodes):
        for place, need in enumerate(node.needs):
            if need.node not in numbers:
                raise InvalidRequest.field(
                    f"nodes[{position}].needs[{place}].node",
                    f"is {need.node!r}, which no node of the workflow is called",
                )
    number, ids = graph.workflow.number, [public_id(state, numbers[node.name]) for node in command.nodes]
    answer = WorkflowAnswer(number, state.id_of_number(number), ids)
    if not new:
        return [], answer
    specs = [_spec(node, graph.workflow.number, numbers) for node in new]
    specs = _admitted(state, specs, now_ms, limits)
    return [WorkflowAdded(state.next_number, graph.workflow.number, graph.workflow.name, specs)], answer


def decide_cancel_workflow(
    state: State, command: CancelWorkflow, now_ms: int, limits: Limits
) -> tuple[list[AnyRecord], tuple[int, int]]:
    """All at once: one commit can hold what a workflow has."""
    graph = state.graphs.by_number.get(command.number)
    if graph is None:
        raise WorkflowNotFound(NOT_FOUND.format(state.id_of_number(command.number)))
    jobs = [state.jobs[number] for number in graph.nodes.values()]
    running = [job for job in jobs if job.status is IN_PROGRESS]
    waiting = [job.number for job in jobs if not job.status.finished and job.status is not IN_PROGRESS]
    asked = [job.number for job in running if not job.cancel_requested]
    records: list[AnyRecord] = []
    if not graph.workflow.cancelled and graph.live:
        records.append(WorkflowCancelled(command.number))
    if waiting:
        records.append(Cancelled(waiting, limits.default_retention_ms, command.by))
    if asked:
        records.append(CancelRequested(asked, command.by))
    return records, (len(waiting), len(running))


def decide_dependents(state: State, limits: Limits, most: int) -> list[AnyRecord]:
    """What has become of jobs whose needs have ended, of at most `most`; the rest is found again."""
    runs: list[int] = []
    revives: list[int] = []
    cut: list[tuple[int, int]] = []
    for number, fate in islice(state.graphs.fates.items(), most):
        if fate == Fate.RUNS:
            runs.append(number)
        elif fate == Fate.REVIVES:
            revives.append(number)
        else:
            cut.append((number, fate))
    records: list[AnyRecord] = []
    if runs:
        records.append(Unblocked(state.next_number, runs))
    if cut:
        numbers, parents = zip(*cut, strict=True)
        records.append(CutOff(list(numbers), list(parents), limits.default_retention_ms))
    if revives:
        records.append(Revived(revives))
    return records


def graph_of(state: State, workflow_id: str) -> Graph:
    """The workflow with this public id; WORKFLOW_NOT_FOUND says what that can mean."""
    number = state.ids.number_of(workflow_id)
    graph = state.graphs.by_number.get(number) if number is not None else None
    if graph is None:
        raise WorkflowNotFound(NOT_FOUND.format(workflow_id))
    return graph


def _print_of(command: SubmitWorkflow) -> bytes:
    digest = blake2b(fingerprint_of_call([node.job for node in command.nodes]), digest_size=16)
    digest.update(command.name.encode() + b"\0")
    for node in command.nodes:
        digest.update(repr((node.name, list(map(astuple, node.needs)))).encode())
    return digest.digest()


def _check_room(state: State, limits: Limits) -> None:
    if len(state.graphs.by_number) >= limits.workflows:
        raise QueueFull(
            f"{limits.workflows:,} workflows are kept, which is the limit (workflows): wait until some have ended and "
            "their retention is over",
            retry_after_ms=1_000,
        )
    if state.graphs.pinned_bytes >= limits.pinned_bytes:
        raise QueueFull(
            f"finished jobs of workflows that have not ended take {state.graphs.pinned_bytes:,} bytes; the limit is "
            f"{limits.pinned_bytes:,} (pinned_bytes): wait until some have ended",
            retry_after_ms=1_000,
        )


def _admitted(state: State, specs: Sequence[JobSpec], now_ms: int, limits: Limits) -> list[JobSpec]:
    admission = Admission(state, now_ms, limits)
    for spec in specs:
        admission.admit(spec)
    return admission.new


def _spec(node: Node, workflow: int, numbers: dict[str, int]) -> JobSpec:
    needs = [Need(numbers[n.node], n.node, n.if_dead, n.if_cancelled, n.pass_result) for n in node.needs]
    return replace(
        node.job, more=replace(node.job.more or MoreOfSpec(), member=Member(workflow, node.name, tuple(needs)))
    )
