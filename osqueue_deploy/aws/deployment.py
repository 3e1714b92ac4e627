"""Deploying a stage and removing one, step by step."""

from collections.abc import Callable
from dataclasses import dataclass

from osqueue_deploy.aws import cost
from osqueue_deploy.aws.account import Account, check_quotas
from osqueue_deploy.aws.contents import delete_with_all_versions, is_there
from osqueue_deploy.aws.functions import Json
from osqueue_deploy.aws.image import Build, build_and_push, delete_repository
from osqueue_deploy.aws.stack import Change, Plan, Stack
from osqueue_deploy.aws.stage import Stage
from osqueue_deploy.aws.template import bucket_template, template
from osqueue_deploy.errors import DeployError, Failed


@dataclass(frozen=True)
class Surroundings:
    """What a deployment needs of the world: how to say something, to ask, to wait, and a name for a change set."""

    tell: Callable[[str], None]
    confirm: Callable[[str], None]
    """Returns when the answer is yes; does not return otherwise."""
    sleep: Callable[[float], None]
    new_name: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Deployed:
    """A stage that is there: what its stack says, and whether this run changed anything."""

    outputs: dict[str, str]
    changed: bool


class Deployment:
    """A stage in an account."""

    def __init__(self, account: Account, stage: Stage, around: Surroundings) -> None:
        self._account = account
        self._stage = stage
        self._around = around
        self._stack = Stack(account, stage.stack, around.tell, around.sleep)
        self._bucket = stage.bucket(account.number, account.region)

    def deploy(self, image: str | Build | None) -> Deployed:
        """Make the stage as it should be: plan, ask, change. None keeps the image that runs.

        Raises `DeployError`; what had been there before is then there again, as far as CloudFormation could see to it.
        """
        status = self._stack.status
        if status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS":
            raise DeployError(f"stack {self._stack.name} is {status}", "wait until it is at rest, and run this again")
        found = "" if self._stack.is_remains() else status
        image = image or self._running_image()
        if not image:
            raise DeployError("a first deployment needs an image", "give --image, or run it where one can be built")
        self._say_what_for(image)
        if not found:
            check_quotas(self._account, self._stage, self._around.tell)
            self._remove_remains(status)
        parameters = {"OriginPrefixList": self._account.origin_prefix_list()}
        if isinstance(image, Build):
            self._around.confirm(f"build an image, and push it to ECR as {self._stage.stack}?")
            image = build_and_push(self._account, self._stage, image, self._around.tell)
        parameters["Image"] = image
        if found in ("", "REVIEW_IN_PROGRESS") and is_there(self._account, self._bucket):
            changed = self._adopt(parameters)
        else:
            changed = self._change(parameters)
        if self._stage.is_production:
            self._stack.protect(on=True)
        return Deployed(self._stack.outputs(), changed)

    def remove(self) -> None:
        """Take the stage away with every job. On production the bucket stays, and the next deployment adopts it."""
        if self._stage.is_production and self._stack.status:
            self._stack.protect(on=False)
        self._stack.delete()
        delete_repository(self._account, self._stage, self._around.tell)
        if not is_there(self._account, self._bucket):
            return
        if self._stage.is_production:
            self._around.tell(f"kept bucket {self._bucket}: the next deployment of this stage adopts it")
        else:
            delete_with_all_versions(self._account, self._bucket, self._around.tell)

    def has_image(self) -> bool:
        """Whether the stage runs an image already, which a deployment may keep."""
        return bool(self._running_image())

    def what_is_there(self) -> list[str]:
        """What a removal would find; empty when there is nothing of the stage."""
        found = [f"stack {self._stack.name}"] if self._stack.status else []
        return [*found, f"bucket {self._bucket}"] if is_there(self._account, self._bucket) else found

    def _running_image(self) -> str:
        found = None if self._stack.is_remains() else self._stack.describe()
        parameters = {each["ParameterKey"]: each["ParameterValue"] for each in (found or {}).get("Parameters", [])}
        return str(parameters.get("Image", ""))

    def _say_what_for(self, image: str | Build) -> None:
        tell, account = self._around.tell, self._account
        tell(f"account {account.number}, {account.region}, as {account.identity}")
        told = f"built from {image.source} and pushed to ECR" if isinstance(image, Build) else image
        tell(f"stage {self._stage.name}: {self._stage.brokers} brokers, {cost.in_words(self._stage)}")
        tell(f"image: {told}")

    def _remove_remains(self, status: str) -> None:
        if self._stack.is_remains():
            self._around.tell(f"stack {self._stack.name} is {status}: what a failed deployment left is removed first")
            self._stack.delete()

    def _change(self, parameters: dict[str, str]) -> bool:
        plan = self._plan(parameters)
        if plan is None:
            return False
        self._ask(list(plan.changes), plan)
        self._stack.make(plan)
        return True

    def _adopt(self, parameters: dict[str, str]) -> bool:
        """An earlier stage left its bucket: a new stack begins with it, and gets the rest in a second step."""
        full = template(self._stage)["Resources"]
        others = [Change("Add", name, each["Type"]) for name, each in full.items() if name != "Bucket"]
        self._ask([Change("Import", f"Bucket {self._bucket}", "AWS::S3::Bucket"), *others], None)
        adopted: list[Json] = [
            {
                "ResourceType": "AWS::S3::Bucket",
                "LogicalResourceId": "Bucket",
                "ResourceIdentifier": {"BucketName": self._bucket},
            }
        ]
        first = self._stack.plan(bucket_template(self._stage), {}, self._around.new_name(), adopted)
        if first is None:
            raise Failed(f"bucket {self._bucket} is there, and CloudFormation does not adopt it")
        self._stack.make(first)
        second = self._plan(parameters)
        if second is not None:
            self._stack.make(second)
        return True

    def _plan(self, parameters: dict[str, str]) -> Plan | None:
        return self._stack.plan(template(self._stage), parameters, self._around.new_name())

    def _ask(self, changes: list[Change], plan: Plan | None) -> None:
        for change in changes:
            self._around.tell(f"  {change}")
        try:
            count = len(changes)
            self._around.confirm(f"make {count} change{'' if count == 1 else 's'} to stage {self._stage.name}?")
        except BaseException:
            if plan is not None:
                self._stack.forget(plan)
            raise
