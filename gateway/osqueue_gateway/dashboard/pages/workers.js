/**
 * Workers: who was seen lately, what they hold, how they fare.
 * @module
 */

import { listWorkers } from "../api.js";
import { count, plural, visible } from "../format.js";
import { useLoaded, useNow } from "../hooks.js";
import { html, useState } from "../lib.js";
import { Empty, Shown } from "../parts/states.js";
import { Ago, JobLink, Meter } from "../parts/status.js";

/** @import { Worker } from "../types.js" */

const JOBS_SHOWN = 4;
const SILENT_MS = 120_000;
/** The broker itself counts no worker that it has not heard of for two minutes. */

export function WorkersPage() {
  const loaded = useLoaded((signal) => listWorkers(signal), [], { everyMs: 1_000 });
  const [text, setText] = useState("");
  const now = useNow();
  return html`
    <div class="title">
      <h1>Workers</h1>
      <input
        type="search"
        data-search
        placeholder="Worker or type"
        aria-label="Filter by worker or type"
        value=${text}
        onInput=${(/** @type {any} */ event) => setText(event.currentTarget.value)}
      />
    </div>
    <${Shown} loaded=${loaded} lines=${5}>
      ${(/** @type {{workers: Worker[], nextPageToken: string}} */ found) => html`<${Workers} ...${found} text=${text} now=${now} />`}
    <//>
  `;
}

/** @param {{workers: Worker[], nextPageToken: string, text: string, now: number}} props */
function Workers({ workers, nextPageToken, text, now }) {
  if (!workers.length) {
    return html`<${Empty} title="No worker was seen lately">
      <p>A worker is listed from its first call on, until it was silent for an hour.</p>
      <p><a class="button primary" href="/worker">Start one in this browser</a></p>
    <//>`;
  }
  const shown = workers.filter((one) => `${one.workerId} ${one.types.join(" ")}`.includes(text.trim()));
  const leases = workers.reduce((sum, one) => sum + one.leases, 0);
  return html`
    <p class="soft">
      ${plural(workers.length, "worker")}${nextPageToken && " and more"}, holding ${plural(leases, "job")}.
    </p>
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th>Worker</th>
            <th>State</th>
            <th>Types</th>
            <th>Holds</th>
            <th>Current jobs</th>
            <th class="number">Completed</th>
            <th class="number">Failed</th>
            <th>Last heard of</th>
            <th>Since</th>
          </tr>
        </thead>
        <tbody>
          ${shown.map((one) => html`<${Row} key=${one.workerId} worker=${one} now=${now} />`)}
        </tbody>
      </table>
    </div>
    ${!shown.length && html`<${Empty} title="None matches “${text}”" />`}
  `;
}

/** @param {{worker: Worker, now: number}} props */
function Row({ worker, now }) {
  const [all, setAll] = useState(false);
  const jobs = all ? worker.jobIds : worker.jobIds.slice(0, JOBS_SHOWN);
  const hidden = worker.leases - jobs.length;
  return html`<tr>
    <td>
      <a href="/jobs?worker=${encodeURIComponent(worker.workerId)}">${visible(worker.workerId)}</a>
      ${worker.version && html`<div class="soft">${visible(worker.version)}</div>`}
    </td>
    <td><${State} worker=${worker} now=${now} /></td>
    <td>
      ${worker.types.length ? worker.types.map((type) => html`<span key=${type} class="type">${visible(type)}</span> `) : html`<span class="soft">any</span>`}
    </td>
    <td class="slots">
      ${worker.slots > 0 && html`<${Meter} fraction=${worker.leases / worker.slots} label="Slots in use" />`}
      <span>${worker.slots ? `${worker.leases} of ${worker.slots}` : worker.leases}</span>
    </td>
    <td class="held">
      ${jobs.map((id) => html`<${JobLink} key=${id} id=${id} /> `)}
      ${
        hidden > 0 &&
        (all
          ? html`<span class="soft">and ${count(hidden)} more</span>`
          : html`<button type="button" class="quiet" onClick=${() => setAll(true)}>${count(hidden)} more</button>`)
      }
    </td>
    <td class="number">${count(worker.completed)}</td>
    <td class="number ${worker.failed ? "bad" : ""}">${count(worker.failed)}</td>
    <td><${Ago} at=${worker.lastSeenAt} now=${now} /></td>
    <td><${Ago} at=${worker.firstSeenAt} now=${now} /></td>
  </tr>`;
}

/** @param {{worker: Worker, now: number}} props */
function State({ worker, now }) {
  if (worker.draining)
    return html`<span class="status scheduled" title="It takes no more jobs and finishes those it holds"
      >draining</span
    >`;
  if (worker.streaming)
    return html`<span class="status completed" title="It has a Work stream open: jobs are pushed to it"
      >streaming</span
    >`;
  if (now - worker.lastSeenAt > SILENT_MS)
    return html`<span class="status dead" title="Not heard of for two minutes">silent</span>`;
  return html`<span class="status in_progress" title="It asks for jobs, call by call">polling</span>`;
}
