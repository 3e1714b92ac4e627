"""Calls on the wire: errors, deadlines, the token, and following the leader."""

import asyncio
from contextlib import asynccontextmanager

import grpc
import pytest
from aiohttp import web

from osqueue.errors import (
    AuthError,
    BrokerLeadershipError,
    BrokerProtocolError,
    DiscoveryError,
    EngineStateError,
    QueueFullError,
    TransportConnectionError,
    TransportRequestError,
)
from osqueue.retrying import Retrying, RetryOptions, is_outage
from osqueue.transports import grpc_peer
from osqueue.transports.addresses import parse
from osqueue.transports.grpc import GrpcTransport
from osqueue.transports.grpc_link import PEERS_MAX, BrokerLink
from osqueue_stubs.osqueue.v1 import queue_pb2
from tests.unit.sdk.freezing_relay import freezing_relay
from tests.unit.sdk.scripted_broker import Refusal, ScriptedBroker, not_leader, running
from tests.unit.sdk.slow_relay import slow_relay

STATS = queue_pb2.GetStatsRequest()
ANSWER = queue_pb2.GetStatsResponse(total=7)


@pytest.fixture
async def brokers():
    pair = (ScriptedBroker(), ScriptedBroker())
    async with running(*pair):
        for broker in pair:
            broker.answer("GetStats", ANSWER)
        yield pair


@pytest.fixture
async def link(brokers):
    link = BrokerLink(parse([broker.address for broker in brokers]))
    yield link
    await link.close()


@asynccontextmanager
async def answering_http():
    runner = web.ServerRunner(web.Server(lambda request: web.Response(text="<html>")))  # type: ignore[arg-type]
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def until_answered(link):
    retrying = Retrying(RetryOptions(retry_delay_ms=0))
    return await retrying.run(lambda: link.call("GetStats", STATS, 1_000))


async def test_a_call_is_answered(brokers, link):
    assert (await link.call("GetStats", STATS, 1_000)).total == 7
    assert brokers[0].calls == [("GetStats", STATS)]


async def test_a_connection_to_far_away_is_given_the_time_it_takes(brokers):
    async with slow_relay(brokers[0].address, delay_s=0.2) as (address, connections):
        link = BrokerLink(parse(address))
        assert (await link.call("GetStats", STATS, 5_000)).total == 7
        assert len(connections) == 1
        await link.close()


async def test_the_token_travels_with_every_call(brokers):
    link = BrokerLink(parse(brokers[0].address), token="secret")
    await link.call("GetStats", STATS, 1_000)
    await link.clone().call("GetStats", STATS, 1_000)
    assert [metadata["authorization"] for metadata in brokers[0].metadata] == ["Bearer secret"] * 2


INVALID = Refusal(
    grpc.StatusCode.INVALID_ARGUMENT, "type: too long", reason="INVALID_REQUEST", violations=(("type", "too long"),)
)
FULL = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", reason="QUEUE_FULL", retry_after_ms=500)
TOO_LARGE = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max (9 vs. 8)")
UNKNOWN = Refusal(grpc.StatusCode.UNAVAILABLE, "who knows", reason="OUTCOME_UNKNOWN")


@pytest.mark.parametrize(
    ("refusal", "kind", "reason", "says"),
    [
        (INVALID, BrokerProtocolError, "INVALID_REQUEST", "type: too long"),
        (FULL, QueueFullError, "QUEUE_FULL", "full"),
        (UNKNOWN, EngineStateError, "OUTCOME_UNKNOWN", "who knows"),
        (
            Refusal(grpc.StatusCode.UNAUTHENTICATED, "no token", reason="UNAUTHENTICATED"),
            AuthError,
            "UNAUTHENTICATED",
            "no token",
        ),
        (TOO_LARGE, BrokerProtocolError, "PAYLOAD_TOO_LARGE", "larger than max"),
        (Refusal(grpc.StatusCode.UNAVAILABLE, "starting"), TransportConnectionError, "UNAVAILABLE", "starting"),
    ],
    ids=lambda value: value.code.name if isinstance(value, Refusal) else "",
)
async def test_a_status_becomes_an_error(brokers, link, refusal, kind, reason, says):
    brokers[0].answer("GetStats", refusal)
    with pytest.raises(kind, match=says) as raised:
        await link.call("GetStats", STATS, 1_000)
    assert raised.value.reason == reason


