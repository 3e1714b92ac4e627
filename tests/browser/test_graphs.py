"""The pages of workflows and batches: what there is, the graph with its statuses, and what can be done."""

from tests.browser.chromium import Page, expect
from tests.browser.queue_processes import Queue


def node(name: str, *needs: str, job_type: str = "shown") -> dict[str, object]:
    return {"name": name, "job": {"type": job_type, "payload": name}, "needs": [{"node": one} for one in needs]}


def submit(queue: Queue, name: str, *nodes: dict[str, object]) -> dict[str, str]:
    """The jobs of a new workflow by their nodes, and under "" its own id."""
    answer = queue.post("/v1/workflows", {"name": name, "nodes": nodes})
    return {each["name"]: each["jobId"] for each in answer["nodes"]} | {"": answer["workflowId"]}


def test_without_any_the_pages_say_what_they_are_and_how_to_have_one(page: Page) -> None:
    page.goto("/workflows")
    expect(page.get_by_text("There is no workflow yet")).to_be_visible()
    expect(page.get_by_text("client.workflow")).to_be_visible()
    page.goto("/batches")
    expect(page.get_by_text("There is no batch yet")).to_be_visible()
    expect(page.get_by_text("osqueue batches open")).to_be_visible()


def test_a_workflow_is_drawn_and_its_statuses_follow(page: Page, queue: Queue) -> None:
    ids = submit(queue, "order", node("charge", job_type="charge"), node("ship", "charge"), node("mail", "charge"))
    page.goto("/workflows")
    page.get_by_role("link", name="order").click()
    expect(page.get_by_role("heading", name="order")).to_be_visible()
    expect(page.locator(".graph .node")).to_have_count(3)
    expect(page.locator(".graph .edge")).to_have_count(2)
    expect(page.get_by_label("ship: blocked")).to_be_visible()
    queue.settle(queue.claim(types=["charge"]), "complete")
    expect(page.get_by_label("charge: completed")).to_be_visible()
    expect(page.get_by_label("ship: waiting")).to_be_visible()
    page.get_by_label("charge: completed").click()
    expect(page.locator(".title .id")).to_have_text(ids["charge"])
    page.get_by_role("link", name=ids[""]).click()
    expect(page.get_by_role("heading", name="order")).to_be_visible()
    page.get_by_role("button", name="Cancel…").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel it").click()
    expect(page.locator(".title .status")).to_have_text("cancelled")


def test_a_death_is_retried_from_the_graph_and_what_it_cut_off_waits_again(page: Page, queue: Queue) -> None:
    ids = submit(queue, "broken", node("first", job_type="first"), node("second", "first"))
    queue.settle(queue.claim(types=["first"]), "fail", error={"type": "Broken", "message": "no"}, retryable=False)
    page.goto(f"/workflows/{ids['']}")
    expect(page.get_by_label("second: cancelled")).to_be_visible()
    page.get_by_role("button", name="Retry 1 dead job").click()
    expect(page.get_by_label("first: waiting")).to_be_visible()
    expect(page.get_by_label("second: blocked")).to_be_visible()


def test_a_graph_of_a_thousand_nodes_is_drawn(page: Page, queue: Queue) -> None:
    children = [node(f"n{number}", f"n{number // 3}") for number in range(1, 1_000)]
    ids = submit(queue, "large", node("n0"), *children)
    page.goto(f"/workflows/{ids['']}")
    expect(page.locator(".graph .node")).to_have_count(1_000)
    expect(page.locator(".graph .edge")).to_have_count(999)
    frame = page.locator(".graph svg")
    width = frame.evaluate("svg => svg.getBoundingClientRect().width")
    page.get_by_role("button", name="Smaller").click()
    expect(page.get_by_role("button", name="50 %")).to_be_visible()
    assert frame.evaluate("svg => svg.getBoundingClientRect().width") < 0.6 * width


def test_a_batch_shows_how_far_it_is_and_what_its_end_submitted(page: Page, queue: Queue) -> None:
    opened = queue.post("/v1/batches", {"name": "invoices", "onFinished": {"type": "summary", "payload": 1}})
    batch_id = opened["batchId"]
    for number in range(2):
        queue.submit(number, type="invoice", batchId=batch_id)
    queue.settle(queue.claim(types=["invoice"]), "complete")
    page.goto("/batches")
    page.get_by_role("link", name="invoices").click()
    expect(page.get_by_text("1 of 2 ended")).to_be_visible()
    page.get_by_role("button", name="Seal…").click()
    page.get_by_role("dialog").get_by_role("button", name="Seal it").click()
    expect(page.locator(".title .status")).to_have_text("sealed")
    queue.settle(queue.claim(types=["invoice"]), "complete")
    expect(page.locator(".title .status")).to_have_text("completed")
    expect(page.get_by_text("Its end submitted")).to_be_visible()
    page.locator(".facts .id").click()
    expect(page.get_by_text("the end of the batch")).to_be_visible()
    page.get_by_role("link", name=batch_id).click()
    page.get_by_role("link", name="List its jobs").click()
    expect(page.locator("tbody tr")).to_have_count(2)


def test_what_is_not_there_is_said(page: Page) -> None:
    page.goto("/workflows/0123456789abcdef")
    expect(page.get_by_text("There is no workflow with this id")).to_be_visible()
    page.goto("/batches/0123456789abcdef")
    expect(page.get_by_text("There is no batch with this id")).to_be_visible()
