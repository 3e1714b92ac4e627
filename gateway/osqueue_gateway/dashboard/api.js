/**
 * The calls of the dashboard's own pages: REST, to the gateway that served them.
 * @module
 */

import { OWN, authorization } from "./connection.js";
import { asProblem, problemOf } from "./problem.js";

/** @import * as T from "./types.js" */

const READ_MS = 15_000;
const CHANGE_MS = 40_000;
/** How long to wait for an answer. A change may wait for the bucket, and its answer matters more. */

/** @typedef {Record<string, string | number | boolean | string[] | Record<string, string> | undefined>} Query */

/**
 * @param {Query} query
 * @returns {string} With its question mark; lists are repeated, labels are `name=key=value`.
 */
export function queryString(query) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (Array.isArray(value)) for (const one of value) search.append(name, one);
    else if (typeof value === "object")
      for (const [key, one] of Object.entries(value)) search.append(name, `${key}=${one}`);
    else if (value !== undefined && value !== "" && value !== 0) search.append(name, String(value));
  }
  const text = search.toString();
  return text && `?${text}`;
}

/**
 * @param {string} path
 * @param {Query} [query]
 * @param {AbortSignal} [signal]
 * @returns {Promise<string>} The JSON text, since JSON.parse would round a payload's big integers.
 */
export async function getText(path, query = {}, signal) {
  return send("GET", path + queryString(query), undefined, READ_MS, signal);
}

/**
 * @param {string} path
 * @param {Query} [query]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
async function get(path, query, signal) {
  return JSON.parse(await getText(path, query, signal));
}

/**
 * @param {string} path
 * @param {object} body
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
async function post(path, body, signal) {
  return JSON.parse(await send("POST", path, JSON.stringify(body), CHANGE_MS, signal));
}

/**
 * @param {string} method
 * @param {string} path
 * @param {string | undefined} body
 * @param {number} withinMs
 * @param {AbortSignal} [signal]
 * @returns {Promise<string>}
 */
