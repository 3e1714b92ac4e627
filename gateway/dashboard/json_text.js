/**
 * JSON as text: taken apart and laid out without turning numbers into JavaScript's, which would round the large ones.
 * @module
 */

const TOKENS = /\s+|"(?:[^"\\]|\\.)*"|[-+.\w]+|[{}[\],:]/gsy;

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
  TOKENS.lastIndex = 0;
  for (let match = TOKENS.exec(text); match; match = TOKENS.exec(text)) {
    const token = match[0];
    const ends = depth === 1 && (token === "," || token === "}");
    if (ends && start >= 0) {
      found.set(key, text.slice(start, match.index).trim());
      start = -1;
    }
    if (token === "{" || token === "[") depth += 1;
    else if (token === "}" || token === "]") depth -= 1;
    else if (depth === 1 && token === ":") start = TOKENS.lastIndex;
    else if (depth === 1 && start < 0 && token.startsWith('"')) key = JSON.parse(token);
  }
  return found;
}

/**
 * @param {string} text
 * @returns {string} Why it is no JSON, "" when it is.
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
  TOKENS.lastIndex = 0;
  for (let match = TOKENS.exec(text); match; match = TOKENS.exec(text)) {
    const token = match[0];
    const first = token.charAt(0);
    if (/\s/.test(first)) continue;
    const closes = first === "}" || first === "]";
    if (closes) depth -= 1;
    if (closes ? before !== "{" && before !== "[" : before === "{" || before === "[" || before === ",") line();
    if (first === ":") put(": ", "mark");
    else put(token, kindOf(first, text, TOKENS.lastIndex));
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
