"""CloudFormation's own functions, so that templates read as what they mean."""

from typing import Any

Json = dict[str, Any]


def ref(name: str) -> Json:
    """A resource's id, or a parameter's value."""
    return {"Ref": name}


def attribute(name: str, what: str) -> Json:
    """An attribute of a resource."""
    return {"Fn::GetAtt": [name, what]}


def sub(text: str) -> Json:
    """Text with `${…}` in it."""
    return {"Fn::Sub": text}


def resource(kind: str, properties: Json, **rest: Any) -> Json:
    """A resource of the type `AWS::{kind}`."""
    return {"Type": f"AWS::{kind}", **rest, "Properties": properties}
