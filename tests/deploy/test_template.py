"""What stands in the template of a stage: what it keeps, who reaches what, and how its brokers take over."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from osqueue.transports.addresses import parse
from osqueue_deploy.aws.functions import Json
from osqueue_deploy.aws.stage import Stage
from osqueue_deploy.aws.template import template
from osqueue_service.config import known_settings

DEV = Stage("dev")
PUBLIC = Stage("dev", certificate="arn:aws:acm:us-east-1:000000000000:certificate/one", domain="q.example.com")


def resources(stage: Stage, kind: str) -> dict[str, Json]:
    """Properties of all resources of a type, by name."""
    found = template(stage)["Resources"]
    return {name: each["Properties"] for name, each in found.items() if each["Type"] == f"AWS::{kind}"}


def one(stage: Stage, kind: str) -> Json:
    (found,) = resources(stage, kind).values()
    return found


def containers(stage: Stage) -> dict[str, Json]:
    tasks = resources(stage, "ECS::TaskDefinition")
    return {name: task["ContainerDefinitions"][0] for name, task in tasks.items()}


def environment(container: Json) -> dict[str, Any]:
    return {each["Name"]: each["Value"] for each in container["Environment"]}


@pytest.mark.parametrize("name", ["dev", "production"])
def test_the_bucket_is_private_versioned_and_never_deleted_by_the_stack(name: str) -> None:
    made = template(Stage(name))["Resources"]["Bucket"]
    assert (made["DeletionPolicy"], made["UpdateReplacePolicy"]) == ("Retain", "Retain")
    properties = made["Properties"]
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}


def test_no_rule_of_the_bucket_touches_a_current_version() -> None:
    (rules,) = (each["LifecycleConfiguration"]["Rules"] for each in resources(DEV, "S3::Bucket").values())
    for rule in rules:
        assert not {"ExpirationInDays", "ExpirationDate", "Transitions", "Transition"} & set(rule)


def test_the_bucket_is_reached_over_tls_only() -> None:
    (statement,) = one(DEV, "S3::BucketPolicy")["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_brokers_may_touch_their_prefix_and_nothing_else() -> None:
    (policy,) = resources(DEV, "IAM::Role")["BrokerRole"]["Policies"]
    allowed = {json.dumps(each["Resource"]): each["Action"] for each in policy["PolicyDocument"]["Statement"]}
    assert allowed == {
        '{"Fn::Sub": "${Bucket.Arn}/queue/*"}': ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
        '{"Fn::GetAtt": ["Bucket", "Arn"]}': "s3:ListBucket",
    }
    assert {environment(each)["S3_PREFIX"] for name, each in containers(DEV).items() if "Broker" in name} == {"queue/"}


def test_a_gateway_may_do_nothing_in_the_account() -> None:
    assert "TaskRoleArn" not in resources(DEV, "ECS::TaskDefinition")["GatewayTask"]


def test_the_token_is_made_in_secrets_manager_and_stands_nowhere() -> None:
    for container in containers(DEV).values():
        assert container["Secrets"] == [{"Name": "OSQUEUE_TOKEN", "ValueFrom": {"Ref": "Token"}}]
        assert "OSQUEUE_TOKEN" not in environment(container)
    assert resources(DEV, "SecretsManager::Secret")["Token"]["GenerateSecretString"]["PasswordLength"] == 48


@pytest.mark.parametrize("brokers", [2, 3, 5])
def test_each_broker_has_an_address_of_its_own(brokers: int) -> None:
    stage = Stage("dev", brokers=brokers)
    told = [environment(each) for name, each in containers(stage).items() if "Broker" in name]
    addresses = [each["BROKER_ADVERTISE_ADDRESS"] for each in told]
    assert addresses == [f"broker-{n}.osqueue-dev.internal:8081" for n in range(1, brokers + 1)]
    gateway = environment(containers(stage)["GatewayTask"])
    assert gateway["BROKER_GRPC_ADDRESSES"].split(",") == addresses
    names = {each["Name"] for each in resources(stage, "ServiceDiscovery::Service").values()}
    assert names == {address.partition(".")[0] for address in addresses} | {"gateway"}
    assert one(stage, "ServiceDiscovery::PrivateDnsNamespace")["Name"] == addresses[0].partition(".")[2][:-5]


def test_brokers_are_replaced_one_after_the_other_and_stopped_first() -> None:
    stage = Stage("dev", brokers=3)
    services = template(stage)["Resources"]
    for number in (1, 2, 3):
        service = services[f"Broker{number}Service"]
        deployment = service["Properties"]["DeploymentConfiguration"]
        assert (deployment["MinimumHealthyPercent"], deployment["MaximumPercent"]) == (0, 100)
        assert service["Properties"]["DesiredCount"] == 1
        before = {each for each in service["DependsOn"] if each.endswith("Service")}
        assert before == ({f"Broker{number - 1}Service"} if number > 1 else set())
    subnets = [
        services[f"Broker{n}Service"]["Properties"]["NetworkConfiguration"]["AwsvpcConfiguration"]["Subnets"]
        for n in (1, 2)
    ]
    assert subnets == [[{"Ref": "SubnetA"}], [{"Ref": "SubnetB"}]]


def test_a_task_that_does_not_come_up_is_rolled_back() -> None:
    for service in resources(DEV, "ECS::Service").values():
        breaker = service["DeploymentConfiguration"]["DeploymentCircuitBreaker"]
        assert breaker == {"Enable": True, "Rollback": True}


def test_a_leader_has_the_time_to_hand_over() -> None:
    assert {each["StopTimeout"] for each in containers(DEV).values()} == {30}


def test_nothing_takes_a_standby_for_ill() -> None:
    """ECS replaces tasks that a load balancer calls unhealthy: none may ask who leads."""
    groups = resources(DEV, "ElasticLoadBalancingV2::TargetGroup")
    assert {each.get("HealthCheckPath", "") for each in groups.values()} == {"", "/healthz"}
    assert {groups[f"Broker{n}Target"]["HealthCheckProtocol"] for n in (1, 2)} == {"TCP"}
    for name, container in containers(DEV).items():
        if "Broker" in name:
            assert container["HealthCheck"]["Command"] == ["CMD", "python", "-m", "osqueue_service.rpc.healthcheck"]


def test_without_a_certificate_grpc_stays_in_the_network() -> None:
    assert resources(DEV, "ElasticLoadBalancingV2::LoadBalancer")["GrpcBalancer"]["Scheme"] == "internal"
    groups = resources(DEV, "EC2::SecurityGroup")
    assert [each["CidrIp"] for each in groups["GrpcGroup"]["SecurityGroupIngress"]] == ["10.83.0.0/16"]


def test_with_a_certificate_grpc_is_reached_from_outside_over_tls() -> None:
    balancer = resources(PUBLIC, "ElasticLoadBalancingV2::LoadBalancer")["GrpcBalancer"]
    assert balancer["Scheme"] == "internet-facing"
    listeners = resources(PUBLIC, "ElasticLoadBalancingV2::Listener")
    for number in (1, 2):
        listener = listeners[f"Broker{number}Listener"]
        assert (listener["Protocol"], listener["AlpnPolicy"]) == ("TLS", ["HTTP2Only"])
        assert listener["Port"] == 8080 + number
    assert template(PUBLIC)["Outputs"]["Grpc"]["Value"] == "grpcs://q.example.com:8081,grpcs://q.example.com:8082"


def test_clients_understand_the_addresses() -> None:
    outputs = template(PUBLIC)["Outputs"]
    endpoints = parse(outputs["Grpc"]["Value"])
    assert [(each.authority, each.secure) for each in endpoints] == [
        ("q.example.com:8081", True),
        ("q.example.com:8082", True),
    ]
    assert [each.secure for each in parse(outputs["GrpcInside"]["Value"])] == [False, False]


def test_the_gateway_is_reached_through_this_distribution_only() -> None:
    groups = resources(DEV, "EC2::SecurityGroup")
    (edge,) = groups["EdgeGroup"]["SecurityGroupIngress"]
    assert edge["SourcePrefixListId"] == {"Ref": "OriginPrefixList"}
    (gateway,) = groups["GatewayGroup"]["SecurityGroupIngress"]
    assert gateway["SourceSecurityGroupId"] == {"Ref": "EdgeGroup"}
    listener = resources(DEV, "ElasticLoadBalancingV2::Listener")["EdgeListener"]
    assert listener["DefaultActions"][0]["FixedResponseConfig"]["StatusCode"] == "403"
    (condition,) = one(DEV, "ElasticLoadBalancingV2::ListenerRule")["Conditions"]
    (origin,) = one(DEV, "CloudFront::Distribution")["DistributionConfig"]["Origins"]
    (header,) = origin["OriginCustomHeaders"]
    assert condition["HttpHeaderConfig"] == {"HttpHeaderName": header["HeaderName"], "Values": [header["HeaderValue"]]}
    assert "resolve:secretsmanager" in json.dumps(header)


def test_nothing_is_cached_and_everything_passed_on() -> None:
    behaviour = one(DEV, "CloudFront::Distribution")["DistributionConfig"]["DefaultCacheBehavior"]
    assert behaviour["ViewerProtocolPolicy"] == "redirect-to-https"
    assert "POST" in behaviour["AllowedMethods"]
    assert behaviour["CachePolicyId"] == "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"


def test_every_setting_is_one_of_osqueue() -> None:
    known = {*known_settings(), "BROKER_GRPC_ADDRESSES"}
    for container in containers(PUBLIC).values():
        assert set(environment(container)) <= known


def test_alarms_go_to_whoever_is_named() -> None:
    assert not resources(DEV, "SNS::Topic")
    loud = Stage("dev", alarm_email="ada@example.com")
    assert one(loud, "SNS::Topic")["Subscription"] == [{"Protocol": "email", "Endpoint": "ada@example.com"}]
    for alarm in resources(loud, "CloudWatch::Alarm").values():
        assert alarm["AlarmActions"] == [{"Ref": "Alarms"}]


def test_alarms_are_explained(aws_page: str) -> None:
    for name in resources(DEV, "CloudWatch::Alarm"):
        assert f"`{re.sub(r'[0-9]', 'N', name)}`" in aws_page, name


def references(value: Any) -> Iterator[str]:
    """Every name that is referred to."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "Ref":
                yield inner
            elif key == "Fn::GetAtt":
                yield inner[0]
            elif key == "Fn::Sub":
                yield from (name.partition(".")[0] for name in re.findall(r"\$\{([^}]+)\}", inner))
            elif key == "DependsOn":
                yield from [inner] if isinstance(inner, str) else inner
            else:
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


@pytest.mark.parametrize("stage", [DEV, PUBLIC, Stage("dev", brokers=5, alarm_email="a@example.com")])
def test_whatever_is_referred_to_is_there(stage: Stage) -> None:
    made = template(stage)
    there = {*made["Resources"], *made["Parameters"]}
    assert {name for name in references(made) if not name.startswith("AWS::")} <= there
