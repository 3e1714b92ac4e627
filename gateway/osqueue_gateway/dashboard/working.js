/**
 * A worker in the browser: claims jobs, pretends to work, says how far it is, completes or fails them.
 * @module
 */

import { Problem } from "./problem.js";
import { JsonText } from "./transports/params.js";

/** @import { Transport } from "./transports/transport.js" */

const CLAIM_WAIT_MS = 5_000;
const PAUSES_MS = [500, 1_000, 2_000, 4_000];
const STEP_MS = 250;
const HEARTBEAT_MS = 1_000;
/** As often as progress is worth being told; leases are longer. */
const SETTLE_TRIES = 30;
const LOG_KEPT = 50;

/**
 * @typedef {object} Settings
 * @property {string} id
 * @property {string[]} types Empty: any.
 * @property {number} slots
 * @property {number} fromMs A job takes between this
 * @property {number} untilMs and this.
 * @property {number} failPercent
 */

/**
 * @typedef {object} Held A job in hand.
 * @property {string} jobId
 * @property {string} type
 * @property {string} leaseToken
 * @property {number} attempt
 * @property {string} preview
 * @property {number} fraction
 * @property {"running" | "settling" | "cancelling"} state
 */

/** @typedef {{at: number, jobId: string, word: string, tone: string, detail: string}} Entry */

export class BrowserWorker {
  /**
   * @param {Transport} transport
   * @param {Settings} settings
   * @param {() => void} onChange
   */
  constructor(transport, settings, onChange) {
    this.transport = transport;
    this.settings = settings;
    this.onChange = onChange;
    this.running = false;
    /** @type {Map<string, Held>} By lease token. */
    this.held = new Map();
    /** @type {Entry[]} The newest first. */
    this.log = [];
    this.counts = { completed: 0, failed: 0, released: 0, lost: 0 };
    /** @type {Problem | null} */
    this.problem = null;
    /** Names a claim across its tries: what an answer that was lost had handed out is handed out again. */
    this.claimKey = "";
    /** @type {() => void} */
    this.roomMade = () => {};
  }

  async start() {
    this.running = true;
    this.onChange();
    for (let failures = 0; this.running;) {
      const room = this.settings.slots - this.held.size;
      if (room <= 0) {
        await new Promise((resolve) => (this.roomMade = () => resolve(undefined)));
        continue;
      }
      try {
        await this.claim(room);
        failures = 0;
      } catch (error) {
        if (!this.running) break;
        this.problem = error instanceof Problem ? error : new Problem(String(error));
        this.onChange();
        await pause(PAUSES_MS[Math.min(failures, PAUSES_MS.length - 1)] ?? 0);
        failures += 1;
      }
    }
    this.onChange();
  }

  /**
   * Take no more jobs; those in hand are finished. A claim under way is not broken off: its answer might be on its way,
   * and its jobs would wait for their leases to run out. What it brings is given back.
   */
  stop() {
    this.running = false;
    this.roomMade();
    this.onChange();
  }

  /** Give all jobs in hand back, at once. */
  async release() {
    const jobs = [...this.held.values()];
    this.held.clear();
    this.roomMade();
    this.onChange();
    await Promise.all(jobs.map((job) => this.giveBack(job)));
  }

  /** @param {number} room */
  async claim(room) {
    const { id, types } = this.settings;
    this.claimKey ||= crypto.randomUUID?.() ?? String(Math.random());
    const answer = await this.transport.call("claimJobs", {
      workerId: id,
      types,
      maxJobs: room,
      waitMs: CLAIM_WAIT_MS,
      claimKey: this.claimKey,
      workerVersion: "dashboard",
    });
    this.claimKey = "";
    this.problem = null;
    for (const job of answer.jobs) {
      const held = heldOf(job);
      if (!this.running) this.giveBack(held);
      else this.work(held);
    }
    this.onChange();
  }

  /** @param {Held} job */
  async work(job) {
    this.held.set(job.leaseToken, job);
    const { fromMs, untilMs, failPercent } = this.settings;
    const takesMs = fromMs + Math.random() * Math.max(0, untilMs - fromMs);
    const fails = Math.random() * 100 < failPercent;
    const started = performance.now();
    let told = -Infinity;
    for (let spent = 0; spent < takesMs; spent = performance.now() - started) {
      if (!this.held.has(job.leaseToken)) return; // released, or its lease is lost
      job.fraction = spent / takesMs;
      if (spent - told >= HEARTBEAT_MS) {
        told = spent;
        if (await this.isCancelled(job)) return this.settle(job, "cancelled");
      }
      this.onChange();
      await pause(Math.min(STEP_MS, takesMs - spent));
    }
    job.fraction = 1;
    await this.settle(job, fails ? "failed" : "completed", Math.round(takesMs));
  }

