/**
 * Dialogs that ask for what a job is to be: one that waits is changed, any may be submitted again with other work.
 * @module
 */

import { submitText, updateText } from "../api.js";
import { toBase64 } from "../bytes.js";
import { OWN } from "../connection.js";
import { html, useState } from "../lib.js";
import { go } from "../router.js";
import { asProblem, Problem } from "../problem.js";
import { Dialog } from "./dialog.js";
import { Wrong } from "./states.js";

/** @import { Job } from "../types.js" */
/** @typedef {import("../bytes.js").Content} Content */

/** @param {{job: Job, payload: Content | null, onClose: () => void, onDone: () => void}} props */
export function EditDialog({ job, payload, onClose, onDone }) {
  const [priority, setPriority] = useState(String(job.priority));
  const [seconds, setSeconds] = useState("");
  const [text, setText] = useState(payload?.text ?? "");
  const run = async () => {
    /** @type {string[]} */
    const said = [];
    if (priority.trim() !== String(job.priority)) said.push(`"priority":${number(priority, "priority")}`);
    if (seconds.trim()) said.push(`"delayMs":${Math.round(number(seconds, "seconds") * 1_000)}`);
    if (payload && text !== payload.text) said.push(payloadMember(payload, text));
    if (!said.length) throw new Problem("nothing is different");
    const { results } = await updateText(`{"jobIds":[${JSON.stringify(job.id)}],${said.join(",")}}`);
    const refused = results[0]?.error;
    if (refused) throw new Problem(refused.message);
    onDone();
  };
  return html`<${Form} title="Edit this job" action="Save" run=${run} onClose=${onClose}>
    <label class="field">
      Priority
      <input inputmode="numeric" value=${priority} onInput=${take(setPriority)} />
    </label>
    <label class="field">
      Runs in (seconds); 0: now; empty: as it is
      <input inputmode="numeric" value=${seconds} onInput=${take(setSeconds)} />
    </label>
    <${PayloadField} payload=${payload} text=${text} onInput=${setText} />
  <//>`;
}

/** @param {{job: Job, payload: Content | null, onClose: () => void}} props */
export function ResubmitDialog({ job, payload, onClose }) {
  const [text, setText] = useState(payload?.text ?? "");
  const run = async () => {
    if (!payload) throw new Problem("the job has no payload");
    const { id } = await submitText(`{${[...inherited(job), payloadMember(payload, text)].join(",")}}`);
    go(`/jobs/${encodeURIComponent(id)}`);
  };
  return html`<${Form} title="Submit again" action="Submit" run=${run} onClose=${onClose}>
    <p>A new job of the same type, with the same options and no keys. This one stays as it is.</p>
    <${PayloadField} payload=${payload} text=${text} onInput=${setText} />
  <//>`;
}

/**
 * @param {object} props
 * @param {string} props.title
 * @param {string} props.action The word on the button.
 * @param {() => Promise<void>} props.run
 * @param {() => void} props.onClose
 * @param {import("../lib.js").Children} props.children
 */
function Form({ title, action, run, onClose, children }) {
  const [problem, setProblem] = useState(/** @type {Problem | null} */ (null));
  const [busy, setBusy] = useState(false);
  /** @param {Event} event */
  const confirmed = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await run();
      onClose();
    } catch (error) {
      setProblem(asProblem(error, OWN));
      setBusy(false);
    }
  };
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <form onSubmit=${confirmed}>
      ${children}
      <${Wrong} problem=${problem} />
      <div class="buttons">
        <button type="button" onClick=${onClose}>Keep as it is</button>
        <button class="primary" disabled=${busy}>${action}</button>
      </div>
    </form>
  <//>`;
}

/** @param {{payload: Content | null, text: string, onInput: (text: string) => void}} props */
function PayloadField({ payload, text, onInput }) {
  if (!payload || payload.kind === "binary") {
    return html`<p class="soft">Its payload is not text, and stays as it is.</p>`;
  }
  return html`<label class="field">
    ${payload.kind === "json" ? "Payload, as JSON" : "Payload"}
    <textarea rows="10" spellcheck=${false} value=${text} onInput=${take(onInput)}></textarea>
  </label>`;
}

/**
 * @param {Content} payload What kind it is.
 * @param {string} text What it is to be; put in as it stands, because parsing it would round its large numbers.
 */
function payloadMember(payload, text) {
  if (payload.kind === "binary") return `"payloadBase64":${JSON.stringify(toBase64(payload.bytes))}`;
  if (payload.kind === "text") return `"payloadBase64":${JSON.stringify(toBase64(new TextEncoder().encode(text)))}`;
  try {
    JSON.parse(text);
  } catch (error) {
    throw new Problem(`the payload is not JSON: ${error instanceof Error ? error.message : error}`);
  }
  return `"payload":${text}`;
}

/**
 * @param {Job} job
 * @returns {string[]} What a job of the same kind asks for, as members of a request.
 */
function inherited(job) {
  const members = [`"type":${JSON.stringify(job.type ?? "")}`, `"priority":${job.priority}`];
  members.push(`"maxAttempts":${job.effectiveMaxAttempts}`);
  if (job.timeoutMs) members.push(`"timeoutMs":${job.timeoutMs}`);
  if (job.metadata) members.push(`"metadata":${JSON.stringify(job.metadata)}`);
  if (job.retryPolicy) members.push(`"retryPolicy":${JSON.stringify(job.retryPolicy)}`);
  return members;
}

/**
 * @param {string} text
 * @param {string} name
 */
function number(text, name) {
  const value = Number(text);
  if (!text.trim() || !Number.isFinite(value)) throw new Problem(`${name}: ${text || "nothing"} is not a number`);
  return value;
}

/** @param {(text: string) => void} set */
function take(set) {
  /** @param {Event} event */
  return (event) => set(/** @type {HTMLInputElement | HTMLTextAreaElement} */ (event.target).value);
}
