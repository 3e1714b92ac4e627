// An unmodified Connect client: node connect_client.mjs <base URL> <binary|json>. Prints what it saw as one line of JSON.
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { QueueService } from "./generated/osqueue/v1/queue_pb.js";
import { AdminService } from "./generated/osqueue/v1/admin_pb.js";

const [baseUrl, format] = process.argv.slice(2);
const transport = createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: format === "binary" });
const queue = createClient(QueueService, transport);
const admin = createClient(AdminService, transport);
const bytes = (text) => new TextEncoder().encode(text);
const text = (bytes) => new TextDecoder().decode(bytes);

async function failure(call) {
  try {
    await call();
    return "no error";
  } catch (error) {
    const known = ConnectError.from(error);
    return { code: Code[known.code], message: known.rawMessage, details: known.details.map((detail) => detail.type) };
  }
}

const seen = {};
const submitted = await queue.submitJob({ payload: bytes('{"n": 12345678901234567890}'), type: "email" });
seen.claim = await queue.claimJob({ workerId: "node" });
seen.sameJob = seen.claim.jobId === submitted.jobId;
seen.payload = text(seen.claim.payload);
seen.type = seen.claim.type;
seen.attempt = seen.claim.attempt.toString();
delete seen.claim;
seen.none = (await queue.claimJob({ workerId: "node" })).jobId ?? null;
seen.refused = await failure(() => queue.submitJob({ payload: bytes("1"), maxAttempts: -1 }));
seen.missing = await failure(() => queue.getJob({ jobId: "none" }));
seen.late = await failure(() => queue.waitJob({ jobId: submitted.jobId, waitMs: 60000n }, { timeoutMs: 1 }));
seen.bidi = await failure(async () => {
  for await (const _ of queue.work((async function* () {})())) break;
});

seen.jobs = [];
for await (const chunk of admin.getState({})) {
  if (chunk.header) seen.broker = chunk.header.broker;
  seen.jobs.push(...chunk.jobs.map((job) => job.status));
}

const leaving = new AbortController();
const watch = queue.watchJobs({ types: ["sms"], statsIntervalMs: 100n }, { signal: leaving.signal });
seen.events = [];
try {
  let asked = false;
  for await (const frame of watch) {
    // The first statistics show that the watch has begun.
    if (!asked) {
      asked = true;
      await queue.submitJob({ payload: bytes("2"), type: "sms" });
    }
    seen.events.push(...frame.events.map((event) => event.type));
    if (seen.events.length) leaving.abort();
  }
} catch (error) {
  seen.left = Code[ConnectError.from(error).code];
}
seen.completed = await queue.completeJob({ jobId: submitted.jobId, workerId: "node" }).then(() => true);
console.log(JSON.stringify(seen));
