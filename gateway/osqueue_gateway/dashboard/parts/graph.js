/**
 * The graph of a workflow: each node below those that it needs, drawn from what the API says of them.
 * @module
 */

import { STATUS_WORDS, brief } from "../format.js";
import { html, useMemo, useState } from "../lib.js";

/** @import { NodeInfo } from "../types.js" */

const WIDTH = 168;
const HEIGHT = 46;
const GAP = 20;
const LAYER = 96;
const LEAST_ZOOM = 0.125;
const NAME_MAX = 20;

/**
 * @typedef {object} Place
 * @property {NodeInfo} node
 * @property {number} x
 * @property {number} y
 */

/** @param {{nodes: NodeInfo[]}} props */
export function Graph({ nodes }) {
  const shape = nodes.map((node) => `${node.name}\n${node.needs.map((need) => need.node).join("\t")}`).join("\n\n");
  const laid = useMemo(() => layout(nodes), [shape]);
  const [zoom, setZoom] = useState(1);
  const current = new Map(nodes.map((node) => [node.name, node]));
  const zoomTo = (/** @type {number} */ to) => setZoom(Math.min(4, Math.max(LEAST_ZOOM, to)));
  return html`<section class="card graph" aria-label="Graph">
    <div class="buttons" role="group" aria-label="Zoom">
      <button type="button" onClick=${() => zoomTo(zoom / 2)} aria-label="Smaller">−</button>
      <button type="button" onClick=${() => zoomTo(1)}>${Math.round(zoom * 100)} %</button>
      <button type="button" onClick=${() => zoomTo(zoom * 2)} aria-label="Larger">+</button>
    </div>
    <div class="graph-frame" tabindex="0">
      <svg
        width=${laid.width * zoom}
        height=${laid.height * zoom}
        viewBox="0 0 ${laid.width} ${laid.height}"
        role="group"
        aria-label="Nodes and what they need"
      >
        ${laid.edges.map((path) => html`<path key=${path} class="edge" d=${path} />`)}
        ${laid.places.map(({ node, x, y }) => html`<${Box} key=${node.name} node=${current.get(node.name) ?? node} x=${x} y=${y} />`)}
      </svg>
    </div>
  </section>`;
}

/** @param {Place} props */
function Box({ node, x, y }) {
  const word = STATUS_WORDS[node.status] ?? node.status;
  return html`<a href="/jobs/${node.jobId}" class="node ${node.status}" aria-label="${node.name}: ${word}">
    <title>${node.name}${node.cutBy ? `, cut off by ${node.cutBy}` : ""}</title>
    <rect x=${x} y=${y} width=${WIDTH} height=${HEIGHT} rx="8" />
    <text x=${x + 12} y=${y + 20} class="node-name">${brief(node.name, NAME_MAX)}</text>
    <text x=${x + 12} y=${y + 36} class="node-status">${word}</text>
  </a>`;
}

/**
 * Layers by how many nodes come before, one after the other; within a layer, near to what is needed.
 * @param {NodeInfo[]} nodes
 * @returns {{places: Place[], edges: string[], width: number, height: number}}
 */
export function layout(nodes) {
  const depths = depthsOf(nodes);
  /** @type {NodeInfo[][]} */
  const layers = [];
  for (const node of nodes) (layers[depths.get(node.name) ?? 0] ??= []).push(node);
  const widest = Math.max(1, ...layers.map((layer) => layer.length));
  const width = widest * (WIDTH + GAP) + GAP;
  /** @type {Map<string, Place>} */
  const places = new Map();
  layers.forEach((layer, depth) => {
    const centre = (/** @type {NodeInfo} */ node) => {
      const above = node.needs.flatMap((need) => places.get(need.node)?.x ?? []);
      return above.length ? above.reduce((sum, x) => sum + x, 0) / above.length : 0;
    };
    const ordered = layer.map((node) => ({ node, at: centre(node) })).sort((a, b) => a.at - b.at);
    const left = (width - layer.length * (WIDTH + GAP) + GAP) / 2;
    ordered.forEach(({ node }, number) => {
      places.set(node.name, { node, x: left + number * (WIDTH + GAP), y: GAP + depth * LAYER });
    });
  });
  const edges = nodes.flatMap((node) =>
    node.needs.flatMap((need) => {
      const [from, to] = [places.get(need.node), places.get(node.name)];
      return from && to ? edge(from, to) : [];
    }),
  );
  return { places: [...places.values()], edges, width, height: Math.max(1, layers.length) * LAYER };
}

/**
 * @param {Place} from
 * @param {Place} to
 */
function edge(from, to) {
  const [x1, y1, x2, y2] = [from.x + WIDTH / 2, from.y + HEIGHT, to.x + WIDTH / 2, to.y];
  const half = (y1 + y2) / 2;
  return `M${x1} ${y1}C${x1} ${half} ${x2} ${half} ${x2} ${y2}`;
}

/**
 * What is needed may be kept no longer; then it counts as nothing.
 * @param {NodeInfo[]} nodes
 * @returns {Map<string, number>}
 */
function depthsOf(nodes) {
  const needs = new Map(nodes.map((node) => [node.name, node.needs.map((need) => need.node)]));
  /** @type {Map<string, number>} */
  const depths = new Map();
  const ways = [...needs.keys()];
  while (ways.length) {
    const name = /** @type {string} */ (ways.at(-1));
    const before = (needs.get(name) ?? []).filter((one) => needs.has(one));
    const missing = before.find((one) => !depths.has(one));
    if (missing !== undefined) {
      ways.push(missing);
      continue;
    }
    depths.set(
      name,
      before.reduce((deepest, one) => Math.max(deepest, (depths.get(one) ?? 0) + 1), 0),
    );
    ways.pop();
  }
  return depths;
}
