"""The template of a stage, put together."""

import json

from osqueue_deploy.aws.alarms import alarms
from osqueue_deploy.aws.brokers import brokers
from osqueue_deploy.aws.functions import Json, attribute, ref, sub
from osqueue_deploy.aws.gateway import gateway
from osqueue_deploy.aws.network import network
from osqueue_deploy.aws.stage import Stage
from osqueue_deploy.aws.storage import bucket, storage
from osqueue_deploy.aws.tasks import cluster

BODY_BYTES_MAX = 51_200
"""How long a template may be that is handed over with the call."""


def template(stage: Stage) -> Json:
    """The whole stage."""
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"osqueue, stage {stage.name}: brokers on S3, with a gateway behind CloudFront",
        "Parameters": {
            "Image": {"Type": "String", "Description": "Image of osqueue, with a tag or a digest", "MinLength": 1},
            "OriginPrefixList": {
                "Type": "String",
                "Description": "Managed prefix list com.amazonaws.global.cloudfront.origin-facing of this region",
                "AllowedPattern": "pl-[0-9a-f]+",
            },
        },
        "Resources": {
            **storage(stage),
            **network(stage),
            **cluster(stage),
            **brokers(stage),
            **gateway(stage),
            **alarms(stage),
        },
        "Outputs": _outputs(stage),
    }


def bucket_template(stage: Stage) -> Json:
    """The bucket alone: with this a new stack adopts the one that an earlier one left."""
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"osqueue, stage {stage.name}: the bucket, adopted",
        "Resources": bucket(stage),
    }


def body(of: Json) -> str:
    """A template as it is sent."""
    return json.dumps(of, separators=(",", ":"))


def _outputs(stage: Stage) -> Json:
    host = stage.domain or "${GrpcBalancer.DNSName}"
    scheme = "grpcs" if stage.certificate else "grpc"
    ports = [stage.outer_port(number) for number in range(1, stage.brokers + 1)]
    outside = ",".join(f"{scheme}://{host}:{port}" for port in ports)
    inside = ",".join(stage.broker_address(number) for number in range(1, stage.brokers + 1))
    return {
        "Dashboard": {"Value": sub("https://${Distribution.DomainName}")},
        "Grpc": {"Value": outside if stage.domain else sub(outside)},
        "GrpcInside": {"Value": inside},
        "GrpcBalancer": {"Value": attribute("GrpcBalancer", "DNSName")},
        "BucketName": {"Value": ref("Bucket")},
        "TokenSecret": {"Value": ref("Token")},
    }
