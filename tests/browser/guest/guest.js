/**
 * What a page of somebody else does with a gateway. Each way has the same calls, of the names that the WebSocket knows.
 * @module
 */

const JSON_BODY = { "content-type": "application/json" };

/** @type {Record<string, (gateway: string) => (method: string, params: Record<string, any>) => Promise<any>>} */
const WAYS = {
  REST:
    (gateway) =>
    async (method, { jobId, ...params }) => {
      const paths = { submitJob: "", claimJob: "/claim", completeJob: `/${jobId}/complete` };
      const asked =
        method === "getStats"
          ? fetch(`${gateway}/v1/stats`)
          : fetch(`${gateway}/v1/jobs${paths[method]}`, {
              method: "POST",
              headers: JSON_BODY,
              body: JSON.stringify(params),
            });
      return answerOf(await asked);
    },

  Connect:
    (gateway) =>
    async (method, { payload, ...params }) => {
      const name = method.charAt(0).toUpperCase() + method.slice(1);
      const body = JSON.stringify({ ...params, ...(payload && { payload: btoa(JSON.stringify(payload)) }) });
      const headers = { ...JSON_BODY, "connect-protocol-version": "1" };
      return answerOf(await fetch(`${gateway}/osqueue.v1.QueueService/${name}`, { method: "POST", headers, body }));
    },

  WebSocket: (gateway) => (method, params) =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(`${gateway.replace("http", "ws")}/v1/ws`);
      socket.onopen = () => socket.send(JSON.stringify({ id: 1, method, params }));
      socket.onclose = () => reject(new Error("closed"));
      socket.onmessage = ({ data }) => {
        const { ok, result, error } = JSON.parse(data);
        if (ok) resolve(result);
        else reject(new Error(`${error._tag}: ${error.message}`));
        socket.close();
      };
    }),
};

/** @param {Response} response */
async function answerOf(response) {
  const text = await response.text();
  if (!response.ok) throw new Error(`${response.status}: ${text}`);
  return text ? JSON.parse(text) : {};
}

/**
 * Submit a job, claim it and complete it.
 * @param {{gateway: string, way: string, type: string}} where
 * @returns {Promise<string>} The job's id.
 */
window.work = async ({ gateway, way, type }) => {
  const call = WAYS[way](gateway);
  const { jobId } = await call("submitJob", { type, payload: { from: location.origin } });
  const claimed = await call("claimJob", { workerId: "guest", types: [type] });
  if (claimed.jobId !== jobId) throw new Error(`submitted ${jobId}, claimed ${JSON.stringify(claimed)}`);
  await call("completeJob", { jobId, workerId: "guest", leaseToken: claimed.leaseToken });
  await call("getStats", {});
  return jobId;
};

/**
 * Try each call of a way on its own.
 * @param {{gateway: string, way: string, type: string, jobId: string, leaseToken: string}} where
 * @returns {Promise<Record<string, string>>} What each call came to.
 */
window.tryAll = async ({ gateway, way, type, jobId, leaseToken }) => {
  const call = WAYS[way](gateway);
  const calls = {
    submitJob: { type, payload: "unwanted" },
    claimJob: { workerId: "guest", types: [type] },
    completeJob: { jobId, workerId: "tester", leaseToken },
    getStats: {},
  };
  const tried = Object.entries(calls).map(async ([method, params]) => [method, await outcomeOf(call(method, params))]);
  return Object.fromEntries(await Promise.all(tried));
};

/**
 * What a browser sends without asking first: requests such as forms make, whose answers the page cannot read.
 * @param {{gateway: string}} where
 * @returns {Promise<string[]>}
 */
window.tryUnasked = async ({ gateway }) => {
  const bodies = ["text/plain", "application/x-www-form-urlencoded"].map(
    (type) => new Blob(['{"payload": "unwanted"}'], { type }),
  );
  const sent = bodies.map((body) => fetch(`${gateway}/v1/jobs`, { method: "POST", mode: "no-cors", body }));
  return (await Promise.all([...sent, fetch(`${gateway}/v1/jobs`, { mode: "no-cors" })])).map(({ type }) => type);
};

/** @param {Promise<any>} asked */
async function outcomeOf(asked) {
  try {
    return `answered: ${JSON.stringify(await asked)}`;
  } catch (error) {
    return `refused: ${error.message}`;
  }
}