FOREIGN = sorted(set(grpc.StatusCode) - {grpc.StatusCode.OK}, key=lambda code: code.name)


@pytest.mark.parametrize("code", FOREIGN, ids=lambda code: code.name)
async def test_a_status_without_our_details_is_an_outage_and_the_next_address_is_tried(brokers, link, code):
    brokers[0].answer("GetStats", Refusal(code, "Received RST_STREAM with error code 2"))
    with pytest.raises((TransportRequestError, TransportConnectionError)) as raised:
        await link.call("GetStats", STATS, 1_000)
    assert is_outage(raised.value)
    assert link.address == brokers[1].address
    assert (await until_answered(link)).total == 7


async def test_http_on_the_port_is_said_at_once():
    async with answering_http() as address:
        link = BrokerLink(parse(address))
        with pytest.raises(TransportRequestError, match=r"an HTTP server answers at .* write grpc://") as raised:
            await until_answered(link)
        assert raised.value.reason == "WRONG_PROTOCOL"
        await link.close()


async def test_http_where_a_broker_was_is_an_outage(brokers, link):
    await link.call("GetStats", STATS, 1_000)
    async with answering_http() as address:
        link._address = address
        with pytest.raises(TransportConnectionError, match="an HTTP server answers") as raised:
            await link.call("GetStats", STATS, 1_000)
        assert is_outage(raised.value)


async def test_plain_text_where_tls_was_expected_is_said_at_once(brokers):
    link = BrokerLink(parse(f"grpcs://{brokers[0].address}"))
    with pytest.raises(TransportRequestError, match="does not speak TLS: write grpc://"):
        await until_answered(link)
    await link.close()


