/**
 * REST.
 * @module
 */

import { authorization } from "../connection.js";
import { problemOf } from "../problem.js";
import { jsonOf } from "./params.js";

/** @import { Method, Params } from "./params.js" */

/** @type {Record<Method, string>} */
const PATHS = {
  submitJob: "/v1/jobs",
  claimJobs: "/v1/batch/claim",
  heartbeat: "/v1/jobs/{id}/heartbeat",
  completeJob: "/v1/jobs/{id}/complete",
  failJob: "/v1/jobs/{id}/fail",
  releaseJob: "/v1/jobs/{id}/release",
  getStats: "/v1/stats",
};

export class RestTransport {
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
    const { jobId, ...rest } = params;
    const path = PATHS[method];
    const inPath = path.includes("{id}");
    const reads = method === "getStats";
    const response = await fetch(this.base + path.replace("{id}", String(jobId)), {
      method: reads ? "GET" : "POST",
      body: reads ? undefined : jsonOf(inPath ? rest : params),
      headers: { ...authorization(this.base), ...(reads ? {} : { "content-type": "application/json" }) },
      cache: "no-store",
      keepalive: method === "releaseJob", // so that a page that is closing can still give its jobs back
      signal,
    });
    if (!response.ok) throw await problemOf(response);
    return response.status === 204 ? {} : response.json();
  }

  close() {}
}
