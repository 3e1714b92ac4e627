"""The kinds of request that an object store answers, by the names that metrics show."""

from enum import Enum


class Operation(Enum):
    """One method of `ObjectStore`."""

    READ = "get"
    PUT_IF_ABSENT = "put_if_absent"
    PUT_IF_VERSION = "put_if_version"
    LIST = "list"
    DELETE = "delete"


WRITES = frozenset({Operation.PUT_IF_ABSENT, Operation.PUT_IF_VERSION, Operation.DELETE})
