"""What a recovery builds, and what it lets go."""

import gc
import weakref

from osqueue_service.engine.codec import FORMAT, encode_commit
from osqueue_service.engine.rebuild import Rebuild
from osqueue_service.state import image
from osqueue_service.state.apply import apply
from osqueue_service.state.model import JobSpec
from osqueue_service.state.records import Claimed, Founded, Grant, Submitted
from osqueue_service.state.state import State


class Labels(dict):
    """Something of a job that can be watched."""


def queue(jobs: int = 3) -> tuple[State, list[weakref.ref[Labels]]]:
    state = State()
    labels = [Labels(number=str(number)) for number in range(jobs)]
    apply(state, Founded("salt00"), 1)
    specs = [JobSpec("a", b"{}", priority=number % 2, metadata=label) for number, label in enumerate(labels)]
    apply(state, Submitted(1, specs), 1)
    apply(state, Claimed("w", "", [Grant(1, "token", 1_000)]), 2)
    return state, [weakref.ref(label) for label in labels]


def test_beginning_anew_lets_the_jobs_of_the_state_before_go():
    # Jobs are invisible to the garbage collector: what forms a cycle with them stays for ever unless it is taken apart.
    rebuild = Rebuild()
    rebuild.state, labels = queue()
    rebuild.begin()
    gc.collect()
    assert [label() for label in labels] == [None] * 3
    assert not rebuild.state.jobs


def test_it_depends_on_nothing_but_the_calls():
    state, _ = queue()
    one, other = Rebuild(), Rebuild()
    for rebuild in (one, other):
        rebuild.begin()
        for part in image.encode(state):
            rebuild.load(part)
        rebuild.apply(4, encode_commit(5, [Submitted(4, [JobSpec("b", b"{}")])]), FORMAT)
    assert image.encode(one.state) == image.encode(other.state)
