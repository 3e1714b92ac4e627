/**
 * JSON-RPC over one WebSocket, which is opened with the first call and again after it broke.
 * @module
 */

import { toBase64 } from "../bytes.js";
import { tokenFor } from "../connection.js";
import { Problem, tagged } from "../problem.js";
import { jsonOf } from "./params.js";

/** @import { Method, Params } from "./params.js" */

export class SocketTransport {
  /** @param {string} base */
  constructor(base) {
    this.base = base;
    /** @type {Promise<WebSocket> | null} */
    this.socket = null;
    /** @type {Map<number, {resolve: (result: any) => void, reject: (problem: Problem) => void}>} */
    this.waiting = new Map();
    this.calls = 0;
  }

  /**
   * A call cannot be taken back from a socket: with an aborted signal its answer still comes.
   * @param {Method} method
   * @param {Params} params
   * @returns {Promise<any>}
   */
  async call(method, params) {
    this.socket ??= this.open();
    const socket = await this.socket;
    const id = ++this.calls;
    const answer = new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }));
    socket.send(`{"id":${id},"method":"${method}","params":${jsonOf(params)}}`);
    return answer;
  }

  /** @returns {Promise<WebSocket>} */
  open() {
    const token = tokenFor(this.base);
    const protocols = ["osqueue"];
    // The one header that a page may set here. The characters of base64url are those that it allows.
    if (token) protocols.push(`osqueue.bearer.${urlSafe(toBase64(new TextEncoder().encode(token)))}`);
    const socket = new WebSocket(`${this.base.replace(/^http/, "ws")}/v1/ws`, protocols);
    return new Promise((resolve, reject) => {
      socket.onopen = () => resolve(socket);
      socket.onmessage = (event) => this.answered(JSON.parse(event.data));
      socket.onclose = () => {
        const problem = new Problem(`The WebSocket to ${this.base} is closed.`, { reason: "OFFLINE" });
        reject(problem);
        this.socket = null;
        for (const { reject: refuse } of this.waiting.values()) refuse(problem);
        this.waiting.clear();
      };
    });
  }

  /** @param {{id: number, ok: boolean, result?: any, error?: any}} message */
  answered({ id, ok, result, error }) {
    const call = this.waiting.get(id);
    this.waiting.delete(id);
    if (ok) call?.resolve(result);
    else call?.reject(tagged(error, 0));
  }

  close() {
    this.socket?.then(
      (socket) => socket.close(),
      () => {},
    );
  }
}

/** @param {string} packed */
function urlSafe(packed) {
  return packed.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
