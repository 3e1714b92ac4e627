"""The account that a stage goes into: who we are in it, and whether it has room."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from osqueue_deploy.aws import gateway
from osqueue_deploy.aws.stage import Stage
from osqueue_deploy.errors import Denied, DeployError

ORIGIN_LIST = "com.amazonaws.global.cloudfront.origin-facing"

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Account:
    """Credentials that work, with the region that they are used in."""

    session: Any
    number: str
    region: str
    identity: str

    def client(self, service: str) -> Any:
        """A client of that service."""
        return self.session.client(service)

    def origin_prefix_list(self) -> str:
        """The list of CloudFront's addresses in this region."""
        found = call(
            self.client("ec2").describe_managed_prefix_lists,
            Filters=[{"Name": "prefix-list-name", "Values": [ORIGIN_LIST]}],
        )["PrefixLists"]
        if not found:
            raise DeployError(f"{self.region} has no prefix list {ORIGIN_LIST}, so the gateway could not be kept shut")
        return str(found[0]["PrefixListId"])


def open_account(profile: str = "", region: str = "") -> Account:
    """Log in as boto3 does (AWS_PROFILE, AWS_REGION, `~/.aws`, a role); raises `Denied` when that does not work."""
    try:
        session = boto3.Session(profile_name=profile or None, region_name=region or None)
        if not session.region_name:
            raise Denied("no region is chosen", "give --region, or set AWS_REGION")
        who = session.client("sts").get_caller_identity()
    except ClientError as error:
        raise Denied(f"AWS does not take these credentials: {reason(error)}", LOG_IN) from None
    except BotoCoreError as error:
        raise Denied(f"there are no credentials for AWS: {error}", LOG_IN) from None
    return Account(session, who["Account"], session.region_name, who["Arn"])


LOG_IN = "log in (`aws sso login`, `aws configure`) or name another profile with --profile or AWS_PROFILE"


@dataclass(frozen=True, slots=True)
class Quota:
    """How much of something the account may have: its code at Service Quotas, and how much is used and wanted."""

    what: str
    service: str
    code: str
    used: int
    wanted: float


def check_quotas(account: Account, stage: Stage, tell: Tell) -> None:
    """Raise `DeployError` where the stage does not fit into the account any more; say so where that cannot be known."""
    quotas = account.client("service-quotas")
    for quota in _quotas(account, stage):
        try:
            answer = quotas.get_service_quota(ServiceCode=quota.service, QuotaCode=quota.code)
            allowed = answer["Quota"]["Value"]
        except (BotoCoreError, ClientError) as error:
            tell(f"the quota of {quota.what} is not known ({reason(error)})")
            continue
        if quota.used + quota.wanted > allowed:
            raise DeployError(
                f"{account.region} has room for {allowed:g} {quota.what}, {quota.used} are in use, and the stage needs "
                f"{quota.wanted:g} more",
                f"remove some, or ask for more: quota {quota.code} of {quota.service} in Service Quotas",
            )


def _quotas(account: Account, stage: Stage) -> list[Quota]:
    vpcs = len(call(account.client("ec2").describe_vpcs)["Vpcs"])
    balancers = call(account.client("elbv2").describe_load_balancers)["LoadBalancers"]
    kinds = [each["Type"] for each in balancers]
    processors = (stage.brokers * stage.cpu + stage.gateways * gateway.CPU) / 1024
    return [
        Quota("VPCs", "vpc", "L-F678F1CE", vpcs, 1),
        Quota("application load balancers", "elasticloadbalancing", "L-53DA6B97", kinds.count("application"), 1),
        Quota("network load balancers", "elasticloadbalancing", "L-69A177A2", kinds.count("network"), 1),
        # What other tasks use of it is not asked for: a new account may have fewer than one stage needs.
        Quota("processors on Fargate", "fargate", "L-3032A538", 0, processors),
    ]


def call(operation: Callable[..., Any], **arguments: Any) -> Any:
    """Call AWS; what it refuses becomes a `DeployError` that says which call it was, and why."""
    try:
        return operation(**arguments)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        kind = Denied if code in ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation") else DeployError
        raise kind(f"AWS refused {error.operation_name}: {reason(error)}") from error
    except BotoCoreError as error:
        raise DeployError(f"AWS does not answer: {error}") from error


def reason(error: Exception) -> str:
    """What AWS said, without botocore's words around it."""
    if isinstance(error, ClientError):
        told = error.response.get("Error", {})
        return f"{told.get('Code', '?')}: {told.get('Message', '') or 'no reason given'}"
    return str(error)
