/**
 * What calls are made of.
 * @module
 */

import { toBase64 } from "../bytes.js";

/** @typedef {"submitJob" | "claimJobs" | "heartbeat" | "completeJob" | "failJob" | "releaseJob" | "getStats"} Method */

/**
 * Fields in the API's JSON names. `payload` and `result` are bytes, or JSON text that travels as it stands.
 * @typedef {Record<string, string | number | boolean | string[] | object | JsonText | Uint8Array | undefined>} Params
 */

/** JSON that is sent as its text stands. */
export class JsonText {
  /** @param {string} text */
  constructor(text) {
    this.text = text;
  }
}

/**
 * @param {Params} params
 * @returns {string} The JSON object that REST and WebSocket take.
 */
export function jsonOf(params) {
  const fields = [];
  for (const [key, value] of Object.entries(params)) {
    if (value === undefined) continue;
    if (value instanceof JsonText) fields.push(`${JSON.stringify(key)}:${value.text}`);
    else if (value instanceof Uint8Array) fields.push(`${JSON.stringify(`${key}Base64`)}:"${toBase64(value)}"`);
    else fields.push(`${JSON.stringify(key)}:${JSON.stringify(value)}`);
  }
  return `{${fields.join(",")}}`;
}
