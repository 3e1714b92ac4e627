/**
 * Retry, run now, cancel and purge of many jobs: the broker changes at most 1,000 per call, so one wish is many calls.
 * @module
 */

import { changeJobs } from "./api.js";

/** @import * as T from "./types.js" */
/** @typedef {import("./api.js").BulkAction} BulkAction */

/**
 * Which jobs: those of a filter, or these.
 * @typedef {{filter: T.JobFilter} | {jobIds: string[]}} Selection
 */

/**
 * @typedef {object} Tally
 * @property {number} changed
 * @property {number} asked Running jobs whose workers are asked to stop, among the changed.
 * @property {number} refused
 * @property {string} refusal One reason, as an example.
 * @property {boolean} more There are further ones.
 */

const IDS_PER_CALL = 1_000;
const LOOKED_THROUGH_MAX = 20;
/** Calls of a dry run; beyond, "more than" will do. */

/**
 * @param {BulkAction} action
 * @param {Selection} selection
 * @param {object} how
 * @param {boolean} how.dryRun
 * @param {AbortSignal} how.signal
 * @param {(tally: Tally) => void} [how.onProgress]
 * @returns {Promise<Tally>}
 */
export async function changeAll(action, selection, { dryRun, signal, onProgress }) {
  /** @type {Tally} */
  const tally = { changed: 0, asked: 0, refused: 0, refusal: "", more: false };
  let calls = 0;
  for await (const results of answers(action, selection, dryRun, signal)) {
    for (const result of results) add(tally, result);
    onProgress?.({ ...tally });
    calls += 1;
    if (dryRun && calls >= LOOKED_THROUGH_MAX) return { ...tally, more: true };
  }
  return tally;
}

/**
 * @param {BulkAction} action
 * @param {Selection} selection
 * @param {boolean} dryRun
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<T.BulkResult[]>}
 */
async function* answers(action, selection, dryRun, signal) {
  if ("jobIds" in selection) {
    for (let start = 0; start < selection.jobIds.length; start += IDS_PER_CALL) {
      const jobIds = selection.jobIds.slice(start, start + IDS_PER_CALL);
      yield (await changeJobs(action, { jobIds, dryRun }, signal)).results;
    }
    return;
  }
  for (let pageToken = ""; ;) {
    const answer = await changeJobs(action, { filter: selection.filter, dryRun, pageToken }, signal);
    yield answer.results;
    pageToken = answer.nextPageToken;
    if (!pageToken) return;
  }
}

/**
 * @param {Tally} tally
 * @param {T.BulkResult} result
 */
function add(tally, result) {
  if (result.error) {
    tally.refused += 1;
    tally.refusal ||= result.error.message;
  } else {
    tally.changed += 1;
    if (result.cancelled?.cancelRequested) tally.asked += 1;
  }
}
