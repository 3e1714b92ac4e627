/**
 * Why a job is not running: the broker's own answer, and what can be done about it.
 * @module
 */

import { span, visible } from "../format.js";
import { html } from "../lib.js";
import { Ago, JobLink } from "./status.js";

/** @import { Explanation, Job } from "../types.js" */

/** @type {Record<string, {tone: string, title: string}>} */
const REASONS = {
  NEXT: { tone: "good", title: "Next in line" },
  BEHIND: { tone: "wait", title: "Waiting its turn" },
  DELAYED: { tone: "wait", title: "Scheduled for later" },
  BACKING_OFF: { tone: "wait", title: "Backing off after a failure" },
  TYPE_PAUSED: { tone: "stuck", title: "Its type is paused" },
  NO_WORKER: { tone: "stuck", title: "No worker takes its type" },
  WORKERS_BUSY: { tone: "wait", title: "All its workers are busy" },
  RUNNING: { tone: "good", title: "Running" },
  CANCEL_REQUESTED: { tone: "wait", title: "Asked to stop" },
  FINISHED: { tone: "done", title: "Finished" },
  BLOCKED: { tone: "wait", title: "Waiting for other jobs" },
  UNIQUE_HELD: { tone: "wait", title: "Waiting for the job that has its unique key" },
  FAIR_TURN: { tone: "wait", title: "Other fairness keys have their turn first" },
  SEQUENCE: { tone: "wait", title: "Waiting for those before it in its sequence" },
};

/** @type {Record<string, {tone: string, title: string}>} */
const FINISHED = {
  completed: { tone: "good", title: "Completed" },
  dead: { tone: "stuck", title: "Dead: it will not run again unless retried" },
  cancelled: { tone: "done", title: "Cancelled" },
};

/** @param {{why: Explanation, job: Job, now: number}} props */
export function Explain({ why, job, now }) {
  const first = why.reasons.find((reason) => reason in REASONS) ?? "FINISHED";
  const { tone, title } = (first === "FINISHED" && FINISHED[why.status]) ||
    REASONS[first] || { tone: "wait", title: first };
  return html`<section class="explain ${tone}" aria-label="Why is it not running?">
    <div>
      <p class="explain-title">${title}</p>
      <p>${visible(why.message)}</p>
    </div>
    <dl class="facts-row">
      ${
        why.runAt > 0 &&
        html`<div>
          <dt>Runs</dt>
          <dd><${Ago} at=${why.runAt} now=${now} ahead=${true} /></dd>
        </div>`
      }
      ${
        why.jobsAhead > 0 &&
        html`<div>
          <dt>Ahead of it</dt>
          <dd>${why.jobsAhead}</dd>
        </div>`
      }
      ${
        why.blockedBy.length > 0 &&
        html`<div>
          <dt>Waits for</dt>
          <dd>${why.blockedBy.map((id) => html`<${JobLink} id=${id} /> `)}</dd>
        </div>`
      }
      ${
        why.status === "unclaimed" &&
        html`<div>
          <dt>Workers for its type</dt>
          <dd>${why.workers}</dd>
        </div>`
      }
      ${
        why.leaseExpiresAt > 0 &&
        html`<div>
          <dt>Lease ends</dt>
          <dd>in ${span(Math.max(0, why.leaseExpiresAt - now))}</dd>
        </div>`
      }
      ${
        why.finishedAt > 0 &&
        html`<div>
          <dt>Since</dt>
          <dd><${Ago} at=${why.finishedAt} now=${now} /></dd>
        </div>`
      }
    </dl>
    <${Remedy} reason=${first} job=${job} />
  </section>`;
}

/** @param {{reason: string, job: Job}} props */
function Remedy({ reason, job }) {
  if (reason === "TYPE_PAUSED") return html`<p><a href="/types">Resume the type</a> to let it run.</p>`;
  if (reason === "NO_WORKER") {
    return html`<p>
      Start a worker for it, or <a href="/worker?types=${encodeURIComponent(job.type ?? "")}">one in this browser</a>.
    </p>`;
  }
  if (reason === "WORKERS_BUSY")
    return html`<p>See <a href="/workers">what the workers do</a>; more of them, or more slots, let it run sooner.</p>`;
  return null;
}
