"""Celery: `submit REDIS_URL SECONDS` or `work REDIS_URL JOBS`; prints {"jobs", "seconds"}."""

import os
import sys

from celery import Celery
from celery.signals import task_postrun
from threads import CALLERS, PAYLOAD, Countdown, submit

WORKER_THREADS = 8

os.environ["C_FORCE_ROOT"] = "1"  # it would complain of root
mode, url, argument = sys.argv[1:]
app = Celery("field", broker=url)
app.conf.update(
    broker_pool_limit=CALLERS,
    task_ignore_result=True,
    task_acks_late=True,  # as the others: a job is done when its handler is
    worker_prefetch_multiplier=16,
    worker_redirect_stdouts=False,
)


@app.task(name="noop")
def noop(payload: dict[str, object]) -> None:
    pass


if mode == "submit":
    submit(float(argument), lambda: noop.delay(PAYLOAD))
else:
    countdown = Countdown(int(argument))
    task_postrun.connect(lambda **_: countdown.handled(), weak=False)
    options = ["worker", f"--concurrency={WORKER_THREADS}", "--pool=threads", "--loglevel=ERROR"]
    app.worker_main([*options, "--without-gossip", "--without-mingle", "--without-heartbeat"])
