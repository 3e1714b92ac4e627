"""The brokers: a service of one task for each, with a name of its own.

One service with several tasks would not do. Only one broker leads, so callers need to address each by itself, and a
load balancer that knew the leader by its health would let ECS kill the standbys as ill. So every broker has a name in
the private domain, which is what it tells others, and a port of the load balancer. They are replaced one after the
other, each stopped first: a leader that is stopped hands over to a standby within a second.
"""

from osqueue_deploy.aws.functions import Json, attribute, ref, resource
from osqueue_deploy.aws.network import SUBNETS
from osqueue_deploy.aws.stage import GRPC_PORT, HTTP_PORT, METRICS_PORT, NAME_SECONDS, PREFIX, Stage
from osqueue_deploy.aws.tasks import network_of, task


def brokers(stage: Stage) -> Json:
    """Brokers with their names and their load balancer."""
    resources: Json = {
        "Namespace": resource("ServiceDiscovery::PrivateDnsNamespace", {"Name": stage.namespace, "Vpc": ref("Vpc")}),
        "GrpcBalancer": resource(
            "ElasticLoadBalancingV2::LoadBalancer",
            {
                "Type": "network",
                # Without TLS a token would cross the internet in the open.
                "Scheme": "internet-facing" if stage.certificate else "internal",
                "Subnets": [ref(name) for name in SUBNETS],
                "SecurityGroups": [ref("GrpcGroup")],
                # Each port has one target, in one zone.
                "LoadBalancerAttributes": [{"Key": "load_balancing.cross_zone.enabled", "Value": "true"}],
            },
            DependsOn="InternetAttachment",
        ),
    }
    for number in range(1, stage.brokers + 1):
        resources |= _broker(stage, number)
    return resources


def _broker(stage: Stage, number: int) -> Json:
    name = f"Broker{number}"
    return {
        f"{name}Name": resource(
            "ServiceDiscovery::Service",
            {
                "Name": f"broker-{number}",
                "DnsConfig": {
                    "NamespaceId": ref("Namespace"),
                    "RoutingPolicy": "MULTIVALUE",
                    "DnsRecords": [{"Type": "A", "TTL": NAME_SECONDS}],
                },
                "HealthCheckCustomConfig": {"FailureThreshold": 1},
            },
        ),
        f"{name}Target": resource(
            "ElasticLoadBalancingV2::TargetGroup",
            {
                "VpcId": ref("Vpc"),
                "TargetType": "ip",
                "Protocol": "TCP",
                "Port": GRPC_PORT,
                # That it lives, never that it leads: a standby is well.
                "HealthCheckProtocol": "TCP",
                "HealthCheckIntervalSeconds": 10,
                "HealthyThresholdCount": 2,
                "UnhealthyThresholdCount": 2,
                "TargetGroupAttributes": [{"Key": "deregistration_delay.timeout_seconds", "Value": "5"}],
            },
        ),
        f"{name}Listener": resource("ElasticLoadBalancingV2::Listener", _listener(stage, number)),
        f"{name}Task": task(
            stage,
            "broker",
            stage.cpu,
            stage.memory,
            _environment(stage, number),
            ["python", "-m", "osqueue_service.rpc.healthcheck"],
            TaskRoleArn=attribute("BrokerRole", "Arn"),
        ),
        f"{name}Service": _service(number),
    }


def _service(number: int) -> Json:
    name = f"Broker{number}"
    # One after the other: CloudFormation waits until the broker before is steady.
    after = [f"Broker{number - 1}Service"] if number > 1 else []
    return resource(
        "ECS::Service",
        {
            "ServiceName": f"broker-{number}",
            "Cluster": ref("Cluster"),
            "TaskDefinition": ref(f"{name}Task"),
            "DesiredCount": 1,
            "LaunchType": "FARGATE",
            "PlatformVersion": "LATEST",
            "NetworkConfiguration": network_of("BrokerGroup", [SUBNETS[(number - 1) % len(SUBNETS)]]),
            "ServiceRegistries": [{"RegistryArn": attribute(f"{name}Name", "Arn")}],
            "LoadBalancers": [
                {"ContainerName": "broker", "ContainerPort": GRPC_PORT, "TargetGroupArn": ref(f"{name}Target")}
            ],
            "HealthCheckGracePeriodSeconds": 60,
            # The old task ends before the new one starts: two under one name would be two brokers at one address.
            "DeploymentConfiguration": {
                "MinimumHealthyPercent": 0,
                "MaximumPercent": 100,
                "DeploymentCircuitBreaker": {"Enable": True, "Rollback": True},
            },
        },
        DependsOn=[f"{name}Listener", "InternetRoute", "BucketEndpoint", *after],
    )


def _environment(stage: Stage, number: int) -> dict[str, str | Json]:
    return {
        "STORAGE_BACKEND": "s3",
        "S3_BUCKET": ref("Bucket"),
        "S3_PREFIX": PREFIX,
        "S3_REGION": ref("AWS::Region"),
        # The image's directory, of which a broker on a bucket has no use.
        "OSQUEUE_DATA_DIR": "",
        "BROKER_ADVERTISE_ADDRESS": stage.broker_address(number),
        "BROKER_HTTP_ADDRESS": f"gateway.{stage.namespace}:{HTTP_PORT}",
        "BROKER_METRICS_PORT": str(METRICS_PORT),
        "LOG_FORMAT": "json",
    }


def _listener(stage: Stage, number: int) -> Json:
    properties: Json = {
        "LoadBalancerArn": ref("GrpcBalancer"),
        "Port": stage.outer_port(number),
        "Protocol": "TCP",
        "DefaultActions": [{"Type": "forward", "TargetGroupArn": ref(f"Broker{number}Target")}],
    }
    if stage.certificate:
        properties |= {
            "Protocol": "TLS",
            "Certificates": [{"CertificateArn": stage.certificate}],
            "SslPolicy": "ELBSecurityPolicy-TLS13-1-2-2021-06",
            # gRPC is HTTP/2, which a client asks for while it shakes hands.
            "AlpnPolicy": ["HTTP2Only"],
        }
    return properties
