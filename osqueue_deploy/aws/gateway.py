"""The gateway, a load balancer before it, and CloudFront before that: https without a certificate of one's own."""

from osqueue_deploy.aws.functions import Json, attribute, ref, resource, sub
from osqueue_deploy.aws.network import SUBNETS
from osqueue_deploy.aws.stage import HTTP_PORT, NAME_SECONDS, Stage
from osqueue_deploy.aws.tasks import network_of, task

CPU, MEMORY = 256, 512
ORIGIN_HEADER = "X-Osqueue-Origin"
"""What the load balancer lets in: anybody may put a distribution of their own before its public address."""

WAIT_S = 60
"""How long CloudFront waits for the first byte of an answer, the longest that it offers to everyone."""

NO_CACHING = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
EVERYTHING_ON = "216adef6-5c7f-47e4-b989-5492eafa07d3"
"""CloudFront's own policies: keep no answer, and pass on every header, cookie and query string."""

CHECK = "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/healthz', timeout=3)"


def gateway(stage: Stage) -> Json:
    """Gateways with what stands before them."""
    return {**_tasks(stage), **_balancer(), **_door(), "Distribution": _distribution(stage)}


def _tasks(stage: Stage) -> Json:
    addresses = ",".join(stage.broker_address(number) for number in range(1, stage.brokers + 1))
    environment: dict[str, str | Json] = {"BROKER_GRPC_ADDRESSES": addresses, "LOG_FORMAT": "json"}
    return {
        "GatewayName": resource(
            "ServiceDiscovery::Service",
            {
                "Name": "gateway",
                "DnsConfig": {
                    "NamespaceId": ref("Namespace"),
                    "RoutingPolicy": "MULTIVALUE",
                    "DnsRecords": [{"Type": "A", "TTL": NAME_SECONDS}],
                },
                "HealthCheckCustomConfig": {"FailureThreshold": 1},
            },
        ),
        "GatewayTask": task(stage, "gateway", CPU, MEMORY, environment, ["python", "-c", CHECK]),
        "GatewayService": resource(
            "ECS::Service",
            {
                "ServiceName": "gateway",
                "Cluster": ref("Cluster"),
                "TaskDefinition": ref("GatewayTask"),
                "DesiredCount": stage.gateways,
                "LaunchType": "FARGATE",
                "PlatformVersion": "LATEST",
                "NetworkConfiguration": network_of("GatewayGroup"),
                "ServiceRegistries": [{"RegistryArn": attribute("GatewayName", "Arn")}],
                "LoadBalancers": [
                    {"ContainerName": "gateway", "ContainerPort": HTTP_PORT, "TargetGroupArn": ref("GatewayTarget")}
                ],
                "HealthCheckGracePeriodSeconds": 60,
                "DeploymentConfiguration": {
                    "MinimumHealthyPercent": 100,
                    "MaximumPercent": 200,
                    "DeploymentCircuitBreaker": {"Enable": True, "Rollback": True},
                },
            },
            # It is of no use before a broker leads, and the newest gateway speaks to brokers at least as new.
            DependsOn=["EdgeRule", f"Broker{stage.brokers}Service"],
        ),
    }


def _balancer() -> Json:
    return {
        "EdgeBalancer": resource(
            "ElasticLoadBalancingV2::LoadBalancer",
            {
                "Type": "application",
                "Scheme": "internet-facing",
                "Subnets": [ref(name) for name in SUBNETS],
                "SecurityGroups": [ref("EdgeGroup")],
                # Longer than any answer lets one wait.
                "LoadBalancerAttributes": [{"Key": "idle_timeout.timeout_seconds", "Value": "120"}],
            },
            DependsOn="InternetAttachment",
        ),
        "GatewayTarget": resource(
            "ElasticLoadBalancingV2::TargetGroup",
            {
                "VpcId": ref("Vpc"),
                "TargetType": "ip",
                "Protocol": "HTTP",
                "Port": HTTP_PORT,
                # That it lives. /readyz says whether it reaches a leader, and a gateway that does not is not ill.
                "HealthCheckPath": "/healthz",
                "HealthCheckIntervalSeconds": 10,
                "HealthCheckTimeoutSeconds": 5,
                "HealthyThresholdCount": 2,
                "UnhealthyThresholdCount": 3,
                "Matcher": {"HttpCode": "200"},
                "TargetGroupAttributes": [{"Key": "deregistration_delay.timeout_seconds", "Value": "30"}],
            },
        ),
    }


def _door() -> Json:
    """Whom the load balancer lets in."""
    return {
        "EdgeListener": resource(
            "ElasticLoadBalancingV2::Listener",
            {
                "LoadBalancerArn": ref("EdgeBalancer"),
                "Port": 80,
                "Protocol": "HTTP",
                "DefaultActions": [
                    {
                        "Type": "fixed-response",
                        "FixedResponseConfig": {
                            "StatusCode": "403",
                            "ContentType": "text/plain",
                            "MessageBody": "use the address of CloudFront",
                        },
                    }
                ],
            },
        ),
        "EdgeRule": resource(
            "ElasticLoadBalancingV2::ListenerRule",
            {
                "ListenerArn": ref("EdgeListener"),
                "Priority": 1,
                "Conditions": [
                    {
                        "Field": "http-header",
                        "HttpHeaderConfig": {"HttpHeaderName": ORIGIN_HEADER, "Values": [_origin_secret()]},
                    }
                ],
                "Actions": [{"Type": "forward", "TargetGroupArn": ref("GatewayTarget")}],
            },
        ),
    }


def _distribution(stage: Stage) -> Json:
    return resource(
        "CloudFront::Distribution",
        {
            "DistributionConfig": {
                "Comment": stage.stack,
                "Enabled": True,
                "HttpVersion": "http2",
                "PriceClass": "PriceClass_100",
                "Origins": [
                    {
                        "Id": "gateway",
                        "DomainName": attribute("EdgeBalancer", "DNSName"),
                        "CustomOriginConfig": {
                            "OriginProtocolPolicy": "http-only",
                            "OriginReadTimeout": WAIT_S,
                            "OriginKeepaliveTimeout": 60,
                        },
                        "OriginCustomHeaders": [{"HeaderName": ORIGIN_HEADER, "HeaderValue": _origin_secret()}],
                    }
                ],
                "DefaultCacheBehavior": {
                    "TargetOriginId": "gateway",
                    "ViewerProtocolPolicy": "redirect-to-https",
                    "AllowedMethods": ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"],
                    "CachePolicyId": NO_CACHING,
                    "OriginRequestPolicyId": EVERYTHING_ON,
                },
            }
        },
    )


def _origin_secret() -> Json:
    return sub("{{resolve:secretsmanager:${OriginSecret}}}")
