"""Dramatiq: `submit REDIS_URL SECONDS` or `work REDIS_URL JOBS`; prints {"jobs", "seconds"}."""

import sys
import threading

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Middleware
from dramatiq.worker import Worker
from threads import CALLERS, PAYLOAD, Countdown, submit

WORKER_THREADS = 8

mode, url, argument = sys.argv[1:]
broker = RedisBroker(url=url, max_connections=CALLERS + 32)
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name="field")
def noop(payload: dict[str, object]) -> None:
    pass


class Counting(Middleware):
    """After the message is acknowledged."""

    def __init__(self, countdown: Countdown) -> None:
        self._countdown = countdown

    def after_ack(self, broker: object, message: object) -> None:
        self._countdown.handled()


if mode == "submit":
    submit(float(argument), lambda: noop.send(PAYLOAD))
else:
    broker.add_middleware(Counting(Countdown(int(argument))))
    worker = Worker(broker, worker_threads=WORKER_THREADS)
    worker.start()
    threading.Event().wait()
