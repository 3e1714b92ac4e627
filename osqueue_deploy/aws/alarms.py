"""Alarms after the rules of docs/operations/monitoring.md, as far as CloudWatch can see them without a Prometheus."""

from osqueue_deploy.aws.functions import Json, attribute, ref, resource
from osqueue_deploy.aws.stage import Stage

_AT_LEAST, _BELOW = "GreaterThanOrEqualToThreshold", "LessThanThreshold"
MEMORY_PERCENT = 85
"""The whole state is in a broker's memory; a takeover needs as much once more for a moment."""


def alarms(stage: Stage) -> Json:
    """Alarms with the filters of the logs that feed them, and whom they tell."""
    resources: Json = {
        # A broker that gives up, a clock that is far ahead, a damaged object.
        **_logged(stage, "Critical", '{ $.level = "critical" }', periods=1, threshold=1),
        # Defects, and a bucket that refuses.
        **_logged(stage, "Errors", '{ $.level = "error" }', periods=1, threshold=1),
        # A crash loop, or a timeout that is too short for the bucket.
        **_logged(stage, "Takeovers", '{ $.message = "leading epoch *" }', periods=60, threshold=4),
        # Callers are told to come back: nobody leads, or the bucket is away.
        "NoAnswersAlarm": _alarm(
            "AWS/ApplicationELB",
            "HTTPCode_Target_5XX_Count",
            {"LoadBalancer": attribute("EdgeBalancer", "LoadBalancerFullName")},
            statistic="Sum",
            periods=3,
            threshold=5,
        ),
        "NoGatewayAlarm": _alarm(
            "AWS/ApplicationELB",
            "HealthyHostCount",
            {
                "LoadBalancer": attribute("EdgeBalancer", "LoadBalancerFullName"),
                "TargetGroup": attribute("GatewayTarget", "TargetGroupFullName"),
            },
            statistic="Minimum",
            periods=5,
            threshold=1,
            comparison=_BELOW,
        ),
    }
    for number in range(1, stage.brokers + 1):
        resources |= _broker(number)
    if stage.alarm_email:
        resources["Alarms"] = resource(
            "SNS::Topic", {"Subscription": [{"Protocol": "email", "Endpoint": stage.alarm_email}]}
        )
        for each in resources.values():
            if each["Type"] == "AWS::CloudWatch::Alarm":
                each["Properties"] |= {"AlarmActions": [ref("Alarms")], "OKActions": [ref("Alarms")]}
    return resources


def _broker(number: int) -> Json:
    service = {"ClusterName": ref("Cluster"), "ServiceName": attribute(f"Broker{number}Service", "Name")}
    return {
        f"Broker{number}GoneAlarm": _alarm(
            "AWS/NetworkELB",
            "HealthyHostCount",
            {
                "LoadBalancer": attribute("GrpcBalancer", "LoadBalancerFullName"),
                "TargetGroup": attribute(f"Broker{number}Target", "TargetGroupFullName"),
            },
            statistic="Minimum",
            periods=5,
            threshold=1,
            comparison=_BELOW,
        ),
        f"Broker{number}MemoryAlarm": _alarm(
            "AWS/ECS", "MemoryUtilization", service, statistic="Maximum", periods=5, threshold=MEMORY_PERCENT
        ),
    }


def _logged(stage: Stage, name: str, pattern: str, *, periods: int, threshold: int) -> Json:
    """An alarm over how often the logs say something; `periods` minutes are summed up."""
    space = f"osqueue/{stage.name}"
    counted = {"MetricName": name, "MetricNamespace": space, "MetricValue": "1", "DefaultValue": 0}
    return {
        f"{name}Filter": resource(
            "Logs::MetricFilter",
            {"LogGroupName": ref("Logs"), "FilterPattern": pattern, "MetricTransformations": [counted]},
        ),
        f"{name}Alarm": _alarm(space, name, {}, statistic="Sum", periods=1, threshold=threshold, seconds=60 * periods),
    }


def _alarm(
    space: str,
    metric: str,
    dimensions: Json,
    *,
    statistic: str,
    periods: int,
    threshold: int,
    comparison: str = _AT_LEAST,
    seconds: int = 60,
) -> Json:
    return resource(
        "CloudWatch::Alarm",
        {
            "Namespace": space,
            "MetricName": metric,
            "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
            "Statistic": statistic,
            "Period": seconds,
            "EvaluationPeriods": periods,
            "Threshold": threshold,
            "ComparisonOperator": comparison,
            # Where there should be figures and are none, nothing runs.
            "TreatMissingData": "breaching" if comparison == _BELOW else "notBreaching",
        },
    )
