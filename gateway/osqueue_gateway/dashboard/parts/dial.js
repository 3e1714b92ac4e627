/**
 * Which broker the producer and the worker talk to, and how.
 * @module
 */

import { OWN, dialled, keepDialled, keepTransport, originOf, transportKind } from "../connection.js";
import { plural } from "../format.js";
import { html, useEffect, useState } from "../lib.js";
import { Problem, asProblem } from "../problem.js";
import { RestTransport } from "../transports/rest.js";
import { openTransport } from "../transports/transport.js";
import { TokenForm } from "./shell.js";
import { Wrong } from "./states.js";

/** @import { Transport } from "../transports/transport.js" */
/** @typedef {import("../connection.js").Transport} Kind */

/** @type {{kind: Kind, word: string, about: string}[]} */
const KINDS = [
  { kind: "connect", word: "Connect", about: "unary Connect calls with JSON" },
  { kind: "rest", word: "REST", about: "plain HTTP routes" },
  { kind: "ws", word: "WebSocket", about: "JSON-RPC on one socket" },
];

/**
 * @typedef {object} Dialled
 * @property {string} base
 * @property {Kind} kind
 * @property {Transport} transport
 * @property {(base: string) => void} setBase
 * @property {(kind: Kind) => void} setKind
 */

/** @returns {Dialled} */
export function useDialled() {
  const [base, setBase] = useState(dialled);
  const [kind, setKind] = useState(transportKind);
  const [transport, setTransport] = useState(() => openTransport(kind, base));
  /**
   * @param {Kind} nextKind
   * @param {string} nextBase
   */
  const reopen = (nextKind, nextBase) => {
    transport.close();
    setTransport(openTransport(nextKind, nextBase));
  };
  return {
    base,
    kind,
    transport,
    setBase: (next) => {
      keepDialled(next);
      setBase(next);
      reopen(kind, next);
    },
    setKind: (next) => {
      keepTransport(next);
      setKind(next);
      reopen(next, base);
    },
  };
}

/** @param {{dial: Dialled, locked?: boolean}} props */
export function Dial({ dial, locked = false }) {
  const { base, kind } = dial;
  const [typed, setTyped] = useState(base === OWN ? "" : base);
  const [turn, setTurn] = useState(0);
  const [found, setFound] = useState(
    /** @type {{text: string, problem: Problem | null}} */ ({ text: "", problem: null }),
  );
  useEffect(() => {
    const stop = new AbortController();
    setFound({ text: "Looking…", problem: null });
    new RestTransport(base).call("getStats", {}, AbortSignal.any([stop.signal, AbortSignal.timeout(10_000)])).then(
      (stats) =>
        setFound({
          text: `Reached: leader ${stats.brokerAddress}, ${plural(stats.total, "live job")}.`,
          problem: null,
        }),
      (error) => !stop.signal.aborted && setFound({ text: "", problem: explained(asProblem(error, base), base) }),
    );
    return () => stop.abort();
  }, [base, turn]);
  /** @param {any} event */
  const entered = (event) => {
    const origin = originOf(event.currentTarget.value);
    event.currentTarget.setCustomValidity(origin ? "" : "An address such as http://localhost:8080");
    if (event.currentTarget.reportValidity() && origin !== base) dial.setBase(origin);
  };
  const { problem } = found;
  return html`<section class="card dial">
    <div class="dial-fields">
      <label class="field">
        <span>Broker URL</span>
        <input
          type="text"
          inputmode="url"
          placeholder=${OWN}
          value=${typed}
          disabled=${locked}
          spellcheck=${false}
          onInput=${(/** @type {any} */ event) => setTyped(event.currentTarget.value)}
          onChange=${entered}
        />
      </label>
      <fieldset class="field" disabled=${locked}>
        <legend>Transport</legend>
        <span class="segments">
          ${KINDS.map(
            (one) =>
              html`<label key=${one.kind} title=${one.about}>
                <input
                  type="radio"
                  name="transport"
                  value=${one.kind}
                  checked=${one.kind === kind}
                  onChange=${() => dial.setKind(one.kind)}
                />
                <span>${one.word}</span>
              </label>`,
          )}
        </span>
      </fieldset>
    </div>
    <p class="soft" role="status">${locked ? "Stop first to change these." : found.text}</p>
    ${
      problem?.status === 401
        ? html`<${TokenForm} base=${base} problem=${problem} onToken=${() => setTurn(turn + 1)} />`
        : html`<${Wrong} problem=${problem} retry=${() => setTurn(turn + 1)} />`
    }
  </section>`;
}

/**
 * @param {Problem} problem
 * @param {string} base
 * @returns {Problem}
 */
function explained(problem, base) {
  if (base === OWN || problem.status) return problem;
  return new Problem(problem.message, {
    hint: `If it runs, it may not allow pages of ${OWN}: start it with CORS_ORIGINS=${OWN}.`,
  });
}
