/**
 * One batch: how far it has come, when it may end, what it submitted, sealing and cancelling it.
 * @module
 */

import { getBatch, steerBatch } from "../api.js";
import { count, span, visible } from "../format.js";
import { useLoaded, useNow } from "../hooks.js";
import { html, useState } from "../lib.js";
import { Confirm } from "../parts/dialog.js";
import { Empty, Shown } from "../parts/states.js";
import { Ago, JobLink, Meter } from "../parts/status.js";
import { statusClass } from "./batches.js";
import { ANY_STATUS } from "./jobs_filter.js";

/** @import { BatchInfo } from "../types.js" */

const CALLBACKS = /** @type {const} */ ([
  ["Its first death submitted", "firstDeadJobId"],
  ["Its success submitted", "successJobId"],
  ["Its end submitted", "finishedJobId"],
]);
const ENDS = /** @type {const} */ (["completed", "dead", "cancelled", "purged"]);

/** @param {{id: string}} props */
export function BatchPage({ id }) {
  const loaded = useLoaded((signal) => getBatch(id, signal), [id], { everyMs: 2_000 });
  if (loaded.problem?.reason === "BATCH_NOT_FOUND") {
    return html`<h1>Batch</h1>
      <${Empty} title="There is no batch with this id">
        <p class="id">${id}</p>
        <p>It never existed, or it ended and is no longer kept. <a href="/batches">See the batches there are</a>.</p>
      <//>`;
  }
  return html`<${Shown} loaded=${loaded} lines=${6}>
    ${(/** @type {{batch: BatchInfo}} */ found) => html`<${Details} info=${found.batch} reload=${loaded.reload} />`}
  <//>`;
}

/** @param {{info: BatchInfo, reload: () => void}} props */
function Details({ info, reload }) {
  const now = useNow();
  const [asked, setAsked] = useState(/** @type {"seal" | "cancel" | ""} */ (""));
  const ended = info.total - info.live;
  const over = info.status !== "open" && info.status !== "sealed";
  const left = info.sealedAt > 0 && !over && ended > 0 ? ((now - info.createdAt) / ended) * info.live : 0;
  return html`
    <div class="title">
      <h1>${info.name ? visible(info.name) : "Batch"}</h1>
      <span class="status ${statusClass(info.status)}">${info.status}</span>
      <span class="id">${info.id}</span>
      <div class="buttons">
        ${info.status === "open" && html`<button type="button" onClick=${() => setAsked("seal")}>Seal…</button>`}
        ${!over && html`<button type="button" class="harmful" onClick=${() => setAsked("cancel")}>Cancel…</button>`}
      </div>
    </div>
    <div class="progress">
      <${Meter} fraction=${info.total ? ended / info.total : 0} label="Members that have ended" />
      <b>${count(ended)} of ${count(info.total)} ended</b>
      ${left > 0 && html`<span class="soft">about ${span(left)} left at this pace</span>`}
      <a href="/jobs?batch=${info.id}&${ANY_STATUS}">List its jobs</a>
    </div>
    <section class="card">
      <dl class="facts">
        ${ENDS.map((name) => info[name] > 0 && html`<${Fact} name=${name}>${count(info[name])}<//>`)}
        ${info.parentBatchId && html`<${Fact} name="Member of"><a href="/batches/${info.parentBatchId}">${info.parentBatchId}</a><//>`}
        <${Fact} name="Opened"><${Ago} at=${info.createdAt} now=${now} /><//>
        ${info.sealedAt > 0 && html`<${Fact} name="Sealed"><${Ago} at=${info.sealedAt} now=${now} /><//>`}
        ${info.cancelledAt > 0 && html`<${Fact} name="Cancelled"><${Ago} at=${info.cancelledAt} now=${now} /><//>`}
        ${info.finishedAt > 0 && html`<${Fact} name="Ended"><${Ago} at=${info.finishedAt} now=${now} /><//>`}
        ${CALLBACKS.map(([name, field]) => info[field] && html`<${Fact} name=${name}><${JobLink} id=${info[field]} /><//>`)}
      </dl>
    </section>
    ${asked && html`<${Steer} id=${info.id} action=${asked} onClose=${() => setAsked("")} onDone=${reload} />`}
  `;
}

/** @param {{name: string, children: import("../lib.js").Children}} props */
function Fact({ name, children }) {
  return html`<div>
    <dt>${name}</dt>
    <dd>${children}</dd>
  </div>`;
}

/** @param {{id: string, action: "seal" | "cancel", onClose: () => void, onDone: () => void}} props */
function Steer({ id, action, onClose, onDone }) {
  const texts = {
    seal: ["Seal this batch", "Seal it", "It takes no more jobs. When all of its members have ended, so has it."],
    cancel: [
      "Cancel this batch",
      "Cancel it",
      "Its members that wait are cancelled, and the workers of those that run are asked to stop. Of what it was to submit, only the job of its end is.",
    ],
  };
  const [title, word, meaning] = texts[action];
  const run = async () => {
    await steerBatch(id, action);
    onDone();
  };
  return html`<${Confirm} title=${title} action=${word} harmful=${action === "cancel"} run=${run} onClose=${onClose}>
    <p>${meaning}</p>
  <//>`;
}
