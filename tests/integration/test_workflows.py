"""Workflows over the wire: what is refused by its path, what is answered, what workers and people are told."""

import pytest

from osqueue_service.limits import DEFAULT_LIMITS
from osqueue_stubs.osqueue.v1 import job_pb2, queue_pb2, workflows_pb2, workflows_pb2_grpc
from tests.calls import claim, complete, fail, holder, refused, status

RUN, HOLD = workflows_pb2.END_POLICY_RUN, workflows_pb2.END_POLICY_HOLD


@pytest.fixture
def flows(channel) -> workflows_pb2_grpc.WorkflowServiceStub:
    return workflows_pb2_grpc.WorkflowServiceStub(channel)


def need(node: str, **fields: object) -> workflows_pb2.NodeNeed:
    return workflows_pb2.NodeNeed(node=node, **fields)


def node(name: str, *needs: object, **job: object) -> workflows_pb2.WorkflowNode:
    spec = queue_pb2.SubmitJobRequest(**{"type": name, "payload": b"{}", "max_attempts": 1, **job})
    wanted = [each if isinstance(each, workflows_pb2.NodeNeed) else need(each) for each in needs]
    return workflows_pb2.WorkflowNode(name=name, job=spec, needs=wanted)


async def submit(flows, *nodes, **fields) -> tuple[str, dict[str, str]]:
    answer = await flows.SubmitWorkflow(workflows_pb2.SubmitWorkflowRequest(nodes=nodes, **fields))
    return answer.workflow_id, {each.name: each.job_id for each in answer.nodes}


async def get(flows, workflow_id) -> workflows_pb2.GetWorkflowResponse:
    return await flows.GetWorkflow(workflows_pb2.GetWorkflowRequest(workflow_id=workflow_id))


async def test_a_workflow_runs_from_end_to_end(queue, flows):
    workflow_id, ids = await submit(flows, node("a"), node("b", need("a", pass_result=True)), name="nightly")
    found = await get(flows, workflow_id)
    assert (found.workflow.name, found.workflow.status, found.workflow.nodes) == ("nightly", "running", 2)
    assert [(each.name, each.job_id, each.status) for each in found.nodes] == [
        ("a", ids["a"], "unclaimed"), ("b", ids["b"], "blocked"),
    ]  # fmt: skip
    assert found.nodes[1].needs[0] == need("a", if_dead=1, if_cancelled=1, pass_result=True)
    assert found.workflow.counts.total == 2
    first = await claim(queue)
    assert (first.workflow_id, list(first.inputs)) == (workflow_id, [])
    await complete(queue, first, result=b"42")
    second = await claim(queue)
    assert second.job_id == ids["b"]
    assert list(second.inputs) == [
        job_pb2.JobInput(node="a", job_id=ids["a"], status="completed", result=b"42")
    ]  # fmt: skip
    await complete(queue, second)
    found = await get(flows, workflow_id)
    assert (found.workflow.status, found.workflow.counts.completed) == ("completed", 2)
    assert found.workflow.finished_at
    job = (await queue.GetJob(queue_pb2.GetJobRequest(job_id=ids["b"]))).job
    assert (job.workflow_id, job.node) == (workflow_id, "b")


async def test_results_that_are_too_large_together_are_left_to_be_read(queue, flows):
    await submit(flows, node("a"), node("b"), node("c", need("a", pass_result=True), need("b", pass_result=True)))
    for name in ("a", "b"):
        await complete(queue, await claim(queue, types=[name]), result=b"x" * 600_000)
    inputs = (await claim(queue, types=["c"])).inputs
    assert [(each.node, len(each.result), each.omitted) for each in inputs] == [("a", 600_000, False), ("b", 0, True)]


async def test_a_death_is_told_by_the_explanations_of_what_it_concerns(queue, flows):
    _, ids = await submit(flows, node("a"), node("b", "a"), node("c", need("a", if_dead=HOLD)))
    explain = lambda name: queue.ExplainJob(queue_pb2.ExplainJobRequest(job_id=ids[name]))  # noqa: E731
    waiting = await explain("b")
    assert waiting.reasons == [queue_pb2.EXPLAIN_REASON_BLOCKED]
    assert list(waiting.blocked_by) == [ids["a"]]
    assert "'a' is unclaimed" in waiting.message
    await fail(queue, await claim(queue))
    assert ids["a"] in (await explain("b")).message
    held = await explain("c")
    assert list(held.blocked_by) == [ids["a"]]
    assert "'a' is dead" in held.message and "retry it, or purge it" in held.message


async def test_a_retry_revives_what_a_death_cut_off(queue, flows):
    workflow_id, ids = await submit(flows, node("a"), node("b", "a"))
    await fail(queue, await claim(queue))
    found = await get(flows, workflow_id)
    assert (found.workflow.status, found.nodes[1].status, found.nodes[1].cut_by) == ("dead", "cancelled", ids["a"])
    await queue.RetryJobs(queue_pb2.RetryJobsRequest(job_ids=[ids["a"]]))
    assert (await get(flows, workflow_id)).nodes[1].status == "blocked"


