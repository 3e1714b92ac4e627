/**
 * How components keep up to date.
 * @module
 */

import { live } from "./live.js";
import { useEffect, useRef, useState } from "./lib.js";
import { OWN } from "./connection.js";
import { asProblem, Problem } from "./problem.js";

/** @import * as T from "./types.js" */

/**
 * Render again whenever the stream of events has news, a few times a second at most.
 * @returns {typeof live}
 */
export function useLive() {
  const [, setTurn] = useState(0);
  useEffect(() => {
    const listener = () => setTurn((turn) => turn + 1);
    live.listeners.add(listener);
    return () => void live.listeners.delete(listener);
  }, []);
  return live;
}

/**
 * @param {number} [everyMs]
 * @returns {number} The leader's time, again and again, for what says how long ago something was.
 */
export function useNow(everyMs = 1_000) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now + live.skewMs;
}

/**
 * @template D
 * @typedef {object} Loaded
 * @property {D | null} data The last there was.
 * @property {Problem | null} problem Why the newest attempt brought none.
 * @property {boolean} loading The first attempt is under way.
 * @property {() => void} reload Load again, now.
 */

/**
 * Load something, and again at an interval, on events that matter, and after a gap in the stream of events.
 * @template D
 * @param {(signal: AbortSignal) => Promise<D>} load
 * @param {unknown[]} inputs What `load` depends on: when these change, what was loaded is forgotten.
 * @param {object} [when]
 * @param {number} [when.everyMs] 0: not by time.
 * @param {((event: T.JobEvent) => boolean) | null} [when.onEvent] Whether to load again because of an event.
 * @param {number} [when.atMostEveryMs] Events cause no more than this.
 * @returns {Loaded<D>}
 */
export function useLoaded(load, inputs, { everyMs = 0, onEvent = null, atMostEveryMs = 1_000 } = {}) {
  /** @type {[Loaded<D>, (update: (before: Loaded<D>) => Loaded<D>) => void]} */
  const [loaded, setLoaded] = useState(
    /** @type {Loaded<D>} */ ({ data: null, problem: null, loading: true, reload() {} }),
  );
  const newest = useRef({ load, onEvent });
  newest.current = { load, onEvent };

  useEffect(() => {
    const stop = new AbortController();
    let timer = 0;
    let startedAt = 0;
    let busy = false;
    let again = false;

    const run = async () => {
      clearTimeout(timer);
      if (busy) return void (again = true);
      busy = true;
      again = false;
      startedAt = performance.now();
      try {
        const data = await newest.current.load(stop.signal);
        if (!stop.signal.aborted) setLoaded((before) => ({ ...before, data, problem: null, loading: false }));
      } catch (error) {
        if (stop.signal.aborted) return;
        setLoaded((before) => ({ ...before, problem: asProblem(error, OWN), loading: false }));
      } finally {
        busy = false;
      }
      if (again) soon();
      else if (everyMs) timer = window.setTimeout(later, everyMs);
    };
    const later = () => (document.hidden ? void (timer = window.setTimeout(later, everyMs)) : run());
    const soon = () => {
      if (busy) return void (again = true);
      clearTimeout(timer);
      timer = window.setTimeout(run, Math.max(0, startedAt + atMostEveryMs - performance.now()));
    };
    /** @param {T.JobEvent} event */
    const heard = (event) => {
      if (newest.current.onEvent?.(event)) soon();
    };

    setLoaded(() => ({ data: null, problem: null, loading: true, reload: run }));
    run();
    live.gapListeners.add(soon);
    live.eventListeners.add(heard);
    return () => {
      stop.abort();
      clearTimeout(timer);
      live.gapListeners.delete(soon);
      live.eventListeners.delete(heard);
    };
  }, [...inputs, everyMs, atMostEveryMs]);
  return loaded;
}
