/**
 * Where calls go, and the token they carry. Both live as long as the browser's tab, and a token is only ever sent to
 * the gateway for which it was entered.
 * @module
 */

/** @typedef {"rest" | "connect" | "ws"} Transport */

const TOKEN = "osqueue.token ";
const TRANSPORT = "osqueue.transport";
const BASE = "osqueue.base";

/** @type {Map<string, string>} What to remember where the browser keeps nothing for us. */
const memory = new Map();

/** The gateway that served this page. */
export const OWN = location.origin;

/**
 * @param {string} base
 * @returns {string} The token for a gateway, "" when none was entered.
 */
export function tokenFor(base) {
  return read(TOKEN + base);
}

/**
 * @param {string} base
 * @param {string} token
 */
export function keepToken(base, token) {
  keep(TOKEN + base, token);
}

/** @returns {string} The gateway that producer and worker dial. */
export function dialled() {
  return read(BASE) || OWN;
}

/** @param {string} base */
export function keepDialled(base) {
  keep(BASE, base === OWN ? "" : base);
}

/** @returns {Transport} How producer and worker speak. */
export function transportKind() {
  const kept = read(TRANSPORT);
  return kept === "connect" || kept === "ws" ? kept : "rest";
}

/** @param {Transport} kind */
export function keepTransport(kind) {
  keep(TRANSPORT, kind);
}

/**
 * @param {string} text What a person typed: a URL, or host and port.
 * @returns {string} The origin it means, "" when it means none.
 */
export function originOf(text) {
  const typed = text.trim();
  if (!typed) return OWN;
  try {
    const url = new URL(/^https?:\/\//.test(typed) ? typed : `http://${typed}`);
    return url.username || url.password ? "" : url.origin;
  } catch {
    return "";
  }
}

/**
 * @param {string} base
 * @returns {Record<string, string>} The header that carries the token.
 */
export function authorization(base) {
  const token = tokenFor(base);
  return token ? { authorization: `Bearer ${token}` } : {};
}

/**
 * @param {string} key
 * @returns {string}
 */
function read(key) {
  try {
    return sessionStorage.getItem(key) ?? "";
  } catch {
    return memory.get(key) ?? "";
  }
}

/**
 * @param {string} key
 * @param {string} value
 */
function keep(key, value) {
  try {
    if (value) sessionStorage.setItem(key, value);
    else sessionStorage.removeItem(key);
  } catch {
    memory.set(key, value);
  }
}
