/**
 * What the producer submits, checked before it is sent.
 * @module
 */

import { wrongWith } from "./json_text.js";
import { JsonText } from "./transports/params.js";

/** @import { Params } from "./transports/params.js" */

/**
 * What is in the form.
 * @typedef {object} Draft
 * @property {string} type
 * @property {string} payload
 * @property {boolean} plain Send the payload as text, whatever it is.
 * @property {string} priority
 * @property {string} delayMs
 * @property {string} maxAttempts
 * @property {string} key
 */

export const AUTO_MS_MIN = 200;
const PAYLOAD_BYTES_MAX = 1_024 * 1_024;

/** @type {Draft} */
export const EMPTY_DRAFT = {
  type: "hello",
  payload: '{\n  "name": "Ada"\n}',
  plain: false,
  priority: "",
  delayMs: "",
  maxAttempts: "",
  key: "",
};

/** @type {{name: string, draft: Partial<Draft>}[]} */
export const SAMPLES = [
  { name: "Hello", draft: {} },
  {
    name: "E-mail",
    draft: { type: "email", payload: '{\n  "to": "ada@example.org",\n  "subject": "Engines",\n  "retries_left": 3\n}' },
  },
  {
    name: "Image",
    draft: { type: "image.resize", payload: '{\n  "source": "cat.jpg",\n  "widths": [320, 640, 1280]\n}' },
  },
  {
    name: "Report, urgent",
    draft: { type: "report", payload: '{\n  "month": "2026-10",\n  "format": "pdf"\n}', priority: "10" },
  },
  { name: "In ten seconds", draft: { type: "reminder", payload: '{\n  "text": "Time for tea"\n}', delayMs: "10000" } },
  { name: "Plain text", draft: { type: "note", payload: "Not JSON at all.", plain: true } },
];

/**
 * @param {Draft} draft
 * @returns {Partial<Record<keyof Draft, string>>} What is wrong, by field.
 */
export function wrongWithDraft(draft) {
  /** @type {Partial<Record<keyof Draft, string>>} */
  const wrong = {};
  if (!/^[A-Za-z0-9._:/-]{0,128}$/.test(draft.type)) wrong.type = "Letters, digits and . _ : / - only, at most 128";
  const size = new TextEncoder().encode(draft.payload).length;
  if (!size) wrong.payload = "A job needs a payload";
  else if (size > PAYLOAD_BYTES_MAX) wrong.payload = `At most 1 MiB; this is ${size} bytes`;
  else if (!draft.plain) {
    const problem = wrongWith(draft.payload);
    if (problem) wrong.payload = `Not JSON: ${problem}`;
  }
  checkNumber(draft, "priority", -1_000, 1_000, wrong);
  checkNumber(draft, "delayMs", 0, 31_536_000_000, wrong);
  checkNumber(draft, "maxAttempts", 1, 1_000, wrong);
  if (draft.key.length > 128) wrong.key = "At most 128 characters";
  return wrong;
}

/**
 * @param {Draft} draft
 * @param {"priority" | "delayMs" | "maxAttempts"} field
 * @param {number} low
 * @param {number} high
 * @param {Partial<Record<keyof Draft, string>>} wrong
 */
function checkNumber(draft, field, low, high, wrong) {
  const value = Number(draft[field]);
  if (draft[field] !== "" && !(Number.isInteger(value) && value >= low && value <= high)) {
    wrong[field] = `A whole number from ${low} to ${high}`;
  }
}

/**
 * @param {Draft} draft One with nothing wrong.
 * @returns {Params}
 */
export function paramsOf(draft) {
  /** @param {string} text */
  const number = (text) => (text === "" ? undefined : Number(text));
  return {
    type: draft.type || undefined,
    payload: draft.plain ? new TextEncoder().encode(draft.payload) : new JsonText(draft.payload),
    priority: number(draft.priority),
    delayMs: number(draft.delayMs),
    maxAttempts: number(draft.maxAttempts),
    idempotencyKey: draft.key || undefined,
  };
}
