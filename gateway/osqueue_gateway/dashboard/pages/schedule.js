/**
 * One schedule: its next times here and there, what became of the last ones and why, and changing it.
 * @module
 */

import { getScheduleText, previewSchedule, putSchedule, steerSchedule } from "../api.js";
import { OWN } from "../connection.js";
import { moment, plural, visible } from "../format.js";
import { useLoaded, useNow } from "../hooks.js";
import { members } from "../json_text.js";
import { html, useState } from "../lib.js";
import { Confirm, Dialog } from "../parts/dialog.js";
import { Shown, Wrong } from "../parts/states.js";
import { Ago, JobLink, Status, Type } from "../parts/status.js";
import { asProblem } from "../problem.js";
import { go } from "../router.js";
import { ScheduleState, when } from "./schedules.js";

/** @import { Firing, ScheduledTime, ScheduleInfo } from "../types.js" */
/** @import { Problem } from "../problem.js" */

const OVERLAPS = ["SKIP", "ALLOW_ALL", "BUFFER_ONE", "BUFFER_ALL", "CANCEL_OTHER"];
const MISSED = ["LATEST", "ALL", "NONE"];
const TALLY = ["fired", "skipped", "missed", "dropped", "delayed", "byHand"];

/** @param {{id: string}} props */
export function SchedulePage({ id }) {
  const loaded = useLoaded((signal) => getScheduleText(id, signal), [id], { everyMs: 2_000 });
  return html`<${Shown} loaded=${loaded} lines=${6}>
    ${(/** @type {string} */ text) => html`<${Details} text=${text} reload=${loaded.reload} />`}
  <//>`;
}

/** @param {{text: string, reload: () => void}} props */
function Details({ text, reload }) {
  /** @type {ScheduleInfo} */
  const info = JSON.parse(text).schedule;
  const now = useNow();
  const [asked, setAsked] = useState(/** @type {"pause" | "resume" | "trigger" | "delete" | "edit" | ""} */ (""));
  const { schedule } = info;
  const close = () => setAsked("");
  return html`
    <div class="title">
      <h1>${visible(schedule.id)}</h1>
      <${ScheduleState} info=${info} />
      <div class="buttons">
        <button type="button" onClick=${() => setAsked("trigger")}>Run now</button>
        <button type="button" onClick=${() => setAsked("edit")}>Edit</button>
        <button type="button" onClick=${() => setAsked(info.state === "PAUSED" ? "resume" : "pause")}>
          ${info.state === "PAUSED" ? "Resume" : "Pause"}
        </button>
        <button type="button" class="harmful" onClick=${() => setAsked("delete")}>Delete</button>
      </div>
    </div>
    <p>
      ${when(schedule)}, jobs of <${Type} type=${schedule.job.type} />, overlap ${schedule.overlap.toLowerCase()},
      missed ${" "}${schedule.missed.toLowerCase()}. Revision ${info.revision}.
    </p>
    ${info.message && html`<p class="wrong" role="note">${visible(info.message)}</p>`}
    <h2>Next times</h2>
    <${Times} times=${info.next} zone=${schedule.timeZone || "UTC"} />
    <h2>Last times</h2>
    <p class="soft">
      ${TALLY.map((name) => `${name === "byHand" ? "by hand" : name} ${info.tally[name] ?? 0}`).join(", ")}
    </p>
    <${Firings} firings=${info.firings} now=${now} />
    ${asked === "edit" && html`<${Edit} text=${text} info=${info} onClose=${close} onDone=${reload} />`}
    ${asked && asked !== "edit" && html`<${Steer} id=${schedule.id} action=${asked} onClose=${close} onDone=${reload} />`}
  `;
}

/** @param {{times: ScheduledTime[], zone: string}} props */
function Times({ times, zone }) {
  if (!times.length) return html`<p class="soft">None.</p>`;
  return html`<table class="times">
    <thead>
      <tr>
        <th>In ${visible(zone)}</th>
        <th>Here</th>
      </tr>
    </thead>
    <tbody>
      ${times.map(
        (one) =>
          html`<tr key=${one.at}>
            <td>${one.local}</td>
            <td>${moment(one.at)}</td>
          </tr>`,
      )}
    </tbody>
  </table>`;
}

