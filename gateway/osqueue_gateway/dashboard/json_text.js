/**
 * JSON as text: taken apart and laid out without turning numbers into JavaScript's, which would round the large ones.
 * @module
 */

const SIMPLE = /\s+|[-+.\w]+|[{}[\],:]/sy;

/**
 * @param {string} text
 * @param {number} at Where a token begins.
 * @returns {number} Where it ends.
 */
function tokenEnd(text, at) {
  if (text[at] === '"') return stringEnd(text, at);
  SIMPLE.lastIndex = at;
  return SIMPLE.test(text) ? SIMPLE.lastIndex : at + 1;
}

/**
 * A regular expression would keep a place to go back to for each character of a long string.
 * @param {string} text
 * @param {number} at
 */
function stringEnd(text, at) {
  for (let quote = text.indexOf('"', at + 1); quote >= 0; quote = text.indexOf('"', quote + 1)) {
    let escapes = 0;
    while (text[quote - 1 - escapes] === "\\") escapes += 1;
    if (escapes % 2 === 0) return quote + 1;
  }
  return text.length;
}

/** @typedef {"key" | "string" | "number" | "word" | "mark" | "space"} Kind */

/**
 * @param {string} text
 * @returns {Map<string, string>} The members of a JSON object, each value as its text stands.
 */
export function members(text) {
  /** @type {Map<string, string>} */
  const found = new Map();
  let depth = 0;
  let key = "";
  let start = -1;
  for (let at = 0, end = 0; at < text.length; at = end) {
    end = tokenEnd(text, at);
    const token = text.slice(at, end);
    if (depth === 1 && start >= 0 && (token === "," || token === "}")) {
      found.set(key, text.slice(start, at).trim());
      start = -1;
    }
    if (token === "{" || token === "[") depth += 1;
    else if (token === "}" || token === "]") depth -= 1;
    else if (depth === 1 && token === ":") start = end;
    else if (depth === 1 && start < 0 && token.startsWith('"')) key = JSON.parse(token);
  }
  return found;
}

/**
 * @param {string} text
 * @returns {string} Why it is not JSON, "" when it is.
 */
export function wrongWith(text) {
  try {
    JSON.parse(text);
    return "";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/**
 * @param {string} text Well-formed JSON.
 * @param {(piece: string, kind: Kind) => void} put Takes the pieces of the indented form, in order.
 */
export function layOut(text, put) {
  let depth = 0;
  let before = "";
  const line = () => put(`\n${"  ".repeat(depth)}`, "space");
  for (let at = 0, end = 0; at < text.length; at = end) {
    end = tokenEnd(text, at);
    const token = text.slice(at, end);
    const first = token.charAt(0);
    if (/\s/.test(first)) continue;
    const closes = first === "}" || first === "]";
    if (closes) depth -= 1;
    if (closes ? before !== "{" && before !== "[" : before === "{" || before === "[" || before === ",") line();
    if (first === ":") put(": ", "mark");
    else put(token, kindOf(first, text, end));
    if (first === "{" || first === "[") depth += 1;
    before = first;
  }
}

/**
 * @param {string} first
 * @param {string} text
 * @param {number} after
 * @returns {Kind}
 */
function kindOf(first, text, after) {
  if (first === '"') return /^\s*:/.test(text.slice(after, after + 20)) ? "key" : "string";
  if (/[-\d]/.test(first)) return "number";
  return /\w/.test(first) ? "word" : "mark";
}

/**
 * @param {string} text Well-formed JSON.
 * @returns {string} The same, indented.
 */
export function pretty(text) {
  /** @type {string[]} */
  const pieces = [];
  layOut(text, (piece) => pieces.push(piece));
  return pieces.join("");
}
