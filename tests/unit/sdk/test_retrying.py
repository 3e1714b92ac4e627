"""What is tried again, how long, and what is raised at once."""

import pytest

from osqueue.errors import (
    AuthError,
    BrokerLeadershipError,
    BrokerProtocolError,
    ConfigError,
    DiscoveryError,
    EngineStateError,
    JobNotFoundError,
    LeaseLostError,
    QueueFullError,
    StorageBackendError,
    TransportConnectionError,
    TransportRequestError,
)
from osqueue.retrying import Retrying, RetryOptions


def newer():
    error = TransportRequestError("a newer gateway's")
    error.remote_tag = "NewError"
    return error


OUTAGES = [
    TransportConnectionError("away"),
    BrokerLeadershipError("not me"),
    StorageBackendError("store away"),
    DiscoveryError("nobody leads"),
    EngineStateError("who knows", reason="OUTCOME_UNKNOWN"),
    TransportRequestError("a page of a load balancer"),
]
FINAL = [
    AuthError("no"),
    BrokerProtocolError("wrong"),
    EngineStateError("defect", reason="INTERNAL"),
    JobNotFoundError("gone"),
    LeaseLostError("lost"),
    TransportRequestError("the gateway's port", reason="WRONG_PROTOCOL"),
    newer(),
]


def name(error):
    return type(error).__name__ + error.reason


class Calls:
    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.made = 0

    async def __call__(self):
        self.made += 1
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.mark.parametrize("error", OUTAGES, ids=name)
async def test_an_outage_is_waited_out(error):
    calls = Calls(*[error] * 50, "answer")
    assert await Retrying(RetryOptions(retry_delay_ms=0)).run(calls) == "answer"


async def test_the_first_failure_of_an_outage_is_told_at_once_and_only_that(caplog):
    retrying = Retrying(RetryOptions(retry_delay_ms=0))
    for outage in ("the name is not known", "the connection was refused"):
        caplog.clear()
        calls, told = Calls(*[TransportConnectionError(outage)] * 5, "answer"), []

        async def attempt(calls=calls, told=told):
            told.append(len(caplog.records))
            return await calls()

        await retrying.run(attempt)
        assert told == [0, 1, 1, 1, 1, 1]
        assert outage in caplog.text


@pytest.mark.parametrize("last", [BrokerLeadershipError("nothing was changed"), TransportConnectionError("away")])
async def test_what_may_have_happened_is_not_denied_by_a_later_attempt(last):
    calls = Calls(EngineStateError("who knows", reason="OUTCOME_UNKNOWN"), last)
    with pytest.raises(EngineStateError, match=str(last)) as raised:
        await Retrying(RetryOptions(retry_delay_ms=0, retry_deadline_ms=0)).run(calls)
    assert raised.value.reason == "OUTCOME_UNKNOWN"


@pytest.mark.parametrize(
    ("first", "changes", "unknown"),
    [
        ("Socket closed", True, True),
        ("Socket closed", False, False),
        ("failed to connect to all addresses", True, False),
    ],
)
async def test_a_change_whose_connection_broke_is_not_denied_by_a_later_attempt(first, changes, unknown):
    calls = Calls(TransportConnectionError(first), BrokerLeadershipError("nothing was changed"))
    with pytest.raises(EngineStateError if unknown else BrokerLeadershipError):
        await Retrying(RetryOptions(retry_delay_ms=0, retry_deadline_ms=0)).run(calls, changes=changes)


@pytest.mark.parametrize("error", FINAL, ids=name)
async def test_what_cannot_pass_is_raised_at_once(error):
    calls = Calls(error)
    with pytest.raises(type(error)):
        await Retrying(RetryOptions(retry_delay_ms=0)).run(calls)
    assert calls.made == 1


async def test_a_busy_broker_is_asked_again_only_so_often():
    calls = Calls(QueueFullError("full"))
    retrying = Retrying(RetryOptions(max_retries=3, retry_delay_ms=0))
    with pytest.raises(QueueFullError):
        await retrying.run(calls)
    assert (calls.made, retrying.retries) == (4, 3)


@pytest.mark.parametrize("error", OUTAGES, ids=name)
async def test_without_retries_everything_is_raised(error):
    calls = Calls(error)
    with pytest.raises(type(error)):
        await Retrying(RetryOptions(max_retries=0)).run(calls)
    assert calls.made == 1


def test_an_outage_ends_patience_at_the_deadline():
    retrying = Retrying(RetryOptions(max_retries=3, retry_deadline_ms=10_000))
    assert retrying.pause_ms(OUTAGES[0], 10, 8_000) is not None
    assert retrying.pause_ms(OUTAGES[0], 10, 10_000) is None
    assert retrying.pause_ms(OUTAGES[0], 10, 8_000, deadline_ms=8_000) is None


def test_a_few_retries_are_made_however_long_the_attempts_took():
    retrying = Retrying(RetryOptions(max_retries=3, retry_deadline_ms=10_000))
    assert retrying.pause_ms(OUTAGES[0], 2, 60_000) is not None
    assert retrying.pause_ms(OUTAGES[0], 3, 60_000) is None


def test_pauses_grow_up_to_the_delay():
    retrying = Retrying(RetryOptions(retry_delay_ms=1_000))
    for tries, longest in [(0, 25), (1, 50), (2, 100), (6, 1_000), (60, 1_000)]:
        pause = retrying.pause_ms(OUTAGES[0], tries, 0)
        assert longest / 2 <= pause <= longest


def test_a_busy_broker_is_given_the_time_it_asks_for():
    retrying = Retrying(RetryOptions(retry_delay_ms=1_000))
    assert retrying.pause_ms(QueueFullError("full", retry_after_ms=800), 0, 0) >= 400


def test_a_better_address_is_tried_at_once():
    error = BrokerLeadershipError("the other one", retry_after_ms=0)
    assert Retrying(RetryOptions()).pause_ms(error, 5, 0) == 0


@pytest.mark.parametrize("option", ["timeout_ms", "max_retries", "retry_delay_ms", "retry_deadline_ms"])
def test_a_wrong_option_is_named(option):
    with pytest.raises(ConfigError, match=option):
        RetryOptions(**{option: -1})
