/**
 * Small things that stand in many places: a job's status, its id, a moment, a type.
 * @module
 */

import { html } from "../lib.js";
import { STATUS_WORDS, ago, brief, moment, shortId, visible } from "../format.js";

/** @param {{status: string}} props */
export function Status({ status }) {
  return html`<span class="status ${status}" title=${status}>${STATUS_WORDS[status] ?? status}</span>`;
}

/** @param {{id: string, whole?: boolean}} props */
export function JobLink({ id, whole = false }) {
  return html`<a class="id" href="/jobs/${id}" title=${id}>${whole ? id : shortId(id)}</a>`;
}

/** @param {{type?: string}} props */
export function Type({ type }) {
  return type
    ? html`<span class="type" title=${type}>${visible(type)}</span>`
    : html`<span class="type none">no type</span>`;
}

/** @param {{at: number, now: number, ahead?: boolean}} props `ahead`: it may lie in the future. */
export function Ago({ at, now, ahead = false }) {
  if (!at) return html`<span class="soft">never</span>`;
  return html`<time datetime=${new Date(at).toISOString()} title=${moment(at)}
    >${ago(ahead ? at : Math.min(at, now), now)}</time
  >`;
}

/** @param {{fraction: number, label: string, tone?: string}} props */
export function Meter({ fraction, label, tone = "" }) {
  const part = Math.min(1, Math.max(0, fraction));
  return html`<span
    class="meter ${tone}"
    role="progressbar"
    aria-label=${label}
    aria-valuemin="0"
    aria-valuemax="100"
    aria-valuenow=${Math.round(part * 100)}
    ><span style=${{ width: `${part * 100}%` }}></span
  ></span>`;
}

/** @param {{error: import("../types.js").JobError, most?: number}} props */
export function ErrorLine({ error, most = 160 }) {
  return html`<span class="error-line">
    ${error.type && html`<b>${brief(error.type, 80)}</b>`}${error.type && error.message && ": "}${brief(error.message, most)}
  </span>`;
}
