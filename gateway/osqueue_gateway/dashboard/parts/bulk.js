/**
 * The dialog before many jobs are changed: what would happen, then, once confirmed, how far it has come.
 * @module
 */

import { changeAll } from "../bulk.js";
import { OWN } from "../connection.js";
import { count, plural, visible } from "../format.js";
import { html, useEffect, useRef, useState } from "../lib.js";
import { asProblem, Problem } from "../problem.js";
import { Dialog, TypeToConfirm } from "./dialog.js";
import { Loading, Wrong } from "./states.js";

/** @import { Selection, Tally } from "../bulk.js" */
/** @typedef {import("../api.js").BulkAction} BulkAction */

/**
 * `typedFrom`: with this many jobs or more, the number must be typed.
 * @typedef {{title: string, button: string, would: string, done: string, effect: string, harmful: boolean, typedFrom: number}} Words
 */

/** @type {Record<BulkAction, Words>} */
const ACTIONS = {
  retry: {
    title: "Retry",
    button: "Retry",
    would: "would be made ready again",
    done: "made ready again",
    effect: "Each gets a new budget of attempts. Their history is kept.",
    harmful: false,
    typedFrom: Infinity,
  },
  run: {
    title: "Run",
    button: "Run now",
    would: "would run now",
    done: "told to run now",
    effect: "They no longer wait for their time. Those that wait for other jobs still wait for them.",
    harmful: false,
    typedFrom: Infinity,
  },
  cancel: {
    title: "Cancel",
    button: "Cancel now",
    would: "would be cancelled",
    done: "cancelled",
    effect: "A cancelled job cannot be made to run again; it would have to be submitted anew.",
    harmful: true,
    typedFrom: 100,
  },
  purge: {
    title: "Purge",
    button: "Purge now",
    would: "would be removed for good, with payload and result",
    done: "removed",
    effect: "Nothing of them is kept.",
    harmful: true,
    typedFrom: 10,
  },
};

/**
 * @param {object} props
 * @param {BulkAction} props.action
 * @param {Selection} props.selection
 * @param {string} props.which In words.
 * @param {() => void} props.onClose
 * @param {() => void} [props.onDone]
 */
export function BulkDialog({ action, selection, which, onClose, onDone }) {
  const words = ACTIONS[action];
  const [dry, setDry] = useState(/** @type {Tally | null} */ (null));
  const [tally, setTally] = useState(/** @type {Tally | null} */ (null));
  const [state, setState] = useState(/** @type {"looking" | "asking" | "running" | "done"} */ ("looking"));
  const [problem, setProblem] = useState(/** @type {Problem | null} */ (null));
  const [text, setText] = useState("");
  const stop = useRef(new AbortController());

  /** @param {unknown} error */
  const failed = (error) => {
    if (!stop.current.signal.aborted) setProblem(asProblem(error, OWN));
  };
  useEffect(() => {
    changeAll(action, selection, { dryRun: true, signal: stop.current.signal }).then((found) => {
      setDry(found);
      setState("asking");
    }, failed);
    return () => stop.current.abort();
  }, []);

  /** @param {Event} event */
  const confirmed = async (event) => {
    event.preventDefault();
    setState("running");
    setProblem(null);
    try {
      setTally(
        await changeAll(action, selection, { dryRun: false, signal: stop.current.signal, onProgress: setTally }),
      );
    } catch (error) {
      failed(error);
    }
    setState("done");
    onDone?.();
  };

  const typed =
    dry && (dry.more || dry.changed >= words.typedFrom) && words.harmful
      ? `${words.button.toLowerCase().split(" ")[0]} ${dry.changed}`
      : "";
  const nothing = dry !== null && dry.changed === 0 && !dry.more;
  return html`<${Dialog}
    title="${words.title} ${"jobIds" in selection && selection.jobIds.length === 1 ? "this job" : "jobs"}"
    onClose=${onClose}
  >
    <form onSubmit=${confirmed}>
      <p>${which}</p>
      ${state === "looking" && !problem && html`<${Loading} lines=${2} />`}
      ${dry && state === "asking" && html`<${Outlook} dry=${dry} action=${action} />`}
      ${state === "asking" && typed && html`<${TypeToConfirm} typed=${typed} text=${text} onInput=${setText} />`}
      ${tally && html`<${Progress} tally=${tally} done=${words.done} running=${state === "running"} />`}
      <${Wrong} problem=${problem} />
      <div class="buttons">
        ${
          state === "running"
            ? html`<button type="button" onClick=${() => stop.current.abort()}>Stop here</button>`
            : html`<button type="button" class=${state === "done" ? "primary" : ""} onClick=${onClose}>
                ${state === "asking" && !nothing ? "Keep as they are" : "Close"}
              </button>`
        }
        ${
          state === "asking" &&
          !nothing &&
          html`<button class=${words.harmful ? "harmful" : "primary"} disabled=${typed !== "" && text.trim() !== typed}>
            ${words.button}
          </button>`
        }
      </div>
    </form>
  <//>`;
}

/** @param {{tally: Tally, done: string, running: boolean}} props */
function Progress({ tally, done, running }) {
  const left = tally.refused > 0 && ` ${plural(tally.refused, "job")} left as they were: ${visible(tally.refusal)}`;
  return html`<p role="status"><b>${plural(tally.changed, "job")}</b> ${done}${running ? " so far…" : "."}${left}</p>`;
}

/** @param {{dry: Tally, action: BulkAction}} props */
function Outlook({ dry, action }) {
  const words = ACTIONS[action];
  if (dry.changed === 0 && !dry.more) {
    return html`<p>
      Nothing would change${dry.refused > 0 ? `: ${visible(dry.refusal)}` : ": no job matches any more."}
    </p>`;
  }
  return html`<div>
    <p class="outlook">
      ${dry.more ? `More than ${count(dry.changed)} jobs` : html`<b>${plural(dry.changed, "job")}</b>`} ${words.would}.
    </p>
    ${dry.asked > 0 && html`<p>${plural(dry.asked, "job")} of them run now: their workers will be asked to stop.</p>`}
    ${dry.refused > 0 && html`<p>${plural(dry.refused, "job")} would be left as they are: ${visible(dry.refusal)}</p>`}
    <p class="soft">${words.effect}</p>
  </div>`;
}
