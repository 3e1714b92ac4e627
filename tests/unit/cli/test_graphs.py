"""`osqueue workflows` and `osqueue batches`."""

import asyncio

import pytest

from osqueue import JobSpec, NodeInfo, NodeNeed, OpenBatchRequest, OsqueueClient, WorkflowNode, new_job
from osqueue_cli.graph_view import bar, depths_of


@pytest.fixture
def with_client(broker):
    """Runs what a function does with a client."""

    def run(work):
        async def with_it():
            async with OsqueueClient(f"grpc://{broker.address}") as client:
                return await work(client)

        return asyncio.run(with_it())

    return run


def job(job_type: str) -> JobSpec:
    return new_job(job_type, 1, max_attempts=1)


def test_a_workflow_is_shown_as_a_graph_and_says_what_cut_a_node_off(osqueue, with_client, job_type):
    async def prepare(client):
        nodes = [
            WorkflowNode("report", job("later"), [NodeNeed("clean"), NodeNeed("load", if_dead="run")]),
            WorkflowNode("load", job(job_type)),
            WorkflowNode("clean", job("later"), [NodeNeed("load")]),
        ]
        workflow = await client.submit_workflow(job_type, nodes)
        claimed = await client.claim_job("worker", [job_type])
        await client.fail_job(claimed, "no luck")
        return workflow.workflow_id, claimed.job_id

    workflow_id, dead = with_client(prepare)
    shown = osqueue("workflows", "show", workflow_id).out.splitlines()
    assert workflow_id in shown[0] and "dead" in shown[0] and job_type in shown[0]
    names = [line[: line.index(" ", 6)].rstrip() for line in shown[3:]]
    assert names == ["load", "  clean", "    report"], "each below what it needs"
    assert f"load; cut off by {dead}" in shown[4]
    assert "clean, load (run if dead); cut off by" in shown[5]
    line = osqueue("workflows", "list", job_type, "--status", "dead").out.splitlines()[1]
    assert line.startswith(workflow_id)
    assert "no workflow matches" in osqueue("workflows", "list", job_type, "--status", "running").err


def test_a_workflow_is_cancelled(osqueue, with_client, job_type):
    async def prepare(client):
        nodes = [WorkflowNode("a", job(job_type)), WorkflowNode("b", job(job_type), [NodeNeed("a")])]
        workflow = await client.submit_workflow(job_type, nodes)
        await client.claim_job("worker", [job_type])
        return workflow.workflow_id

    workflow_id = with_client(prepare)
    assert osqueue("workflows", "cancel", workflow_id).out == "1 job cancelled; 1 worker asked to stop\n"
    missing = osqueue("workflows", "cancel", "nothing")
    assert missing.exit_code == 3 and "no workflow has the id" in missing.err


def test_a_batch_from_its_opening_to_what_it_submits(osqueue, with_client, job_type):
    async def prepare(client):
        request = OpenBatchRequest(job_type, on_finished=job("summary"))
        return await client.open_batch(request)

    batch_id = with_client(prepare)
    for _ in range(2):
        assert osqueue("submit", job_type, "1", "--batch", batch_id).exit_code == 0
    assert batch_id in osqueue("batches", "list", job_type, "--status", "open").out
    assert osqueue("batches", "seal", batch_id).out == f"{batch_id} is sealed\n"

    async def complete(client):
        await client.complete_job(await client.claim_job("worker", [job_type]))

    with_client(complete)
    shown = osqueue("batches", "show", batch_id).out
    assert "1 of 2 members ended" in shown and "1 completed" in shown and "on finished" not in shown
    with_client(complete)
    shown = osqueue("batches", "show", batch_id)
    assert "completed" in shown.out.splitlines()[0] and "2 of 2 members ended" in shown.out
    (summary,) = [line.split()[-1] for line in shown.out.splitlines() if line.startswith("on finished")]
    assert summary in osqueue("jobs", "--type", "summary").out


def test_a_batch_is_opened_in_another_and_cancelled_with_it(osqueue, job_type):
    outer = osqueue("batches", "open", job_type).out.strip()
    inner = osqueue("batches", "open", "--parent", outer).out.strip()
    osqueue("submit", job_type, "1", "--batch", inner)
    assert "to be cancelled" in osqueue("batches", "cancel", outer).out
    assert "cancelled" in osqueue("batches", "show", inner).out.splitlines()[0]
    assert osqueue("batches", "show", "nothing").exit_code == 3
    late = osqueue("submit", job_type, "1", "--batch", inner)
    assert late.exit_code == 2 and "was cancelled" in late.err


def test_a_graph_as_long_as_one_may_be_is_laid_out():
    names = [f"n{number}" for number in range(1_000)]
    before = [[], *([NodeNeed(name)] for name in names[:-1])]
    nodes = [NodeInfo(name, "", "blocked", needs=needs) for name, needs in zip(names, before, strict=True)]
    assert depths_of(nodes[::-1]) == {name: depth for depth, name in enumerate(names)}


def test_a_node_whose_parent_is_no_longer_kept_stands_at_the_top():
    assert depths_of([NodeInfo("b", "", "unclaimed", needs=[NodeNeed("gone")])]) == {"b": 0}


@pytest.mark.parametrize(("done", "of", "full"), [(0, 0, 0), (0, 9, 0), (999_999, 1_000_000, 29), (5, 5, 30)])
def test_a_bar_is_full_when_all_are_done_and_only_then(done, of, full):
    assert bar(done, of) == "█" * full + "░" * (30 - full)
