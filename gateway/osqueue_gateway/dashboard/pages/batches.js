/**
 * Batches: jobs that are counted together, and how far each batch has come.
 * @module
 */

import { listBatches } from "../api.js";
import { count, plural, visible } from "../format.js";
import { useLoaded, useNow } from "../hooks.js";
import { html, useState } from "../lib.js";
import { Empty, Shown } from "../parts/states.js";
import { Ago, Meter } from "../parts/status.js";

/** @import { BatchInfo } from "../types.js" */

const STATUSES = ["open", "sealed", "completed", "dead", "cancelled"];
/** @type {Record<string, string>} */
const COLOURS = { running: "in_progress", open: "scheduled", sealed: "in_progress" };

/**
 * @param {string} status Of a workflow or a batch.
 * @returns {string} The class that colours it.
 */
export function statusClass(status) {
  return COLOURS[status] ?? status;
}

/** @param {{all: string[], chosen: string[], onChange: (chosen: string[]) => void}} props */
export function Statuses({ all, chosen, onChange }) {
  return html`<div class="chips" role="group" aria-label="Statuses">
    ${all.map(
      (one) =>
        html`<button
          key=${one}
          type="button"
          class="chip ${statusClass(one)}"
          aria-pressed=${chosen.includes(one)}
          onClick=${() => onChange(chosen.includes(one) ? chosen.filter((other) => other !== one) : [...chosen, one])}
        >
          ${one}
        </button>`,
    )}
  </div>`;
}

export function BatchesPage() {
  const [statuses, setStatuses] = useState(/** @type {string[]} */ ([]));
  const loaded = useLoaded((signal) => listBatches(statuses, signal), [statuses], { everyMs: 2_000 });
  const now = useNow();
  return html`
    <div class="title"><h1>Batches</h1></div>
    <${Statuses} all=${STATUSES} chosen=${statuses} onChange=${setStatuses} />
    <${Shown} loaded=${loaded} lines=${5}>
      ${(/** @type {{batches: BatchInfo[], nextPageToken: string}} */ found) => html`<${Batches} ...${found} filtered=${statuses.length > 0} now=${now} />`}
    <//>
  `;
}

/** @param {{batches: BatchInfo[], nextPageToken: string, filtered: boolean, now: number}} props */
function Batches({ batches, nextPageToken, filtered, now }) {
  if (!batches.length && filtered) return html`<${Empty} title="No batch is in that state" />`;
  if (!batches.length) {
    return html`<${Empty} title="There is no batch yet">
      <p>
        A batch counts jobs together, and submits a job of its own once all of them have ended. Open one with
        <code>client.batch(…)</code>, <code>osqueue batches open</code> or <code>POST /v1/batches</code>.
      </p>
    <//>`;
  }
  return html`
    <p class="soft">${plural(batches.length, "batch").replace("batchs", "batches")}${nextPageToken && " and more"}.</p>
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th>Batch</th>
            <th>Status</th>
            <th>Ended</th>
            <th class="number">Members</th>
            <th class="number">Live</th>
            <th class="number">Dead</th>
            <th>Opened</th>
          </tr>
        </thead>
        <tbody>
          ${batches.map((one) => html`<${Row} key=${one.id} info=${one} now=${now} />`)}
        </tbody>
      </table>
    </div>
  `;
}

/** @param {{info: BatchInfo, now: number}} props */
function Row({ info, now }) {
  return html`<tr>
    <td><a class="id" href="/batches/${info.id}">${info.name ? visible(info.name) : info.id}</a></td>
    <td><span class="status ${statusClass(info.status)}">${info.status}</span></td>
    <td>
      <${Meter} fraction=${info.total ? (info.total - info.live) / info.total : 0} label="Members that have ended" />
    </td>
    <td class="number">${count(info.total)}</td>
    <td class="number">${count(info.live)}</td>
    <td class="number ${info.dead ? "bad" : ""}">${count(info.dead)}</td>
    <td><${Ago} at=${info.createdAt} now=${now} /></td>
  </tr>`;
}
