/**
 * The worker: runs in this tab, and pretends to do what it claims.
 * @module
 */

import { OWN } from "../connection.js";
import { brief, clock, count, visible } from "../format.js";
import { html, useEffect, useMemo, useRef, useState } from "../lib.js";
import { Dial, useDialled } from "../parts/dial.js";
import { Empty, Wrong } from "../parts/states.js";
import { JobLink, Meter, Type } from "../parts/status.js";
import { BrowserWorker } from "../working.js";

/** @import { Entry, Held, Settings } from "../working.js" */

/** @typedef {{id: string, types: string, slots: string, fromMs: string, untilMs: string, failPercent: string}} Form */

/** @type {{name: keyof Form, label: string, min: number, max: number}[]} */
const NUMBERS = [
  { name: "slots", label: "Jobs at once", min: 1, max: 32 },
  { name: "fromMs", label: "A job takes from, ms", min: 0, max: 600_000 },
  { name: "untilMs", label: "to, ms", min: 0, max: 600_000 },
  { name: "failPercent", label: "Fails, %", min: 0, max: 100 },
];

/** @param {{address: URL}} props */
export function WorkerPage({ address }) {
  const dial = useDialled();
  const [form, setForm] = useState(() => ({
    id: `browser-${Math.random().toString(36).slice(2, 7)}`,
    types: address.searchParams.get("types") ?? "",
    slots: "2",
    fromMs: "1500",
    untilMs: "4000",
    failPercent: "10",
  }));
  const wrong = wrongWithForm(form);
  const { worker, start } = useWorker();
  const running = worker?.running ?? false;
  const own = dial.base === OWN;
  const stopAndGiveBack = () => {
    worker?.stop();
    worker?.release();
  };
  const busy = running || (worker?.held.size ?? 0) > 0;
  return html`
    <div class="title">
      <h1>Worker</h1>
      <span class="soft">claims jobs in this tab and pretends to do them</span>
      <span class="grow"></span>
      ${
        running
          ? html`<button type="button" onClick=${() => worker?.stop()}>Stop</button>`
          : html`<button
              type="button"
              class="primary"
              disabled=${Object.keys(wrong).length > 0}
              onClick=${() => start(dial.transport, settingsOf(form))}
            >
              Start
            </button>`
      }
      ${
        busy &&
        html`<button type="button" title="Stop at once; the jobs are handed to others" onClick=${stopAndGiveBack}>
          Stop and give back
        </button>`
      }
    </div>
    <${Dial} dial=${dial} locked=${busy} />
    <section class="card">
      <header>
        <h2>Settings</h2>
        <span class="soft">${running ? "Stop to change them." : ""}</span>
      </header>
      <div class="field-grid">
        <${Field} name="id" label="Worker id" form=${form} wrong=${wrong.id} locked=${busy} onChange=${setForm} />
        <${Field} name="types" label="Types (none: any)" form=${form} locked=${busy} onChange=${setForm} />
        ${NUMBERS.map(
          ({ name, label }) =>
            html`<${Field}
              key=${name}
              name=${name}
              label=${label}
              form=${form}
              wrong=${wrong[name]}
              locked=${busy}
              onChange=${setForm}
              numeric=${true}
            />`,
        )}
      </div>
    </section>
    ${worker && html`<${Counts} worker=${worker} />`}
    <${Wrong} problem=${worker?.problem ?? null} />
    <section class="card">
      <header>
        <h2>In hand</h2>
        <span class="soft">${running ? `${worker?.held.size} of ${worker?.settings.slots}` : ""}</span>
      </header>
      ${
        worker && worker.held.size > 0
          ? html`<ul class="held-jobs">
              ${[...worker.held.values()].map((job) => html`<${HeldJob} key=${job.leaseToken} job=${job} own=${own} />`)}
            </ul>`
          : html`<${Empty} title=${running ? "Waiting for a job" : "The worker is stopped"}>
              ${
                running
                  ? html`<p>None is ready. <a href="/producer" target="_blank" rel="noopener">Submit one</a>.</p>`
                  : html`<p>Start it to claim jobs. Keep this tab in sight: browsers slow hidden ones.</p>`
              }
            <//>`
      }
    </section>
    ${worker && worker.log.length > 0 && html`<${Log} entries=${worker.log} own=${own} />`}
  `;
}

/** The worker of this page, if one was started; it renders again when it changes. */
function useWorker() {
  const [, setTurn] = useState(0);
  const worker = useRef(/** @type {BrowserWorker | null} */ (null));
  const changed = useMemo(() => throttled(() => setTurn((turn) => turn + 1)), []);
  useEffect(() => {
    /** @param {BeforeUnloadEvent} event */
    const leaving = (event) => worker.current?.held.size && event.preventDefault();
    const left = () => {
      worker.current?.stop();
      worker.current?.release();
    };
    addEventListener("beforeunload", leaving);
    addEventListener("pagehide", left);
    return () => {
      removeEventListener("beforeunload", leaving);
      removeEventListener("pagehide", left);
      left();
    };
  }, []);
  /**
   * @param {import("../transports/transport.js").Transport} transport
   * @param {Settings} settings
   */
  const start = (transport, settings) => {
    const before = worker.current;
    worker.current = new BrowserWorker(transport, settings, changed);
    if (before) {
      worker.current.log = before.log;
      worker.current.counts = before.counts;
    }
    worker.current.start();
  };
  return { worker: worker.current, start };
}

/**
 * @param {() => void} run
 * @returns {() => void} The same, but ten times a second at most.
 */
function throttled(run) {
  let timer = 0;
  return () => {
    timer ||= window.setTimeout(() => {
      timer = 0;
      run();
    }, 100);
  };
}

/**
 * @param {Form} form
 * @returns {Partial<Record<keyof Form, string>>}
 */
function wrongWithForm(form) {
  /** @type {Partial<Record<keyof Form, string>>} */
  const wrong = {};
  if (!form.id.trim() || form.id.length > 128) wrong.id = "1 to 128 characters";
  for (const { name, min, max } of NUMBERS) {
    const value = Number(form[name]);
    if (form[name].trim() === "" || !Number.isInteger(value) || value < min || value > max)
      wrong[name] = `${min} to ${max}`;
  }
  return wrong;
}

/**
 * @param {Form} form
 * @returns {Settings}
 */
function settingsOf(form) {
  return {
    id: form.id.trim(),
    types: form.types
      .split(",")
      .map((type) => type.trim())
      .filter(Boolean),
    slots: Number(form.slots),
    fromMs: Number(form.fromMs),
    untilMs: Number(form.untilMs),
    failPercent: Number(form.failPercent),
  };
}

/**
 * @param {object} props
 * @param {keyof Form} props.name
 * @param {string} props.label
 * @param {Form} props.form
 * @param {string} [props.wrong]
 * @param {boolean} props.locked
 * @param {boolean} [props.numeric]
 * @param {(form: Form) => void} props.onChange
 */
function Field({ name, label, form, wrong, locked, numeric = false, onChange }) {
  return html`<label class="field ${wrong ? "invalid" : ""}">
    <span>${label}</span>
    <input
      name=${name}
      value=${form[name]}
      disabled=${locked}
      inputmode=${numeric ? "numeric" : undefined}
      spellcheck=${false}
      autocomplete="off"
      onInput=${(/** @type {any} */ event) => onChange({ ...form, [name]: event.currentTarget.value })}
    />
    ${wrong && html`<small class="bad">${wrong}</small>`}
  </label>`;
}

/** @param {{worker: BrowserWorker}} props */
function Counts({ worker }) {
  const { completed, failed, released, lost } = worker.counts;
  return html`<p class="counts" role="status">
    <span><b>${count(completed)}</b> completed</span><span><b>${count(failed)}</b> failed</span
    ><span><b>${count(released)}</b> given back</span>
    <span><b>${count(lost)}</b> lost</span>
  </p>`;
}

/** @param {{job: Held, own: boolean}} props */
function HeldJob({ job, own }) {
  return html`<li>
    <div class="attempt">
      ${own ? html`<${JobLink} id=${job.jobId} />` : html`<span class="id">${job.jobId}</span>`}
      <${Type} type=${job.type} />
      <span class="soft">attempt ${job.attempt}</span>
      <span class="grow"></span>
      <span class="soft">${job.state === "running" ? `${Math.round(job.fraction * 100)} %` : job.state}</span>
    </div>
    <${Meter} fraction=${job.fraction} label="Progress" />
    <code class="preview">${brief(job.preview, 120)}</code>
  </li>`;
}

/** @param {{entries: Entry[], own: boolean}} props */
function Log({ entries, own }) {
  return html`<section class="card">
    <header><h2>Log</h2></header>
    <ol class="activity">
      ${entries.map(
        (entry) =>
          html`<li key=${`${entry.jobId} ${entry.at}`}>
            <time>${clock(entry.at)}</time><span class="status ${entry.tone}">${entry.word}</span>
            ${own ? html`<${JobLink} id=${entry.jobId} />` : html`<span class="id">${entry.jobId}</span>`}
            <span class="soft cut">${visible(entry.detail)}</span>
          </li>`,
      )}
    </ol>
  </section>`;
}
