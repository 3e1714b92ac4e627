"""The image that tasks run: one that exists, or one that is built here and pushed to ECR."""

import base64
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import ClientError

from osqueue_deploy.aws.account import Account, call
from osqueue_deploy.aws.stage import Stage
from osqueue_deploy.errors import DeployError

PLATFORM = "linux/amd64"
"""What the tasks run on; a laptop may be of another kind."""
GIVE = "give --image with an image of osqueue that ECS can pull"

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Build:
    """An image is to be built from `source` (a copy of osqueue's code with its Dockerfile) by `engine`."""

    source: Path
    engine: str = "docker"


def find_build(source: Path, engine: str = "docker") -> Build:
    """What to build an image of here; raises `DeployError`, which says what is missing, before anything was made."""
    if not (source / "Dockerfile").is_file() or not (source / "osqueue_service").is_dir():
        raise DeployError(
            f"no image is given, and {source.absolute()} is not a copy of osqueue's code to build one of", GIVE
        )
    try:
        answer = subprocess.run([engine, "info"], capture_output=True, text=True, timeout=30, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        raise DeployError(f"no image is given, and there is no {engine} here to build one with", GIVE) from None
    if answer.returncode:
        raise DeployError(f"no image is given, and {engine} does not run here", GIVE)
    return Build(source, engine)


def build_and_push(account: Account, stage: Stage, build: Build, tell: Tell) -> str:
    """Build the image, push it, and return it with its digest, so that an unchanged one changes nothing."""
    repository = _repository(account, stage)
    tagged = f"{repository}:{stage.name}"
    tell(f"building {tagged} of {build.source}")
    _run([build.engine, "build", "--platform", PLATFORM, "--tag", tagged, str(build.source)])
    answer = call(account.client("ecr").get_authorization_token)["authorizationData"][0]
    user, _, password = base64.b64decode(answer["authorizationToken"]).decode().partition(":")
    registry = repository.partition("/")[0]
    _run([build.engine, "login", "--username", user, "--password-stdin", registry], given=password)
    tell(f"pushing {tagged}")
    _run([build.engine, "push", tagged])
    images = call(
        account.client("ecr").describe_images, repositoryName=stage.stack, imageIds=[{"imageTag": stage.name}]
    )
    return f"{repository}@{images['imageDetails'][0]['imageDigest']}"


def delete_repository(account: Account, stage: Stage, tell: Tell) -> None:
    """Delete the images that were pushed for the stage, if any were."""
    try:
        account.client("ecr").delete_repository(repositoryName=stage.stack, force=True)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") != "RepositoryNotFoundException":
            call(account.client("ecr").delete_repository, repositoryName=stage.stack, force=True)
        return
    tell(f"deleted repository {stage.stack}")


def _repository(account: Account, stage: Stage) -> str:
    ecr = account.client("ecr")
    try:
        found = ecr.describe_repositories(repositoryNames=[stage.stack])["repositories"][0]
    except ClientError:
        found = call(
            ecr.create_repository,
            repositoryName=stage.stack,
            imageScanningConfiguration={"scanOnPush": True},
            tags=[{"Key": "osqueue", "Value": stage.stack}],
        )["repository"]
    return str(found["repositoryUri"])


def _run(command: Sequence[str], given: str | None = None) -> None:
    ended = subprocess.run(command, input=given, text=True, capture_output=True, check=False)
    if ended.returncode:
        said = (ended.stderr or ended.stdout).strip().splitlines()[-5:]
        raise DeployError(f"`{' '.join(command[:2])}` failed:\n" + "\n".join(said))
