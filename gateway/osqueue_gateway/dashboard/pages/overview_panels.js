/**
 * The overview's panels: the broker, what fails, who works, the raw state.
 * @module
 */

import { getHistory, getStorageStats, listWorkers, readState } from "../api.js";
import { OWN } from "../connection.js";
import { amount, bytes, count, money, rate, span, visible } from "../format.js";
import { useLoaded, useNow } from "../hooks.js";
import { html, useState } from "../lib.js";
import { live } from "../live.js";
import { asProblem } from "../problem.js";
import { CopyButton } from "../parts/copy.js";
import { Empty, Shown, Wrong } from "../parts/states.js";
import { Ago, Type } from "../parts/status.js";

/** @import { Latency, Stats, StorageStats, TypeStats, Worker } from "../types.js" */

const DAY_MS = 86_400_000;
const ENOUGH_JOBS = 100;
/** With this many finished jobs or more, the cost of one is shown. */
const SHOWN = 6;
const SILENT_MS = 120_000;
/** The broker, too, no longer counts a worker that it has not heard from for this long. */
const STATE_CHARACTERS = 100_000;

/**
 * The figures when the dashboard was opened: what a job costs is measured from there. A new broker starts from nothing.
 * @type {{completed: number, cost: number} | null}
 */
let first = null;

/** @param {{stats: Stats}} props */
export function BrokerPanel({ stats }) {
  const loaded = useLoaded(loadBroker, [], { everyMs: 2_000 });
  const now = useNow() - live.skewMs; // these times are by the broker's wall clock
  const cost = loaded.data?.storage.cost;
  if (cost && !(first && first.cost <= cost.requests))
    first = { completed: stats.counts.completedTotal, cost: cost.requests };
  return html`<section class="card">
    <header><h2>Broker</h2></header>
    <dl class="facts">
      <div>
        <dt>Leader</dt>
        <dd>${stats.brokerAddress || "unknown"}</dd>
      </div>
      <div>
        <dt>Epoch</dt>
        <dd>${count(stats.position.epoch)}</dd>
      </div>
      <div>
        <dt>Commit lag</dt>
        <dd>${span(stats.position.commitLagMs)}</dd>
      </div>
      <div>
        <dt>Kept in memory</dt>
        <dd>${bytes(stats.bytes)}</dd>
      </div>
    </dl>
    <${Shown} loaded=${loaded} lines=${5}>
      ${(/** @type {BrokerData} */ found) => html`<${StorageFacts} ...${found} now=${now} stats=${stats} />`}
    <//>
  </section>`;
}

/** @typedef {{storage: StorageStats, commit: Latency | undefined}} BrokerData */

/**
 * @param {AbortSignal} signal
 * @returns {Promise<BrokerData>}
 */
async function loadBroker(signal) {
  const [storage, history] = await Promise.all([getStorageStats(signal), getHistory(0, 60_000, 2, signal)]);
  return { storage, commit: history.points.findLast((point) => point.commits > 0)?.commitLatency };
}

/**
 * @param {BrokerData & {now: number, stats: Stats}} props
 */
function StorageFacts({ storage, commit, now, stats }) {
  const requests = storage.operations.reduce((sum, one) => sum + one.requests, 0);
  const errors = storage.operations.reduce((sum, one) => sum + one.errors, 0);
  const elapsed = Math.max(1_000, now - storage.since);
  const finished = first ? stats.counts.completedTotal - first.completed : 0;
  const perMillion =
    first && storage.cost && finished >= ENOUGH_JOBS ? ((storage.cost.requests - first.cost) / finished) * 1e6 : null;
  return html`<dl class="facts">
    <div>
      <dt>Store</dt>
      <dd class="cut" title=${storage.location}>${visible(storage.location)}</dd>
    </div>
    <div>
      <dt>Last commit</dt>
      <dd><${Ago} at=${storage.lastCommitAt} now=${now} /></dd>
    </div>
    <div>
      <dt>Commits</dt>
      <dd>${count(storage.commits)}, ${bytes(storage.segmentBytes)}</dd>
    </div>
    ${
      commit &&
      html`<div>
        <dt>Commit latency</dt>
        <dd title="Median and 99th percentile of the last minute">${span(commit.p50Ms)}, p99 ${span(commit.p99Ms)}</dd>
      </div>`
    }
    <div>
      <dt>Storage requests</dt>
      <dd>${amount((requests * DAY_MS) / elapsed)} a day</dd>
    </div>
    ${
      errors > 0 &&
      html`<div class="bad">
        <dt>Failed requests</dt>
        <dd>${count(errors)}</dd>
      </div>`
    }
    ${
      storage.cost
        ? html`<div>
              <dt>Cost of requests</dt>
              <dd>${money(storage.cost.perDay, storage.cost.currency)} a day</dd>
            </div>
            <div>
              <dt>Per million jobs</dt>
              <dd title="As measured since the dashboard was opened">
                ${perMillion === null ? `after ${ENOUGH_JOBS} finished jobs` : money(perMillion, storage.cost.currency)}
              </dd>
            </div>`
        : html`<div>
            <dt>Cost</dt>
            <dd class="soft" title="Set OSQUEUE_STORAGE_PRICES for a price table">free on ${storage.backend}</dd>
          </div>`
    }
    ${
      storage.throttle?.dailyBudgetExceeded &&
      html`<div class="bad">
        <dt>Daily budget</dt>
        <dd>used up: writes are slowed down</dd>
      </div>`
    }
  </dl>`;
}

