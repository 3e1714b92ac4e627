"""SubmitWorkflow, AddToWorkflow."""

from collections.abc import Iterable, Sequence

from osqueue_service.rpc.broker import Broker
from osqueue_service.rpc.fields import TypeNames, Violations, check_count, check_name
from osqueue_service.rpc.handlers import Context
from osqueue_service.rpc.positions import commit_position
from osqueue_service.rpc.queue_service.submissions import SubmissionReader
from osqueue_service.rpc.workflow_service.cycles import cycle_in
from osqueue_service.state.commands import AddToWorkflow, Node, NodeNeed, SubmitWorkflow, WorkflowAnswer
from osqueue_service.state.needs import Policy
from osqueue_stubs.osqueue.v1 import workflows_pb2


class WorkflowSubmissions:
    """Serves SubmitWorkflow and AddToWorkflow."""

    def __init__(self, broker: Broker, types: TypeNames) -> None:
        self._broker = broker
        self._limits = broker.limits
        self._reader = SubmissionReader(broker.limits, types)

    async def SubmitWorkflow(
        self, request: workflows_pb2.SubmitWorkflowRequest, context: Context
    ) -> workflows_pb2.SubmitWorkflowResponse:
        engine = self._broker.engine
        wrong = Violations()
        check_name(request.name, "name", self._limits.id_chars, wrong)
        check_name(request.request_id, "request_id", self._limits.id_chars, wrong)
        nodes = self._nodes(request.nodes, engine.now_ms(), wrong)
        self._check_known(nodes, wrong)
        wrong.check()
        answer: WorkflowAnswer = await engine.execute(
            SubmitWorkflow(request.name, nodes, request.request_id), _size_of(nodes)
        )
        return workflows_pb2.SubmitWorkflowResponse(
            workflow_id=answer.workflow_id,
            nodes=_submitted(nodes, answer),
            commit=commit_position(engine),
        )

    async def AddToWorkflow(
        self, request: workflows_pb2.AddToWorkflowRequest, context: Context
    ) -> workflows_pb2.AddToWorkflowResponse:
        engine = self._broker.engine
        wrong = Violations()
        check_name(request.job_id, "job_id", self._limits.id_chars, wrong, required=True)
        check_name(request.worker_id, "worker_id", self._limits.id_chars, wrong, required=True)
        check_name(request.lease_token, "lease_token", self._limits.id_chars, wrong)
        nodes = self._nodes(request.nodes, engine.now_ms(), wrong)
        wrong.check()
        command = AddToWorkflow(request.job_id, request.worker_id, request.lease_token, nodes)
        answer: WorkflowAnswer = await engine.execute(command, _size_of(nodes))
        return workflows_pb2.AddToWorkflowResponse(
            workflow_id=answer.workflow_id,
            nodes=_submitted(nodes, answer),
            commit=commit_position(engine),
        )

    def _nodes(self, nodes: Sequence[workflows_pb2.WorkflowNode], now_ms: int, wrong: Violations) -> list[Node]:
        """The nodes, each for itself and all together: no name twice, no way from one to itself."""
        limits = self._limits
        check_count(len(nodes), "nodes", limits.workflow_nodes, "workflow_nodes", wrong, least=1)
        needs = sum([len(node.needs) for node in nodes])
        check_count(needs, "nodes.needs", limits.workflow_needs, "workflow_needs", wrong)
        if wrong:
            return []
        read = [self._node(node, position, now_ms, wrong) for position, node in enumerate(nodes)]
        first: dict[str, int] = {}
        for position, node in enumerate(read):
            if first.setdefault(node.name, position) != position:
                wrong.add(f"nodes[{position}].name", f"is {node.name!r}, like that of nodes[{first[node.name]}]")
        cycle = cycle_in({node.name: [need.node for need in node.needs] for node in read})
        if cycle:
            way = " → ".join(map(repr, [*cycle, cycle[0]]))
            place = next(place for place, need in enumerate(read[first[cycle[0]]].needs) if need.node == cycle[-1])
            wrong.add(
                f"nodes[{first[cycle[0]]}].needs[{place}].node",
                f"makes a cycle, in which no job could ever run: {way}",
            )
        return read

    def _node(self, node: workflows_pb2.WorkflowNode, position: int, now_ms: int, wrong: Violations) -> Node:
        path = f"nodes[{position}]"
        check_name(node.name, f"{path}.name", self._limits.id_chars, wrong, required=True)
        wrong.part = f"{path}.job."
        job = self._reader.read(node.job, now_ms, wrong)
        for name in ("request_id", "idempotency_key"):
            if getattr(node.job, name):
                wrong.add(name, "is set for a node; the workflow has a request_id, and the node a name")
        if node.job.sequence_key:
            wrong.add("sequence_key", "is set for a node; what a node waits for are its needs")
        if node.job.batch_id:
            wrong.add("batch_id", "is set for a node; what is counted in a batch is a job of its own")
        if node.job.HasField("unique"):
            wrong.add("unique", "is set for a node; what runs once is a job of its own")
        wrong.part = ""
        needs: dict[str, NodeNeed] = {}
        for place, need in enumerate(node.needs):
            field = f"{path}.needs[{place}].node"
            check_name(need.node, field, self._limits.id_chars, wrong, required=True)
            if need.node in needs:
                wrong.add(field, f"is {need.node!r}, which is needed already")
            if need.node == node.name:
                wrong.add(field, "is the node itself, which could then never run")
            needs[need.node] = NodeNeed(
                need.node,
                _policy(need.if_dead, f"{path}.needs[{place}].if_dead", wrong),
                _policy(need.if_cancelled, f"{path}.needs[{place}].if_cancelled", wrong),
                need.pass_result,
            )
        return Node(node.name, job, list(needs.values()))

    def _check_known(self, nodes: Sequence[Node], wrong: Violations) -> None:
        """What is needed is there; the workflow that nodes are added to may have more."""
        names = {node.name for node in nodes}
        for position, node in enumerate(nodes):
            for place, need in enumerate(node.needs):
                if need.node not in names:
                    field = f"nodes[{position}].needs[{place}].node"
                    wrong.add(field, f"is {need.node!r}, and no node of the workflow is called so")


def _policy(value: int, field: str, wrong: Violations) -> Policy:
    if not value:
        return Policy.CASCADE
    if value not in list(Policy):
        wrong.add(field, f"is {value}, which is none of CASCADE, RUN and HOLD")
        return Policy.CASCADE
    return Policy(value)


def _size_of(nodes: Iterable[Node]) -> int:
    return sum([node.job.size for node in nodes])


def _submitted(nodes: Iterable[Node], answer: WorkflowAnswer) -> list[workflows_pb2.SubmittedNode]:
    return [
        workflows_pb2.SubmittedNode(name=node.name, job_id=job_id)
        for node, job_id in zip(nodes, answer.job_ids, strict=True)
    ]
