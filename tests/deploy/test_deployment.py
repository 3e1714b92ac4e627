"""Stages in an account: made, changed, failing, adopted, taken away. AWS is an emulator that makes every resource."""

from collections.abc import Callable

import pytest

from osqueue_deploy.aws import contents
from osqueue_deploy.aws.account import Account
from osqueue_deploy.aws.stage import Stage
from osqueue_deploy.aws.template import template
from osqueue_deploy.errors import DeployError, Failed
from tests.deploy.conftest import Told

IMAGE = "registry.example.com/osqueue:1"
Stages = Callable[..., Stage]


def bucket_of(account: Account, stage: Stage) -> str:
    return stage.bucket(account.number, account.region)


def made(account: Account, stage: Stage) -> dict[str, str]:
    """The resources of the stack that were made, with what they are called."""
    pages = account.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stage.stack)
    listed = [each for page in pages for each in page["StackResourceSummaries"]]
    assert {each["ResourceStatus"] for each in listed} <= {"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"}
    return {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in listed}


def test_a_stage_is_made_with_all_that_stands_in_its_template(account: Account, told: Told, stage: Stages) -> None:
    dev = stage("whole", alarm_email="ada@example.com")
    deployed = told.of(dev).deploy(IMAGE)
    assert deployed.changed
    assert set(made(account, dev)) == set(template(dev)["Resources"])
    assert told.plan == {("Add", name) for name in template(dev)["Resources"]}
    assert any(line.startswith("account 000000000000, us-east-1, as arn:") for line in told.lines)
    assert any("a month while idle" in line for line in told.lines)
    assert deployed.outputs["Dashboard"].startswith("https://")
    assert deployed.outputs["BucketName"] == bucket_of(account, dev)


def test_nothing_was_skipped(account: Account, told: Told, stage: Stages) -> None:
    """Each service is asked itself: an emulator may say that it made what it did not.

    This one leaves out four properties of a bucket (public access, ownership, encryption, lifecycle) and one of a
    secret (no punctuation). Those are checked in the template, and by cfn-lint, alone.
    """
    dev = stage("asked", alarm_email="ada@example.com")
    told.of(dev).deploy(IMAGE)
    names = made(account, dev)
    s3, bucket = account.client("s3"), names["Bucket"]
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert "aws:SecureTransport" in s3.get_bucket_policy(Bucket=bucket)["Policy"]
    secrets = account.client("secretsmanager")
    token = secrets.get_secret_value(SecretId=names["Token"])["SecretString"]
    assert len(token) == 48

    ecs = account.client("ecs")
    services = ["broker-1", "broker-2", "gateway"]
    running = ecs.describe_services(cluster=dev.stack, services=services)["services"]
    assert {each["serviceName"]: each["desiredCount"] for each in running} == dict.fromkeys(services, 1)
    for each in running:
        (container,) = ecs.describe_task_definition(taskDefinition=each["taskDefinition"])["taskDefinition"][
            "containerDefinitions"
        ]
        assert (container["image"], container["stopTimeout"]) == (IMAGE, 30)

    discovery = account.client("servicediscovery")
    (namespace,) = [each for each in discovery.list_namespaces()["Namespaces"] if each["Name"] == dev.namespace]
    mine = [{"Name": "NAMESPACE_ID", "Values": [namespace["Id"]]}]
    assert {each["Name"] for each in discovery.list_services(Filters=mine)["Services"]} == set(services)

    balancing = account.client("elbv2")
    edge, grpc = names["EdgeBalancer"], names["GrpcBalancer"]
    kinds = balancing.describe_load_balancers(LoadBalancerArns=[edge, grpc])["LoadBalancers"]
    assert {each["Type"] for each in kinds} == {"application", "network"}
    ports = {each["Port"] for each in balancing.describe_listeners(LoadBalancerArn=grpc)["Listeners"]}
    assert ports == {8081, 8082}
    rules = balancing.describe_rules(ListenerArn=names["EdgeListener"])["Rules"]
    (shown,) = [each for rule in rules for each in rule["Conditions"]]
    secret = secrets.get_secret_value(SecretId=names["OriginSecret"])["SecretString"]
    assert shown["HttpHeaderConfig"]["Values"] == [secret]
    distribution = account.client("cloudfront").get_distribution(Id=names["Distribution"])["Distribution"]
    (origin,) = distribution["DistributionConfig"]["Origins"]["Items"]
    assert [each["HeaderValue"] for each in origin["CustomHeaders"]["Items"]] == [secret]

    alarms = account.client("cloudwatch").describe_alarms()["MetricAlarms"]
    wanted = {names[name] for name in names if name.endswith("Alarm")}
    assert wanted <= {each["AlarmName"] for each in alarms}
    assert all(each["AlarmActions"] for each in alarms if each["AlarmName"] in wanted)
    filters = account.client("logs").describe_metric_filters(logGroupName="/osqueue/asked")["metricFilters"]
    assert len(filters) == 3
    (endpoint,) = account.client("ec2").describe_vpc_endpoints(VpcEndpointIds=[names["BucketEndpoint"]])["VpcEndpoints"]
    assert endpoint["ServiceName"].endswith(".s3")
    role = account.client("iam").get_role_policy(RoleName=names["BrokerRole"], PolicyName="osqueue")
    assert f"{bucket}/queue/*" in str(role["PolicyDocument"])


