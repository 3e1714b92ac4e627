"""Building workflows: jobs that need other jobs, typed from one to the next."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack, overload

from osqueue.encoding import invalid
from osqueue.handle import result_of
from osqueue.job import SubmitOptions
from osqueue.registry import JobType
from osqueue.submission import new_job
from osqueue.workflow_messages import EndPolicy, NodeNeed, Workflow, WorkflowInfo, WorkflowNode

if TYPE_CHECKING:
    from osqueue.client import OsqueueClient

P = TypeVar("P")
R = TypeVar("R")


class Node(Generic[R]):
    """A node of a workflow that is being built: what others can need, and what gives a result of type R."""

    __slots__ = ("job_type", "name")

    def __init__(self, name: str, job_type: JobType[Any, R] | None) -> None:
        self.name = name
        self.job_type = job_type

    def need(
        self, *, if_dead: EndPolicy = "cascade", if_cancelled: EndPolicy = "cascade", pass_result: bool = True
    ) -> NodeNeed:
        """That another node waits for this one, in another way than by default."""
        return NodeNeed(self.name, if_dead, if_cancelled, pass_result)


Need = Node[Any] | NodeNeed


class WorkflowBuilder:
    """A workflow that is being put together.

        flow = client.workflow("nightly")
        parts = flow.map(COUNT, files)
        total = flow.add(SUM, None, needs=parts)
        handle = await flow.submit()
        print(await handle.result(total))

    Nodes wait for those in `needs` and are given their results: `context.inputs`. A need is a node, or `node.need(…)`
    where a bad end means something else than that this one is cancelled.
    """

    def __init__(self, name: str = "", client: "OsqueueClient | None" = None) -> None:
        self.name = name
        self.nodes: list[WorkflowNode] = []
        """What `submit_workflow` and `add_to_workflow` take."""
        self._client = client
        self._types: dict[str, JobType[Any, Any] | None] = {}

    @overload
    def add(
        self,
        job_type: JobType[P, R],
        payload: P,
        *,
        name: str = ...,
        needs: Iterable[Need] = ...,
        **options: Unpack[SubmitOptions],
    ) -> Node[R]: ...
    @overload
    def add(
        self,
        job_type: str,
        payload: object,
        *,
        name: str = ...,
        needs: Iterable[Need] = ...,
        **options: Unpack[SubmitOptions],
    ) -> Node[Any]: ...
    def add(
        self,
        job_type: Any,
        payload: Any,
        *,
        name: str = "",
        needs: Iterable[Need] = (),
        **options: Unpack[SubmitOptions],
    ) -> Node[Any]:
        """A job that waits for `needs`. Without a name it is called by its type, with a number from the second on.
        `BrokerProtocolError` says what is wrong with it."""
        known = self._client.registry.known(job_type) if self._client is not None else job_type
        spec = new_job(known, payload, **options)
        name = name or self._unused(spec.type or "job")
        if name in self._types:
            raise invalid("name", f"{name!r} is the name of another node")
        self._types[name] = spec.job_type
        wanted = [need if isinstance(need, NodeNeed) else need.need() for need in needs]
        self.nodes.append(WorkflowNode(name, spec, wanted))
        return Node(name, spec.job_type)

    def map(
        self,
        job_type: JobType[P, R],
        payloads: Iterable[P],
        *,
        needs: Iterable[Need] = (),
        **options: Unpack[SubmitOptions],
    ) -> list[Node[R]]:
        """One job for each payload, side by side."""
        wanted = list(needs)
        return [self.add(job_type, payload, needs=wanted, **options) for payload in payloads]

    def gather(
        self, job_type: JobType[P, R], payload: P, nodes: Sequence[Need], **options: Unpack[SubmitOptions]
    ) -> Node[R]:
        """A job that waits for all of these and is given their results."""
        return self.add(job_type, payload, needs=nodes, **options)

    def chain(self, *steps: tuple[JobType[Any, Any] | str, Any], needs: Iterable[Need] = ()) -> list[Node[Any]]:
        """Jobs one after the other, each given the result of the one before; `(type, payload)` of each."""
        nodes: list[Node[Any]] = []
        before: Iterable[Need] = needs
        for job_type, payload in steps:
            nodes.append(self.add(job_type, payload, needs=before))
            before = nodes[-1:]
        return nodes

    async def submit(self) -> "WorkflowHandle":
        """Submit all of it, or none, in one commit. `BrokerProtocolError`, `QueueFullError`."""
        if self._client is None:
            raise invalid("client", "is missing: make the builder with client.workflow(name), or submit its nodes")
        answer = await self._client.submit_workflow(self.name, self.nodes)
        return WorkflowHandle(self._client, answer.workflow_id, dict(answer.nodes))

    def _unused(self, name: str) -> str:
        number, found = 1, name
        while found in self._types:
            number += 1
            found = f"{name}-{number}"
        return found


class WorkflowHandle:
    """A workflow that is durable: ask for a node's result, for how it stands, or for its end."""

    __slots__ = ("_client", "id", "job_ids")

    def __init__(self, client: "OsqueueClient", workflow_id: str, job_ids: dict[str, str]) -> None:
        self._client = client
        self.id = workflow_id
        self.job_ids = job_ids
        """The ids of its jobs by the names of their nodes."""

    def __repr__(self) -> str:
        return f"WorkflowHandle({self.id!r})"

    async def result(self, node: Node[R], timeout_ms: int | None = None) -> R:
        """What came of a node, as soon as its job is finished.

        `WorkerExecutionError` when the job died or was cancelled, `JobNotFinishedError` when the time is over.
        """
        job = await self._client.wait_job(self.job_ids[node.name], timeout_ms)
        return result_of(job, node.job_type, timeout_ms)

    async def wait(self) -> WorkflowInfo:
        """The workflow when all of its jobs have ended, those included that were added meanwhile."""
        while True:
            found = await self.get()
            live = [node for node in found.nodes if node.status not in ("completed", "dead", "cancelled")]
            if not live:
                return found.workflow
            for node in live:
                await self._client.wait_job(node.job_id)

    async def get(self) -> Workflow:
        """The workflow with its nodes, as it is now."""
        return await self._client.get_workflow(self.id)

    async def cancel(self) -> None:
        """Cancel what waits, and ask what runs to stop."""
        await self._client.cancel_workflow(self.id)
