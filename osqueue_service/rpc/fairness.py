"""Fairness keys on the wire."""

from osqueue_service.state.fairness import DEFAULT_WEIGHT, Fairness
from osqueue_stubs.osqueue.v1 import job_pb2


def weight_of(fairness: Fairness, key: str) -> float:
    """How many turns the key has for one of a key of weight 1."""
    return fairness.weights.get(key, DEFAULT_WEIGHT) / DEFAULT_WEIGHT


def key_info(fairness: Fairness, key: str) -> job_pb2.FairnessKeyInfo:
    """One key, whether it has jobs or only a weight."""
    row = fairness.keys.get(key)
    told = job_pb2.FairnessKeyInfo(key=key, weight=weight_of(fairness, key))
    if row is not None:
        told.waiting, told.running, told.claimed = row.waiting, row.running, row.claimed
    return told
