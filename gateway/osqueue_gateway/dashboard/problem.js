/**
 * What went wrong with a call, in the gateway's words or, when it could not be heard, in ours.
 * @module
 */

/** @typedef {{field: string, description: string}} Violation */

export class Problem extends Error {
  /**
   * @param {string} message What happened.
   * @param {{reason?: string, status?: number, violations?: Violation[], hint?: string}} [more]
   */
  constructor(message, { reason = "", status = 0, violations = [], hint = "" } = {}) {
    super(message);
    this.reason = reason;
    /** The HTTP status; 0 when there was no answer. */
    this.status = status;
    this.violations = violations;
    this.hint = hint || HINTS[reason] || "";
  }
}

/** @type {Record<string, string>} What to do about it, by reason. */
const HINTS = {
  OFFLINE: "Is the gateway running, and reachable from this browser? The page tries again by itself.",
  NOT_LEADER:
    "The gateway runs, but no broker leads. Start one with “osqueue broker”, or look at its log; the page goes on by itself.",
  STORAGE_UNAVAILABLE: "The broker cannot reach its bucket. Look at the broker's log; nothing acknowledged is lost.",
  OUTCOME_UNKNOWN: "It may or may not have happened. Look at the job before you repeat it.",
  TOO_MANY_REQUESTS: "The broker is at a limit. Wait a moment.",
  QUEUE_FULL: "The queue is at a limit. Let workers catch up, or purge finished jobs.",
  SCHEDULE_NOT_FOUND: "It was never put, or it was deleted.",
  QUEUE_NOT_FOUND: "Create it first, or see whether its name is meant otherwise.",
  REVISION_CONFLICT: "Somebody else changed it. Look at what it is now, and change that.",
  BATCH_NOT_FOUND: "It never existed, or it ended and is no longer kept.",
  WORKFLOW_NOT_FOUND: "It never existed, or it ended and none of its jobs is kept.",
  JOB_NOT_FOUND: "It never existed, was purged, or its retention has passed.",
  UNIMPLEMENTED: "The broker is older than this dashboard. Upgrade it.",
};

/**
 * @param {Response} response One that says no.
 * @returns {Promise<Problem>}
 */
export async function problemOf(response) {
  const text = await response.text();
  /** @type {any} */
  let body = {};
  try {
    body = JSON.parse(text);
  } catch {
    // Not ours: a proxy's page, say. The status tells what there is to tell.
  }
  return tagged(body, response.status);
}

/**
 * @param {any} body An error object of REST, WebSocket or Connect.
 * @param {number} status
 * @returns {Problem}
 */
export function tagged(body, status) {
  const message = typeof body?.message === "string" ? body.message : `The answer was HTTP ${status}.`;
  return new Problem(message, {
    reason: body?.reason ?? CONNECT_REASONS[body?.code] ?? "",
    status,
    violations: body?.violations ?? [],
  });
}

/** @type {Record<string, string>} Reasons for Connect's codes that mean one only. */
const CONNECT_REASONS = {
  unauthenticated: "UNAUTHENTICATED",
  permission_denied: "PERMISSION_DENIED",
  not_found: "JOB_NOT_FOUND",
  unavailable: "NOT_LEADER",
};

/**
 * @param {unknown} error Whatever was thrown.
 * @param {string} base Whom the call was meant for.
 * @returns {Problem}
 */
export function asProblem(error, base) {
  if (error instanceof Problem) return error;
  if (error instanceof DOMException && error.name === "TimeoutError") {
    return new Problem(`${base} did not answer in time.`, { reason: "OFFLINE" });
  }
  if (error instanceof TypeError) return new Problem(`${base} does not answer.`, { reason: "OFFLINE" });
  return new Problem(error instanceof Error ? error.message : String(error));
}
