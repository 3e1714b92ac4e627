"""The same queue without asyncio: from a script, a Django view, a thread."""

from osqueue import SyncClient, new_job

with SyncClient() as client:
    client.submit_jobs([new_job("sum", [n, n]) for n in range(3)])

    while (job := client.claim_job("synchronous-worker", ["sum"])) is not None:
        client.heartbeat(job, progress=0.5)
        client.complete_job(job, sum(job.value()))

    handle = client.submit_job("sum", [20, 22])
    job = client.claim_job("synchronous-worker", ["sum"], wait_ms=1_000)
    assert job is not None
    client.complete_job(job, sum(job.value()))
    print("20 + 22 =", handle.result(timeout_ms=5_000))
    print("completed:", client.get_stats().counts.completed_total)
