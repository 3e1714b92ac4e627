/**
 * The calls of producer and worker, the same over REST, Connect and WebSocket.
 * @module
 */

import { asProblem } from "../problem.js";
import { ConnectTransport } from "./connect.js";
import { RestTransport } from "./rest.js";
import { SocketTransport } from "./ws.js";

/** @typedef {import("../connection.js").Transport} Kind */
/** @import { Method, Params } from "./params.js" */

/**
 * @typedef {object} Transport
 * @property {(method: Method, params: Params, signal?: AbortSignal) => Promise<any>} call
 * @property {() => void} close
 */

/**
 * @param {Kind} kind
 * @param {string} base
 * @returns {Transport} One that throws nothing but `Problem`s.
 */
export function openTransport(kind, base) {
  const transport =
    kind === "ws"
      ? new SocketTransport(base)
      : kind === "connect"
        ? new ConnectTransport(base)
        : new RestTransport(base);
  return {
    call: (method, params, signal) =>
      transport.call(method, params, signal).catch((/** @type {unknown} */ error) => {
        throw asProblem(error, base);
      }),
    close: () => transport.close(),
  };
}