/** @param {{firings: Firing[], now: number}} props */
function Firings({ firings, now }) {
  if (!firings.length) return html`<p class="soft">No time has come yet.</p>`;
  return html`<div class="scroll">
    <table class="firings">
      <thead>
        <tr>
          <th>Time</th>
          <th>Outcome</th>
          <th>Job</th>
          <th>Decided</th>
        </tr>
      </thead>
      <tbody>
        ${firings.map(
          (one) =>
            html`<tr key="${one.scheduledFor} ${one.at} ${one.outcome}">
              <td>${moment(one.scheduledFor)}</td>
              <td>${outcome(one)}</td>
              <td>
                ${one.jobId && html`<${JobLink} id=${one.jobId} />`}
                ${one.jobStatus && html`<${Status} status=${one.jobStatus} />`}
              </td>
              <td><${Ago} at=${one.at} now=${now} /></td>
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

/** @param {Firing} firing */
function outcome({ outcome: name, count }) {
  /** @type {Record<string, string>} */
  const why = {
    SKIPPED: "skipped: this job had not ended",
    HELD: "held until this job has ended",
    DROPPED: "dropped: this job had not ended",
    MISSED: "missed: a later one was due, too, or it was too old",
    DELAYED: "delayed: the queue is full",
  };
  return `${why[name] ?? name.toLowerCase()}${count > 1 ? `, ${plural(count, "time")}` : ""}`;
}

/** @param {{id: string, action: "pause" | "resume" | "trigger" | "delete", onClose: () => void, onDone: () => void}} props */
function Steer({ id, action, onClose, onDone }) {
  const texts = {
    pause: [
      "Pause this schedule",
      "Pause",
      "It does not fire until it is resumed. Times that pass meanwhile are not missed.",
    ],
    resume: ["Resume this schedule", "Resume", "It fires again, from now on."],
    trigger: ["Run it now", "Run now", "A job is submitted at once, besides its times."],
    delete: ["Delete this schedule", "Delete", "It does not fire again. The jobs that it made stay."],
  };
  const [title, word, meaning] = texts[action];
  const run = async () => {
    await steerSchedule(id, action);
    if (action === "delete") go("/schedules");
    else onDone();
  };
  return html`<${Confirm}
    title=${title}
    action=${word}
    harmful=${action === "delete"}
    typed=${action === "delete" ? id : ""}
    run=${run}
    onClose=${onClose}
  >
    <p>${meaning}</p>
  <//>`;
}

/** @param {{text: string, info: ScheduleInfo, onClose: () => void, onDone: () => void}} props */
function Edit({ text, info, onClose, onDone }) {
  const { schedule } = info;
  const [draft, setDraft] = useState({
    cron: schedule.cron,
    timeZone: schedule.timeZone,
    everyMs: schedule.everyMs,
    overlap: schedule.overlap,
    missed: schedule.missed,
  });
  const [times, setTimes] = useState(/** @type {ScheduledTime[] | null} */ (null));
  const [problem, setProblem] = useState(/** @type {Problem | null} */ (null));
  // What somebody else puts meanwhile is not overwritten: the revision is that of the moment when editing began.
  const [began] = useState({ text, revision: info.revision });
  /** @param {Partial<typeof draft>} part */
  const change = (part) => {
    setDraft({ ...draft, ...part });
    setTimes(null);
  };
  /** @param {() => Promise<void>} step */
  const attempt = async (step) => {
    try {
      setProblem(null);
      await step();
    } catch (error) {
      setProblem(asProblem(error, OWN));
    }
  };
  const preview = () => attempt(async () => setTimes((await previewSchedule(draft)).times));
  const save = (/** @type {Event} */ event) => {
    event.preventDefault();
    return attempt(async () => {
      await putSchedule(edited(began.text, began.revision, draft));
      onDone();
      onClose();
    });
  };
  const cron = html`
    <label class="field">
      <span>Cron</span>
      <input value=${draft.cron} onInput=${(/** @type {any} */ event) => change({ cron: event.currentTarget.value })} />
    </label>
    <label class="field">
      <span>Time zone</span>
      <input
        value=${draft.timeZone}
        onInput=${(/** @type {any} */ event) => change({ timeZone: event.currentTarget.value })}
      />
    </label>
  `;
  const every = html`<label class="field">
    <span>Every (ms)</span>
    <input
      type="number"
      value=${draft.everyMs}
      onInput=${(/** @type {any} */ event) => change({ everyMs: Number(event.currentTarget.value) })}
    />
  </label>`;
  return html`<${Dialog} title="Edit ${schedule.id}" onClose=${onClose}>
    <form onSubmit=${save}>
      ${schedule.everyMs ? every : cron}
      <${Choice}
        name="Overlap"
        from=${OVERLAPS}
        value=${draft.overlap}
        onChange=${(/** @type {string} */ overlap) => change({ overlap })}
      />
      <${Choice}
        name="Missed"
        from=${MISSED}
        value=${draft.missed}
        onChange=${(/** @type {string} */ missed) => change({ missed })}
      />
      ${times && html`<${Times} times=${times} zone=${draft.timeZone || "UTC"} />`}
      <${Wrong} problem=${problem} />
      <div class="buttons">
        <button type="button" onClick=${onClose}>Keep as it is</button>
        <button type="button" onClick=${preview}>Preview</button>
        <button class="primary">Save</button>
      </div>
    </form>
  <//>`;
}

/** @param {{name: string, from: string[], value: string, onChange: (value: string) => void}} props */
function Choice({ name, from, value, onChange }) {
  return html`<label class="field">
    <span>${name}</span>
    <select onChange=${(/** @type {any} */ event) => onChange(event.currentTarget.value)}>
      ${from.map((one) => html`<option key=${one} value=${one} selected=${one === value}>${one.toLowerCase()}</option>`)}
    </select>
  </label>`;
}

/**
 * The request that puts the schedule with some members changed, all others as their text stands.
 * @param {string} text
 * @param {number} revision
 * @param {object} changes
 */
function edited(text, revision, changes) {
  const info = members(members(text).get("schedule") ?? "{}");
  const schedule = members(info.get("schedule") ?? "{}");
  for (const [name, value] of Object.entries(changes)) schedule.set(name, JSON.stringify(value));
  const parts = [...schedule].map(([name, value]) => `${JSON.stringify(name)}:${value}`);
  return `{"schedule":{${parts.join(",")}},"revision":${revision}}`;
}
