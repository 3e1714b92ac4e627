/**
 * Numbers, times and other people's text as people read them.
 * @module
 */

const WHOLE = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** @param {number} value */
export function count(value) {
  return value < 10_000_000 ? WHOLE.format(value) : SHORT.format(value);
}

/** @param {number} value */
export function short(value) {
  return value < 10_000 ? WHOLE.format(value) : SHORT.format(value);
}

/**
 * @param {number} many
 * @param {string} noun
 */
export function plural(many, noun) {
  return `${count(many)} ${noun}${many === 1 ? "" : "s"}`;
}

/** @param {number} perSecond */
export function rate(perSecond) {
  return `${amount(perSecond)}/s`;
}

/** @param {number} value A measured number, of any size. */
export function amount(value) {
  if (value === 0) return "0";
  if (value < 0.1) return value.toPrecision(1);
  if (value < 10) return value.toFixed(1);
  return value < 10_000 ? WHOLE.format(Math.round(value)) : SHORT.format(value);
}

/**
 * @param {number} ms
 * @returns {string}
 */
export function span(ms) {
  if (ms < 0) return `−${span(-ms)}`;
  if (ms < 1) return ms === 0 ? "0 ms" : `${ms.toPrecision(1)} ms`;
  if (ms < 1_000) return `${ms < 10 ? ms.toFixed(1).replace(/\.0$/, "") : Math.round(ms)} ms`;
  const seconds = ms / 1_000;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  return twoUnits(Math.round(seconds));
}

/**
 * @param {number} ms A round number.
 * @returns {string} In one unit, for axes.
 */
export function mark(ms) {
  if (ms < 1_000) return `${ms} ms`;
  const [unit, size] = ms <= 180_000 ? ["s", 1_000] : ms <= 10_800_000 ? ["min", 60_000] : ["h", 3_600_000];
  return `${Number((ms / Number(size)).toPrecision(2))} ${unit}`;
}

/** @param {number} seconds */
function twoUnits(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return join(minutes, "min", seconds % 60, "s");
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return join(hours, "h", minutes % 60, "min");
  return join(Math.floor(hours / 24), "d", hours % 24, "h");
}

/**
 * @param {number} large
 * @param {string} unit
 * @param {number} small
 * @param {string} smallUnit
 */
function join(large, unit, small, smallUnit) {
  return small && large < 10 ? `${large} ${unit} ${small} ${smallUnit}` : `${large} ${unit}`;
}

/**
 * @param {number} at
 * @param {number} now
 */
export function ago(at, now) {
  const ms = now - at;
  if (Math.abs(ms) < 1_000) return "just now";
  return ms > 0 ? `${coarse(ms)} ago` : `in ${coarse(-ms)}`;
}

/** @param {number} ms */
function coarse(ms) {
  return ms < 60_000 ? `${Math.floor(ms / 1_000)} s` : span(ms);
}

/** @param {number} at */
export function moment(at) {
  const date = new Date(at);
  const day =
    date.toDateString() === new Date().toDateString()
      ? ""
      : `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} `;
  return `${day}${clock(at)}`;
}

/** @param {number} at */
export function clock(at) {
  const date = new Date(at);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** @param {number} value */
function two(value) {
  return String(value).padStart(2, "0");
}

/** @param {number} size */
export function bytes(size) {
  if (size < 1_024) return `${size} B`;
  if (size < 1_024 * 1_024) return `${(size / 1_024).toFixed(size < 10_240 ? 1 : 0)} KiB`;
  if (size < 1_024 ** 3) return `${(size / 1_024 ** 2).toFixed(1)} MiB`;
  return `${(size / 1_024 ** 3).toFixed(1)} GiB`;
}

/**
 * @param {number} value
 * @param {string} currency
 */
export function money(value, currency) {
  const digits = value === 0 || value >= 1 ? 2 : Math.min(6, 1 - Math.floor(Math.log10(value)));
  const text = value.toFixed(digits);
  return currency === "USD" ? `$${text}` : `${text} ${currency}`;
}

/* Characters that would hide, reorder or overwrite what stands around them: controls but for tab and newline, marks of
   direction, invisible spaces, lone surrogates. */
// eslint-disable-next-line no-control-regex
const HIDING =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\p{Surrogate}/gu;

/**
 * @param {string} text Anybody's.
 * @returns {string} The same with every such character spelled out.
 */
export function visible(text) {
  return text.replace(HIDING, (found) => {
    const code = found.charCodeAt(0);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    if (code === 0x7f) return "␡";
    return `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}

/**
 * @param {string} text
 * @param {number} most
 * @returns {string} One line of it.
 */
export function brief(text, most) {
  const line = visible(text.slice(0, most + 1).replace(/\s+/g, " "));
  return text.length > most ? `${line.slice(0, most)}…` : line;
}

/**
 * @param {string} text
 * @returns {string} With a capital letter, unless it begins with a name such as filter.types[0], and a full stop.
 */
export function sentence(text) {
  const first = /^[a-z]+[ ,]/.test(text) ? text.charAt(0).toUpperCase() : text.charAt(0);
  return visible(first + text.slice(1) + (/[.!?]$/.test(text) ? "" : "."));
}

/** @param {string} id */
export function shortId(id) {
  return id.length > 12 ? `…${id.slice(-8)}` : id;
}

/** @type {Record<string, string>} The statuses as people call them. */
export const STATUS_WORDS = {
  unclaimed: "waiting",
  scheduled: "scheduled",
  in_progress: "running",
  blocked: "blocked",
  completed: "completed",
  dead: "dead",
  cancelled: "cancelled",
};
