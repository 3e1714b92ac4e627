// A worker in plain Node, over REST: no SDK, no dependencies. `node worker.mjs`, until Ctrl-C.

const gateway = process.env.OSQUEUE_GATEWAY ?? "http://localhost:8080";
const token = process.env.OSQUEUE_TOKEN;
const workerId = `node-${process.pid}`;

const handlers = {
  async resize({ photo, width }) {
    return `${photo}@${width}`;
  },
};

async function post(path, body, signal) {
  const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
  const answer = await fetch(gateway + path, { method: "POST", headers, body: JSON.stringify(body), signal });
  const text = await answer.text();
  if (!answer.ok) throw Object.assign(new Error(text), { status: answer.status });
  return text ? JSON.parse(text) : {};
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Say it until somebody hears: the lease token makes repeating harmless. A status below 500 is an answer. */
async function settle(path, body) {
  for (;;) {
    try {
      return await post(path, body);
    } catch (error) {
      if (error.status === 409 || error.status === 404) return console.log("too late: the job is no longer ours");
      if (error.status < 500 && error.status !== 429) throw error;
      await pause(500);
    }
  }
}

async function run(job) {
  const { jobId, leaseToken } = job;
  const lease = { workerId, leaseToken };
  // The lease is ours for leaseMs; every third of it we say that we still live. A lost heartbeat is made up by the next.
  const beat = () => post(`/v1/jobs/${jobId}/heartbeat`, lease).catch(() => {});
  const beating = setInterval(beat, job.leaseMs / 3);
  try {
    const result = await handlers[job.type](job.payload);
    await settle(`/v1/jobs/${jobId}/complete`, { ...lease, result });
    console.log(`${jobId} done: ${result}`);
  } catch (error) {
    await settle(`/v1/jobs/${jobId}/fail`, { ...lease, error: { type: error.name, message: error.message } });
    console.log(`${jobId} failed: ${error.message}`);
  } finally {
    clearInterval(beating);
  }
}

const stopping = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stopping.abort());

console.log(`${workerId} takes ${Object.keys(handlers)} from ${gateway}`);
while (!stopping.signal.aborted) {
  try {
    // Waits at the gateway until there is a job. Aborted, it leaves nothing behind: a job granted meanwhile goes back.
    const claim = { workerId, types: Object.keys(handlers), waitMs: 20_000 };
    const job = await post("/v1/jobs/claim", claim, stopping.signal);
    if (job.jobId) await run(job);
  } catch (error) {
    if (stopping.signal.aborted) break;
    console.error(`cannot claim, trying on: ${error.message}`);
    await pause(1_000);
  }
}
