"""What every record is, and who asked for a change."""

from msgspec import Struct


class Record(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """Base of all records."""


class By(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """Who asked for a change, and from where: what an audit shows. The state does not depend on it."""

    principal: str
    origin: str = ""
