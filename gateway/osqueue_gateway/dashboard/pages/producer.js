/**
 * The producer: submits any job, once or again and again.
 * @module
 */

import { OWN } from "../connection.js";
import { clock } from "../format.js";
import { html, useEffect, useRef, useState } from "../lib.js";
import { live } from "../live.js";
import { CopyButton } from "../parts/copy.js";
import { Dial, useDialled } from "../parts/dial.js";
import { Empty, Wrong } from "../parts/states.js";
import { JobLink, Status, Type } from "../parts/status.js";
import { Problem, asProblem } from "../problem.js";
import { AUTO_MS_MIN, EMPTY_DRAFT, SAMPLES, paramsOf, wrongWithDraft } from "../producing.js";

/** @import { Draft } from "../producing.js" */
/** @typedef {{id: string, type: string, at: number, status: string}} Sent */

const KEPT = 50;

export function ProducerPage() {
  const dial = useDialled();
  const [draft, setDraft] = useState(EMPTY_DRAFT);
  const [sent, setSent] = useSent(dial.base === OWN);
  const [total, setTotal] = useState(0);
  const [problem, setProblem] = useState(/** @type {Problem | null} */ (null));
  const wrong = wrongWithDraft(draft);
  const valid = Object.keys(wrong).length === 0;

  const submit = async () => {
    try {
      const { jobId } = await dial.transport.call("submitJob", paramsOf(draft), AbortSignal.timeout(40_000));
      setSent((before) => [{ id: jobId, type: draft.type, at: Date.now(), status: "" }, ...before].slice(0, KEPT));
      setTotal((before) => before + 1);
      setProblem(null);
    } catch (error) {
      setProblem(asProblem(error, dial.base));
    }
  };
  const auto = useAuto(submit, valid);
  /** @param {Event} event */
  const submitted = (event) => {
    event.preventDefault();
    if (valid) submit();
  };
  return html`
    <div class="title">
      <h1>Producer</h1>
      <span class="soft">puts jobs into the queue from this browser</span>
    </div>
    <${Dial} dial=${dial} locked=${auto.on} />
    <div class="two-columns">
      <form class="card" onSubmit=${submitted}>
        <header><h2>Job</h2></header>
        <div class="chips" role="group" aria-label="Samples">
          ${SAMPLES.map(
            ({ name, draft: sample }) =>
              html`<button
                key=${name}
                type="button"
                class="chip"
                onClick=${() => setDraft({ ...EMPTY_DRAFT, ...sample })}
              >
                ${name}
              </button>`,
          )}
        </div>
        <${Fields} draft=${draft} wrong=${wrong} onChange=${setDraft} />
        <${Wrong} problem=${problem} />
        <div class="buttons">
          <${AutoField} auto=${auto} valid=${valid} />
          <span class="grow"></span>
          <button class="primary" disabled=${!valid}>Submit</button>
        </div>
      </form>
      <section class="card">
        <header>
          <h2>Submitted</h2>
          <span class="soft">${total ? `${total} in all, the last ${Math.min(KEPT, sent.length)} here` : ""}</span>
          <span class="grow"></span>
          ${sent.length > 0 && html`<${CopyButton} label="Copy ids" text=${() => sent.map((one) => one.id).join("\n")} />`}
        </header>
        ${
          sent.length
            ? html`<ol class="sent">
                ${sent.map((one) => html`<${Line} key=${one.id} sent=${one} own=${dial.base === OWN} />`)}
              </ol>`
            : html`<${Empty} title="Nothing yet"><p>Choose a sample, change it as you like, and submit it.</p><//>`
        }
      </section>
    </div>
  `;
}

/** @param {{draft: Draft, wrong: Partial<Record<keyof Draft, string>>, onChange: (draft: Draft) => void}} props */
function Fields({ draft, wrong, onChange }) {
  /**
   * @param {keyof Draft} name
   * @param {string} label
   * @param {object} [more]
   */
  const field = (name, label, more = {}) =>
    html`<label class="field ${wrong[name] ? "invalid" : ""}">
      <span>${label}</span>
      <input
        name=${name}
        value=${draft[name]}
        spellcheck=${false}
        autocomplete="off"
        aria-invalid=${wrong[name] ? "true" : "false"}
        onInput=${(/** @type {any} */ event) => onChange({ ...draft, [name]: event.currentTarget.value })}
        ...${more}
      />
      ${wrong[name] && html`<small class="bad">${wrong[name]}</small>`}
    </label>`;
  return html`
    ${field("type", "Type", { "data-search": "" })}
    <label class="field ${wrong.payload ? "invalid" : ""}">
      <span>Payload</span>
      <textarea
        name="payload"
        rows="9"
        spellcheck=${false}
        aria-invalid=${wrong.payload ? "true" : "false"}
        value=${draft.payload}
        onInput=${(/** @type {any} */ event) => onChange({ ...draft, payload: event.currentTarget.value })}
      ></textarea>
      ${wrong.payload && html`<small class="bad" role="status">${wrong.payload}</small>`}
    </label>
    <label class="check">
      <input type="checkbox" checked=${draft.plain} onChange=${() => onChange({ ...draft, plain: !draft.plain })} />
      Send as plain text, not as JSON
    </label>
    <details class="more-fields">
      <summary>More: priority, delay, attempts, key</summary>
      <div class="field-grid">
        ${field("priority", "Priority", { inputmode: "numeric", placeholder: "0" })}
        ${field("delayMs", "Delay, ms", { inputmode: "numeric", placeholder: "0" })}
        ${field("maxAttempts", "Attempts at most", { inputmode: "numeric", placeholder: "3" })}
        ${field("key", "Idempotency key", { placeholder: "none" })}
      </div>
    </details>
  `;
}

/** @param {{auto: ReturnType<typeof useAuto>, valid: boolean}} props */
function AutoField({ auto, valid }) {
  return html`<span class="auto">
    <button
      type="button"
      aria-pressed=${auto.on}
      disabled=${!auto.on && (!valid || !auto.everyMs)}
      onClick=${() => auto.setOn(!auto.on)}
    >
      ${auto.on ? "Stop auto-submit" : "Auto-submit"}
    </button>
    <label>
      every
      <input
        type="number"
        min=${AUTO_MS_MIN}
        step="100"
        aria-label="Milliseconds between two jobs"
        value=${auto.text}
        onInput=${(/** @type {any} */ event) => auto.setText(event.currentTarget.value)}
      />
      ms
    </label>
    ${!auto.everyMs && html`<small class="bad">at least ${AUTO_MS_MIN}</small>`}
  </span>`;
}

/**
 * Submit again and again, each time after the last one was answered.
 * @param {() => Promise<void>} submit
 * @param {boolean} valid
 */
function useAuto(submit, valid) {
  const [text, setText] = useState("1000");
  const [on, setOn] = useState(false);
  const everyMs = Number(text) >= AUTO_MS_MIN ? Number(text) : 0;
  const newest = useRef(submit);
  newest.current = submit;
  useEffect(() => {
    if (!on || !valid || !everyMs) return;
    let timer = 0;
    let over = false;
    const next = async () => {
      const started = performance.now();
      await newest.current();
      if (!over) timer = window.setTimeout(next, Math.max(0, everyMs - (performance.now() - started)));
    };
    next();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [on, valid, everyMs]);
  return { on, setOn, text, setText, everyMs };
}

/**
 * The jobs sent last; of those sent to our own gateway we hear what becomes of them.
 * @param {boolean} own
 * @returns {[Sent[], (update: (before: Sent[]) => Sent[]) => void]}
 */
function useSent(own) {
  const [sent, setSent] = useState(/** @type {Sent[]} */ ([]));
  useEffect(() => {
    if (!own) return;
    /** @type {Map<string, string>} Statuses heard of, also of jobs whose submission is not yet answered. */
    const heard = new Map();
    let timer = 0;
    const show = () => {
      timer = 0;
      setSent((before) => before.map((one) => ({ ...one, status: heard.get(one.id) ?? one.status })));
      for (const id of [...heard.keys()].slice(0, -4 * KEPT)) heard.delete(id);
    };
    /** @param {import("../types.js").JobEvent} event */
    const listener = (event) => {
      heard.delete(event.jobId);
      heard.set(event.jobId, event.status);
      timer ||= window.setTimeout(show, 250);
    };
    live.eventListeners.add(listener);
    return () => {
      clearTimeout(timer);
      live.eventListeners.delete(listener);
    };
  }, [own]);
  return [sent, setSent];
}

/** @param {{sent: Sent, own: boolean}} props */
function Line({ sent, own }) {
  return html`<li>
    <time class="soft">${clock(sent.at)}</time>
    ${own ? html`<${JobLink} id=${sent.id} whole=${true} />` : html`<span class="id">${sent.id}</span>`}
    <${Type} type=${sent.type} />
    <span class="grow"></span>
    ${sent.status && html`<${Status} status=${sent.status} />`}
  </li>`;
}