/** @param {{stats: Stats}} props */
export function FailingPanel({ stats }) {
  const failing = stats.types
    .filter((type) => type.rates.failed > 0 || type.counts.dead > 0)
    .sort((a, b) => b.rates.failed - a.rates.failed || b.counts.dead - a.counts.dead)
    .slice(0, SHOWN);
  return html`<section class="card">
    <header>
      <h2>Failing types</h2>
      <span class="grow"></span><a href="/types">All types</a>
    </header>
    ${
      failing.length
        ? html`<table class="compact">
            <thead>
              <tr>
                <th>Type</th>
                <th class="number">Fails</th>
                <th class="number">Dead</th>
              </tr>
            </thead>
            <tbody>
              ${failing.map(
                (/** @type {TypeStats} */ one) =>
                  html`<tr key=${one.type}>
                    <td>
                      <a href="/dead?type=${encodeURIComponent(one.type)}"><${Type} type=${one.type} /></a>
                    </td>
                    <td class="number">${rate(one.rates.failed)}</td>
                    <td class="number">${count(one.counts.dead)}</td>
                  </tr>`,
              )}
            </tbody>
          </table>`
        : html`<${Empty} title="No type fails"><p>Nothing failed lately, and there are no dead letters.</p><//>`
    }
  </section>`;
}

export function WorkersPanel() {
  const loaded = useLoaded((signal) => listWorkers(signal), [], { everyMs: 2_000 });
  const now = useNow();
  return html`<section class="card">
    <header>
      <h2>Workers</h2>
      <span class="grow"></span><a href="/workers">All workers</a>
    </header>
    <${Shown} loaded=${loaded}>
      ${(/** @type {{workers: Worker[], nextPageToken: string}} */ { workers }) => {
        const active = workers.filter((one) => one.leases > 0 || now - one.lastSeenAt < SILENT_MS);
        const busiest = active.sort((a, b) => b.leases - a.leases || b.lastSeenAt - a.lastSeenAt).slice(0, SHOWN);
        if (!busiest.length) {
          return html`<${Empty} title="No worker was seen lately">
            <p>
              Jobs wait until one comes. <a href="/worker">Start one in this browser</a>, or see${" "}
              <code>osqueue work --help</code>.
            </p>
          <//>`;
        }
        return html`<table class="compact">
          <thead>
            <tr>
              <th>Worker</th>
              <th>Types</th>
              <th class="number">Holds</th>
            </tr>
          </thead>
          <tbody>
            ${busiest.map((one) => html`<${WorkerRow} key=${one.workerId} worker=${one} />`)}
          </tbody>
        </table>`;
      }}
    <//>
  </section>`;
}

/** @param {{worker: Worker}} props */
function WorkerRow({ worker }) {
  return html`<tr>
    <td class="cut"><a href="/jobs?worker=${encodeURIComponent(worker.workerId)}">${visible(worker.workerId)}</a></td>
    <td class="cut" title=${worker.types.join(", ")}>
      ${worker.types.length ? visible(worker.types.join(", ")) : html`<span class="soft">any</span>`}
    </td>
    <td class="number">${worker.slots ? `${worker.leases}/${worker.slots}` : worker.leases}</td>
  </tr>`;
}

/** @param {{stats: Stats}} props */
export function RawState({ stats }) {
  const [state, setState] = useState(/** @type {{text: string, whole: boolean} | null} */ (null));
  const [problem, setProblem] = useState(/** @type {import("../problem.js").Problem | null} */ (null));
  /** @param {Event} event */
  const toggled = async (event) => {
    if (!(/** @type {HTMLDetailsElement} */ (event.currentTarget).open)) return;
    try {
      setState(await readState(STATE_CHARACTERS));
    } catch (error) {
      setProblem(asProblem(error, OWN));
    }
  };
  return html`<details class="card fold" onToggle=${toggled}>
    <summary>
      <h2>Raw state</h2>
      <span class="soft">as the API tells it: /v1/stats and /state</span>
    </summary>
    <h3>Statistics <${CopyButton} label="Copy" text=${() => JSON.stringify(stats, null, 2)} /></h3>
    <pre class="content">${visible(JSON.stringify(stats, null, 2))}</pre>
    <h3>State ${state && html`<${CopyButton} label="Copy" text=${() => state.text} />`}</h3>
    <${Wrong} problem=${problem} />
    ${state && html`<pre class="content">${visible(state.text)}</pre>`}
    ${state && !state.whole && html`<p class="soft">Only the first ${bytes(STATE_CHARACTERS)}. The whole: <code>curl ${OWN}/state</code></p>`}
  </details>`;
}

/**
 * Whose turn it is: the fairness keys with the most waiting jobs. Nothing where no job names one.
 * @param {{stats: Stats}} props
 */
export function FairnessPanel({ stats }) {
  const keys = stats.fairness;
  if (!keys?.length) return null;
  return html`<section class="card">
    <header><h2>Fair turns</h2></header>
    <table class="compact">
      <thead>
        <tr>
          <th>Key</th>
          <th class="number">Weight</th>
          <th class="number">Waiting</th>
          <th class="number">Running</th>
        </tr>
      </thead>
      <tbody>
        ${keys.map(
          (key) =>
            html`<tr key=${key.key}>
              <td><code>${visible(key.key) || "(none)"}</code></td>
              <td class="number">${amount(key.weight)}</td>
              <td class="number">${count(key.waiting)}</td>
              <td class="number">${count(key.running)}</td>
            </tr>`,
        )}
      </tbody>
    </table>
  </section>`;
}
