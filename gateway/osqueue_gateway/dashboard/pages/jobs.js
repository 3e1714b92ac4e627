/**
 * Jobs: a page of those that match, kept up to date, and what can be done with them.
 * @module
 */

import { listJobs } from "../api.js";
import { plural, span, visible } from "../format.js";
import { useLive, useLoaded, useNow } from "../hooks.js";
import { html, useEffect, useMemo, useState } from "../lib.js";
import { BulkDialog } from "../parts/bulk.js";
import { Empty, Shown } from "../parts/states.js";
import { Ago, ErrorLine, JobLink, Meter, Status, Type } from "../parts/status.js";
import { go } from "../router.js";
import { FilterBar, countOf, readFilter, withQuery } from "./jobs_filter.js";

/** @import { Job, JobEvent, JobFilter, Status as JobStatus } from "../types.js" */
/** @typedef {import("../api.js").JobOrder} JobOrder */
/** @typedef {{jobs: Job[], next: string, cutShort: boolean}} Page */
/** @typedef {"retry" | "run" | "cancel" | "purge"} Action */
/** @typedef {{action: Action, selection: import("../bulk.js").Selection, which: string}} Wish */

const PAGE_JOBS = 50;
const CALLS_PER_PAGE = 12;
/** A call looks at a bounded number of jobs and may find none; after this many calls, a person is asked to go on. */

/** @type {JobStatus[]} */
const LIVE = ["unclaimed", "scheduled", "in_progress", "blocked"];
/** @type {JobStatus[]} */
const FINISHED = ["completed", "dead", "cancelled"];
/** @type {Record<Action, JobStatus[]>} */
const CHANGEABLE = { retry: ["dead"], run: ["scheduled"], cancel: LIVE, purge: FINISHED };

/** @param {{address: URL}} props */
export function JobsPage({ address }) {
  const search = address.searchParams.toString();
  const filter = useMemo(() => readFilter(address.searchParams), [search]);
  const after = address.searchParams.get("after") ?? "";
  const order = orderOf(address, filter);
  const [paused, setPaused] = useState(false);
  const [trail, setTrail] = useState(/** @type {string[]} */ ([]));
  const [chosen, setChosen] = useState(/** @type {Set<string> | "all"} */ (new Set()));
  const [wish, setWish] = useState(/** @type {Wish | null} */ (null));
  const still = paused || chosen === "all" || chosen.size > 0;
  const loaded = useLoaded((signal) => loadPage(filter, order, after, signal), [search], {
    onEvent: (event) => !still && concerns(event, filter),
  });
  const filterKey = withQuery(address, { after: null });
  useEffect(() => setTrail([]), [filterKey]);
  useEffect(() => setChosen(new Set()), [search]);

  /** @param {string} token */
  const turn = (token) => go(withQuery(address, { after: token || null }));
  const next = () => {
    setTrail([...trail, after]);
    turn(loaded.data?.next ?? "");
  };
  const previous = () => {
    turn(trail.at(-1) ?? "");
    setTrail(trail.slice(0, -1));
  };
  const done = () => {
    setChosen(new Set());
    loaded.reload();
  };
  return html`
    <div class="title">
      <h1>Jobs</h1>
      <${GoToJob} />
      <span class="grow"></span>
      <button type="button" aria-pressed=${still} disabled=${!paused && still} onClick=${() => setPaused(!paused)}>
        ${still ? "Updates paused" : "Pause updates"}
      </button>
    </div>
    <${FilterBar} address=${address} />
    <${Selected} filter=${filter} chosen=${chosen} page=${loaded.data} onChoose=${setChosen} onWish=${setWish} />
    <${Shown} loaded=${loaded} lines=${8}>
      ${(/** @type {Page} */ page) => html`
        <${Table} page=${page} chosen=${chosen} onChoose=${setChosen} first=${!after} />
        <nav class="pager" aria-label="Pages of jobs">
          <${Total} filter=${filter} />
          <${OrderChoice} address=${address} filter=${filter} order=${order} />
          <span class="grow"></span>
          ${after && html`<button type="button" onClick=${() => turn("")}>First</button>`}
          ${trail.length > 0 && html`<button type="button" onClick=${previous}>Previous</button>`}
          <button type="button" disabled=${!page.next} onClick=${next}>${page.cutShort ? "Search on" : "Next"}</button>
        </nav>
      `}
    <//>
    ${wish && html`<${BulkDialog} ...${wish} onClose=${() => setWish(null)} onDone=${done} />`}
  `;
}

