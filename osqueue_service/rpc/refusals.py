"""Views that may refuse: a refusal, too, is told only once what it rests on is durable."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from osqueue_service.errors import OsqueueError, kept

P = ParamSpec("P")
T = TypeVar("T")


def telling(view: Callable[P, T]) -> Callable[P, T | OsqueueError]:
    """The view with its refusal as a value, so that `Engine.read` holds it back like any answer."""

    def seen(*args: P.args, **kwargs: P.kwargs) -> T | OsqueueError:
        try:
            return view(*args, **kwargs)
        except OsqueueError as refusal:
            return kept(refusal)

    return seen


def told(seen: T | OsqueueError) -> T:
    """What was seen; a refusal is raised."""
    if isinstance(seen, OsqueueError):
        try:
            raise seen
        finally:
            del seen  # the error would keep this frame alive, and the frame the error
    return seen
