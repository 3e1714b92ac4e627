/**
 * For newcomers: how to see the queue at work.
 * @module
 */

import { OWN } from "../connection.js";
import { html } from "../lib.js";
import { CopyButton } from "./copy.js";

const COMMANDS = [
  {
    what: "Submit a job",
    command: `curl ${OWN}/v1/jobs -H 'content-type: application/json' -d '{"type": "email", "payload": {"to": "ada"}}'`,
  },
  {
    what: "Take it, as a worker would",
    command: `curl ${OWN}/v1/jobs/claim -H 'content-type: application/json' -d '{"workerId": "me"}'`,
  },
  { what: "Watch 2,000 jobs survive a killed broker", command: "osqueue demo" },
];

/** @param {{open: boolean}} props */
export function Demo({ open }) {
  const body = html`
    <ol class="steps">
      <li>
        <b>Put jobs in.</b> Open the <a href="/producer" target="_blank" rel="noopener">producer</a> in another tab,
        choose a sample and switch on auto-submit.
      </li>
      <li>
        <b>Work them off.</b> Open a <a href="/worker" target="_blank" rel="noopener">worker</a> in a third tab and
        start it. Let some jobs fail.
      </li>
      <li>
        <b>Watch here.</b> Jobs wait, run, fail, back off and complete; what failed for good is under
        <a href="/dead">dead letters</a>.
      </li>
      <li>
        <b>Break it.</b> Kill the broker with <code>kill -9</code> and start it again: nothing that was acknowledged is
        lost.
      </li>
    </ol>
    <p class="soft">The same from a terminal:</p>
    <ul class="commands">
      ${COMMANDS.map(
        ({ what, command }) =>
          html`<li key=${what}>
            <span>${what}</span><code>${command}</code><${CopyButton} label="Copy" text=${() => command} />
          </li>`,
      )}
    </ul>
  `;
  if (open)
    return html`<section class="card welcome">
      <header><h2>The queue is empty. Here is how to see it work</h2></header>
      ${body}
    </section>`;
  return html`<details class="card fold">
    <summary>
      <h2>How to demo</h2>
      <span class="soft">see it at work in a minute</span>
    </summary>
    ${body}
  </details>`;
}
