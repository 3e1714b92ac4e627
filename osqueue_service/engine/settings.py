"""How the engine commits."""

from dataclasses import dataclass

DEFAULT_INTERVAL_MS = 50


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """`group_commit_interval_ms` bounds how long a change waits for company while other commits are under way; a lone
    change waits for nobody. `commit_spacing_ms` keeps the starts of commits that far apart, to save storage requests;
    0: no spacing.
    """

    group_commit_interval_ms: int = DEFAULT_INTERVAL_MS
    commit_spacing_ms: int = 0
    # Finished jobs and keys are let go in commits that happen anyway, or after this long without one.
    lapse_interval_ms: int = 60_000
