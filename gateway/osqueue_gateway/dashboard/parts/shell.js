/**
 * What surrounds every page: navigation, whether we hear from the broker, the theme, the keys.
 * @module
 */

import { OWN, keepToken, tokenFor } from "../connection.js";
import { clock, sentence, short } from "../format.js";
import { useLive } from "../hooks.js";
import { html, useEffect, useRef, useState } from "../lib.js";
import { go } from "../router.js";
import { Dialog } from "./dialog.js";
import { Wrong } from "./states.js";

/** @typedef {import("../lib.js").Children} Children */

/** @type {{href: string, name: string, key: string}[]} */
const PAGES = [
  { href: "/", name: "Overview", key: "o" },
  { href: "/jobs", name: "Jobs", key: "j" },
  { href: "/dead", name: "Dead letters", key: "d" },
  { href: "/types", name: "Types", key: "t" },
  { href: "/schedules", name: "Schedules", key: "s" },
  { href: "/workflows", name: "Workflows", key: "f" },
  { href: "/batches", name: "Batches", key: "b" },
  { href: "/workers", name: "Workers", key: "w" },
];
const TOOLS = [
  { href: "/producer", name: "Producer", key: "p" },
  { href: "/worker", name: "Worker", key: "r" },
];

/** @param {{path: string, children: Children}} props */
export function Shell({ path, children }) {
  const live = useLive();
  const help = useKeys();
  // On a phone the links scroll sideways.
  useEffect(
    () => document.querySelector(".links [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" }),
    [path],
  );
  const dead = live.stats?.counts.dead ?? 0;
  /** @param {{href: string, name: string, key: string}} page */
  const link = ({ href, name, key }) => {
    const here = href === "/" ? path === "/" : path === href || path.startsWith(`${href}/`);
    return html`<a key=${href} href=${href} aria-current=${here ? "page" : undefined} title="Keys: g ${key}">
      ${name}${href === "/dead" && dead > 0 && html`<span class="badge">${short(dead)}</span>`}
    </a>`;
  };
  return html`
    <a class="skip" href="#page" data-outside>Skip to the page</a>
    <nav class="side" aria-label="Pages">
      <a class="brand" href="/"><img src="/dashboard/icon.svg" alt="" width="24" height="24" />osqueue</a>
      <div class="links">${PAGES.map(link)}<span class="links-title">Try it</span>${TOOLS.map(link)}</div>
      <div class="side-end">
        <${Connection} live=${live} />
        <${ThemeButton} />
        <button type="button" class="quiet keys-button" onClick=${help.open} title="Key: ?">Keys</button>
        <a href="/docs" data-outside class="quiet button">API</a>
      </div>
    </nav>
    <main id="page" tabindex="-1">
      ${live.state === "lost" && html`<${Lost} live=${live} />`}
      ${live.state === "refused" ? html`<${Refused} live=${live} />` : children}
    </main>
    ${help.shown && html`<${KeyHelp} onClose=${help.close} />`}
  `;
}

const STATE_WORDS = {
  connecting: "Connecting",
  live: "Live",
  lost: "Disconnected",
  refused: "No access",
  asleep: "Paused",
};

/** @param {{live: import("../live.js").Live}} props */
function Connection({ live }) {
  const leader = live.stats?.brokerAddress;
  return html`<span class="connection ${live.state}" role="status" title=${leader ? `Leader: ${leader}` : ""}>
    <i></i>${STATE_WORDS[live.state]}
  </span>`;
}

/** @param {{live: import("../live.js").Live}} props */
function Lost({ live }) {
  return html`<div class="wrong banner" role="alert">
    <p>
      <b>Disconnected.</b> ${sentence(live.problem?.message ?? "")}
      ${live.heardAt > 0 && ` What you see is from ${clock(live.heardAt)}.`}
    </p>
    <p class="soft">${live.problem?.hint}</p>
    <button type="button" onClick=${() => live.connect()}>Try now</button>
  </div>`;
}

/** @param {{live: import("../live.js").Live}} props */
function Refused({ live }) {
  if (live.problem?.status !== 401) return html`<${Wrong} problem=${live.problem} retry=${() => live.connect()} />`;
  return html`<${TokenForm} base=${OWN} problem=${live.problem} onToken=${() => live.connect()} />`;
}

/**
 * @param {{base: string, problem: import("../problem.js").Problem, onToken: () => void}} props
 */
