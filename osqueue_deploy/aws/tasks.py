"""What brokers and gateways have in common on Fargate: the cluster, roles, logs, and how a task is written."""

from collections.abc import Mapping, Sequence

from osqueue_deploy.aws.functions import Json, attribute, ref, resource, sub
from osqueue_deploy.aws.network import SUBNETS
from osqueue_deploy.aws.stage import Stage
from osqueue_deploy.aws.storage import broker_statements

LOGS_DAYS = 30
STOP_S = 30
"""How long a container may take to stop: a leader serves on until a standby has caught up, 20 s at most."""
OPEN_FILES = 65_536
"""Each connection is a file. What Fargate gives unless asked has changed over the years."""


def cluster(stage: Stage) -> Json:
    """The cluster, its logs, and the roles of its tasks."""
    secret = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": ref("Token")}
    managed = sub("arn:${AWS::Partition}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy")
    return {
        "Cluster": resource("ECS::Cluster", {"ClusterName": stage.stack}),
        "Logs": resource("Logs::LogGroup", {"LogGroupName": f"/osqueue/{stage.name}", "RetentionInDays": LOGS_DAYS}),
        # What starts tasks: it pulls the image, reads the one secret, and writes logs. The programs do not have it.
        "ExecutionRole": _role([secret], ManagedPolicyArns=[managed]),
        "BrokerRole": _role(broker_statements()),
    }


def task(
    stage: Stage,
    name: str,
    cpu: int,
    memory: int,
    environment: Mapping[str, str | Json],
    check: Sequence[str],
    **rest: object,
) -> Json:
    """A task with one container, which runs `osqueue {name}`."""
    container = {
        "Name": name,
        "Image": ref("Image"),
        "Command": [name],
        "Essential": True,
        "ReadonlyRootFilesystem": True,
        "StopTimeout": STOP_S,
        "Environment": [{"Name": key, "Value": value} for key, value in environment.items()],
        "Secrets": [{"Name": "OSQUEUE_TOKEN", "ValueFrom": ref("Token")}],
        "HealthCheck": {
            "Command": ["CMD", *check],
            "Interval": 10,
            "Timeout": 5,
            "Retries": 3,
            "StartPeriod": 60,
        },
        "Ulimits": [{"Name": "nofile", "SoftLimit": OPEN_FILES, "HardLimit": OPEN_FILES}],
        "LogConfiguration": {
            "LogDriver": "awslogs",
            "Options": {
                "awslogs-group": ref("Logs"),
                "awslogs-region": ref("AWS::Region"),
                "awslogs-stream-prefix": name,
            },
        },
    }
    return resource(
        "ECS::TaskDefinition",
        {
            "Family": f"{stage.stack}-{name}",
            "RequiresCompatibilities": ["FARGATE"],
            "NetworkMode": "awsvpc",
            "RuntimePlatform": {"CpuArchitecture": "X86_64", "OperatingSystemFamily": "LINUX"},
            "Cpu": str(cpu),
            "Memory": str(memory),
            "ExecutionRoleArn": attribute("ExecutionRole", "Arn"),
            "ContainerDefinitions": [container],
            **rest,
        },
    )


def network_of(group: str, subnets: Sequence[str] = SUBNETS) -> Json:
    """Where tasks live: with a public address for the way out, and closed from the internet by their group."""
    return {
        "AwsvpcConfiguration": {
            "AssignPublicIp": "ENABLED",
            "SecurityGroups": [ref(group)],
            "Subnets": [ref(name) for name in subnets],
        }
    }


def _role(statements: list[Json], **rest: object) -> Json:
    return resource(
        "IAM::Role",
        {
            "AssumeRolePolicyDocument": {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"Service": "ecs-tasks.amazonaws.com"},
                        "Action": "sts:AssumeRole",
                    }
                ],
            },
            "Policies": [
                {"PolicyName": "osqueue", "PolicyDocument": {"Version": "2012-10-17", "Statement": statements}}
            ],
            **rest,
        },
    )