/**
 * @param {URL} address
 * @param {JobFilter} filter
 * @returns {JobOrder} The newest first, unless the address says otherwise.
 */
function orderOf(address, filter) {
  const said = address.searchParams.get("order");
  if (said === "soonest" && filter.statuses?.join() === "scheduled") return "SOONEST";
  return said === "oldest" ? "OLDEST" : "NEWEST";
}

/** @param {{address: URL, filter: JobFilter, order: JobOrder}} props */
function OrderChoice({ address, filter, order }) {
  /** @param {Event} event */
  const chosen = (event) => {
    const { value } = /** @type {HTMLSelectElement} */ (event.target);
    go(withQuery(address, { order: value === "newest" ? null : value, after: null }));
  };
  return html`<select aria-label="Order" value=${order.toLowerCase()} onChange=${chosen}>
    <option value="newest">Newest first</option>
    <option value="oldest">Oldest first</option>
    ${filter.statuses?.join() === "scheduled" && html`<option value="soonest">Next to run first</option>`}
  </select>`;
}

/**
 * @param {JobFilter} filter
 * @param {JobOrder} order
 * @param {string} after
 * @param {AbortSignal} signal
 * @returns {Promise<Page>} A full page, gathered from as many calls as it takes.
 */
async function loadPage(filter, order, after, signal) {
  /** @type {Job[]} */
  const jobs = [];
  let next = after;
  for (let calls = 0; calls < CALLS_PER_PAGE; calls += 1) {
    const answer = await listJobs(filter, order, next, PAGE_JOBS - jobs.length, signal);
    jobs.push(...answer.jobs);
    next = answer.nextPageToken;
    if (!next || jobs.length >= PAGE_JOBS) return { jobs, next, cutShort: false };
  }
  return { jobs, next, cutShort: true };
}

/**
 * @param {JobEvent} event
 * @param {JobFilter} filter
 */
function concerns(event, filter) {
  return !filter.types || filter.types.includes(event.type);
}

function GoToJob() {
  const [id, setId] = useState("");
  const valid = /^[\w-]{1,64}$/.test(id.trim());
  /** @param {Event} event */
  const submitted = (event) => {
    event.preventDefault();
    if (valid) go(`/jobs/${id.trim()}`);
  };
  return html`<form onSubmit=${submitted} role="search">
    <input
      type="search"
      data-search
      placeholder="Job id"
      aria-label="Go to a job by its id"
      value=${id}
      onInput=${(/** @type {any} */ event) => setId(event.currentTarget.value)}
    />
  </form>`;
}

/** @param {{page: Page, chosen: Set<string> | "all", onChoose: (chosen: Set<string>) => void, first: boolean}} props */
function Table({ page, chosen, onChoose, first }) {
  const now = useNow();
  const { jobs } = page;
  if (!jobs.length) return html`<${NoJobs} page=${page} first=${first} />`;
  /** @param {string} id */
  const isChosen = (id) => chosen === "all" || chosen.has(id);
  const every = jobs.every((job) => isChosen(job.id));
  /** @param {string} id */
  const toggle = (id) => {
    const kept = new Set(chosen === "all" ? jobs.map((job) => job.id) : chosen);
    if (!kept.delete(id)) kept.add(id);
    onChoose(kept);
  };
  return html`<div class="scroll">
    <table class="jobs">
      <thead>
        <tr>
          <th class="narrow">
            <input
              type="checkbox"
              aria-label="Select all on this page"
              checked=${every}
              onChange=${() => onChoose(new Set(every ? [] : jobs.map((job) => job.id)))}
            />
          </th>
          <th>Status</th>
          <th>Job</th>
          <th>Type</th>
          <th class="number">Attempts</th>
          <th>Submitted</th>
          <th>Worker</th>
          <th>What</th>
        </tr>
      </thead>
      <tbody>
        ${jobs.map((job) => html`<${Row} key=${job.id} job=${job} chosen=${isChosen(job.id)} onToggle=${toggle} now=${now} />`)}
      </tbody>
    </table>
  </div>`;
}