@pytest.mark.parametrize(
    ("nodes", "field"),
    [
        ([], "nodes"),
        ([node("")], "nodes[0].name"),
        ([node("a"), node("b"), node("a")], "nodes[2].name"),
        ([node("a"), node("b", "nowhere")], "nodes[1].needs[0].node"),
        ([node("a", "a")], "nodes[0].needs[0].node"),
        ([node("a"), node("b", "a", "a")], "nodes[1].needs[1].node"),
        ([node("x"), node("a", "x", "c"), node("b", "a"), node("c", "b")], "nodes[2].needs[0].node"),
        ([node("a", payload=b"")], "nodes[0].job.payload"),
        ([node("a", idempotency_key="k")], "nodes[0].job.idempotency_key"),
        ([node("a"), node("b", request_id="r")], "nodes[1].job.request_id"),
        ([node("a"), node("b", need("a", if_dead=9))], "nodes[1].needs[0].if_dead"),
    ],
)
async def test_what_is_wrong_is_named_by_its_path_and_changes_nothing(queue, flows, nodes, field):
    with refused("INVALID_REQUEST") as refusal:
        await submit(flows, *nodes)
    assert field in refusal.violations
    assert (await queue.GetStats(queue_pb2.GetStatsRequest())).total == 0


async def test_a_cycle_is_told_as_the_way_around(flows):
    with refused("INVALID_REQUEST") as refusal:
        await submit(flows, node("a", "c"), node("b", "a"), node("c", "b"))
    (problem,) = refusal.violations.values()
    assert problem.count("→") == 3


async def test_there_may_be_a_thousand_nodes_and_not_one_more(queue, flows):
    names = [f"n{n}" for n in range(DEFAULT_LIMITS.workflow_nodes + 1)]
    nodes = [node(name, *names[max(0, place - 1) : place], type="t") for place, name in enumerate(names)]
    with refused("INVALID_REQUEST") as refusal:
        await submit(flows, *nodes)
    assert "workflow_nodes" in refusal.violations["nodes"]
    await submit(flows, *nodes[:-1])
    assert (await queue.GetStats(queue_pb2.GetStatsRequest())).blocked == 999


async def test_there_may_be_so_many_needs(flows):
    wide = [node(f"n{n}", type="t") for n in range(101)]
    every = [f"n{n}" for n in range(101)]
    with refused("INVALID_REQUEST") as refusal:
        await submit(flows, *wide, *[node(f"m{n}", *every, type="t") for n in range(100)])
    assert "workflow_needs" in refusal.violations["nodes.needs"]


async def test_a_running_job_adds_to_its_workflow_once(queue, flows):
    workflow_id, ids = await submit(flows, node("a"))
    running = await claim(queue)
    request = workflows_pb2.AddToWorkflowRequest(**holder(running), nodes=[node("b", "a"), node("c", "b")])
    added = await flows.AddToWorkflow(request)
    assert added.workflow_id == workflow_id
    assert await flows.AddToWorkflow(request) == added
    assert [each.name for each in (await get(flows, workflow_id)).nodes] == ["a", "b", "c"]
    request.nodes.append(node("d", "nowhere"))
    with refused("INVALID_REQUEST") as refusal:
        await flows.AddToWorkflow(request)
    assert list(refusal.violations) == ["nodes[2].needs[0].node"]
    await complete(queue, running)
    with refused("LEASE_LOST"):
        await flows.AddToWorkflow(request)
    assert await status(queue, ids["a"]) == "completed"


async def test_workflows_are_listed_page_by_page_and_chosen_by_name_and_status(queue, flows):
    ids = [(await submit(flows, node("a"), name=f"w{n % 2}"))[0] for n in range(5)]
    await fail(queue, await claim(queue))
    await complete(queue, await claim(queue))

    async def listed(**asked: object) -> list[str]:
        found: list[str] = []
        token = ""
        while True:
            request = workflows_pb2.ListWorkflowsRequest(page_token=token, **asked)
            page = await flows.ListWorkflows(request)
            found += [each.id for each in page.workflows]
            token = page.next_page_token
            if not token:
                return found

    assert await listed() == await listed(page_size=2) == ids
    assert await listed(name="w1", page_size=1) == ids[1::2]
    assert await listed(statuses=["dead"]) == ids[:1]
    assert await listed(statuses=["completed", "dead"]) == ids[:2]
    assert await listed(statuses=["running"], page_size=1) == ids[2:]
    with refused("INVALID_REQUEST") as refusal:
        await listed(statuses=["finished"])
    assert list(refusal.violations) == ["statuses[0]"]


async def test_cancelling_ends_what_waits_and_takes_no_more(queue, flows):
    workflow_id, ids = await submit(flows, node("a"), node("b", "a"), node("c"))
    running = await claim(queue)
    request = workflows_pb2.CancelWorkflowRequest(workflow_id=workflow_id)
    answer = await flows.CancelWorkflow(request)
    assert (answer.cancelled, answer.asked) == (2, 1)
    assert await status(queue, ids["b"]) == "cancelled"
    with refused("INVALID_REQUEST"):
        await flows.AddToWorkflow(workflows_pb2.AddToWorkflowRequest(**holder(running), nodes=[node("d")]))
    await complete(queue, running)
    assert (await get(flows, workflow_id)).workflow.status == "cancelled"


async def test_what_does_not_exist_is_not_found(flows):
    for call, request in (
        (flows.GetWorkflow, workflows_pb2.GetWorkflowRequest(workflow_id="nope")),
        (flows.CancelWorkflow, workflows_pb2.CancelWorkflowRequest(workflow_id="nope")),
    ):
        with refused("WORKFLOW_NOT_FOUND"):
            await call(request)


async def test_a_repeated_submission_is_one_workflow(queue, flows):
    first = await submit(flows, node("a"), node("b", "a"), request_id="r")
    assert await submit(flows, node("a"), node("b", "a"), request_id="r") == first
    with refused("IDEMPOTENCY_CONFLICT"):
        await submit(flows, node("a"), node("b"), request_id="r")
    assert (await queue.GetStats(queue_pb2.GetStatsRequest())).total == 2
