/**
 * A payload or result, whatever its bytes: JSON indented, text as text, anything else as a hex dump.
 * @module
 */

import { html, useMemo, useState } from "../lib.js";
import { encodingOf, hexDump } from "../bytes.js";
import { bytes as written, visible } from "../format.js";
import { layOut, pretty } from "../json_text.js";
import { CopyButton } from "./copy.js";

/** @typedef {import("../bytes.js").Content} Content */

const FIRST_CHARACTERS = 20_000;
/** More than that is shown when asked for, without colours: each coloured piece is an element. */
const FIRST_BYTES = 4_096;

/** @param {{title: string, content: Content | null, none: string}} props */
export function Payload({ title, content, none }) {
  const [whole, setWhole] = useState(false);
  const shown = useMemo(() => content && lines(content, whole), [content, whole]);
  return html`<section class="card payload">
    <header>
      <h2>${title}</h2>
      ${content && html`<span class="soft">${kindOf(content)}, ${written(content.bytes.length)}</span>`}
      <span class="grow"></span>
      ${content && content.kind !== "binary" && html`<${CopyButton} label="Copy" text=${() => content.text} />`}
      ${content && html`<button type="button" class="quiet" onClick=${() => download(title, content)}>Download</button>`}
    </header>
    ${
      shown
        ? html`<pre class="content" tabindex="0" aria-label=${title}>${shown.pieces}</pre>`
        : html`<p class="soft">${none}</p>`
    }
    ${
      shown?.more &&
      html`<p class="more">
        Only the beginning is shown.${" "}
        <button type="button" onClick=${() => setWhole(true)}>Show all ${written(content?.bytes.length ?? 0)}</button>
      </p>`
    }
  </section>`;
}

/** @param {Content} content */
function kindOf(content) {
  if (content.kind === "json") return "JSON";
  return visible(encodingOf(content.bytes)) || content.kind;
}

/**
 * @param {Content} content
 * @param {boolean} whole
 * @returns {{pieces: any, more: boolean}}
 */
function lines(content, whole) {
  if (content.kind === "binary") {
    const most = whole ? Infinity : FIRST_BYTES;
    return { pieces: hexDump(content.bytes, most), more: content.bytes.length > most };
  }
  const text = content.text;
  if (text.length <= FIRST_CHARACTERS && content.kind === "json") return { pieces: coloured(text), more: false };
  const full = content.kind === "json" ? pretty(text) : text;
  const more = !whole && full.length > FIRST_CHARACTERS;
  return { pieces: visible(more ? full.slice(0, FIRST_CHARACTERS) : full), more };
}

/** @param {string} text Well-formed JSON. */
export function coloured(text) {
  /** @type {any[]} */
  const pieces = [];
  layOut(text, (piece, kind) => {
    if (kind === "mark" || kind === "space") pieces.push(piece);
    else pieces.push(html`<span class="json-${kind}">${visible(piece)}</span>`);
  });
  return pieces;
}

/**
 * @param {string} title
 * @param {Content} content
 */
function download(title, content) {
  const media = content.kind === "json" ? "application/json" : "application/octet-stream";
  const url = URL.createObjectURL(new Blob([/** @type {BlobPart} */ (content.bytes)], { type: media }));
  const link = document.createElement("a");
  link.href = url;
  link.download = `${title.toLowerCase()}.${content.kind === "json" ? "json" : content.kind === "text" ? "txt" : "bin"}`;
  link.dataset.outside = "";
  link.click();
  URL.revokeObjectURL(url);
}
