"""How the engine commits."""

from dataclasses import dataclass

DEFAULT_INTERVAL_MS = 50


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """`group_commit_interval_ms` None: commits follow the load, and a change waits at most 50 ms for company while
    others are under way. A number spaces the starts of commits by that much, to save storage requests.
    """

    group_commit_interval_ms: int | None = None
    # Finished jobs and keys are let go in commits that happen anyway, or after this long without one.
    lapse_interval_ms: int = 60_000
