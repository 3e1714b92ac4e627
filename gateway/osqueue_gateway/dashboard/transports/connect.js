/**
 * The Connect protocol with its JSON codec: protobuf's own JSON, where bytes are base64, 64-bit integers are strings,
 * and what has its default value is left out.
 * @module
 */

import { fromBase64, toBase64 } from "../bytes.js";
import { authorization } from "../connection.js";
import { problemOf } from "../problem.js";
import { JsonText } from "./params.js";

/** @import { Method, Params } from "./params.js" */

const SERVICE = "/osqueue.v1.QueueService/";

export class ConnectTransport {
  /** @param {string} base */
  constructor(base) {
    this.base = base;
  }

  /**
   * @param {Method} method
   * @param {Params} params
   * @param {AbortSignal} [signal]
   * @returns {Promise<any>}
   */
  async call(method, params, signal) {
    const response = await fetch(`${this.base}${SERVICE}${method.charAt(0).toUpperCase()}${method.slice(1)}`, {
      method: "POST",
      body: JSON.stringify(params, written),
      headers: { ...authorization(this.base), "content-type": "application/json", "connect-protocol-version": "1" },
      cache: "no-store",
      keepalive: method === "releaseJob",
      signal,
    });
    if (!response.ok) throw await problemOf(response);
    return read(method, await response.json());
  }

  close() {}
}

/**
 * @param {string} _key
 * @param {unknown} value
 */
function written(_key, value) {
  if (value instanceof JsonText) return toBase64(new TextEncoder().encode(value.text));
  return value instanceof Uint8Array ? toBase64(value) : value;
}

/**
 * @param {Method} method
 * @param {any} answer
 * @returns {any} The same as REST would have answered, as far as producer and worker look at it.
 */
function read(method, answer) {
  switch (method) {
    case "claimJobs":
      return { jobs: (answer.jobs ?? []).map(readClaimed) };
    case "heartbeat":
      return { leaseExpiresAt: Number(answer.leaseExpiresAt ?? 0), cancelRequested: answer.cancelRequested ?? false };
    case "getStats":
      return { total: answer.total ?? 0, brokerAddress: answer.brokerAddress ?? "" };
    default:
      return answer;
  }
}

/** @param {any} job */
function readClaimed(job) {
  return {
    ...job,
    type: job.type ?? "",
    attempt: Number(job.attempt ?? 0),
    leaseMs: Number(job.leaseMs ?? 0),
    ...readPayload(fromBase64(job.payload ?? "")),
  };
}

/** @param {Uint8Array} bytes */
function readPayload(bytes) {
  try {
    return { payload: JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) };
  } catch {
    return { payloadBase64: toBase64(bytes) };
  }
}