def test_with_a_certificate_brokers_are_on_the_internet(account: Account, told: Told, stage: Stages) -> None:
    certificate = account.client("acm").request_certificate(DomainName="q.example.com")["CertificateArn"]
    public = stage("public", certificate=certificate, domain="q.example.com")
    outputs = told.of(public).deploy(IMAGE).outputs
    assert outputs["Grpc"] == "grpcs://q.example.com:8081,grpcs://q.example.com:8082"
    balancer = made(account, public)["GrpcBalancer"]
    listeners = account.client("elbv2").describe_listeners(LoadBalancerArn=balancer)["Listeners"]
    assert {(each["Port"], each["Protocol"]) for each in listeners} == {(8081, "TLS"), (8082, "TLS")}
    assert all(each["Certificates"][0]["CertificateArn"] == certificate for each in listeners)


def test_a_second_run_changes_only_what_is_different(account: Account, told: Told, stage: Stages) -> None:
    dev = stage("twice")
    told.of(dev).deploy(IMAGE)
    first = made(account, dev)
    told.lines.clear()
    assert not told.of(dev).deploy(IMAGE).changed
    assert told.plan == set()

    assert told.of(stage("twice", brokers=3)).deploy(None).changed
    added = {name for what, name in told.plan if what == "Add"}
    assert added == {
        f"Broker3{part}" for part in ("Name", "Target", "Listener", "Task", "Service", "GoneAlarm", "MemoryAlarm")
    }
    second = made(account, dev)
    assert {name: second[name] for name in ("Bucket", "Token", "Broker1Service", "GrpcBalancer")} == {
        name: first[name] for name in ("Bucket", "Token", "Broker1Service", "GrpcBalancer")
    }

    told.lines.clear()
    assert told.of(stage("twice", brokers=2)).deploy("registry.example.com/osqueue:2").changed
    assert {name for what, name in told.plan if what == "Remove"} == added
    assert set(made(account, dev)) == set(first)


def test_a_plan_that_is_refused_leaves_nothing(account: Account, told: Told, stage: Stages) -> None:
    class Refused(Exception):
        pass

    deployment = told.of(stage("unwanted"))

    def refuse(question: str) -> None:
        raise Refused

    object.__setattr__(deployment._around, "confirm", refuse)
    with pytest.raises(Refused):
        deployment.deploy(IMAGE)
    assert deployment.what_is_there() == []