async function send(method, path, body, withinMs, signal) {
  const limit = AbortSignal.timeout(withinMs);
  /** @type {Record<string, string>} */
  const headers = authorization(OWN);
  if (body !== undefined) headers["content-type"] = "application/json";
  try {
    const response = await fetch(OWN + path, {
      method,
      body,
      headers,
      cache: "no-store",
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
    if (!response.ok) throw await problemOf(response);
    return await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw asProblem(error, OWN);
  }
}

/** @typedef {"NEWEST" | "OLDEST" | "SOONEST"} JobOrder */

/**
 * @param {T.JobFilter} filter
 * @param {JobOrder} order
 * @param {string} pageToken
 * @param {number} pageSize
 * @param {AbortSignal} [signal]
 * @returns {Promise<{jobs: T.Job[], nextPageToken: string, counts: T.JobCounts}>}
 */
export function listJobs(filter, order, pageToken, pageSize, signal) {
  const said = order === "OLDEST" ? {} : { order };
  return get("/v1/jobs", { ...filter, ...said, view: "BASIC", pageToken, pageSize }, signal);
}

/**
 * @param {string} id
 * @param {AbortSignal} [signal]
 * @returns {Promise<string>} The answer's JSON text.
 */
export function getJobText(id, signal) {
  return getText(`/v1/jobs/${id}`, {}, signal);
}

/**
 * @param {string} id
 * @param {AbortSignal} [signal]
 * @returns {Promise<T.Explanation>}
 */
export function explainJob(id, signal) {
  return get(`/v1/jobs/${id}/explain`, {}, signal);
}

/**
 * @param {number} since
 * @param {number} stepMs
 * @param {number} maxPoints
 * @param {AbortSignal} [signal]
 * @returns {Promise<{points: T.HistoryPoint[]}>}
 */
export function getHistory(since, stepMs, maxPoints, signal) {
  return get("/v1/admin/history", { since, stepMs, maxPoints }, signal);
}

/**
 * @param {AbortSignal} [signal]
 * @returns {Promise<T.StorageStats>}
 */
export function getStorageStats(signal) {
  return get("/v1/admin/storage", {}, signal);
}

/**
 * @param {AbortSignal} [signal]
 * @param {number} [pageSize]
 * @returns {Promise<{workers: T.Worker[], nextPageToken: string}>}
 */
export function listWorkers(signal, pageSize = 500) {
  return get("/v1/admin/workers", { pageSize }, signal);
}

/**
 * @param {AbortSignal} [signal]
 * @returns {Promise<{groups: T.DeadGroup[], others: number}>}
 */
export function groupDead(signal) {
  return get("/v1/admin/dead", { maxGroups: 200 }, signal);
}

/**
 * @param {string} type
 * @param {boolean} paused
 * @returns {Promise<unknown>}
 */
export function setPaused(type, paused) {
  return post(paused ? "/v1/admin/pause" : "/v1/admin/resume", { types: [type] });
}

/**
 * @param {string} pageToken
 * @param {AbortSignal} [signal]
 * @returns {Promise<{schedules: T.ScheduleInfo[], nextPageToken: string}>}
 */
export function listSchedules(pageToken, signal) {
  return get("/v1/schedules", { pageToken, pageSize: 200 }, signal);
}

/**
 * @param {string} id
 * @param {AbortSignal} [signal]
 * @returns {Promise<string>} The answer's JSON text: the template's payload stays as it is.
 */
export function getScheduleText(id, signal) {
  return getText(`/v1/schedules/${id}`, {}, signal);
}

/**
 * @param {string} body JSON text: of the template's payload nothing is rounded.
 * @returns {Promise<unknown>}
 */
export async function putSchedule(body) {
  return JSON.parse(await send("POST", "/v1/schedules", body, CHANGE_MS));
}

/**
 * @param {object} schedule Without its job.
 * @returns {Promise<{times: T.ScheduledTime[]}>}
 */
export function previewSchedule(schedule) {
  return post("/v1/schedules/preview", { schedule });
}

/**
 * @param {string} id
 * @param {"pause" | "resume" | "trigger" | "delete"} action
 * @returns {Promise<any>}
 */
export function steerSchedule(id, action) {
  return post(`/v1/schedules/${id}/${action}`, {});
}

/**
 * @param {string[]} statuses
 * @param {AbortSignal} [signal]
 * @returns {Promise<{workflows: T.WorkflowInfo[], nextPageToken: string}>}
 */
export function listWorkflows(statuses, signal) {
  return get("/v1/workflows", { statuses, pageSize: 200 }, signal);
}

/**
 * @param {string} id
 * @param {AbortSignal} [signal]
 * @returns {Promise<{workflow: T.WorkflowInfo, nodes: T.NodeInfo[]}>}
 */
export function getWorkflow(id, signal) {
  return get(`/v1/workflows/${id}`, {}, signal);
}

/**
 * @param {string} id
 * @returns {Promise<unknown>}
 */
export function cancelWorkflow(id) {
  return post(`/v1/workflows/${id}/cancel`, {});
}

/**
 * @param {string[]} statuses
 * @param {AbortSignal} [signal]
 * @returns {Promise<{batches: T.BatchInfo[], nextPageToken: string}>}
 */
export function listBatches(statuses, signal) {
  return get("/v1/batches", { statuses, pageSize: 200 }, signal);
}

/**
 * @param {string} id
 * @param {AbortSignal} [signal]
 * @returns {Promise<{batch: T.BatchInfo}>}
 */
export function getBatch(id, signal) {
  return get(`/v1/batches/${id}`, {}, signal);
}

/**
 * @param {string} id
 * @param {"seal" | "cancel"} action
 * @returns {Promise<unknown>}
 */
export function steerBatch(id, action) {
  return post(`/v1/batches/${id}/${action}`, {});
}

/** @typedef {"retry" | "run" | "cancel" | "purge"} BulkAction */

/**
 * @param {BulkAction} action
 * @param {{jobIds?: string[], filter?: T.JobFilter, dryRun: boolean, pageToken?: string}} request
 * @param {AbortSignal} [signal]
 * @returns {Promise<{results: T.BulkResult[], nextPageToken: string}>}
 */
export function changeJobs(action, request, signal) {
  return post(action === "purge" ? "/v1/admin/purge" : `/v1/batch/${action}`, request, signal);
}

/**
 * @param {string} request UpdateJobsRequest as JSON text, in which the payload stands as it was typed.
 * @returns {Promise<{results: T.BulkResult[]}>}
 */
export async function updateText(request) {
  return JSON.parse(await send("POST", "/v1/batch/update", request, CHANGE_MS));
}

/**
 * @param {string} request SubmitJobRequest as JSON text, in which the payload stands as it was typed.
 * @returns {Promise<{id: string}>}
 */
export async function submitText(request) {
  const { jobId } = JSON.parse(await send("POST", "/v1/jobs", request, CHANGE_MS));
  return { id: jobId };
}

/**
 * @param {number} most Characters.
 * @returns {Promise<{text: string, whole: boolean}>} The state of the queue as far as that.
 */
export async function readState(most) {
  const stop = new AbortController();
  try {
    const response = await fetch(`${OWN}/state`, {
      headers: authorization(OWN),
      cache: "no-store",
      signal: stop.signal,
    });
    if (!response.ok || !response.body) throw await problemOf(response);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return { text, whole: true };
      text += value;
      if (text.length > most) return { text: text.slice(0, most), whole: false };
    }
  } catch (error) {
    throw asProblem(error, OWN);
  } finally {
    stop.abort();
  }
}
