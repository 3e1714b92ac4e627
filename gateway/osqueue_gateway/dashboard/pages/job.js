/**
 * One job: what it is, why it does not run, what was tried, what came of it.
 * @module
 */

import { changeJobs, explainJob, getJobText } from "../api.js";
import { contentOf } from "../bytes.js";
import { lookAt, submitAgain } from "../commands.js";
import { OWN } from "../connection.js";
import { bytes, moment, span, visible } from "../format.js";
import { useLoaded, useNow } from "../hooks.js";
import { members, pretty } from "../json_text.js";
import { html, useState } from "../lib.js";
import { BulkDialog } from "../parts/bulk.js";
import { CopyButton, CopyMenu } from "../parts/copy.js";
import { EditDialog, ResubmitDialog } from "../parts/edit.js";
import { Explain } from "../parts/explain.js";
import { Payload } from "../parts/payload.js";
import { Empty, Loading, Wrong, unsaid } from "../parts/states.js";
import { Ago, Meter, Status, Type } from "../parts/status.js";
import { Timeline } from "../parts/timeline.js";
import { Problem, asProblem } from "../problem.js";

/** @import { Explanation, Job } from "../types.js" */
/** @typedef {import("../bytes.js").Content} Content */

/**
 * @typedef {object} Found
 * @property {string} text The job as JSON text.
 * @property {Job} job
 * @property {Content | null} payload
 * @property {Content | null} result
 * @property {Explanation} why
 */

const WAITING = ["unclaimed", "scheduled", "blocked"];
const RAW_CHARACTERS = 50_000;
const COPIED_BYTES = 96 * 1_024;
/** No shell takes a much longer word. */

/** @param {{id: string}} props */
export function JobPage({ id }) {
  const loaded = useLoaded((signal) => load(id, signal), [id], {
    everyMs: 2_000,
    onEvent: (event) => event.jobId === id,
    atMostEveryMs: 300,
  });
  const now = useNow(500);
  const found = loaded.data;
  if (loaded.problem?.reason === "JOB_NOT_FOUND") {
    return html`<h1>Job</h1>
      <${Empty} title=${found ? "This job is no longer kept" : "There is no job with this id"}>
        <p class="id">${id}</p>
        <p>It was purged, its retention is over, or it never existed. <a href="/jobs">See the jobs there are</a>.</p>
      <//>`;
  }
  return html`
    ${!found && html`<h1>Job <span class="id">${id}</span></h1>`}
    <${Wrong} problem=${unsaid(loaded.problem)} retry=${loaded.reload} />
    ${found ? html`<${View} found=${found} now=${now} reload=${loaded.reload} />` : loaded.loading && html`<${Loading} lines=${8} />`}
  `;
}

/**
 * @param {string} id
 * @param {AbortSignal} signal
 * @returns {Promise<Found>}
 */
async function load(id, signal) {
  const [answer, why] = await Promise.all([getJobText(id, signal), explainJob(id, signal)]);
  const text = members(answer).get("job") ?? "{}";
  const fields = members(text);
  return {
    text,
    why,
    job: JSON.parse(text),
    payload: contentOf(fields, "payload"),
    result: contentOf(fields, "result"),
  };
}

/** @param {{found: Found, now: number, reload: () => void}} props */
function View({ found, now, reload }) {
  const { job, why, payload, result } = found;
  const finished = job.finishedAt > 0;
  return html`
    <div class="title">
      <h1><${Status} status=${job.status} /> <${Type} type=${job.type} /></h1>
      <span class="id">${job.id}</span>
      <${CopyButton} label="Copy id" text=${() => job.id} />
      <span class="grow"></span>
      <${Actions} job=${job} payload=${payload} reload=${reload} />
      <${CopyMenu} label="Copy as" groups=${copies(job, payload)} />
    </div>
    <${Explain} why=${why} job=${job} now=${now} />
    ${
      job.progress &&
      html`<div class="progress">
        <${Meter} fraction=${job.progress.fraction} label="Progress" />
        <b>${Math.round(job.progress.fraction * 100)} %</b>
        <span>${visible(job.progress.message)}</span>
        <span class="soft"><${Ago} at=${job.progress.updatedAt} now=${now} /></span>
      </div>`
    }
    <div class="job-columns">
      <div>
        <${Payload} title="Payload" content=${payload} none="It is empty." />
        <${Payload}
          title="Result"
          content=${result}
          none=${finished ? "None was given." : "There is none before the job is completed."}
        />
        <${Timeline} job=${job} now=${now} />
      </div>
      <${Facts} job=${job} now=${now} />
    </div>
    <details class="card fold">
      <summary>
        <h2>Raw JSON</h2>
        <span class="soft">${bytes(found.text.length)}</span>
      </summary>
      <${Raw} text=${found.text} />
    </details>
  `;
}

