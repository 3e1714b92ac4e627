/**
 * Schedules: when each fires next, and how its times fared.
 * @module
 */

import { listSchedules } from "../api.js";
import { count, plural, span, visible } from "../format.js";
import { useLoaded, useNow } from "../hooks.js";
import { html, useState } from "../lib.js";
import { Empty, Shown } from "../parts/states.js";
import { Ago, Type } from "../parts/status.js";

/** @import { Schedule, ScheduleInfo } from "../types.js" */

/** @type {Record<string, string>} */
const COLOURS = { ACTIVE: "completed", PAUSED: "scheduled", ENDED: "cancelled", BROKEN: "dead" };

export function SchedulesPage() {
  const loaded = useLoaded((signal) => listSchedules("", signal), [], { everyMs: 2_000 });
  const [text, setText] = useState("");
  const now = useNow();
  return html`
    <div class="title">
      <h1>Schedules</h1>
      <input
        type="search"
        data-search
        placeholder="Schedule or type"
        aria-label="Filter by schedule or type"
        value=${text}
        onInput=${(/** @type {any} */ event) => setText(event.currentTarget.value)}
      />
    </div>
    <${Shown} loaded=${loaded} lines=${5}>
      ${(/** @type {{schedules: ScheduleInfo[], nextPageToken: string}} */ found) => html`<${Schedules} ...${found} text=${text} now=${now} />`}
    <//>
  `;
}

/** @param {{schedules: ScheduleInfo[], nextPageToken: string, text: string, now: number}} props */
function Schedules({ schedules, nextPageToken, text, now }) {
  if (!schedules.length) {
    return html`<${Empty} title="There is no schedule yet">
      <p>Put one with <code>osqueue schedules put</code>, or in a worker with <code>@worker.schedule(…)</code>.</p>
    <//>`;
  }
  const shown = schedules.filter((one) => `${one.schedule.id} ${one.schedule.job.type}`.includes(text.trim()));
  return html`
    <p class="soft">${plural(schedules.length, "schedule")}${nextPageToken && " and more"}.</p>
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th>Schedule</th>
            <th>State</th>
            <th>When</th>
            <th>Next</th>
            <th>Type</th>
            <th class="number">Fired</th>
            <th class="number">Skipped</th>
            <th class="number">Missed</th>
          </tr>
        </thead>
        <tbody>
          ${shown.map((one) => html`<${Row} key=${one.schedule.id} info=${one} now=${now} />`)}
        </tbody>
      </table>
    </div>
    ${!shown.length && html`<${Empty} title="None matches “${text}”" />`}
  `;
}

/** @param {{info: ScheduleInfo, now: number}} props */
function Row({ info, now }) {
  const { schedule, tally } = info;
  const next = info.next[0];
  return html`<tr>
    <td><a href="/schedules/${schedule.id}">${visible(schedule.id)}</a></td>
    <td><${ScheduleState} info=${info} /></td>
    <td>${when(schedule)}</td>
    <td>${next ? html`<${Ago} at=${next.at} now=${now} ahead />` : html`<span class="soft">–</span>`}</td>
    <td><${Type} type=${schedule.job.type} /></td>
    <td class="number">${count(tally.fired ?? 0)}</td>
    <td class="number">${count(tally.skipped ?? 0)}</td>
    <td class="number ${tally.missed ? "bad" : ""}">${count(tally.missed ?? 0)}</td>
  </tr>`;
}

/** @param {{info: ScheduleInfo}} props */
export function ScheduleState({ info }) {
  return html`<span class="status ${COLOURS[info.state] ?? ""}" title=${info.message}
    >${info.state.toLowerCase()}</span
  >`;
}

/** @param {Schedule} schedule */
export function when(schedule) {
  return schedule.everyMs ? `every ${span(schedule.everyMs)}` : `${visible(schedule.cron)} ${schedule.timeZone}`;
}
