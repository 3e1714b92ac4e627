"""The network of a stage: two public subnets, no NAT (it costs more than a broker), and who may speak to whom."""

from osqueue_deploy.aws.functions import Json, ref, resource, sub
from osqueue_deploy.aws.stage import GRPC_PORT, HTTP_PORT, Stage

CIDR = "10.83.0.0/16"
SUBNETS = ("SubnetA", "SubnetB")
ANYWHERE = "0.0.0.0/0"


def network(stage: Stage) -> Json:
    """The resources, by name."""
    return {**_paths(stage), **_groups(stage)}


def _paths(stage: Stage) -> Json:
    named = [{"Key": "Name", "Value": stage.stack}]
    resources = {
        "Vpc": resource(
            "EC2::VPC", {"CidrBlock": CIDR, "EnableDnsHostnames": True, "EnableDnsSupport": True, "Tags": named}
        ),
        "InternetGateway": resource("EC2::InternetGateway", {"Tags": named}),
        "InternetAttachment": resource(
            "EC2::VPCGatewayAttachment", {"VpcId": ref("Vpc"), "InternetGatewayId": ref("InternetGateway")}
        ),
        "Routes": resource("EC2::RouteTable", {"VpcId": ref("Vpc"), "Tags": named}),
        "InternetRoute": resource(
            "EC2::Route",
            {
                "RouteTableId": ref("Routes"),
                "DestinationCidrBlock": ANYWHERE,
                "GatewayId": ref("InternetGateway"),
            },
            DependsOn="InternetAttachment",
        ),
        # Requests to the bucket stay inside AWS, free of charge. Its policy is left open on purpose: the layers of
        # images in ECR come from buckets of AWS by the same way.
        "BucketEndpoint": resource(
            "EC2::VPCEndpoint",
            {
                "VpcId": ref("Vpc"),
                "VpcEndpointType": "Gateway",
                "ServiceName": sub("com.amazonaws.${AWS::Region}.s3"),
                "RouteTableIds": [ref("Routes")],
            },
        ),
    }
    for number, name in enumerate(SUBNETS):
        resources[name] = resource(
            "EC2::Subnet",
            {
                "VpcId": ref("Vpc"),
                "CidrBlock": f"10.83.{number}.0/24",
                "AvailabilityZone": {"Fn::Select": [number, {"Fn::GetAZs": ""}]},
                "Tags": named,
            },
        )
        resources[f"{name}Routes"] = resource(
            "EC2::SubnetRouteTableAssociation", {"SubnetId": ref(name), "RouteTableId": ref("Routes")}
        )
    return resources


def _groups(stage: Stage) -> Json:
    ports = (GRPC_PORT, stage.outer_port(stage.brokers))
    return {
        "EdgeGroup": _group(
            "CloudFront to the load balancer of gateways",
            [{**_tcp(80), "SourcePrefixListId": ref("OriginPrefixList")}],
        ),
        "GatewayGroup": _group(
            "Load balancer to gateways", [{**_tcp(HTTP_PORT), "SourceSecurityGroupId": ref("EdgeGroup")}]
        ),
        "GrpcGroup": _group(
            "Callers to the load balancer of brokers",
            [{**_tcp(*ports), "CidrIp": ANYWHERE if stage.certificate else CIDR}],
        ),
        # Gateways, standbys and workers of this network, and the load balancer's own addresses in it.
        "BrokerGroup": _group("The network of the stage to brokers", [{**_tcp(GRPC_PORT), "CidrIp": CIDR}]),
    }


def _group(description: str, ingress: list[Json]) -> Json:
    return resource(
        "EC2::SecurityGroup",
        {"GroupDescription": description, "VpcId": ref("Vpc"), "SecurityGroupIngress": ingress},
    )


def _tcp(first: int, last: int = 0) -> Json:
    return {"IpProtocol": "tcp", "FromPort": first, "ToPort": last or first}
