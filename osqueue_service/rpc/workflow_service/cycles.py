"""Whether what needs each other could ever run."""

from collections.abc import Mapping, Sequence


def cycle_in(needs: Mapping[str, Sequence[str]]) -> list[str]:
    """Names of which each is needed by the next, and the last by the first; empty when there are none such. Names that
    are not keys need nothing. One that needs itself is passed over: it is told of for itself."""
    open_: dict[str, int] = {}
    done: set[str] = set()
    for start in needs:
        path: list[str] = []
        todo = [(start, False)]
        while todo:
            name, leaving = todo.pop()
            if leaving:
                done.add(path.pop())
                del open_[name]
            elif name in open_:
                return path[open_[name] :][::-1]
            elif name not in done and name in needs:
                open_[name] = len(path)
                path.append(name)
                todo.append((name, True))
                todo += [(other, False) for other in needs[name] if other != name]
    return []