/**
 * @param {Job} job
 * @param {Content | null} payload
 */
function copies(job, payload) {
  const groups = [{ title: "Look at this job", items: lookAt(job.id) }];
  if (payload && payload.bytes.length <= COPIED_BYTES) {
    groups.push({ title: "Submit its payload again", items: submitAgain(job.type ?? "", payload) });
  }
  return groups;
}

/** @param {{job: Job, payload: Content | null, reload: () => void}} props */
function Actions({ job, payload, reload }) {
  const [asked, setAsked] = useState(/** @type {"cancel" | "purge" | null} */ (null));
  const [form, setForm] = useState(/** @type {"edit" | "resubmit" | null} */ (null));
  const [problem, setProblem] = useState(/** @type {Problem | null} */ (null));
  const finished = job.finishedAt > 0;
  /** Nothing is lost by it, so nothing is asked first. */
  const atOnce = async (/** @type {"retry" | "run"} */ action) => {
    try {
      const { results } = await changeJobs(action, { jobIds: [job.id], dryRun: false });
      const refused = results[0]?.error;
      setProblem(refused ? new Problem(refused.message) : null);
      reload();
    } catch (error) {
      setProblem(asProblem(error, OWN));
    }
  };
  return html`
    ${job.status === "dead" && html`<button type="button" class="primary" onClick=${() => atOnce("retry")}>Retry</button>`}
    ${job.status === "scheduled" && html`<button type="button" class="primary" onClick=${() => atOnce("run")}>Run now</button>`}
    ${WAITING.includes(job.status) && html`<button type="button" onClick=${() => setForm("edit")}>Edit…</button>`}
    ${finished && html`<button type="button" onClick=${() => setForm("resubmit")}>Submit again…</button>`}
    ${!finished && !job.cancelRequested && html`<button type="button" onClick=${() => setAsked("cancel")}>Cancel…</button>`}
    ${finished && html`<button type="button" onClick=${() => setAsked("purge")}>Purge…</button>`}
    <${Wrong} problem=${problem} />
    ${form === "edit" && html`<${EditDialog} job=${job} payload=${payload} onClose=${() => setForm(null)} onDone=${reload} />`}
    ${form === "resubmit" && html`<${ResubmitDialog} job=${job} payload=${payload} onClose=${() => setForm(null)} />`}
    ${
      asked &&
      html`<${BulkDialog}
        action=${asked}
        selection=${{ jobIds: [job.id] }}
        which="Job ${job.id}."
        onClose=${() => setAsked(null)}
        onDone=${reload}
      />`
    }
  `;
}

/** @param {{origin: import("../types.js").Origin}} props */
function CameFrom({ origin }) {
  if (origin.batchId) {
    /** @type {Record<string, string>} */
    const ends = {
      BATCH_FIRST_DEAD: "the first death in",
      BATCH_SUCCESS: "the success of",
      BATCH_FINISHED: "the end of",
    };
    return html`${ends[origin.kind] ?? ""} the batch <a href="/batches/${origin.batchId}">${origin.batchId}</a>`;
  }
  const how = origin.kind === "ON_DEAD" ? "the death of" : "the completion of";
  return html`${how} <a href="/jobs/${encodeURIComponent(origin.jobId)}">${visible(origin.jobId)}</a>`;
}

/** @param {{ids: string[]}} props */
function JobLinks({ ids }) {
  return html`${ids.map((id) => html`<a key=${id} href="/jobs/${encodeURIComponent(id)}">${visible(id)}</a> `)}`;
}