  /**
   * @param {Held} job
   * @returns {Promise<boolean>} Whether it was asked to stop.
   */
  async isCancelled(job) {
    const progress = { fraction: job.fraction, message: `${Math.round(job.fraction * 100)} % pretended` };
    try {
      const answer = await this.transport.call("heartbeat", { ...this.proof(job), progress });
      return answer.cancelRequested === true;
    } catch (error) {
      this.heard(job, error);
      return false;
    }
  }

  /**
   * Tell the outcome until it is heard: with the lease's token the same outcome counts once.
   * @param {Held} job
   * @param {"completed" | "failed" | "cancelled"} outcome
   * @param {number} [tookMs]
   */
  async settle(job, outcome, tookMs = 0) {
    job.state = outcome === "cancelled" ? "cancelling" : "settling";
    for (let tries = 0; tries < SETTLE_TRIES && this.held.has(job.leaseToken); tries += 1) {
      try {
        await this.tell(job, outcome, tookMs);
        this.held.delete(job.leaseToken);
        this.counts[outcome === "completed" ? "completed" : "failed"] += 1;
        this.write(job, outcome, outcome === "completed" ? "completed" : "dead");
        break;
      } catch (error) {
        if (this.heard(job, error)) await pause(1_000);
      }
    }
    this.held.delete(job.leaseToken);
    this.roomMade();
    this.onChange();
  }

  /**
   * @param {Held} job
   * @param {"completed" | "failed" | "cancelled"} outcome
   * @param {number} tookMs
   */
  tell(job, outcome, tookMs) {
    if (outcome === "completed") {
      const result = new JsonText(JSON.stringify({ by: this.settings.id, tookMs }));
      return this.transport.call("completeJob", { ...this.proof(job), result });
    }
    const error =
      outcome === "failed"
        ? {
            type: "PretendedError",
            message: `Failed on purpose: ${this.settings.failPercent} % of this worker's attempts do.`,
          }
        : { type: "Cancelled", message: "Stopped, as was asked for." };
    return this.transport.call("failJob", { ...this.proof(job), error, retryable: outcome === "failed" });
  }

  /** @param {Held} job */
  async giveBack(job) {
    try {
      await this.transport.call("releaseJob", this.proof(job));
      this.counts.released += 1;
      this.write(job, "given back", "scheduled");
    } catch (error) {
      this.heard(job, error); // if it was not heard, the lease runs out and the job is handed out again
    }
    this.onChange();
  }

  /**
   * @param {Held} job
   * @param {unknown} error
   * @returns {boolean} Whether trying again may help.
   */
  heard(job, error) {
    const problem = error instanceof Problem ? error : new Problem(String(error));
    if (problem.reason === "LEASE_LOST" || problem.reason === "JOB_NOT_FOUND") {
      if (this.held.delete(job.leaseToken)) {
        this.counts.lost += 1;
        this.write(job, "lease lost", "cancelled", problem.message);
        this.roomMade();
      }
      return false;
    }
    this.problem = problem;
    this.onChange();
    return true;
  }

  /** @param {Held} job */
  proof(job) {
    return { jobId: job.jobId, workerId: this.settings.id, leaseToken: job.leaseToken };
  }

  /**
   * @param {Held} job
   * @param {string} word
   * @param {string} tone
   * @param {string} [detail]
   */
  write(job, word, tone, detail = "") {
    this.log = [{ at: Date.now(), jobId: job.jobId, word, tone, detail }, ...this.log].slice(0, LOG_KEPT);
  }
}

/**
 * @param {any} job As it was claimed.
 * @returns {Held}
 */
function heldOf(job) {
  const text =
    job.payloadBase64 === undefined
      ? JSON.stringify(job.payload ?? null)
      : `${job.payloadBase64.length} characters of base64`;
  return {
    jobId: job.jobId,
    type: job.type ?? "",
    leaseToken: job.leaseToken,
    attempt: job.attempt,
    preview: text.slice(0, 200),
    fraction: 0,
    state: "running",
  };
}

/** @param {number} ms */
function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
