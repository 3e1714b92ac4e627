"""Workflows and batches for people: a line of a table, a graph as text, how far a batch has come."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from osqueue_cli import output
from osqueue_cli.shapes import to_json

if TYPE_CHECKING:
    from osqueue import BatchInfo, NodeInfo, NodeNeed, Workflow, WorkflowInfo

WORKFLOW_HEAD = ["WORKFLOW", "NAME", "STATUS", "NODES", "LIVE", "DEAD", "CREATED", "FINISHED"]
BATCH_HEAD = ["BATCH", "NAME", "STATUS", "ENDED", "TOTAL", "DEAD", "CREATED", "FINISHED"]

_COLOURS = {"running": "yellow", "open": "cyan", "sealed": "yellow"}
_LIVE = ("unclaimed", "scheduled", "in_progress", "blocked")
_ENDS = ("completed", "dead", "cancelled", "purged")
_BAR = 30


def workflow_row(info: "WorkflowInfo") -> list[str]:
    """One workflow as a line of the table."""
    live = sum([getattr(info.counts, status) for status in _LIVE])
    return [
        info.id, info.name, info.status, f"{info.nodes:,}", f"{live:,}", f"{info.counts.dead:,}",
        output.since(info.created_at), output.since(info.finished_at),
    ]  # fmt: skip


def batch_row(info: "BatchInfo") -> list[str]:
    """One batch as a line of the table."""
    return [
        info.id, info.name, info.status, f"{info.ended:,}", f"{info.total:,}", f"{info.dead:,}",
        output.since(info.created_at), output.since(info.finished_at),
    ]  # fmt: skip


def print_workflow(workflow: "Workflow", *, as_json: bool) -> None:
    """The whole of it: each node below those that it needs, the further in the later it can run."""
    if as_json:
        output.print_json(to_json(workflow))
        return
    info = workflow.workflow
    _print_title(info.id, info.name, info.status)
    output.say(f"{output.plural(info.nodes, 'node')}, created {output.since(info.created_at)}")
    depths = depths_of(workflow.nodes)
    shown = sorted(workflow.nodes, key=lambda node: depths[node.name])
    rows = [
        ["  " * depths[node.name] + node.name, node.status, node.type, node.job_id, _why(node)] for node in shown
    ]  # fmt: skip
    if rows:
        output.print_table(["NODE", "STATUS", "TYPE", "JOB", "NEEDS"], rows, status_column=1)


def depths_of(nodes: "Sequence[NodeInfo]") -> dict[str, int]:
    """How many nodes come before each, one after the other; those that are no longer kept count as none."""
    needs = {node.name: [need.node for need in node.needs] for node in nodes}
    depths: dict[str, int] = {}
    ways = [[name] for name in needs]
    while ways:
        way = ways.pop()
        missing = [name for name in needs[way[-1]] if name in needs and name not in depths]
        if missing:
            ways += [way, missing[:1]]
        else:
            depths[way[-1]] = max([depths[name] + 1 for name in needs[way[-1]] if name in needs], default=0)
    return depths


def print_batch(info: "BatchInfo", *, as_json: bool) -> None:
    """How far it has come, and what it submitted."""
    if as_json:
        output.print_json(to_json(info))
        return
    _print_title(info.id, info.name, info.status)
    output.say(f"{bar(info.ended, info.total)}  {info.ended:,} of {output.plural(info.total, 'member')} ended")
    ends = [f"{getattr(info, name):,} {name}" for name in _ENDS if getattr(info, name)]
    output.print_fields(
        {
            "ended": ", ".join(ends),
            "member of": info.parent_batch_id,
            "opened": output.since(info.created_at),
            "sealed": output.since(info.sealed_at),
            "cancelled": output.since(info.cancelled_at),
            "finished": output.since(info.finished_at),
            "on first dead": info.first_dead_job_id,
            "on success": info.success_job_id,
            "on finished": info.finished_job_id,
        }
    )


def bar(done: int, of: int) -> str:
    """A bar that is full when all are done, and only then."""
    filled = _BAR * done // of if of else 0
    return "█" * filled + "░" * (_BAR - filled)


def _print_title(id_: str, name: str, status: str) -> None:
    colour = _COLOURS.get(status) or output.STATUS_COLOURS.get(status)
    output.say(f"{id_}  ", output.styled(status, fg=colour), f"  {name}" if name else "")


def _why(node: "NodeInfo") -> str:
    needs = ", ".join(map(_need, node.needs))
    return f"{needs}; cut off by {node.cut_by}" if node.cut_by else needs


def _need(need: "NodeNeed") -> str:
    """The other node's name, with the policies that are not the usual ones."""
    said = [
        f"{policy} if {end}"
        for end, policy in (("dead", need.if_dead), ("cancelled", need.if_cancelled))
        if policy not in ("", "cascade")
    ]
    return f"{need.node} ({', '.join(said)})" if said else need.node