/** @param {{job: Job, now: number}} props */
function Facts({ job, now }) {
  const policy = job.retryPolicy;
  /** @type {[string, any][]} */
  const rows = [
    ["Submitted", html`<${Ago} at=${job.createdAt} now=${now} />`],
    ["Runs", job.status === "scheduled" && html`<${Ago} at=${job.runAt} now=${now} ahead=${true} />`],
    ["Started", job.claimedAt > 0 && html`<${Ago} at=${job.claimedAt} now=${now} />`],
    ["Finished", job.finishedAt > 0 && html`<${Ago} at=${job.finishedAt} now=${now} />`],
    [
      "Worker",
      job.workerId &&
        html`<a href="/jobs?worker=${encodeURIComponent(job.workerId)}&status=${job.status}"
          >${visible(job.workerId)}</a
        >`,
    ],
    ["Last heartbeat", job.heartbeat > 0 && html`<${Ago} at=${job.heartbeat} now=${now} />`],
    ["Priority", String(job.priority)],
    ["Attempts", `${job.attempts} of ${job.effectiveMaxAttempts}`],
    ["Lease", job.leaseMs > 0 && span(job.leaseMs)],
    ["Attempt limit", job.timeoutMs > 0 && span(job.timeoutMs)],
    [
      "Back-off",
      policy &&
        `${span(policy.initialMs)}, × ${policy.multiplier ?? 2}${policy.maxMs ? `, at most ${span(policy.maxMs)}` : ""}`,
    ],
    ["Kept", job.retentionMs !== undefined && `at least ${span(job.retentionMs)}`],
    ["Idempotency key", job.idempotencyKey && html`<code>${visible(job.idempotencyKey)}</code>`],
    ["Schedule", job.scheduleId && html`<a href="/schedules/${job.scheduleId}">${visible(job.scheduleId)}</a>`],
    ["Scheduled for", job.scheduledFor && moment(job.scheduledFor)],
    [
      "Workflow",
      job.workflowId &&
        html`<a href="/workflows/${job.workflowId}">${job.workflowId}</a>, as ${visible(job.node ?? "")}`,
    ],
    ["Batch", job.batchId && html`<a href="/batches/${job.batchId}">${job.batchId}</a>`],
    ["Unique key", job.unique && html`<code>${visible(job.unique.key)}</code>`],
    ["Fairness key", job.fairnessKey && html`<code>${visible(job.fairnessKey)}</code>`],
    ["Sequence", job.sequenceKey && html`<code>${visible(job.sequenceKey)}</code>`],
    ["Came from", job.cameFrom && html`<${CameFrom} origin=${job.cameFrom} />`],
    ["Followed by", job.followUps.length > 0 && html`<${JobLinks} ids=${job.followUps} />`],
    ["If it dies", job.submitOnDead && `a job of the type ${visible(job.submitOnDead.type) || "(none)"} is submitted`],
    ["Its deaths submitted", job.deadFollowUps.length > 0 && html`<${JobLinks} ids=${job.deadFollowUps} />`],
    ["Payload", bytes(job.payloadBytes)],
    ["Result", job.resultBytes > 0 && bytes(job.resultBytes)],
  ];
  const labels = Object.entries(job.metadata);
  return html`<aside class="card">
    <header><h2>Facts</h2></header>
    <dl class="facts">
      ${rows.map(
        ([name, value]) =>
          value &&
          html`<div key=${name}>
            <dt>${name}</dt>
            <dd>${value}</dd>
          </div>`,
      )}
    </dl>
    ${
      labels.length > 0 &&
      html`<h3>Labels</h3>
        <dl class="facts">
          ${labels.map(
            ([key, value]) =>
              html`<div key=${key}>
                <dt>${visible(key)}</dt>
                <dd>
                  <a href="/jobs?label=${encodeURIComponent(`${key}=${value}`)}&status=${job.status}"
                    >${visible(value)}</a
                  >
                </dd>
              </div>`,
          )}
        </dl>`
    }
    <p class="soft">Submitted ${moment(job.createdAt)}</p>
  </aside>`;
}

/** @param {{text: string}} props */
function Raw({ text }) {
  const shown = text.length <= RAW_CHARACTERS ? pretty(text) : text.slice(0, RAW_CHARACTERS);
  return html`
    <${CopyButton} label="Copy" text=${() => text} />
    <pre class="content" tabindex="0">${visible(shown)}</pre>
    ${text.length > RAW_CHARACTERS && html`<p class="soft">Only the beginning is shown; “Copy” takes the whole.</p>`}
  `;
}
