"""GetWorkflow, ListWorkflows."""

from itertools import islice

from osqueue_service.limits import Limits
from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import Violations, check_count, check_name, check_number
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.page_tokens import Walk
from osqueue_service.rpc.positions import view_position
from osqueue_service.rpc.refusals import telling, told
from osqueue_service.state.graphs import Graph, member_of
from osqueue_service.state.model import LIVE, Job, Status
from osqueue_service.state.needs import Policy
from osqueue_service.state.state import State
from osqueue_service.state.submission import public_id
from osqueue_service.state.workflows import graph_of
from osqueue_stubs.osqueue.v1 import job_pb2, workflows_pb2

STATUSES = ("running", "completed", "dead", "cancelled")

_POLICIES = {
    Policy.CASCADE: workflows_pb2.END_POLICY_CASCADE,
    Policy.RUN: workflows_pb2.END_POLICY_RUN,
    Policy.HOLD: workflows_pb2.END_POLICY_HOLD,
}


class WorkflowReading:
    """Serves GetWorkflow and ListWorkflows."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._limits = broker.limits

    async def GetWorkflow(
        self, request: workflows_pb2.GetWorkflowRequest, context: Context
    ) -> workflows_pb2.GetWorkflowResponse:
        engine = self._broker.engine
        wrong = Violations()
        check_name(request.workflow_id, "workflow_id", self._limits.id_chars, wrong, required=True)
        wrong.check()
        position = view_position(engine)
        answer = told(
            await engine.views.read(telling(lambda state: _whole(state, graph_of(state, request.workflow_id))))
        )
        answer.position.CopyFrom(position)
        return answer

    async def ListWorkflows(
        self, request: workflows_pb2.ListWorkflowsRequest, context: Context
    ) -> workflows_pb2.ListWorkflowsResponse:
        engine = self._broker.engine
        wrong = Violations()
        check_name(request.name, "name", self._limits.id_chars, wrong)
        check_count(len(request.statuses), "statuses", len(STATUSES), "one of each", wrong)
        for position, status in enumerate(request.statuses):
            if status not in STATUSES:
                wrong.add(f"statuses[{position}]", f"is {status!r}; it must be one of {', '.join(STATUSES)}")
        check_number(request.page_size, "page_size", 0, self._limits.page_items, wrong)
        wrong.check()
        position_ = view_position(engine)
        answer = told(await engine.views.read(telling(lambda state: _page(state, request, self._limits))))
        answer.position.CopyFrom(position_)
        return answer


def _page(
    state: State, request: workflows_pb2.ListWorkflowsRequest, limits: Limits
) -> workflows_pb2.ListWorkflowsResponse:
    asked = workflows_pb2.ListWorkflowsRequest(name=request.name, statuses=request.statuses)
    walk = Walk("ListWorkflows", asked)
    after = walk.start(state, request.page_token)
    most = request.page_size or limits.page_items
    answer = workflows_pb2.ListWorkflowsResponse()
    # By number, as they were submitted: a dictionary keeps that order.
    later = (graph for number, graph in state.graphs.by_number.items() if number > after)
    for graph in islice(later, limits.page_candidates):
        if len(answer.workflows) == most:
            break
        after = graph.workflow.number
        status = status_of(graph)
        if request.name in ("", graph.workflow.name) and (not request.statuses or status in request.statuses):
            answer.workflows.append(_info(state, graph))
    else:
        after = max(state.graphs.by_number, default=0) if after == 0 else after
    if any(number > after for number in reversed(state.graphs.by_number)):
        answer.next_page_token = walk.token(state, after)
    return answer


def _whole(state: State, graph: Graph) -> workflows_pb2.GetWorkflowResponse:
    jobs = [state.jobs[number] for number in sorted(graph.nodes.values())]
    return workflows_pb2.GetWorkflowResponse(workflow=_info(state, graph), nodes=[_node(state, job) for job in jobs])


def _info(state: State, graph: Graph) -> workflows_pb2.WorkflowInfo:
    workflow, counts = graph.workflow, graph.counts
    return workflows_pb2.WorkflowInfo(
        id=state.id_of_number(workflow.number),
        name=workflow.name,
        status=status_of(graph),
        created_at=workflow.created_at,
        finished_at=workflow.settled_at,
        nodes=workflow.total,
        counts=job_pb2.JobCounts(
            total=sum([counts[status] for status in LIVE]),
            unclaimed=counts[Status.UNCLAIMED],
            scheduled=counts[Status.SCHEDULED],
            in_progress=counts[Status.IN_PROGRESS],
            blocked=counts[Status.BLOCKED],
            completed=counts[Status.COMPLETED],
            dead=counts[Status.DEAD],
            cancelled=counts[Status.CANCELLED],
        ),
    )


def status_of(graph: Graph) -> str:
    """How the workflow stands as a whole."""
    if graph.live:
        return "running"
    if graph.counts[Status.DEAD]:
        return "dead"
    return "cancelled" if graph.counts[Status.CANCELLED] or graph.workflow.purged else "completed"


def _node(state: State, job: Job) -> workflows_pb2.NodeInfo:
    member = member_of(job)
    assert member is not None
    cut_by = job.more.cut_by if job.more is not None else 0
    return workflows_pb2.NodeInfo(
        name=member.node,
        job_id=state.job_id(job),
        status=job.status.wire,
        type=job.spec.type,
        needs=[
            workflows_pb2.NodeNeed(
                node=need.node,
                if_dead=_POLICIES[need.if_dead],
                if_cancelled=_POLICIES[need.if_cancelled],
                pass_result=need.pass_result,
            )
            for need in member.needs
        ],
        cut_by=public_id(state, cut_by) if cut_by else "",
        finished_at=job.finished_at,
    )
