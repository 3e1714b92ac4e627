"""A CloudFormation stack: what would change, changing it, and telling how it goes."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from osqueue_deploy.aws.account import Account, call
from osqueue_deploy.aws.functions import Json
from osqueue_deploy.aws.template import body
from osqueue_deploy.errors import Failed

LOOK_S = 3.0
"""How long to wait before looking again at work that AWS is doing."""
WAIT_S_MAX = 60 * 60
"""After this long without an end a stack is left to itself. CloudFormation gives up on a service earlier."""

CAPABILITIES = ["CAPABILITY_IAM"]
_REMAINS = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED", "CREATE_FAILED")
"""States that a first deployment leaves when it fails; such a stack can only be deleted."""


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one resource: `Add`, `Modify`, `Remove`, `Import`; modified in place or replaced."""

    action: str
    name: str
    kind: str
    replaced: bool = False

    def __str__(self) -> str:
        return f"{'Replace' if self.replaced else self.action:<8} {self.name} ({self.kind.removeprefix('AWS::')})"


@dataclass(frozen=True, slots=True)
class Plan:
    """A change set that waits to be made."""

    change_set: str
    changes: tuple[Change, ...]


class Stack:
    """One stack by its name. `sleep` is told how many seconds to wait, `tell` what is going on."""

    def __init__(
        self, account: Account, name: str, tell: Callable[[str], None], sleep: Callable[[float], None]
    ) -> None:
        self.name = name
        self._cloud = account.client("cloudformation")
        self._tell = tell
        self._sleep = sleep

    def describe(self) -> Json | None:
        """The stack as AWS tells of it; None when there is none."""
        try:
            return dict(self._cloud.describe_stacks(StackName=self.name)["Stacks"][0])
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            return dict(call(self._cloud.describe_stacks, StackName=self.name)["Stacks"][0])

    @property
    def status(self) -> str:
        """Its state in AWS's words, "" when there is none."""
        found = self.describe()
        return "" if found is None else str(found["StackStatus"])

    def outputs(self) -> dict[str, str]:
        """What it says of itself when it is there."""
        found = self.describe() or {}
        return {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])}

    def is_remains(self) -> bool:
        """Whether a failed first deployment left it."""
        return self.status in _REMAINS

    def plan(
        self, template: Json, parameters: Mapping[str, str], name: str, adopt: list[Json] | None = None
    ) -> Plan | None:
        """What would change; None when nothing would. `name` is that of the change set. `adopt` lists resources that
        exist already, which the stack then takes over."""
        found = self.status
        kind = "IMPORT" if adopt else "CREATE" if found in ("", "REVIEW_IN_PROGRESS") else "UPDATE"
        # An import may change nothing besides, tags of the stack included.
        tags = [{"Key": "osqueue", "Value": self.name}]
        arguments: dict[str, Any] = {"ResourcesToImport": adopt} if adopt else {"Tags": tags}
        created = call(
            self._cloud.create_change_set,
            StackName=self.name,
            ChangeSetName=name,
            ChangeSetType=kind,
            TemplateBody=body(template),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Capabilities=CAPABILITIES,
            **arguments,
        )
        change_set = str(created["Id"])
        while True:
            told = call(self._cloud.describe_change_set, ChangeSetName=change_set)
            if told["Status"] == "FAILED":
                self._refuse_unless_unchanged(change_set, str(told.get("StatusReason", "")))
                return None
            if told["Status"] == "CREATE_COMPLETE":
                return Plan(change_set, tuple(self._changes(told)))
            self._sleep(LOOK_S)

    def forget(self, plan: Plan) -> None:
        """Drop a plan that is not to be made, and the empty stack that a first one brought with it."""
        call(self._cloud.delete_change_set, ChangeSetName=plan.change_set)
        if self.status == "REVIEW_IN_PROGRESS":
            call(self._cloud.delete_stack, StackName=self.name)

    def make(self, plan: Plan) -> None:
        """Make the changes, and return when they are made; raises `Failed`, naming the resource, when AWS could not."""
        seen = self._seen()
        call(self._cloud.execute_change_set, ChangeSetName=plan.change_set)
        self._follow(seen, self.name)

    def delete(self) -> None:
        """Delete the stack with all that it does not retain."""
        found = self.describe()
        if found is None:
            return
        seen = self._seen()
        call(self._cloud.delete_stack, StackName=self.name)
        self._follow(seen, str(found["StackId"]))

    def protect(self, *, on: bool) -> None:
        """Let AWS refuse to delete the stack, or let it do so again."""
        call(self._cloud.update_termination_protection, StackName=self.name, EnableTerminationProtection=on)

    def _changes(self, told: Json) -> Iterator[Change]:
        while True:
            for each in told["Changes"]:
                changed = each["ResourceChange"]
                # What AWS calls conditional turns out as it makes it; a service whose task is new is changed in place.
                replaced = changed["Action"] == "Modify" and changed.get("Replacement") == "True"
                yield Change(changed["Action"], changed["LogicalResourceId"], changed["ResourceType"], replaced)
            if not told.get("NextToken"):
                return
            told = call(self._cloud.describe_change_set, ChangeSetName=told["ChangeSetId"], NextToken=told["NextToken"])

    def _refuse_unless_unchanged(self, change_set: str, why: str) -> None:
        call(self._cloud.delete_change_set, ChangeSetName=change_set)
        if "didn't contain changes" in why or "No updates are to be performed" in why:
            return
        if self.status == "REVIEW_IN_PROGRESS":
            call(self._cloud.delete_stack, StackName=self.name)
        raise Failed(f"stack {self.name} cannot be changed so: {why or 'AWS gives no reason'}")

    def _seen(self) -> set[str]:
        return {each["EventId"] for each in self._events(self.name)}

    def _events(self, stack: str) -> list[Json]:
        """Oldest first."""
        pages = self._cloud.get_paginator("describe_stack_events").paginate(StackName=stack)
        return [each for page in call(lambda: list(pages)) for each in page["StackEvents"]][::-1]

    def _follow(self, seen: set[str], stack: str) -> None:
        """Tell what happens until the stack is at rest."""
        failures: list[Json] = []
        waited = 0.0
        while True:
            status = self._status_of(stack)
            for event in self._events(stack):
                if event["EventId"] not in seen:
                    seen.add(event["EventId"])
                    self._tell_event(event)
                    if event["ResourceStatus"].endswith("_FAILED"):
                        failures.append(event)
            if not status.endswith("_IN_PROGRESS"):
                break
            if waited > WAIT_S_MAX:
                raise Failed(f"stack {self.name} is {status} after {WAIT_S_MAX // 60} minutes; it goes on without us")
            self._sleep(LOOK_S)
            waited += LOOK_S
        if failures or "ROLLBACK" in status or status.endswith("FAILED"):
            raise Failed(self._why(failures, status))

    def _status_of(self, stack: str) -> str:
        return str(call(self._cloud.describe_stacks, StackName=stack)["Stacks"][0]["StackStatus"])

    def _tell_event(self, event: Json) -> None:
        why = event.get("ResourceStatusReason", "")
        failed = event["ResourceStatus"].endswith("_FAILED")
        self._tell(f"{event['ResourceStatus']:<20} {event['LogicalResourceId']}{f': {why}' if failed and why else ''}")

    def _why(self, failures: list[Json], status: str) -> str:
        """The first failure is the cause; others were cancelled because of it."""
        causes = [each for each in failures if "cancelled" not in each.get("ResourceStatusReason", "").lower()]
        named = [each for each in causes if each["LogicalResourceId"] != self.name] or causes
        if not named:
            return f"stack {self.name} is {status}, and AWS names no resource"
        first = named[0]
        what = f"{first['LogicalResourceId']} ({first['ResourceType']})"
        return (
            f"{what} failed: {first.get('ResourceStatusReason', 'AWS gives no reason')}; stack {self.name} is {status}"
        )
