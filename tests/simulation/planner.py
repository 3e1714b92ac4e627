"""Who has jobs that belong together: submits workflows, and fills batches, nested ones among them."""

from typing import Any

from osqueue.job import JobSpec
from osqueue.submission import new_job
from osqueue_stubs.osqueue.v1 import batches_pb2, workflows_pb2
from tests.simulation.actors import Actor

_AGAIN_MAX = 10
_STAND_BY_MS = 3_000.0
_HELD_FOR_GOOD_MS = 8_000.0
"""Once the trouble is over nobody retries what others wait for."""


class Planner(Actor):
    """Small graphs with every policy, and batches with callbacks, some cancelled; in the end everything is closed."""

    role = "planner"

    async def run(self) -> None:
        self.count = 0
        self.open: list[str] = []
        self.nodes: list[str] = []
        """Jobs of workflows."""
        while not self.world.calm:
            await self.pause(self.think_ms() * 2)
            match self.draw.choice(["workflow", "workflow", "open", "fill", "fill", "seal", "cancel", "look", "retry"]):
                case "workflow":
                    await self._submit_workflow()
                case "open":
                    await self._open_batch()
                case "retry" if self.nodes:
                    await self.attempt(self.client.retry_jobs(self.draw.choices(self.nodes, k=5)))
                case verb if self.open:
                    await self._handle(verb, self.draw.choice(self.open))
        await self.pause(_HELD_FOR_GOOD_MS)
        while True:
            await self._close(
                "Batches", batches_pb2.ListBatchesRequest(statuses=["open"]), "SealBatch", batches_pb2.SealBatchRequest
            )
            await self._close(
                "Workflows",
                workflows_pb2.ListWorkflowsRequest(statuses=["running"]),
                "CancelWorkflow",
                workflows_pb2.CancelWorkflowRequest,
            )
            await self.pause(_STAND_BY_MS)

    async def _submit_workflow(self) -> None:
        draw, name = self.draw, self._name("workflow")
        request = workflows_pb2.SubmitWorkflowRequest(name=name, request_id=name)
        for number in range(draw.randint(2, 6)):
            node = request.nodes.add(name=f"node{number}")
            self._fill(node.job, f"{name}/{number}")
            if draw.random() < 0.1:
                node.job.run_at = int(self.world.store_time_ms()) + 1_000
            for earlier in range(number):
                if draw.random() < 0.5:
                    policies = draw.choices(workflows_pb2.EndPolicy.values(), k=2)
                    node.needs.add(
                        node=f"node{earlier}",
                        if_dead=policies[0],
                        if_cancelled=policies[1],
                        pass_result=draw.random() < 0.5,
                    )
        submitted = await self._insist("SubmitWorkflow", request)
        if submitted is None:
            return
        self.nodes += [node.job_id for node in submitted.nodes]
        if draw.random() < 0.15:
            await self.pause(self.think_ms() * 4)
            cancel = workflows_pb2.CancelWorkflowRequest(workflow_id=submitted.workflow_id)
            await self._ask("CancelWorkflow", cancel)

    async def _open_batch(self) -> None:
        draw, name = self.draw, self._name("batch")
        request = batches_pb2.OpenBatchRequest(name=name, request_id=name, seal_after_ms=draw.choice([0, 1_000]))
        if self.open and draw.random() < 0.4:
            request.parent_batch_id = draw.choice(self.open)
        for callback in ("on_first_dead", "on_success", "on_finished"):
            if draw.random() < 0.8:
                self._fill(getattr(request, callback), f"{name}/{callback}")
        opened = await self._insist("OpenBatch", request)
        if opened is not None:
            self.open.append(opened.batch_id)

    async def _handle(self, verb: str, batch_id: str) -> None:
        match verb:
            case "fill":
                jobs = [self.member(self._name("member"), batch_id) for _ in range(self.draw.randint(1, 4))]
                await self.attempt(self.client.submit_jobs(jobs))
            case "seal":
                self.open.remove(batch_id)
                await self._insist("SealBatch", batches_pb2.SealBatchRequest(batch_id=batch_id))
            case "cancel" if self.draw.random() < 0.6:
                self.open.remove(batch_id)
                await self._insist("CancelBatch", batches_pb2.CancelBatchRequest(batch_id=batch_id))
            case "look":
                await self._ask("GetBatch", batches_pb2.GetBatchRequest(batch_id=batch_id))

    async def _close(self, what: str, listing: Any, verb: str, request: Any) -> None:
        """Do this to all that the listing shows."""
        page = await self._ask(f"List{what}", listing)
        for info in getattr(page, what.lower(), ()):
            await self._ask(verb, request(**{"batch_id" if what == "Batches" else "workflow_id": info.id}))

    def _fill(self, job: Any, content: str) -> None:
        draw = self.draw
        job.type = draw.choice(self.world.swarm.types)
        job.payload = content.encode()
        job.max_attempts = draw.choice([1, 1, 2])

    def member(self, content: str, batch_id: str) -> JobSpec:
        """A job of a batch; now and then one that asks for something to be submitted when it dies."""
        draw = self.draw
        options: dict[str, Any] = {"batch_id": batch_id, "max_attempts": draw.choice([1, 1, 2])}
        if draw.random() < 0.3:
            options["submit_on_dead"] = new_job("", f"{content}/died".encode(), max_attempts=1)
        return new_job(draw.choice(self.world.swarm.types), content.encode(), **options)

    def _name(self, what: str) -> str:
        self.count += 1
        return f"{self.name}/{what}{self.count}"

    async def _insist(self, name: str, request: Any) -> Any:
        """The same call again while its outcome is unknown, as an SDK makes it."""
        for _ in range(_AGAIN_MAX):
            answer = await self._ask(name, request)
            if answer is not None:
                return answer
            await self.pause(200.0)
        return None

    async def _ask(self, name: str, request: Any) -> Any:
        return await self.attempt(self.transport.wire_call(name, request))
