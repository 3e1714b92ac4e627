/**
 * The dashboard: which page an address shows.
 * @module
 */

import { html, render, useEffect } from "./lib.js";
import { live } from "./live.js";
import { DeadPage } from "./pages/dead.js";
import { JobPage } from "./pages/job.js";
import { JobsPage } from "./pages/jobs.js";
import { Overview } from "./pages/overview.js";
import { ProducerPage } from "./pages/producer.js";
import { SchedulePage } from "./pages/schedule.js";
import { SchedulesPage } from "./pages/schedules.js";
import { TypesPage } from "./pages/types.js";
import { WorkerPage } from "./pages/worker.js";
import { WorkersPage } from "./pages/workers.js";
import { Shell } from "./parts/shell.js";
import { Empty } from "./parts/states.js";
import { followLinks, useAddress } from "./router.js";

/** @type {Record<string, {title: string, page: (props: {address: URL}) => any}>} */
const PAGES = {
  "/": { title: "Overview", page: Overview },
  "/jobs": { title: "Jobs", page: JobsPage },
  "/dead": { title: "Dead letters", page: DeadPage },
  "/types": { title: "Types", page: TypesPage },
  "/schedules": { title: "Schedules", page: SchedulesPage },
  "/workers": { title: "Workers", page: WorkersPage },
  "/producer": { title: "Producer", page: ProducerPage },
  "/worker": { title: "Worker", page: WorkerPage },
};

function App() {
  const address = useAddress();
  const path = address.pathname;
  const id = /^\/jobs\/([\w-]+)$/.exec(path)?.[1];
  const found = PAGES[path];
  const schedule = /^\/schedules\/([A-Za-z][\w.-]*)$/.exec(path)?.[1];
  const title = id ? `Job ${id}` : schedule ? `Schedule ${schedule}` : (found?.title ?? "Not found");
  useEffect(() => void (document.title = `${title} · osqueue`), [title]);
  return html`<${Shell} path=${path}>
    ${
      id
        ? html`<${JobPage} key=${id} id=${id} />`
        : schedule
          ? html`<${SchedulePage} key=${schedule} id=${schedule} />`
          : found
            ? html`<${found.page} key=${path} address=${address} />`
            : html`<${Empty} title="There is no such page"
                ><p><a href="/">Go to the overview</a></p><//
              >`
    }
  <//>`;
}

const root = document.getElementById("app");
if (root) {
  root.textContent = "";
  followLinks();
  live.start();
  render(html`<${App} />`, root);
}
