/**
 * One workflow: its graph with the statuses of its jobs, and cancelling it.
 * @module
 */

import { cancelWorkflow, changeJobs, getWorkflow } from "../api.js";
import { OWN } from "../connection.js";
import { plural, visible } from "../format.js";
import { useLoaded, useNow } from "../hooks.js";
import { html, useState } from "../lib.js";
import { Confirm } from "../parts/dialog.js";
import { Graph } from "../parts/graph.js";
import { Empty, Shown, Wrong } from "../parts/states.js";
import { Ago, Meter } from "../parts/status.js";
import { Problem, asProblem } from "../problem.js";
import { statusClass } from "./batches.js";
import { ANY_STATUS } from "./jobs_filter.js";
import { endedOf } from "./workflows.js";

/** @import { NodeInfo, WorkflowInfo } from "../types.js" */

/** @param {{id: string}} props */
export function WorkflowPage({ id }) {
  const loaded = useLoaded((signal) => getWorkflow(id, signal), [id], { everyMs: 2_000 });
  if (loaded.problem?.reason === "WORKFLOW_NOT_FOUND") {
    return html`<h1>Workflow</h1>
      <${Empty} title="There is no workflow with this id">
        <p class="id">${id}</p>
        <p>
          It never existed, or it ended and none of its jobs is kept.
          <a href="/workflows">See the workflows there are</a>.
        </p>
      <//>`;
  }
  return html`<${Shown} loaded=${loaded} lines=${6}>
    ${(/** @type {{workflow: WorkflowInfo, nodes: NodeInfo[]}} */ found) => html`<${Details} ...${found} reload=${loaded.reload} />`}
  <//>`;
}

/** @param {{workflow: WorkflowInfo, nodes: NodeInfo[], reload: () => void}} props */
function Details({ workflow, nodes, reload }) {
  const now = useNow();
  const [asked, setAsked] = useState(false);
  const [problem, setProblem] = useState(/** @type {Problem | null} */ (null));
  const dead = nodes.filter((node) => node.status === "dead").map((node) => node.jobId);
  /** Nothing is lost by it, so nothing is asked first. */
  const retry = async () => {
    try {
      const { results } = await changeJobs("retry", { jobIds: dead, dryRun: false });
      const refused = results.find((one) => one.error)?.error;
      setProblem(refused ? new Problem(refused.message) : null);
      reload();
    } catch (error) {
      setProblem(asProblem(error, OWN));
    }
  };
  const cancel = async () => {
    await cancelWorkflow(workflow.id);
    reload();
  };
  return html`
    <div class="title">
      <h1>${workflow.name ? visible(workflow.name) : "Workflow"}</h1>
      <span class="status ${statusClass(workflow.status)}">${workflow.status}</span>
      <span class="id">${workflow.id}</span>
      <div class="buttons">
        ${dead.length > 0 && html`<button type="button" class="primary" onClick=${retry}>Retry ${plural(dead.length, "dead job")}</button>`}
        ${workflow.status === "running" && html`<button type="button" onClick=${() => setAsked(true)}>Cancel…</button>`}
      </div>
    </div>
    <${Wrong} problem=${problem} />
    <div class="progress">
      <${Meter} fraction=${endedOf(workflow)} label="Nodes that have ended" />
      <span>${plural(workflow.nodes, "node")}, submitted <${Ago} at=${workflow.createdAt} now=${now} /></span>
      <a href="/jobs?workflow=${workflow.id}&${ANY_STATUS}">List its jobs</a>
    </div>
    <${Graph} nodes=${nodes} />
    ${
      asked &&
      html`<${Confirm}
        title="Cancel this workflow"
        action="Cancel it"
        harmful
        run=${cancel}
        onClose=${() => setAsked(false)}
      >
        <p>Its jobs that wait are cancelled, and the workers of those that run are asked to stop.</p>
      <//>`
    }
  `;
}