export function TokenForm({ base, problem, onToken }) {
  const [token, setToken] = useState("");
  const shown = tokenFor(base) !== "";
  /** @param {Event} event */
  const entered = (event) => {
    event.preventDefault();
    keepToken(base, token.trim());
    setToken("");
    onToken();
  };
  return html`<form class="card token" onSubmit=${entered}>
    <h1>This queue asks for a token</h1>
    <p class="soft">
      It is the <code>OSQUEUE_TOKEN</code> that the gateway was started with. It is kept until you close this tab, and
      sent to ${base} only.
    </p>
    ${shown && html`<p class="bad" role="alert">${problem.message}</p>`}
    <label class="field">
      <span>Token</span>
      <input
        type="password"
        autocomplete="off"
        required
        value=${token}
        onInput=${(/** @type {any} */ event) => setToken(event.currentTarget.value)}
      />
    </label>
    <div class="buttons"><button class="primary">Enter</button></div>
  </form>`;
}

const THEMES = { "": "Theme: system", light: "Theme: light", dark: "Theme: dark" };
/** @typedef {keyof typeof THEMES} Theme */

function ThemeButton() {
  const root = document.documentElement;
  const [theme, setTheme] = useState(/** @type {Theme} */ (root.dataset.theme ?? ""));
  const next = () => {
    /** @type {Theme} */
    const chosen = theme === "" ? "light" : theme === "light" ? "dark" : "";
    setTheme(chosen);
    if (chosen) root.dataset.theme = chosen;
    else delete root.dataset.theme;
    try {
      localStorage.setItem("osqueue.theme", chosen);
    } catch {
      // Storage is switched off: the choice holds for this page.
    }
  };
  return html`<button type="button" class="quiet" onClick=${next}>${THEMES[theme]}</button>`;
}

/** g and a letter: a page. / : the search. ? : all of them. Not while something is being typed. */
function useKeys() {
  const [shown, setShown] = useState(false);
  const going = useRef(-Infinity);
  useEffect(() => {
    /** @param {KeyboardEvent} event */
    const pressed = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
      if (document.querySelector("dialog[open]")) return;
      const { key } = event;
      if (performance.now() - going.current < 1_500) {
        const page = [...PAGES, ...TOOLS].find((one) => one.key === key);
        going.current = -Infinity;
        if (page) go(page.href);
      } else if (key === "g") going.current = performance.now();
      else if (key === "?") setShown(true);
      else if (key === "/") {
        event.preventDefault();
        /** @type {HTMLElement | null} */ (document.querySelector("[data-search]") ?? null)?.focus();
      } else if (key === "j" || key === "k") moveRow(key === "j" ? 1 : -1);
      else if (key === "x") rowOf(document.activeElement)?.querySelector("input")?.click();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
  return { shown, open: () => setShown(true), close: () => setShown(false) };
}

/** @param {EventTarget | null} target */
function isTyping(target) {
  return target instanceof HTMLElement && target.matches("input:not([type=checkbox]), textarea, select");
}

/** @param {Element | null} element */
function rowOf(element) {
  return element?.closest("tbody tr") ?? null;
}

/** @param {number} by */
function moveRow(by) {
  const links = [...document.querySelectorAll("tbody tr a.id")];
  const row = rowOf(document.activeElement);
  const here = links.findIndex((link) => row?.contains(link));
  const link = links[here < 0 ? 0 : Math.min(links.length - 1, Math.max(0, here + by))];
  if (link instanceof HTMLElement) link.focus();
}

/** @param {{onClose: () => void}} props */
function KeyHelp({ onClose }) {
  const rows = [
    ...[...PAGES, ...TOOLS].map(({ key, name }) => [`g ${key}`, name]),
    ["/", "Search, or the first filter"],
    ["j k", "Next and previous job in a list"],
    ["x", "Select the job"],
    ["Enter", "Open the job"],
    ["Esc", "Close a dialog or menu"],
    ["?", "This list"],
  ];
  return html`<${Dialog} title="Keys" onClose=${onClose}>
    <dl class="keys">
      ${rows.map(
        ([key, what]) =>
          html`<div key=${key}>
            <dt><kbd>${key}</kbd></dt>
            <dd>${what}</dd>
          </div>`,
      )}
    </dl>
    <div class="buttons"><button type="button" class="primary" onClick=${onClose}>Close</button></div>
  <//>`;
}