def test_a_first_deployment_that_fails_names_the_resource_and_can_be_repeated(
    account: Account, told: Told, stage: Stages
) -> None:
    dev = stage("unlucky")
    network = account.client("ec2").describe_vpcs()["Vpcs"][0]["VpcId"]
    discovery = account.client("servicediscovery")
    discovery.create_private_dns_namespace(Name=dev.namespace, Vpc=network)
    with pytest.raises(Failed, match=r"^Namespace \(AWS::ServiceDiscovery::PrivateDnsNamespace\) failed: .*exists"):
        told.of(dev).deploy(IMAGE)
    clusters = account.client("ecs").describe_clusters(clusters=[dev.stack])["clusters"]
    assert [each for each in clusters if each["status"] == "ACTIVE"] == []

    (stale,) = [each for each in discovery.list_namespaces()["Namespaces"] if each["Name"] == dev.namespace]
    discovery.delete_namespace(Id=stale["Id"])
    told.lines.clear()
    assert told.of(dev).deploy(IMAGE).changed
    assert any("what a failed deployment left is removed first" in line for line in told.lines)
    assert ("Import", "Bucket") in told.plan
    assert set(made(account, dev)) == set(template(dev)["Resources"])


def test_a_change_that_fails_leaves_what_was_there(account: Account, told: Told, stage: Stages) -> None:
    dev = stage("changing")
    told.of(dev).deploy(IMAGE)
    before = made(account, dev)
    account.client("ecs").create_service(
        cluster=dev.stack, serviceName="broker-3", desiredCount=0, taskDefinition="osqueue-changing-broker"
    )
    with pytest.raises(Failed, match=r"^Broker3Service \(AWS::ECS::Service\) failed: "):
        told.of(stage("changing", brokers=3)).deploy(None)
    assert set(made(account, dev)) == set(before)
    assert not told.of(stage("changing")).deploy(IMAGE).changed


def test_production_keeps_its_bucket_and_adopts_it(account: Account, told: Told, stage: Stages) -> None:
    production = stage("production")
    told.of(production).deploy(IMAGE)
    cloud, s3 = account.client("cloudformation"), account.client("s3")
    assert cloud.describe_stacks(StackName=production.stack)["Stacks"][0]["EnableTerminationProtection"]
    s3.put_object(Bucket=bucket_of(account, production), Key="queue/queue.json", Body=b"all the jobs")

    told.of(production).remove()
    assert told.of(production).what_is_there() == [f"bucket {bucket_of(account, production)}"]
    told.lines.clear()
    assert told.of(production).deploy(IMAGE).changed
    assert told.plan == {("Import" if name == "Bucket" else "Add", name) for name in template(production)["Resources"]}
    kept = s3.get_object(Bucket=bucket_of(account, production), Key="queue/queue.json")["Body"].read()
    assert kept == b"all the jobs"
    assert set(made(account, production)) == set(template(production)["Resources"])


def test_other_stages_are_emptied_of_all_versions(
    account: Account, told: Told, stage: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "PAGE", 10)
    dev = stage("short")
    told.of(dev).deploy(IMAGE)
    s3, bucket = account.client("s3"), bucket_of(account, dev)
    for number in range(25):  # several pages of a listing
        s3.put_object(Bucket=bucket, Key="queue/queue.json", Body=b"%d" % number)
    s3.delete_object(Bucket=bucket, Key="queue/queue.json")
    told.of(dev).remove()
    assert told.of(dev).what_is_there() == []
    assert f"deleted 26 versions of objects from {bucket}" in told.lines


def test_a_removal_that_was_broken_off_goes_on(account: Account, told: Told, stage: Stages) -> None:
    dev = stage("broken")
    told.of(dev).deploy(IMAGE)
    account.client("cloudformation").delete_stack(StackName=dev.stack)
    told.of(dev).remove()
    assert told.of(dev).what_is_there() == []


def test_a_first_deployment_needs_an_image(told: Told, stage: Stages) -> None:
    with pytest.raises(DeployError, match="a first deployment needs an image"):
        told.of(stage("bare")).deploy(None)
