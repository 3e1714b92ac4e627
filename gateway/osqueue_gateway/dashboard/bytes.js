/**
 * Payloads and results: any bytes, most often JSON.
 * @module
 */

/**
 * `text` is there for JSON and for what is readable as text.
 * @typedef {{kind: "json" | "text" | "binary", text: string, bytes: Uint8Array}} Content
 */

/**
 * @param {Map<string, string>} members Of a job.
 * @param {string} key
 * @returns {Content | null} null when there is none.
 */
export function contentOf(members, key) {
  const json = members.get(key);
  if (json !== undefined) return { kind: "json", text: json, bytes: new TextEncoder().encode(json) };
  const packed = members.get(`${key}Base64`);
  if (packed === undefined) return null;
  const bytes = fromBase64(JSON.parse(packed));
  const text = readable(bytes);
  return text === null ? { kind: "binary", text: "", bytes } : { kind: "text", text, bytes };
}

/** @param {string} packed */
export function fromBase64(packed) {
  return Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
}

/** @param {Uint8Array} bytes */
export function toBase64(bytes) {
  let binary = "";
  for (let start = 0; start < bytes.length; start += 8_192) {
    binary += String.fromCharCode(...bytes.subarray(start, start + 8_192));
  }
  return btoa(binary);
}

/**
 * @param {Uint8Array} bytes
 * @returns {string | null} The bytes as text, null when they are none.
 */
function readable(bytes) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    // eslint-disable-next-line no-control-regex
    const controls = text.slice(0, 10_000).match(/[\u0000-\u0008\u000e-\u001a\u001c-\u001f]/g)?.length ?? 0;
    return controls * 10 > text.length ? null : text;
  } catch {
    return null;
  }
}

const ENVELOPE = [0x00, 0x6f, 0x73, 0x71, 0x01];
/** What a codec of the SDK made begins with this, its name and the id of its key, each with its length before it. */

/**
 * @param {Uint8Array} bytes
 * @returns {string} What was done to the bytes before they came here, "" when nothing was.
 */
export function encodingOf(bytes) {
  if (ENVELOPE.some((byte, place) => bytes[place] !== byte)) return "";
  let place = ENVELOPE.length;
  const [codec, key] = ["codec", "key"].map(() => {
    const begin = place + 1;
    place = begin + (bytes[place] ?? 0);
    return String.fromCharCode(...bytes.subarray(begin, place));
  });
  const made = codec === "aes256gcm" ? "encrypted" : `encoded by ${codec}`;
  return key ? `${made} with the key ${key}` : made;
}

const ROW = 16;

/**
 * @param {Uint8Array} bytes
 * @param {number} most
 * @returns {string} Offset, hexadecimal and characters, 16 a line.
 */
export function hexDump(bytes, most) {
  const lines = [];
  for (let start = 0; start < Math.min(bytes.length, most); start += ROW) {
    const row = [...bytes.subarray(start, start + ROW)];
    const hex = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const text = row.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·")).join("");
    lines.push(`${start.toString(16).padStart(6, "0")}  ${hex.padEnd(3 * ROW)} ${text}`);
  }
  return lines.join("\n");
}
