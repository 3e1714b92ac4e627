/**
 * What happens to jobs, as it happens.
 * @module
 */

import { clock, count } from "../format.js";
import { useLive } from "../hooks.js";
import { html, useState } from "../lib.js";
import { Empty } from "../parts/states.js";
import { ErrorLine, JobLink, Type } from "../parts/status.js";
import { visible } from "../format.js";

/** @import { JobEvent } from "../types.js" */

const SHOWN = 40;

/** @type {Record<string, {word: string, tone: string}>} */
const KINDS = {
  SUBMITTED: { word: "submitted", tone: "unclaimed" },
  READY: { word: "became ready", tone: "unclaimed" },
  CLAIMED: { word: "started", tone: "in_progress" },
  PROGRESSED: { word: "progressed", tone: "in_progress" },
  COMPLETED: { word: "completed", tone: "completed" },
  FAILED: { word: "failed", tone: "dead" },
  EXPIRED: { word: "lease expired", tone: "dead" },
  TIMED_OUT: { word: "timed out", tone: "dead" },
  RELEASED: { word: "given back", tone: "scheduled" },
  DEAD: { word: "died", tone: "dead" },
  CANCEL_REQUESTED: { word: "asked to stop", tone: "cancelled" },
  CANCELLED: { word: "cancelled", tone: "cancelled" },
  RETRIED: { word: "retried", tone: "unclaimed" },
  REMOVED: { word: "removed", tone: "cancelled" },
};

export function Activity() {
  const live = useLive();
  const [kept, setKept] = useState(/** @type {JobEvent[] | null} */ (null));
  const events = (kept ?? live.events).slice(-SHOWN).reverse();
  const pause = () => setKept(kept ? null : [...live.events]);
  return html`<section class="card">
    <header>
      <h2>Activity</h2>
      <span class="soft">${events.length === SHOWN ? `the last ${count(SHOWN)} events` : ""}</span>
      <span class="grow"></span>
      <button type="button" aria-pressed=${kept !== null} onClick=${pause}>${kept ? "Go on" : "Pause"}</button>
    </header>
    ${
      events.length
        ? html`<ol class="activity">
            ${events.map((event) => html`<${Line} key=${keyOf(event)} event=${event} />`)}
          </ol>`
        : html`<${Empty} title="Nothing has happened since you opened this page" />`
    }
  </section>`;
}

/** @param {JobEvent} event */
function keyOf(event) {
  return `${event.jobId} ${event.kind} ${event.attempt} ${event.at}`;
}

/** @param {{event: JobEvent}} props */
function Line({ event }) {
  const { word, tone } = KINDS[event.kind] ?? { word: String(event.kind).toLowerCase(), tone: "" };
  return html`<li>
    <time>${clock(event.at)}</time>
    <span class="status ${tone}">${word}</span>
    <${JobLink} id=${event.jobId} />
    <${Type} type=${event.type} />
    <span class="soft cut">
      ${event.workerId && `by ${visible(event.workerId)}`}
      ${event.kind === "PROGRESSED" && event.progress ? ` ${Math.round(event.progress.fraction * 100)} % ${visible(event.progress.message)}` : ""}
      ${event.error && html` <${ErrorLine} error=${event.error} />`}
    </span>
  </li>`;
}
