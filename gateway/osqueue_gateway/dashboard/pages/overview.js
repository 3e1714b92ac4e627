/**
 * The overview: how many, how fast, how old, what fails, who works, what it costs.
 * @module
 */

import { getHistory } from "../api.js";
import { amount, count, mark, rate, span } from "../format.js";
import { useLive, useLoaded } from "../hooks.js";
import { html, useState } from "../lib.js";
import { Chart } from "../parts/chart.js";
import { Demo } from "../parts/demo.js";
import { Loading, Wrong, unsaid } from "../parts/states.js";
import { Activity } from "./overview_activity.js";
import { BrokerPanel, FailingPanel, FairnessPanel, RawState, WorkersPanel } from "./overview_panels.js";

/** @import { HistoryPoint, Stats } from "../types.js" */
/** @typedef {import("../parts/chart.js").Series} Series */

const RANGES = [
  { label: "5 min", ms: 300_000, stepMs: 1_000 },
  { label: "15 min", ms: 900_000, stepMs: 5_000 },
  { label: "1 h", ms: 3_600_000, stepMs: 15_000 },
];

export function Overview() {
  const { stats } = useLive();
  if (!stats)
    return html`<h1>Overview</h1>
      <${Loading} lines=${6} />`;
  const untouched = stats.counts.submittedTotal === 0;
  return html`
    <h1>Overview</h1>
    ${untouched && html`<${Demo} open=${true} />`}
    <${Tiles} stats=${stats} />
    <${Charts} />
    <div class="panels">
      <${BrokerPanel} stats=${stats} />
      <${FailingPanel} stats=${stats} />
      <${WorkersPanel} />
      <${FairnessPanel} stats=${stats} />
    </div>
    <${Activity} />
    ${!untouched && html`<${Demo} open=${false} />`}
    <${RawState} stats=${stats} />
  `;
}

/** @param {{stats: Stats}} props */
function Tiles({ stats }) {
  const { counts, rates } = stats;
  return html`<div class="tiles">
    <${Tile} href="/jobs?status=unclaimed" status="unclaimed" word="Waiting" value=${counts.unclaimed}>
      ${counts.unclaimed ? `oldest for ${span(stats.oldestReadyAgeMs)}` : "none waits"}
    <//>
    <${Tile} href="/jobs?status=scheduled" status="scheduled" word="Scheduled" value=${counts.scheduled}
      >delayed or backing off<//
    >
    ${
      counts.blocked > 0 &&
      html`<${Tile} href="/jobs?status=blocked" status="blocked" word="Blocked" value=${counts.blocked}
        >waiting for other jobs<//
      >`
    }
    <${Tile} href="/jobs?status=in_progress" status="in_progress" word="Running" value=${counts.inProgress}
      >${rate(rates.claimed)} started<//
    >
    <${Tile} href="/jobs?status=completed" status="completed" word="Completed" value=${counts.completedTotal}
      >${rate(rates.completed)}<//
    >
    <${Tile} href="/dead" status="dead" word="Dead" value=${counts.dead}>${counts.dead ? "look why" : "none"}<//>
  </div>`;
}

/** @param {{href: string, status: string, word: string, value: number, children: any}} props */
function Tile({ href, status, word, value, children }) {
  return html`<a class="tile ${status} ${value ? "" : "zero"}" href=${href}>
    <span class="tile-word">${word}</span>
    <span class="tile-value">${count(value)}</span>
    <span class="soft">${children}</span>
  </a>`;
}

function Charts() {
  const [range, setRange] = useState(RANGES[0] ?? { label: "", ms: 300_000, stepMs: 1_000 });
  const [pointed, setPointed] = useState(/** @type {number | null} */ (null));
  const known = useKnown(range.label);
  const loaded = useLoaded(
    async (signal) => {
      const last = known.points.at(-1)?.at ?? 0;
      const answer = await getHistory(last, range.stepMs, Math.ceil(range.ms / range.stepMs), signal);
      known.points = merged(known.points, answer.points, range.ms);
      return known.points;
    },
    [range],
    { everyMs: Math.max(1_000, range.stepMs / 3) },
  );
  const points = loaded.data ?? []; // the newest is not over yet, so it is not drawn
  const until = points.at(-1)?.at ?? Date.now();
  const axis = {
    points: points.slice(0, -1),
    from: until - range.ms,
    until,
    stepMs: range.stepMs,
    pointed,
    onPoint: setPointed,
  };
  const perSecond = 1_000 / range.stepMs;
  return html`<section aria-label="Charts">
    <div class="range" role="group" aria-label="Time shown">
      ${RANGES.map(
        (one) =>
          html`<button key=${one.label} type="button" aria-pressed=${one === range} onClick=${() => setRange(one)}>
            ${one.label}
          </button>`,
      )}
    </div>
    <${Wrong} problem=${unsaid(loaded.problem)} retry=${loaded.reload} />
    <div class="charts">
      <${Chart}
        title="Jobs per second"
        hint="Submitted, completed, and attempts that failed, expired or timed out"
        axis=${axis}
        series=${flow(perSecond)}
        write=${amount}
        mark=${amount}
      />
      <${Chart}
        title="Submit → start"
        hint="From a job's being ready until it was claimed"
        axis=${axis}
        series=${WAITED}
        write=${span}
        mark=${mark}
      />
      <${Chart}
        title="Start → finish"
        hint="From a job's claim until it was completed"
        axis=${axis}
        series=${RAN}
        write=${span}
        mark=${mark}
      />
    </div>
  </section>`;
}

/**
 * The points loaded so far, forgotten when another range is chosen: only what is new is asked for.
 * @param {string} label
 * @returns {{label: string, points: HistoryPoint[]}}
 */
function useKnown(label) {
  const [known] = useState(() => ({ label, points: /** @type {HistoryPoint[]} */ ([]) }));
  if (known.label !== label) {
    known.label = label;
    known.points = [];
  }
  return known;
}

/**
 * @param {HistoryPoint[]} before
 * @param {HistoryPoint[]} fresh These replace what was known of their steps. Older ones mean that nothing is lost.
 * @param {number} ms
 */
function merged(before, fresh, ms) {
  const first = fresh[0];
  const last = fresh.at(-1);
  if (!first || !last) return before;
  return [...before.filter((point) => point.at < first.at && point.at > last.at - ms), ...fresh];
}

/**
 * @param {number} perSecond
 * @returns {Series[]}
 */
function flow(perSecond) {
  return [
    { label: "submitted", tone: "submitted", value: (point) => point.submitted * perSecond },
    { label: "completed", tone: "completed", value: (point) => point.completed * perSecond },
    { label: "failed", tone: "dead", value: (point) => point.failed * perSecond },
  ];
}

/** @type {Series[]} */
const WAITED = [
  { label: "median", tone: "median", value: (point) => (point.claimed ? (point.waitLatency?.p50Ms ?? null) : null) },
  { label: "p99", tone: "p99", value: (point) => (point.claimed ? (point.waitLatency?.p99Ms ?? null) : null) },
];

/** @type {Series[]} */
const RAN = [
  { label: "median", tone: "median", value: (point) => (point.completed ? (point.runLatency?.p50Ms ?? null) : null) },
  { label: "p99", tone: "p99", value: (point) => (point.completed ? (point.runLatency?.p99Ms ?? null) : null) },
];
