"""What a caller may do: scopes as tokens name them, and whether they cover a call.

A scope is the name of a right, such as `read` or `manage`. Two of them may end with a pattern of job types:
`submit:email.*` and `work:*` (`*` is any text, `?` any character; without a pattern all types are meant).
`read.payload` adds to `read` what callers sent: payloads, results, labels, errors. `admin` is everything. Any scope may
be bound to queues by a pattern after an `@`: `read@billing-*`. A right that no scope gives is refused.

Pure: broker and gateway decide by the same rules.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from typing import Final

SUBMIT: Final = "submit"
WORK: Final = "work"
READ: Final = "read"
READ_PAYLOAD: Final = "read.payload"
MANAGE: Final = "manage"
OPERATE: Final = "operate"
ADMIN: Final = "admin"
ANY: Final = "any"
"""What an RPC asks for that serves everybody who is let in at all."""

OF_TYPES: Final = (SUBMIT, WORK)
NAMES: Final = (SUBMIT, WORK, READ, READ_PAYLOAD, MANAGE, OPERATE, ADMIN)

ROLES: Final = {
    "producer": (SUBMIT, READ, READ_PAYLOAD),
    "worker": (WORK, READ),
    "viewer": (READ,),
    "operator": (READ, READ_PAYLOAD, MANAGE, OPERATE),
    "admin": (ADMIN,),
}
"""Names for the scopes that the usual callers need."""

SCOPES_MAX: Final = 32
SCOPE_CHARS_MAX: Final = 200
DEFAULT_QUEUE: Final = "default"
"""The queue that a call means which names none."""

_SCOPE = re.compile(r"([a-z.]+)(?::([A-Za-z0-9_.:/*?-]+))?(?:@([A-Za-z0-9_.*?-]+))?")


class ScopeError(ValueError):
    """A text that is not a scope; the message says why, and what would be one."""


@dataclass(frozen=True, slots=True)
class Scope:
    """One right, for jobs of some types, in some queues."""

    name: str
    types: str = "*"
    queues: str = "*"

    def gives(self, right: str) -> bool:
        """Whether it is this right, or includes it."""
        return self.name in (right, ADMIN)

    def __str__(self) -> str:
        types = f":{self.types}" if self.name in OF_TYPES else ""
        return f"{self.name}{types}" + (f"@{self.queues}" if self.queues != "*" else "")


@dataclass(frozen=True, slots=True)
class Rights:
    """All that one caller may do, in one queue or another: ask `in_queue` first where it matters in which."""

    scopes: frozenset[Scope]

    def in_queue(self, queue: str) -> "Rights":
        """Those that it has in this queue."""
        return _in_queue(self, queue)

    def may(self, right: str) -> bool:
        """Whether it has the right at all, if only for some types."""
        return right == ANY or any(scope.gives(right) for scope in self.scopes)

    def everywhere(self, right: str) -> bool:
        """Whether it has the right for jobs of every type."""
        return any(scope.gives(right) and scope.types == "*" for scope in self.scopes)

    def may_with(self, right: str, type_name: str) -> bool:
        """Whether it has the right for jobs of this type."""
        return any(scope.gives(right) and _matches(scope.types, type_name) for scope in self.scopes)

    def patterns(self, right: str) -> list[str]:
        """The types for which it has the right, for people."""
        return sorted({scope.types for scope in self.scopes if scope.gives(right)})

    def names(self) -> list[str]:
        """The scopes as they are written, in order."""
        return sorted(map(str, self.scopes))


EVERYTHING: Final = Rights(frozenset({Scope(ADMIN)}))
NOTHING: Final = Rights(frozenset())


def rights_of(texts: Iterable[str]) -> Rights:
    """The rights that scopes and roles, as written, give. `ScopeError` for what is neither, for none, for too many."""
    scopes: set[Scope] = set()
    for text in texts:
        if text in ROLES and text != ADMIN:
            scopes.update(Scope(name) for name in ROLES[text])
        else:
            scopes.add(scope_of(text))
    if not scopes:
        raise ScopeError("no scope is given: name at least one, such as read, or a role, such as viewer")
    if len(scopes) > SCOPES_MAX:
        raise ScopeError(f"{len(scopes)} scopes are given; at most {SCOPES_MAX} are taken")
    return Rights(frozenset(scopes))


def scope_of(text: str) -> Scope:
    """The scope that the text writes; `ScopeError` when it writes none."""
    match = _SCOPE.fullmatch(text) if len(text) <= SCOPE_CHARS_MAX else None
    if match is None or match[1] not in NAMES:
        raise ScopeError(
            f"{text[:100]!r} is neither a scope nor a role: scopes are {', '.join(NAMES)}; submit and work may end "
            f"with types, as in submit:email.*, and all with queues, as in read@billing; roles are {', '.join(ROLES)}"
        )
    name, types, queues = match[1], match[2], match[3]
    if types is not None and name not in OF_TYPES:
        raise ScopeError(f"{text[:100]!r}: only the scopes {' and '.join(OF_TYPES)} are given for types; write {name}")
    return Scope(name, types or "*", queues or "*")


@lru_cache(maxsize=4096)
def _in_queue(rights: Rights, queue: str) -> Rights:
    scopes = frozenset(scope for scope in rights.scopes if _matches(scope.queues, queue))
    return rights if scopes == rights.scopes else Rights(scopes)


def _matches(pattern: str, text: str) -> bool:
    return pattern == "*" or _compiled(pattern).match(text) is not None


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    # The library's translation never goes back over what a star has matched, whatever pattern and text are.
    return re.compile(translate(pattern))
