/**
 * Dialogs, of the browser's own kind: focus stays inside, Escape closes.
 * @module
 */

import { html, useEffect, useRef, useState } from "../lib.js";
import { asProblem } from "../problem.js";
import { OWN } from "../connection.js";
import { Wrong } from "./states.js";

/** @typedef {import("../lib.js").Children} Children */

/** @param {{title: string, onClose: () => void, children: Children}} props */
export function Dialog({ title, onClose, children }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useEffect(() => dialog.current?.showModal(), []);
  /** @param {MouseEvent} event */
  const clicked = (event) => event.target === dialog.current && onClose();
  return html`<dialog ref=${dialog} aria-label=${title} onClose=${onClose} onClick=${clicked}>
    <div class="dialog">
      <h2>${title}</h2>
      ${children}
    </div>
  </dialog>`;
}

/**
 * Asks before something is done; for what cannot be taken back, by having its number or name typed.
 * @param {object} props
 * @param {string} props.title
 * @param {string} props.action The word on the button.
 * @param {boolean} [props.harmful]
 * @param {string} [props.typed] What must be typed first.
 * @param {() => Promise<unknown>} props.run
 * @param {() => void} props.onClose
 * @param {Children} [props.children]
 */
export function Confirm({ title, action, harmful = false, typed = "", run, onClose, children }) {
  const [problem, setProblem] = useState(/** @type {import("../problem.js").Problem | null} */ (null));
  const [busy, setBusy] = useState(false);
  const [text, setText] = useState("");
  /** @param {Event} event */
  const confirmed = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await run();
      onClose();
    } catch (error) {
      setProblem(asProblem(error, OWN));
      setBusy(false);
    }
  };
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <form onSubmit=${confirmed}>
      ${children} ${typed && html`<${TypeToConfirm} typed=${typed} text=${text} onInput=${setText} />`}
      <${Wrong} problem=${problem} />
      <div class="buttons">
        <button type="button" onClick=${onClose}>Keep as it is</button>
        <button class=${harmful ? "harmful" : "primary"} disabled=${busy || (typed !== "" && text.trim() !== typed)}>
          ${action}
        </button>
      </div>
    </form>
  <//>`;
}

/** @param {{typed: string, text: string, onInput: (text: string) => void}} props */
export function TypeToConfirm({ typed, text, onInput }) {
  return html`<label class="field">
    <span>Type <code>${typed}</code> to confirm</span>
    <input
      autocomplete="off"
      spellcheck=${false}
      value=${text}
      onInput=${(/** @type {any} */ event) => onInput(event.currentTarget.value)}
    />
  </label>`;
}
