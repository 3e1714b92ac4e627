/**
 * Dead letters, grouped by type and error: what goes wrong most, and its second chance.
 * @module
 */

import { groupDead, listJobs, queryString } from "../api.js";
import { OWN } from "../connection.js";
import { brief, count, plural, visible } from "../format.js";
import { useLoaded, useNow } from "../hooks.js";
import { html, useState } from "../lib.js";
import { Problem, asProblem } from "../problem.js";
import { BulkDialog } from "../parts/bulk.js";
import { Empty, Shown, Wrong } from "../parts/states.js";
import { Ago, JobLink, Type } from "../parts/status.js";

/** @import { DeadGroup, JobEvent, JobFilter } from "../types.js" */
/** @typedef {{groups: DeadGroup[], others: number}} Groups */
/** @typedef {{action: "retry" | "purge", selection: import("../bulk.js").Selection, which: string}} Wish */

const CHANGES = new Set(["DEAD", "RETRIED", "REMOVED"]);
const NAMELESS_MAX = 10_000;
/** Dead letters whose error has no type are gathered by their ids, at most this many at a time. */

/** @param {{address: URL}} props */
export function DeadPage({ address }) {
  const type = address.searchParams.get("type");
  const loaded = useLoaded((signal) => groupDead(signal), [], {
    everyMs: 10_000,
    onEvent: (/** @type {JobEvent} */ event) => CHANGES.has(event.kind),
  });
  const [wish, setWish] = useState(/** @type {Wish | null} */ (null));
  const now = useNow();
  return html`
    <div class="title">
      <h1>Dead letters</h1>
      ${type !== null && html`<span class="chip"><${Type} type=${type} /> <a href="/dead" aria-label="Show all types">×</a></span>`}
    </div>
    <p class="soft">Jobs whose attempts are exhausted, or that failed for good. They do not run again by themselves.</p>
    <${Shown} loaded=${loaded} lines=${4}>
      ${(/** @type {Groups} */ found) => html`<${Groups} found=${found} type=${type} now=${now} onWish=${setWish} />`}
    <//>
    ${wish && html`<${BulkDialog} ...${wish} onClose=${() => setWish(null)} onDone=${loaded.reload} />`}
  `;
}

/** @param {{found: Groups, type: string | null, now: number, onWish: (wish: Wish) => void}} props */
function Groups({ found, type, now, onWish }) {
  const groups = found.groups.filter((group) => type === null || group.type === type);
  if (!groups.length) {
    return html`<${Empty} title=${type === null ? "No dead letters" : "No dead letters of this type"}>
      <p>
        A job that fails for the last time is kept here, with its error, until it is retried or its retention is over.
      </p>
    <//>`;
  }
  const total = groups.reduce((sum, group) => sum + group.count, 0) + (type === null ? found.others : 0);
  const all = type === null ? {} : { types: [type] };
  const which = type === null ? "All dead letters." : `All dead letters of type ${visible(type || "(none)")}.`;
  return html`
    <div class="actions-row">
      <span>${plural(total, "dead letter")} in ${plural(groups.length, "group")}</span>
      <span class="grow"></span>
      <button
        type="button"
        onClick=${() => onWish({ action: "retry", selection: { filter: { statuses: ["dead"], ...all } }, which })}
      >
        Retry all…
      </button>
    </div>
    <div class="groups">
      ${groups.map((group) => html`<${Group} key=${`${group.type} ${group.errorType}`} group=${group} now=${now} onWish=${onWish} />`)}
    </div>
    ${found.others > 0 && html`<p class="soft">${plural(found.others, "dead letter")} in further, smaller groups.</p>`}
  `;
}

/** @param {{group: DeadGroup, now: number, onWish: (wish: Wish) => void}} props */
function Group({ group, now, onWish }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(/** @type {Problem | null} */ (null));
  /** @type {JobFilter} */
  const filter = { statuses: ["dead"], types: [group.type], errorType: group.errorType };
  /** @param {"retry" | "purge"} action */
  const want = async (action) => {
    setBusy(true);
    try {
      const selection = group.errorType ? { filter } : { jobIds: await nameless(group.type) };
      onWish({ action, selection, which: whichOf(group) });
    } catch (error) {
      setProblem(asProblem(error, OWN));
    } finally {
      setBusy(false);
    }
  };
  const jobs = `/jobs${queryString({ status: "dead", type: [group.type], error: group.errorType })}`;
  return html`<section class="card group">
    <div class="group-count">${count(group.count)}</div>
    <div class="group-what">
      <p>
        <b>${group.errorType ? visible(group.errorType) : html`<span class="soft">error without a type</span>`}</b>
        in${" "}
        <${Type} type=${group.type} />
      </p>
      <pre class="sample" tabindex="0" title="The message of the last one">
${visible(group.sampleMessage) || "no message"}</pre>
      <p class="soft">
        Last
        <${Ago}
          at=${group.newestAt}
          now=${now}
        />${group.count > 1 && html`, first <${Ago} at=${group.oldestAt} now=${now} />`} · for example
        ${group.sampleJobIds.slice(0, 3).map((id) => html`<${JobLink} key=${id} id=${id} /> `)}
      </p>
      <${Wrong} problem=${problem} />
    </div>
    <div class="group-actions">
      <button type="button" class="primary" disabled=${busy} onClick=${() => want("retry")}>Retry…</button>
      <a class="button" href=${jobs}>Jobs</a>
      <button type="button" disabled=${busy} onClick=${() => want("purge")}>Purge…</button>
    </div>
  </section>`;
}

/** @param {DeadGroup} group */
function whichOf(group) {
  const error = brief(group.errorType || "error without a type", 80);
  return `${plural(group.count, "dead letter")} of type ${visible(group.type || "(none)")}, ${error}.`;
}

/**
 * A filter cannot ask for errors without a type: to a filter no type means any.
 * @param {string} type
 * @returns {Promise<string[]>} The ids of the dead letters of a type whose error has no type.
 */
async function nameless(type) {
  /** @type {string[]} */
  const ids = [];
  for (let token = ""; ;) {
    const page = await listJobs({ statuses: ["dead"], types: [type] }, "OLDEST", token, 1_000);
    for (const job of page.jobs) if (!job.error?.type) ids.push(job.id);
    token = page.nextPageToken;
    if (!token || ids.length >= NAMELESS_MAX) return ids;
  }
}
