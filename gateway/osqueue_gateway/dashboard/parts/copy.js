/**
 * Copying to the clipboard, and saying that it was done.
 * @module
 */

import { html, useEffect, useRef, useState } from "../lib.js";

/** @param {{label: string, text: () => string, quiet?: boolean}} props */
export function CopyButton({ label, text, quiet = true }) {
  const [said, setSaid] = useState("");
  useEffect(() => {
    if (!said) return;
    const timer = setTimeout(() => setSaid(""), 1_500);
    return () => clearTimeout(timer);
  }, [said]);
  const copy = async () => setSaid((await copied(text())) ? "Copied" : "Not allowed");
  return html`<button type="button" class=${quiet ? "quiet" : ""} onClick=${copy} aria-live="polite">
    ${said || label}
  </button>`;
}

/**
 * @param {string} text
 * @returns {Promise<boolean>} Whether the browser let us.
 */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedTheOldWay(text); // over plain http there is no clipboard but on localhost
  }
}

/** @param {string} text */
function copiedTheOldWay(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "unseen";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

/**
 * A menu of things to copy.
 * @param {{label: string, groups: {title: string, items: {label: string, text: () => string}[]}[]}} props
 */
export function CopyMenu({ label, groups }) {
  const menu = useRef(/** @type {HTMLDetailsElement | null} */ (null));
  useEffect(() => {
    /** @param {Event} event */
    const outside = (event) => {
      const open = menu.current;
      if (!open?.open) return;
      const escaped = event instanceof KeyboardEvent && event.key === "Escape";
      if (escaped || (event.type === "pointerdown" && !open.contains(/** @type {Node} */ (event.target))))
        open.open = false;
    };
    addEventListener("pointerdown", outside);
    addEventListener("keydown", outside);
    return () => {
      removeEventListener("pointerdown", outside);
      removeEventListener("keydown", outside);
    };
  }, []);
  return html`<details class="menu" ref=${menu}>
    <summary class="button">${label}</summary>
    <div class="menu-body">
      ${groups.map(
        (group) =>
          html`<div key=${group.title}>
            <p class="soft">${group.title}</p>
            ${group.items.map((item) => html`<${CopyButton} key=${item.label} label=${item.label} text=${item.text} />`)}
          </div>`,
      )}
    </div>
  </details>`;
}
