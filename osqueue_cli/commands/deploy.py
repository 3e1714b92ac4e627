"""`osqueue deploy`: a stage in a cloud account, and its removal."""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from osqueue_cli import asking, output
from osqueue_cli.exits import Exit
from osqueue_cli.failing import Failure

if TYPE_CHECKING:
    from osqueue_deploy.aws.deployment import Deployment
    from osqueue_deploy.aws.image import Build
    from osqueue_deploy.aws.stage import Stage

F = TypeVar("F", bound=Callable[..., Any])


def account_options(command: F) -> F:
    """Which stage is meant, and in which account."""
    for option in (
        click.option(
            "--region",
            metavar="NAME",
            default="",
            envvar="AWS_REGION",
            help="Region; else the profile's.  [env: AWS_REGION]",
        ),
        click.option("--profile", metavar="NAME", default="", help="Profile of ~/.aws.  [env: AWS_PROFILE]"),
        click.option("--stage", metavar="NAME", required=True, help="dev, production, or a name of your own."),
    ):
        command = option(command)
    return command


@click.group()
def deploy() -> None:
    """Put a queue into an AWS account, or take it away.

    One stack of CloudFormation for each stage: brokers, gateway, bucket and what is between them.
    docs/operations/aws.md shows it and says what it costs.

    \b
    Examples:
      osqueue deploy aws --stage dev
      osqueue deploy remove --stage dev
    """


@deploy.command(name="aws")
@account_options
@click.option("--image", metavar="URI", default="", help="Image of osqueue. Without: the one that runs, or one built.")
@click.option("--source", type=click.Path(path_type=Path), default=Path(), help="osqueue's code, to build an image of.")
@click.option("--brokers", metavar="N", type=int, default=2, show_default=True, help="One leads, others stand by.")
@click.option("--gateways", metavar="N", type=int, default=1, show_default=True, help="They share the callers.")
@click.option("--cpu", metavar="N", type=int, default=512, show_default=True, help="Of a broker; 1024: a processor.")
@click.option("--memory", metavar="MIB", type=int, default=1024, show_default=True, help="Of a broker.")
@click.option(
    "--certificate", metavar="ARN", default="", help="Of ACM, for --domain: gRPC from the internet, over TLS."
)
@click.option("--domain", metavar="NAME", default="", help="Name that the certificate is for.")
@click.option("--alarm-email", metavar="ADDRESS", default="", help="Who hears the alarms.")
@click.option("--dry-run", is_flag=True, help="Print the template; look at nothing, change nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def deploy_aws(
    stage: str, profile: str, region: str, image: str, source: Path, dry_run: bool, yes: bool, **sizes: Any
) -> None:
    """Make a stage, or change it into what the options say.

    What would change is shown first, and then asked about; a script must say --yes. A second run changes only what
    is different. Where it fails, what was there before comes back, and the resource is named.

    \b
    Examples:
      osqueue deploy aws --stage dev --image ghcr.io/you/osqueue:1
      osqueue deploy aws --stage production --brokers 3 --gateways 2 --cpu 1024 --memory 4096
      osqueue deploy aws --stage dev --dry-run > template.json
      AWS_PROFILE=work osqueue deploy aws --stage dev --yes
    """
    with _errors():
        from osqueue_deploy.aws.stage import Stage
        from osqueue_deploy.aws.template import template

        wanted = Stage(stage, **sizes)
        if dry_run:
            output.print_json(template(wanted))
            return
        if not yes:
            asking.require_somebody("makes the stage, or changes it", "--dry-run prints the template")
        with _deployment(wanted, profile, region, yes=yes) as deployment:
            deployed = deployment.deploy(image or _built(deployment, source))
    output.note("done" if deployed.changed else "nothing was to be changed")
    _show(deployed.outputs)


@deploy.command(name="remove")
@account_options
@click.option("--confirm", metavar="NAME", default="", help="The stage's name once more, instead of typing it.")
def deploy_remove(stage: str, profile: str, region: str, confirm: str) -> None:
    """Take a stage away, with its bucket and every job in it.

    The stage's name must be typed. Of the stage `production` the bucket is kept, and the next deployment adopts it.

    \b
    Examples:
      osqueue deploy remove --stage dev
      osqueue deploy remove --stage dev --confirm dev
    """
    with _errors():
        from osqueue_deploy.aws.stage import Stage

        doomed = Stage(stage)
        if confirm and confirm != stage:
            raise click.UsageError(f"--confirm: {confirm!r} is not the stage's name; nothing was changed")
        with _deployment(doomed, profile, region, yes=True) as deployment:
            found = deployment.what_is_there()
            if not found:
                raise Failure(f"there is nothing of stage {stage} in this account and region", Exit.NOT_FOUND)
            output.note("to be removed: " + ", ".join(found))
            if not confirm:
                _typed(doomed)
            deployment.remove()
    output.note(f"stage {stage} is removed")


def _typed(stage: "Stage") -> None:
    if not asking.is_somebody_there():
        raise Failure(
            "nothing was changed: standard input is not a terminal, so the stage's name cannot be typed",
            Exit.USAGE,
            hint=f"--confirm {stage.name}",
        )
    kept = "the bucket is kept" if stage.is_production else "every job is lost"
    question = f"remove stage {stage.name}? {kept}. Type its name to do so"
    if click.prompt(output.printable(question), default="", show_default=False, err=True).strip() != stage.name:
        raise click.Abort


@contextmanager
def _deployment(stage: "Stage", profile: str, region: str, *, yes: bool) -> "Iterator[Deployment]":
    from osqueue_deploy.aws.account import open_account
    from osqueue_deploy.aws.deployment import Deployment, Surroundings

    around = Surroundings(
        tell=output.note,
        confirm=(lambda _: None) if yes else asking.confirm,
        sleep=time.sleep,
        new_name=lambda: f"osqueue-{uuid.uuid4().hex}",
    )
    yield Deployment(open_account(profile, region), stage, around)


def _built(deployment: "Deployment", source: Path) -> "Build | None":
    """What to build an image of; None where the stage has one, which stays, and none can be built here."""
    from osqueue_deploy.aws.image import find_build
    from osqueue_deploy.errors import DeployError

    try:
        return find_build(source)
    except DeployError:
        if deployment.has_image():
            return None
        raise


@contextmanager
def _errors() -> Iterator[None]:
    """A deployment's errors as those of the command line."""
    try:
        from osqueue_deploy.errors import BadStage, Denied, DeployError, Failed

        yield
    except ModuleNotFoundError as missing:
        if missing.name not in ("boto3", "botocore"):
            raise
        raise Failure("deploying needs an extra", Exit.CONFIG, hint="pip install 'osqueue[aws]'") from missing
    except DeployError as error:
        codes = {BadStage: Exit.USAGE, Denied: Exit.DENIED, Failed: Exit.FAILED}
        raise Failure(str(error), codes.get(type(error), Exit.CONFIG), hint=error.hint) from error


def _show(outputs: dict[str, str]) -> None:
    """Where things are, and how to submit a job from a laptop."""
    secret, dashboard = outputs["TokenSecret"], outputs["Dashboard"]
    output.say_lines(
        f"""
dashboard  {dashboard}
gRPC       {outputs["Grpc"]}
bucket     s3://{outputs["BucketName"]}/

Submit a job from here:

  export OSQUEUE_TOKEN=$(aws secretsmanager get-secret-value --query SecretString --output text --secret-id {secret})
  export BROKER_URL={dashboard}
  osqueue submit hello '{{"name": "you"}}'
"""
    )
