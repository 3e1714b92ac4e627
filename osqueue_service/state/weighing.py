"""Deciding what changes the weights of fairness keys."""

from osqueue_service.errors import QueueFull
from osqueue_service.limits import Limits
from osqueue_service.state.commands import PutFairnessWeight
from osqueue_service.state.fairness import DEFAULT_WEIGHT
from osqueue_service.state.records import AnyRecord, FairnessWeighed
from osqueue_service.state.state import State


def decide_weight(
    state: State, command: PutFairnessWeight, now_ms: int, limits: Limits
) -> tuple[list[AnyRecord], None]:
    """Setting what is set changes nothing. The default weight takes no room."""
    weights = state.fairness.weights
    if weights.get(command.key, DEFAULT_WEIGHT) == command.weight:
        return [], None
    if command.key not in weights and len(weights) >= limits.fairness_weights:
        raise QueueFull(
            f"{limits.fairness_weights:,} keys have a weight of their own, which is as many as may (fairness_weights): "
            "give one of them the weight 1 again"
        )
    return [FairnessWeighed(command.key, command.weight, command.by)], None
