/**
 * Which jobs are listed: the address's query, and the bar that changes it.
 * @module
 */

import { STATUS_WORDS, clock, short } from "../format.js";
import { useLive } from "../hooks.js";
import { html, useEffect, useState } from "../lib.js";
import { go } from "../router.js";

/** @import { JobFilter, Stats, Status } from "../types.js" */

const STATUSES = /** @type {Status[]} */ (Object.keys(STATUS_WORDS));
/** The query of all jobs, however they stand. */
export const ANY_STATUS = STATUSES.map((status) => `status=${status}`).join("&");
/** The address's parameters for what stands in fields of text, and what each is called there. */
const TEXTS = {
  worker: "Worker",
  error: "Last error's type",
  workflow: "Workflow",
  batch: "Batch",
  fairness: "Fairness key",
  sequence: "Sequence",
  unique: "Unique key",
  limit: "Limit",
  limitKey: "Limit's key",
};
const FURTHER = [...Object.keys(TEXTS), "label", "from"];
const SINCE = [
  { word: "the last 5 minutes", ms: 300_000 },
  { word: "the last hour", ms: 3_600_000 },
  { word: "the last day", ms: 86_400_000 },
];

/**
 * @param {URLSearchParams} query
 * @returns {JobFilter}
 */
export function readFilter(query) {
  /** @type {JobFilter} */
  const filter = {};
  const statuses = STATUSES.filter((status) => query.getAll("status").includes(status));
  const types = query.getAll("type");
  const labels = query.getAll("label").filter((label) => label.includes("="));
  const from = Number(query.get("from"));
  if (statuses.length) filter.statuses = statuses;
  if (types.length) filter.types = types;
  if (query.get("worker")) filter.workerId = query.get("worker") ?? "";
  if (query.get("error")) filter.errorType = query.get("error") ?? "";
  if (query.get("workflow")) filter.workflowId = query.get("workflow") ?? "";
  if (query.get("batch")) filter.batchId = query.get("batch") ?? "";
  if (query.get("fairness")) filter.fairnessKey = query.get("fairness") ?? "";
  if (query.get("sequence")) filter.sequenceKey = query.get("sequence") ?? "";
  if (query.get("unique")) filter.uniqueKey = query.get("unique") ?? "";
  if (query.get("limit")) filter.limitName = query.get("limit") ?? "";
  if (query.get("limitKey")) filter.limitKey = query.get("limitKey") ?? "";
  if (labels.length)
    filter.metadata = Object.fromEntries(
      labels.map((label) => [label.slice(0, label.indexOf("=")), label.slice(label.indexOf("=") + 1)]),
    );
  if (Number.isSafeInteger(from) && from > 0) filter.createdFrom = from;
  return filter;
}

/**
 * @param {URL} address
 * @param {Record<string, string | string[] | null>} changes null takes a parameter away.
 * @returns {string}
 */
export function withQuery(address, changes) {
  const query = new URLSearchParams(address.searchParams);
  for (const [name, value] of Object.entries(changes)) {
    query.delete(name);
    for (const one of Array.isArray(value) ? value : value === null ? [] : [value]) query.append(name, one);
  }
  const text = query.toString();
  return address.pathname + (text && `?${text}`);
}

/**
 * @param {JobFilter} filter
 * @param {Stats} stats
 * @returns {number | null} How many match, when the statistics know.
 */
export function countOf(filter, stats) {
  const { statuses: _, types: __, ...further } = filter;
  if (Object.keys(further).length) return null;
  const groups = filter.types
    ? stats.types.filter((one) => filter.types?.includes(one.type)).map((one) => one.counts)
    : [stats.counts];
  /** @type {Record<Status, (counts: Stats["counts"]) => number>} */
  const by = {
    unclaimed: (counts) => counts.unclaimed,
    scheduled: (counts) => counts.scheduled,
    in_progress: (counts) => counts.inProgress,
    blocked: (counts) => counts.blocked,
    completed: (counts) => counts.completed,
    dead: (counts) => counts.dead,
    cancelled: (counts) => counts.cancelled,
  };
  const statuses = filter.statuses ?? /** @type {Status[]} */ (["unclaimed", "scheduled", "in_progress", "blocked"]);
  return groups.reduce((sum, counts) => sum + statuses.reduce((part, status) => part + by[status](counts), 0), 0);
}

