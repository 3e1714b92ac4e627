/**
 * Workflows: jobs that need each other, and how far each workflow has come.
 * @module
 */

import { listWorkflows } from "../api.js";
import { count, plural, visible } from "../format.js";
import { useLoaded, useNow } from "../hooks.js";
import { html, useState } from "../lib.js";
import { Empty, Shown } from "../parts/states.js";
import { Ago, Meter } from "../parts/status.js";
import { Statuses, statusClass } from "./batches.js";

/** @import { WorkflowInfo } from "../types.js" */

const STATUSES = ["running", "completed", "dead", "cancelled"];

export function WorkflowsPage() {
  const [statuses, setStatuses] = useState(/** @type {string[]} */ ([]));
  const loaded = useLoaded((signal) => listWorkflows(statuses, signal), [statuses], { everyMs: 2_000 });
  const now = useNow();
  return html`
    <div class="title"><h1>Workflows</h1></div>
    <${Statuses} all=${STATUSES} chosen=${statuses} onChange=${setStatuses} />
    <${Shown} loaded=${loaded} lines=${5}>
      ${(/** @type {{workflows: WorkflowInfo[], nextPageToken: string}} */ found) => html`<${Workflows} ...${found} filtered=${statuses.length > 0} now=${now} />`}
    <//>
  `;
}

/** @param {{workflows: WorkflowInfo[], nextPageToken: string, filtered: boolean, now: number}} props */
function Workflows({ workflows, nextPageToken, filtered, now }) {
  if (!workflows.length && filtered) return html`<${Empty} title="No workflow is in that state" />`;
  if (!workflows.length) {
    return html`<${Empty} title="There is no workflow yet">
      <p>
        A workflow is a set of jobs that need each other: a job runs once those that it needs have ended. Submit one
        with
        <code>client.workflow("order")</code>, or <code>POST /v1/workflows</code>.
      </p>
    <//>`;
  }
  return html`
    <p class="soft">${plural(workflows.length, "workflow")}${nextPageToken && " and more"}.</p>
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th>Workflow</th>
            <th>Status</th>
            <th>Ended</th>
            <th class="number">Nodes</th>
            <th class="number">Running</th>
            <th class="number">Blocked</th>
            <th class="number">Dead</th>
            <th>Submitted</th>
          </tr>
        </thead>
        <tbody>
          ${workflows.map((one) => html`<${Row} key=${one.id} info=${one} now=${now} />`)}
        </tbody>
      </table>
    </div>
  `;
}

/** @param {{info: WorkflowInfo, now: number}} props */
function Row({ info, now }) {
  const { counts } = info;
  return html`<tr>
    <td><a class="id" href="/workflows/${info.id}">${info.name ? visible(info.name) : info.id}</a></td>
    <td><span class="status ${statusClass(info.status)}">${info.status}</span></td>
    <td><${Meter} fraction=${endedOf(info)} label="Nodes that have ended" /></td>
    <td class="number">${count(info.nodes)}</td>
    <td class="number">${count(counts.inProgress)}</td>
    <td class="number">${count(counts.blocked)}</td>
    <td class="number ${counts.dead ? "bad" : ""}">${count(counts.dead)}</td>
    <td><${Ago} at=${info.createdAt} now=${now} /></td>
  </tr>`;
}

/**
 * @param {WorkflowInfo} info
 * @returns {number} The part of its nodes that has ended.
 */
export function endedOf({ nodes, counts }) {
  const live = counts.unclaimed + counts.scheduled + counts.inProgress + counts.blocked;
  return nodes ? (nodes - live) / nodes : 0;
}