async def test_no_proxy_leads_to_this_machine(brokers, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    link = BrokerLink(parse(brokers[0].address))
    assert (await link.call("GetStats", STATS, 1_000)).total == 7
    await link.close()


async def test_a_proxy_that_is_in_the_way_is_named(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    link = BrokerLink(parse("192.0.2.1:8081"))
    with pytest.raises(TransportConnectionError, match=r"the proxy that http_proxy names; .* no_proxy"):
        await link.call("GetStats", STATS, 1_000)
    await link.close()


async def test_a_large_answer_is_the_callers_to_take(brokers, link):
    brokers[0].answer("GetStats", queue_pb2.GetStatsResponse(broker_address="x" * 12_000_000))
    assert len((await link.call("GetStats", STATS, 5_000)).broker_address) == 12_000_000


async def test_details_are_passed_on(brokers, link):
    brokers[0].answer("GetStats", INVALID, FULL)
    with pytest.raises(BrokerProtocolError) as raised:
        await link.call("GetStats", STATS, 1_000)
    assert (raised.value.violations, raised.value.method) == ((("type", "too long"),), "GetStats")
    with pytest.raises(QueueFullError) as raised:
        await link.call("GetStats", STATS, 1_000)
    assert raised.value.retry_after_ms == 500


async def test_details_of_somebody_else_are_no_reason(brokers, link):
    refusal = Refusal(grpc.StatusCode.UNAVAILABLE, "proxy")
    refusal.trailing.append(("grpc-status-details-bin", b"\xff\xff"))
    brokers[0].answer("GetStats", refusal)
    with pytest.raises(TransportConnectionError, match="proxy"):
        await link.call("GetStats", STATS, 1_000)


async def test_the_leader_is_followed_at_once(brokers, link):
    standby, leader = brokers
    standby.answer("GetStats", not_leader(leader.address))
    with pytest.raises(BrokerLeadershipError) as raised:
        await link.call("GetStats", STATS, 1_000)
    assert (raised.value.leader, raised.value.retry_after_ms) == (leader.address, 0)
    assert link.address == leader.address
    assert (await link.call("GetStats", STATS, 1_000)).total == 7


async def test_an_address_that_was_not_given_is_followed_too(brokers):
    standby, leader = brokers
    standby.answer("GetStats", not_leader(leader.address))
    link = BrokerLink(parse(standby.address))
    assert (await until_answered(link)).total == 7
    await link.close()


async def test_brokers_that_point_at_each_other_do_not_make_it_spin(brokers, link):
    first, second = brokers
    first.answer("GetStats", not_leader(second.address))
    second.answer("GetStats", not_leader(first.address))
    hints = []
    for _ in range(4):
        with pytest.raises(BrokerLeadershipError) as raised:
            await link.call("GetStats", STATS, 1_000)
        hints.append(raised.value.retry_after_ms)
    assert hints == [0, None, None, None]


async def test_a_standby_that_knows_no_leader_sends_on_to_the_next_address(brokers, link):
    brokers[0].answer("GetStats", not_leader())
    assert (await until_answered(link)).total == 7
    assert link.address == brokers[1].address


async def test_a_dead_broker_sends_on_to_the_next_address(brokers):
    link = BrokerLink(parse(["127.0.0.1:1", brokers[0].address]))
    with pytest.raises(TransportConnectionError, match=r"cannot reach the broker at 127\.0\.0\.1:1"):
        await link.call("GetStats", STATS, 1_000)
    assert (await link.call("GetStats", STATS, 1_000)).total == 7
    await link.close()


async def test_a_standby_that_names_a_leader_just_found_gone_sends_on_to_the_next_address(brokers):
    stale, leader = brokers
    gone = "127.0.0.1:1"
    stale.answer("GetStats", not_leader(gone))
    link = BrokerLink(parse([gone, stale.address, leader.address]))
    with pytest.raises(TransportConnectionError):
        await link.call("GetStats", STATS, 1_000)
    with pytest.raises(BrokerLeadershipError) as raised:
        await link.call("GetStats", STATS, 1_000)
    assert raised.value.retry_after_ms != 0
    assert link.address == leader.address
    await link.close()


async def test_an_address_just_found_gone_is_passed_over_where_there_is_another(brokers):
    gone = "127.0.0.1:1"
    addresses = [gone, brokers[0].address, brokers[1].address]
    for broker in brokers:
        broker.answer("GetStats", not_leader())
    link = BrokerLink(parse(addresses))
    visited = []
    for _ in range(5):
        visited.append(link.address)
        with pytest.raises((TransportConnectionError, BrokerLeadershipError)):
            await link.call("GetStats", STATS, 1_000)
    assert visited == [addresses[0], addresses[1], addresses[2], addresses[1], addresses[2]]
    await link.close()
    alone = BrokerLink(parse(gone))
    for _ in range(2):
        with pytest.raises(TransportConnectionError):
            await alone.call("GetStats", STATS, 1_000)
    await alone.close()


async def test_a_silent_broker_is_left_after_the_deadline(brokers, link):
    async def never(request, context):
        await asyncio.Event().wait()

    brokers[0].answer("GetStats", never)
    with pytest.raises(TransportConnectionError, match="did not answer GetStats within 50 ms") as raised:
        await link.call("GetStats", STATS, 50)
    assert raised.value.reason == "DEADLINE_EXCEEDED"
    assert link.address == brokers[1].address


async def test_concurrent_failures_move_on_once(brokers, link):
    brokers[0].answer("GetStats", Refusal(grpc.StatusCode.UNAVAILABLE))
    calls = [link.call("GetStats", STATS, 1_000) for _ in range(3)]
    await asyncio.gather(*calls, return_exceptions=True)
    assert link.address == brokers[1].address


async def test_the_storage_is_asked_first_and_after_every_failure(brokers):
    first, second = brokers
    first.answer("GetStats", Refusal(grpc.StatusCode.UNAVAILABLE))
    found = iter([first.address, second.address])
    looks = 0

    async def find():
        nonlocal looks
        looks += 1
        return next(found)

    link = BrokerLink(find_leader=find)
    assert link.address == ""
    assert (await until_answered(link)).total == 7
    assert looks == 2
    await link.close()


async def test_a_queue_without_a_leader_is_looked_up_again(brokers):
    answers = [DiscoveryError("nobody"), DiscoveryError("nobody"), brokers[0].address]

    async def find():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    link = BrokerLink(find_leader=find)
    assert (await until_answered(link)).total == 7
    await link.close()


async def test_concurrent_calls_share_one_look(brokers):
    looks = 0

    async def find():
        nonlocal looks
        looks += 1
        await asyncio.sleep(0)
        return brokers[0].address

    link = BrokerLink(find_leader=find)
    await asyncio.gather(*(link.call("GetStats", STATS, 1_000) for _ in range(5)))
    assert looks == 1
    await link.close()


async def test_leaders_of_old_leave_few_channels_behind(brokers):
    link = BrokerLink(parse(brokers[0].address))
    for port in range(1, 3 * PEERS_MAX):
        link._address = f"127.0.0.1:{port}"
        with pytest.raises(TransportConnectionError):
            await link.call("GetStats", STATS, 1_000)
    assert len(link._peers) <= PEERS_MAX
    await link.close()


async def test_a_stream_is_read_to_its_end(brokers, link):
    brokers[0].answer("WatchJobs", [queue_pb2.WatchJobsResponse(), queue_pb2.WatchJobsResponse()])
    messages = [message async for message in link.stream("WatchJobs", queue_pb2.WatchJobsRequest())]
    assert len(messages) == 2


async def test_a_refused_stream_raises(brokers, link):
    brokers[0].answer("WatchJobs", not_leader(brokers[1].address))
    with pytest.raises(BrokerLeadershipError):
        async for _ in link.stream("WatchJobs", queue_pb2.WatchJobsRequest()):
            pass
    assert link.address == brokers[1].address


class TestSilence:
    """A frozen broker keeps its connections and answers nothing: an outage, not a test of its callers' patience."""

    @pytest.fixture
    async def frozen(self, brokers, monkeypatch):
        """A link that knows a broker behind a relay, then another one; and the relay."""
        monkeypatch.setattr(grpc_peer, "PROBE_S", 0.2)
        async with freezing_relay(brokers[0].address) as relay:
            link = BrokerLink(parse([relay.address, brokers[1].address]), silence_s=0.1)
            await link.call("GetStats", STATS, 10_000)
            yield link, relay
            await link.close()

    async def test_calls_to_it_are_an_outage_long_before_their_time_is_over(self, brokers, frozen):
        link, relay = frozen
        relay.freeze()
        calls = [link.call("GetStats", STATS, 600_000) for _ in range(3)]
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(outcome, TransportConnectionError) and "fell silent" in outcome.message
            assert is_outage(outcome)
        assert (await link.call("GetStats", STATS, 600_000)).total == 7
        assert link.address == brokers[1].address and len(brokers[1].calls) == 1

    async def test_a_stream_is_ended_too(self, brokers, frozen):
        link, relay = frozen
        relay.freeze()
        with pytest.raises(TransportConnectionError, match="fell silent"):
            async for _ in link.stream("WatchJobs", queue_pb2.WatchJobsRequest()):
                pass

    async def test_it_is_passed_over_until_it_speaks_again(self, brokers, frozen):
        link, relay = frozen
        relay.freeze()
        with pytest.raises(TransportConnectionError):
            await link.call("GetStats", STATS, 600_000)
        brokers[1].answer("GetStats", not_leader(leader=relay.address))
        with pytest.raises(BrokerLeadershipError):
            await link.call("GetStats", STATS, 600_000)
        assert link.address != relay.address
        relay.thaw()
        while relay.address in link._silent:
            await asyncio.sleep(0.01)
        async with asyncio.timeout(10):
            assert (await until_answered(link)).total == 7
        assert link.address == relay.address

    async def test_a_call_that_waits_at_a_living_broker_is_left_alone(self, brokers, frozen):
        link, _ = frozen
        asked = asyncio.Event()

        async def slowly(request, context):
            asked.set()
            await asyncio.sleep(1)
            return ANSWER

        brokers[0].answer("WaitJob", slowly)
        assert await link.call("WaitJob", queue_pb2.WaitJobRequest(job_id="x"), 60_000) is not None
        assert asked.is_set() and not brokers[1].calls

    async def test_a_caller_that_gives_up_hears_nothing_of_silence(self, frozen):
        link, relay = frozen
        relay.freeze()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await link.call("GetStats", STATS, 600_000)

    async def test_with_nobody_else_to_turn_to_it_is_waited_for(self, brokers):
        async with freezing_relay(brokers[0].address) as relay:
            link = BrokerLink(parse(relay.address), silence_s=0.01)
            await link.call("GetStats", STATS, 10_000)
            relay.freeze()
            with pytest.raises(TransportConnectionError) as raised:
                await link.call("GetStats", STATS, 500)
            assert "fell silent" not in raised.value.message
            await link.close()


async def test_a_clone_of_a_transport_can_all_that_the_transport_can():
    """Workers open their stream over a clone of the transport that their client was given."""
    transport = GrpcTransport(parse(["localhost:1"]), token="s3cret")
    twin = transport.clone()
    assert type(twin) is GrpcTransport
    assert (twin.address, twin.name) == (transport.address, transport.name)
    assert twin._link is twin._broker is not transport._broker
    for each in (transport, twin):
        await each.close()