/** @param {{address: URL}} props */
export function FilterBar({ address }) {
  const { stats } = useLive();
  const query = address.searchParams;
  const chosen = query.getAll("status");
  const further = FURTHER.filter((name) => query.get(name)).length;
  const [open, setOpen] = useState(further > 0);
  /** @param {Record<string, string | string[] | null>} changes */
  const change = (changes) => go(withQuery(address, { ...changes, after: null }));
  /** @param {Status} status */
  const toggle = (status) =>
    change({ status: chosen.includes(status) ? chosen.filter((one) => one !== status) : [...chosen, status] });
  return html`<div class="filters">
    <div class="chips" role="group" aria-label="Statuses">
      ${STATUSES.map(
        (status) =>
          html`<button
            key=${status}
            type="button"
            class="chip ${status}"
            aria-pressed=${chosen.includes(status)}
            onClick=${() => toggle(status)}
          >
            ${STATUS_WORDS[status]}
            ${stats && html`<span class="soft">${short(countOf({ statuses: [status] }, stats) ?? 0)}</span>`}
          </button>`,
      )}
    </div>
    <${Field}
      label="Type"
      value=${query.get("type") ?? ""}
      list=${stats?.types.map((one) => one.type) ?? []}
      onChange=${(/** @type {string} */ type) => change({ type: type || null })}
    />
    <button type="button" class="quiet" aria-expanded=${open} onClick=${() => setOpen(!open)}>
      ${open ? "Fewer filters" : `More filters${further ? ` (${further})` : ""}`}
    </button>
    ${query.toString() && html`<a class="button quiet" href="/jobs">Clear</a>`}
    ${
      open &&
      html`<div class="further">
        ${Object.entries(TEXTS).map(
          ([name, label]) =>
            html`<${Field}
              key=${name}
              label=${label}
              value=${query.get(name) ?? ""}
              onChange=${(/** @type {string} */ value) => change({ [name]: value || null })}
            />`,
        )}
        <${Field}
          label="Label, key=value"
          value=${query.get("label") ?? ""}
          pattern="[^=]+=.*"
          onChange=${(/** @type {string} */ label) => change({ label: label || null })}
        />
        <${Since}
          from=${Number(query.get("from"))}
          onChange=${(/** @type {string | null} */ from) => change({ from })}
        />
      </div>`
    }
  </div>`;
}

/**
 * @param {{label: string, value: string, pattern?: string, list?: string[], onChange: (value: string) => void}} props
 */
function Field({ label, value, pattern, list, onChange }) {
  const id = list && "known-types";
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  return html`<span class="field">
    <input
      placeholder=${label}
      aria-label=${label}
      value=${text}
      list=${id}
      pattern=${pattern}
      spellcheck=${false}
      autocomplete="off"
      onInput=${(/** @type {any} */ event) => setText(event.currentTarget.value)}
      onChange=${(/** @type {any} */ event) => event.currentTarget.reportValidity() && onChange(event.currentTarget.value.trim())}
    />
    ${list && html`<datalist id=${id}>${list.slice(0, 200).map((one) => html`<option key=${one} value=${one} />`)}</datalist>`}
  </span>`;
}

/** @param {{from: number, onChange: (from: string | null) => void}} props */
function Since({ from, onChange }) {
  /** @param {any} event */
  const chosen = ({ currentTarget: { value } }) => onChange(value ? String(Date.now() - Number(value)) : null);
  return html`<span class="field">
    <select aria-label="Submitted" value=${from ? "kept" : ""} onChange=${chosen}>
      <option value="">Submitted at any time</option>
      ${from > 0 && html`<option value="kept" hidden>Submitted since ${clock(from)}</option>`}
      ${SINCE.map(({ word, ms }) => html`<option key=${ms} value=${ms}>Submitted in ${word}</option>`)}
    </select>
  </span>`;
}
