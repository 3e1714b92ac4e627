/**
 * Job types: how many, how fast, and whether they are handed out.
 * @module
 */

import { setPaused } from "../api.js";
import { amount, count, span, visible } from "../format.js";
import { useLive } from "../hooks.js";
import { html, useState } from "../lib.js";
import { Confirm } from "../parts/dialog.js";
import { Empty, Loading } from "../parts/states.js";
import { Type } from "../parts/status.js";

/** @import { TypeStats } from "../types.js" */

export function TypesPage() {
  const { stats } = useLive();
  const [text, setText] = useState("");
  const [asked, setAsked] = useState(/** @type {TypeStats | null} */ (null));
  const types = stats?.types ?? [];
  const shown = types.filter((one) => one.type.includes(text.trim()));
  return html`
    <div class="title">
      <h1>Types</h1>
      <input
        type="search"
        data-search
        placeholder="Type"
        aria-label="Filter by type"
        value=${text}
        onInput=${(/** @type {any} */ event) => setText(event.currentTarget.value)}
      />
    </div>
    ${!stats && html`<${Loading} lines=${5} />`}
    ${
      stats &&
      !types.length &&
      html`<${Empty} title="No job has a type yet"
        ><p>Types appear with their first job. <a href="/producer">Submit one</a>.</p><//
      >`
    }
    ${types.length > 0 && html`<${Table} types=${shown} onPause=${setAsked} />`}
    ${types.length > 0 && !shown.length && html`<${Empty} title="None matches “${text}”" />`}
    ${asked && html`<${PauseDialog} type=${asked} onClose=${() => setAsked(null)} />`}
  `;
}

/** @param {{types: TypeStats[], onPause: (type: TypeStats) => void}} props */
function Table({ types, onPause }) {
  return html`<div class="scroll">
    <table>
      <thead>
        <tr>
          <th>Type</th>
          <th class="number">Waiting</th>
          <th class="number">Scheduled</th>
          <th class="number">Running</th>
          <th class="number">Dead</th>
          <th class="number">Oldest waits</th>
          <th class="number">In /s</th>
          <th class="number">Done /s</th>
          <th class="number">Failed /s</th>
          <th class="number">Workers</th>
          <th></th>
        </tr>
      </thead>
      <tbody>
        ${types.map((one) => html`<${Row} key=${one.type} type=${one} onPause=${onPause} />`)}
      </tbody>
    </table>
  </div>`;
}

/** @param {{type: TypeStats, onPause: (type: TypeStats) => void}} props */
function Row({ type, onPause }) {
  const { counts, rates } = type;
  const query = `type=${encodeURIComponent(type.type)}`;
  const stuck = counts.unclaimed > 0 && (type.paused || type.workers === 0);
  /**
   * @param {number} value
   * @param {string} status
   */
  const link = (value, status) =>
    value ? html`<a href="/jobs?status=${status}&${query}">${count(value)}</a>` : html`<span class="soft">0</span>`;
  return html`<tr class=${type.paused ? "paused" : ""}>
    <td>
      <a href="/jobs?${query}"><${Type} type=${type.type} /></a>
      ${type.paused && html` <span class="status scheduled">paused</span>`}
      ${
        counts.blocked > 0 &&
        html` <a class="status blocked" href="/jobs?status=blocked&${query}">${count(counts.blocked)} blocked</a>`
      }
    </td>
    <td class="number">${link(counts.unclaimed, "unclaimed")}</td>
    <td class="number">${link(counts.scheduled, "scheduled")}</td>
    <td class="number">${link(counts.inProgress, "in_progress")}</td>
    <td class="number">
      ${counts.dead ? html`<a class="bad" href="/dead?${query}">${count(counts.dead)}</a>` : html`<span class="soft">0</span>`}
    </td>
    <td class="number">${counts.unclaimed ? span(type.oldestReadyAgeMs) : html`<span class="soft">–</span>`}</td>
    <td class="number">${amount(rates.submitted)}</td>
    <td class="number">${amount(rates.completed)}</td>
    <td class="number ${rates.failed ? "bad" : ""}">${amount(rates.failed)}</td>
    <td class="number ${stuck && !type.workers ? "bad" : ""}">${type.workers}</td>
    <td class="actions">
      <button
        type="button"
        onClick=${() => onPause(type)}
        aria-label="${type.paused ? "Resume" : "Pause"} ${type.type || "jobs without a type"}"
      >
        ${type.paused ? "Resume" : "Pause"}
      </button>
    </td>
  </tr>`;
}

/** @param {{type: TypeStats, onClose: () => void}} props */
function PauseDialog({ type, onClose }) {
  const name = type.type ? html`<b>${visible(type.type)}</b>` : "jobs without a type";
  // What is asked was decided when the dialog opened, whatever the statistics say meanwhile.
  const [paused] = useState(type.paused);
  return html`<${Confirm}
    title=${paused ? "Resume this type" : "Pause this type"}
    action=${paused ? "Resume" : "Pause"}
    run=${() => setPaused(type.type, !paused)}
    onClose=${onClose}
  >
    <p>
      ${
        paused
          ? html`${name}: its ${count(type.counts.unclaimed)} waiting jobs are handed out again.`
          : html`${name}: no more of its jobs are handed out until it is resumed. Running ones go on, new ones are
            accepted. The pause survives restarts.`
      }
    </p>
  <//>`;
}
