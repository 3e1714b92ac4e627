/**
 * The dashboard: which page an address shows.
 * @module
 */

import { html, render, useEffect } from "./lib.js";
import { live } from "./live.js";
import { BatchPage } from "./pages/batch.js";
import { BatchesPage } from "./pages/batches.js";
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
import { WorkflowPage } from "./pages/workflow.js";
import { WorkflowsPage } from "./pages/workflows.js";
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
  "/workflows": { title: "Workflows", page: WorkflowsPage },
  "/batches": { title: "Batches", page: BatchesPage },
  "/workers": { title: "Workers", page: WorkersPage },
  "/producer": { title: "Producer", page: ProducerPage },
  "/worker": { title: "Worker", page: WorkerPage },
};

/** @type {{path: RegExp, title: string, page: (props: {id: string}) => any}[]} */
const THINGS = [
  { path: /^\/jobs\/([\w-]+)$/, title: "Job", page: JobPage },
  { path: /^\/schedules\/([A-Za-z][\w.-]*)$/, title: "Schedule", page: SchedulePage },
  { path: /^\/workflows\/([\w-]+)$/, title: "Workflow", page: WorkflowPage },
  { path: /^\/batches\/([\w-]+)$/, title: "Batch", page: BatchPage },
];

function App() {
  const address = useAddress();
  const path = address.pathname;
  const found = PAGES[path];
  const thing = THINGS.find((one) => one.path.test(path));
  const id = thing?.path.exec(path)?.[1] ?? "";
  const title = thing ? `${thing.title} ${id}` : (found?.title ?? "Not found");
  useEffect(() => void (document.title = `${title} · osqueue`), [title]);
  return html`<${Shell} path=${path}>
    ${
      thing
        ? html`<${thing.page} key=${path} id=${id} />`
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
