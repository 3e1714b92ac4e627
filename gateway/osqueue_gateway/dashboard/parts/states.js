/**
 * What is shown when there is nothing to show: loading, nothing found, something wrong.
 * @module
 */

import { html } from "../lib.js";
import { live } from "../live.js";
import { sentence, visible } from "../format.js";

/** @typedef {import("../lib.js").Children} Children */

/** @param {{lines?: number}} props */
export function Loading({ lines = 3 }) {
  return html`<div class="loading" role="status" aria-label="Loading">
    ${Array.from({ length: lines }, (_, line) => html`<span key=${line}></span>`)}
  </div>`;
}

/** @param {{title: string, children?: Children}} props */
export function Empty({ title, children }) {
  return html`<div class="empty">
    <p class="empty-title">${title}</p>
    ${children}
  </div>`;
}

/** @param {{problem: import("../problem.js").Problem | null, retry?: () => void}} props */
export function Wrong({ problem, retry }) {
  if (!problem) return null;
  return html`<div class="wrong" role="alert">
    <p>${sentence(problem.message)}</p>
    ${
      problem.violations.length > 1 &&
      html`<ul>
        ${problem.violations.map((one) => html`<li key=${one.field}><code>${visible(one.field)}</code> ${visible(one.description)}</li>`)}
      </ul>`
    }
    ${problem.hint && html`<p class="soft">${problem.hint}</p>`}
    ${retry && html`<button type="button" onClick=${retry}>Try again</button>`}
  </div>`;
}

/**
 * @param {import("../problem.js").Problem | null} problem Of a page's own loading.
 * @returns {import("../problem.js").Problem | null} The same, unless the banner on top says it already.
 */
export function unsaid(problem) {
  return problem && live.state !== "live" && COVERED.has(problem.reason) ? null : problem;
}

const COVERED = new Set(["OFFLINE", "NOT_LEADER", "STORAGE_UNAVAILABLE", "UNAUTHENTICATED"]);

/**
 * The usual ladder: what is wrong, that it loads, or what was loaded. Old data stays in sight when a reload fails.
 * @template D
 * @param {{loaded: import("../hooks.js").Loaded<D>, lines?: number, children: (data: D) => Children}} props
 */
export function Shown({ loaded, lines, children }) {
  return html`
    <${Wrong} problem=${unsaid(loaded.problem)} retry=${loaded.reload} />
    ${loaded.data !== null ? children(loaded.data) : !loaded.problem && html`<${Loading} lines=${lines} />`}
  `;
}