/** @param {{page: Page, first: boolean}} props */
function NoJobs({ page, first }) {
  if (page.cutShort)
    return html`<${Empty} title="None found so far"><p>Many jobs were looked through. “Search on” continues.</p><//>`;
  if (!first)
    return html`<${Empty} title="There are no more jobs"><p>They may have changed since you came here.</p><//>`;
  return html`<${Empty} title="No job matches">
    <p>
      Without a status, live jobs are shown. <a href="/jobs">Clear the filter</a>, or${" "}
      <a href="/producer">submit a job</a>.
    </p>
  <//>`;
}

/** @param {{job: Job, chosen: boolean, onToggle: (id: string) => void, now: number}} props */
function Row({ job, chosen, onToggle, now }) {
  return html`<tr class=${chosen ? "chosen" : ""}>
    <td>
      <input type="checkbox" aria-label="Select ${job.id}" checked=${chosen} onChange=${() => onToggle(job.id)} />
    </td>
    <td><${Status} status=${job.status} /></td>
    <td><${JobLink} id=${job.id} /></td>
    <td><${Type} type=${job.type} /></td>
    <td class="number">${job.attempts}/${job.effectiveMaxAttempts}</td>
    <td><${Ago} at=${job.createdAt} now=${now} /></td>
    <td class="cut">${job.workerId && visible(job.workerId)}</td>
    <td class="what"><${What} job=${job} now=${now} /></td>
  </tr>`;
}

/** @param {{job: Job, now: number}} props What there is to say about it in its status. */
function What({ job, now }) {
  if (job.cancelRequested) return html`<span class="soft">asked to stop</span>`;
  if (job.progress) {
    return html`<${Meter} fraction=${job.progress.fraction} label="Progress" />${" "}
      <span class="soft">${visible(job.progress.message)}</span>`;
  }
  if (job.status === "scheduled") return html`runs <${Ago} at=${job.runAt} now=${now} ahead=${true} />`;
  if (job.status === "completed")
    return html`<span class="soft">${span(job.finishedAt - job.createdAt)} after it was submitted</span>`;
  if (job.error && job.status !== "in_progress") return html`<${ErrorLine} error=${job.error} />`;
  if (job.priority) return html`<span class="soft">priority ${String(job.priority).replace("-", "−")}</span>`;
  return null;
}

/** @param {{filter: JobFilter}} props */
function Total({ filter }) {
  const { stats } = useLive();
  const total = stats && countOf(filter, stats);
  return total !== null && html`<span class="soft">${plural(total, "job")}</span>`;
}

/**
 * @param {object} props
 * @param {JobFilter} props.filter
 * @param {Set<string> | "all"} props.chosen
 * @param {Page | null} props.page
 * @param {(chosen: Set<string> | "all") => void} props.onChoose
 * @param {(wish: Wish) => void} props.onWish
 */
function Selected({ filter, chosen, page, onChoose, onWish }) {
  if (!page || (chosen !== "all" && !chosen.size)) return null;
  const statuses =
    chosen === "all"
      ? (filter.statuses ?? LIVE)
      : page.jobs.filter((job) => chosen.has(job.id)).map((job) => job.status);
  /** @param {Action} wanted */
  const selection = (wanted) =>
    chosen === "all"
      ? { filter: { ...filter, statuses: statuses.filter((status) => CHANGEABLE[wanted].includes(status)) } }
      : {
          jobIds: page.jobs
            .filter((job) => chosen.has(job.id) && CHANGEABLE[wanted].includes(job.status))
            .map((job) => job.id),
        };
  const which = chosen === "all" ? "All jobs that match the filter." : "The selected jobs.";
  /**
   * @param {Action} wanted
   * @param {string} word
   */
  const button = (wanted, word) =>
    statuses.some((status) => CHANGEABLE[wanted].includes(status)) &&
    html`<button type="button" onClick=${() => onWish({ action: wanted, selection: selection(wanted), which })}>
      ${word}…
    </button>`;
  return html`<div class="selected" role="status">
    <b>${chosen === "all" ? "All jobs that match" : `${chosen.size} selected`}</b>
    ${
      chosen !== "all" &&
      html`<button type="button" class="quiet" onClick=${() => onChoose("all")}>Select all that match</button>`
    }
    <span class="grow"></span>
    ${button("retry", "Retry")} ${button("run", "Run now")} ${button("cancel", "Cancel")} ${button("purge", "Purge")}
    <button type="button" class="quiet" onClick=${() => onChoose(new Set())}>Clear</button>
  </div>`;
}
