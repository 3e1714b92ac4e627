// BullMQ: `submit REDIS_URL SECONDS` or `work REDIS_URL JOBS`; prints {"jobs", "seconds"}. Run in the directory that holds
// its node_modules.
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.cwd(), "anchor.js"));
const { Queue, Worker } = require("bullmq");

const CALLERS = 256;
const [mode, url, argument] = process.argv.slice(2);
const { hostname, port } = new URL(url);
const connection = { host: hostname, port: Number(port), maxRetriesPerRequest: null };
const payload = { to: "ada@example.org", n: 1 };

function report(jobs, began) {
  console.log(JSON.stringify({ jobs, seconds: (performance.now() - began) / 1000 }));
  process.exit(0);
}

async function submit(seconds) {
  const queue = new Queue("field", { connection, defaultJobOptions: { removeOnComplete: true } });
  await queue.waitUntilReady();
  const began = performance.now();
  const ends = began + seconds * 1000;
  let jobs = 0;
  const caller = async () => {
    while (performance.now() < ends) {
      await queue.add("noop", payload);
      jobs += 1;
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  report(jobs, began);
}

async function work(jobs) {
  let done = 0;
  let began = 0;
  const handler = async () => {
    began ||= performance.now();
  };
  const worker = new Worker("field", handler, { connection, concurrency: CALLERS });
  worker.on("completed", () => {
    done += 1;
    if (done === jobs) report(jobs, began);
  });
}

await (mode === "submit" ? submit : work)(Number(argument));
