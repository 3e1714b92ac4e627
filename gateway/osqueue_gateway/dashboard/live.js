/**
 * What happens in the queue, as it happens: one stream of server-sent events for the whole page, read with fetch
 * because an EventSource cannot carry the token. It closes while the tab is hidden: browsers allow six connections per
 * host, and a seventh tab would wait for ever.
 * @module
 */

import { OWN, authorization } from "./connection.js";
import { asProblem, Problem, problemOf } from "./problem.js";

/** @import * as T from "./types.js" */

const STATS_EVERY_MS = 500;
/** Together with `TELL_EVERY_MS` well within the second in which people expect to see what happened. */
const TELL_EVERY_MS = 250;
/** Components hear of changes this often at most, however many there are. */
const KEPT_EVENTS = 200;
const HIDDEN_FOR_MS = 5_000;
const SILENT_FOR_MS = 20_000;
/** The statistics come twice a second; a stream that has been silent for this long is dead. */
const SKEW_MS_MIN = 1_000;
/** Less than this may be the event's way to us. */
const PAUSES_MS = [500, 1_000, 2_000, 4_000];

/**
 * "refused": the gateway wants a token, or does not serve this machine. "asleep": the tab is hidden.
 * @typedef {"connecting" | "live" | "lost" | "refused" | "asleep"} StreamState
 */

export class Live {
  constructor() {
    /** @type {StreamState} */
    this.state = "connecting";
    /** @type {Problem | null} */
    this.problem = null;
    /** @type {T.Stats | null} The last there were, also after the stream was lost. */
    this.stats = null;
    /** When `stats` arrived, by this machine's clock. */
    this.heardAt = 0;
    /** How far the leader's clock is ahead of this machine's. */
    this.skewMs = 0;
    /** @type {T.JobEvent[]} The last ones, the newest last. */
    this.events = [];
    /** @type {Set<() => void>} */
    this.listeners = new Set();
    /** @type {Set<(event: T.JobEvent) => void>} */
    this.eventListeners = new Set();
    /** @type {Set<() => void>} */
    this.gapListeners = new Set();
    this.telling = 0;
    /** @type {AbortController | null} */
    this.stream = null;
    this.failures = 0;
    this.retry = 0;
    this.hiding = 0;
    this.silence = 0;
  }

  /** Connect, and keep connected while the tab is looked at. */
  start() {
    document.addEventListener("visibilitychange", () => {
      clearTimeout(this.hiding);
      if (document.hidden) this.hiding = window.setTimeout(() => this.sleep(), HIDDEN_FOR_MS);
      else if (!this.stream && this.state !== "refused") this.connect();
    });
    this.connect();
  }

  /** Try again now, with the token as it now is. */
  connect() {
    clearTimeout(this.retry);
    this.stream?.abort();
    const stream = new AbortController();
    this.stream = stream;
    this.read(stream).catch((error) => {
      if (this.stream !== stream) return; // closed on purpose, or replaced
      this.lost(asProblem(error, OWN));
    });
  }

  sleep() {
    clearTimeout(this.retry);
    clearTimeout(this.silence);
    const stream = this.stream;
    this.stream = null;
    stream?.abort();
    this.become("asleep", null);
  }

  /** @param {Problem} problem */
  lost(problem) {
    this.stream?.abort();
    this.stream = null;
    clearTimeout(this.silence);
    const refused = problem.status === 401 || problem.status === 403;
    this.become(refused ? "refused" : "lost", problem);
    if (refused) return;
    const pause = PAUSES_MS[Math.min(this.failures, PAUSES_MS.length - 1)] ?? 0;
    this.failures += 1;
    this.retry = window.setTimeout(() => this.connect(), pause);
  }

  /** @param {AbortController} stream */
  async read(stream) {
    this.listen(stream);
    const response = await fetch(`${OWN}/v1/events?statsIntervalMs=${STATS_EVERY_MS}`, {
      headers: authorization(OWN),
      cache: "no-store",
      signal: stream.signal,
    });
    if (!response.ok || !response.body) throw await problemOf(response);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw new Problem("The gateway ended the stream of events.", { reason: "OFFLINE" });
      this.listen(stream);
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) this.take(block);
    }
  }

  /**
   * A connection that broke without a word is noticed by its silence.
   * @param {AbortController} stream
   */
  listen(stream) {
    clearTimeout(this.silence);
    this.silence = window.setTimeout(() => {
      if (this.stream === stream) this.lost(new Problem(`${OWN} has fallen silent.`, { reason: "OFFLINE" }));
    }, SILENT_FOR_MS);
  }

  /** @param {string} block One event: lines `event: name` and `data: json`. */
  take(block) {
    const name = /^event: (\w+)$/m.exec(block)?.[1];
    const start = block.indexOf("data: ");
    if (!name || start < 0) return; // a comment, or the retry line
    const end = block.indexOf("\n", start);
    const data = JSON.parse(block.slice(start + 6, end < 0 ? undefined : end));
    if (name === "job") this.happened(data);
    else if (name === "stats") this.counted(data);
    else if (name === "resync") this.missed();
    else if (name === "error") throw new Problem(data.message, { reason: data.reason });
  }

  /** @param {T.JobEvent} event */
  happened(event) {
    const skew = event.at - Date.now();
    this.skewMs = Math.abs(skew) < SKEW_MS_MIN ? 0 : skew;
    this.events.push(event);
    if (this.events.length >= 2 * KEPT_EVENTS) this.events = this.events.slice(-KEPT_EVENTS);
    for (const listener of this.eventListeners) listener(event);
    this.tell();
  }

  /** @param {T.Stats} stats */
  counted(stats) {
    this.stats = stats;
    this.heardAt = Date.now();
    this.failures = 0;
    if (this.state === "live") return this.tell();
    this.become("live", null);
    this.missed();
  }

  /** Whatever happened meanwhile was not heard: look again. */
  missed() {
    for (const listener of this.gapListeners) listener();
  }

  /**
   * @param {StreamState} state
   * @param {Problem | null} problem
   */
  become(state, problem) {
    this.state = state;
    this.problem = problem;
    this.tell();
  }

  tell() {
    if (this.telling) return;
    this.telling = window.setTimeout(() => {
      this.telling = 0;
      for (const listener of this.listeners) listener();
    }, TELL_EVERY_MS);
  }
}

/** The one of this page. */
export const live = new Live();
