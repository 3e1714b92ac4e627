/**
 * A job's attempts, one below the other, each with its span of the job's life.
 * @module
 */

import { moment, span, visible } from "../format.js";
import { html } from "../lib.js";

/** @import { Attempt, Job } from "../types.js" */

/** @type {Record<string, {word: string, tone: string}>} */
const OUTCOMES = {
  UNSPECIFIED: { word: "running", tone: "in_progress" },
  COMPLETED: { word: "completed", tone: "completed" },
  FAILED: { word: "failed", tone: "dead" },
  EXPIRED: { word: "lease expired", tone: "dead" },
  TIMED_OUT: { word: "timed out", tone: "dead" },
  RELEASED: { word: "given back", tone: "cancelled" },
  CANCELLED: { word: "cancelled", tone: "cancelled" },
};

/** @param {{job: Job, now: number}} props */
export function Timeline({ job, now }) {
  const until = job.finishedAt || now;
  const life = Math.max(1, until - job.createdAt);
  /** @param {number} at */
  const part = (at) => Math.min(1, Math.max(0, (at - job.createdAt) / life));
  const forgotten = job.attemptNumber - job.history.length;
  return html`<section class="card">
    <header>
      <h2>Attempts</h2>
      <span class="soft">${job.attempts} of ${job.effectiveMaxAttempts} used</span>
    </header>
    <div class="life">
      <span title=${moment(job.createdAt)}>submitted</span>
      <span class="grow"></span>
      <span title=${moment(until)}>${job.finishedAt ? "finished" : "now"}, after ${span(life)}</span>
    </div>
    ${forgotten > 0 && html`<p class="soft">Earlier attempts are no longer kept: ${forgotten}.</p>`}
    ${job.history.length === 0 && html`<p class="soft">None yet: no worker has claimed it.</p>`}
    <ol class="attempts">
      ${job.history.map((attempt) => html`<${Row} key=${attempt.number} attempt=${attempt} part=${part} now=${now} />`)}
    </ol>
  </section>`;
}

/** @param {{attempt: Attempt, part: (at: number) => number, now: number}} props */
function Row({ attempt, part, now }) {
  const { word, tone } = OUTCOMES[attempt.outcome] ?? { word: attempt.outcome.toLowerCase(), tone: "cancelled" };
  const ended = attempt.endedAt || now;
  const start = part(attempt.startedAt);
  const width = Math.max(0.006, part(ended) - start);
  return html`<li>
    <div class="attempt">
      <b>${attempt.number}</b>
      <span class="status ${tone}">${word}</span>
      <span>${visible(attempt.workerId)}</span>
      <span class="grow"></span>
      <span class="soft" title="From ${moment(attempt.startedAt)}"
        >${moment(attempt.startedAt)} · ${span(Math.max(0, ended - attempt.startedAt))}</span
      >
    </div>
    <span class="bar"
      ><span class=${tone} style=${{ marginLeft: `${Math.min(start, 0.994) * 100}%`, width: `${width * 100}%` }}></span
    ></span>
    ${
      attempt.error &&
      (attempt.error.type || attempt.error.message) &&
      html`<pre
        class="attempt-error"
        tabindex="0"
      ><b>${visible(attempt.error.type)}</b>${attempt.error.type && "\n"}${visible(attempt.error.message)}</pre>`
    }
  </li>`;
}
