/**
 * Line charts of the leader's history, as SVG. Charts of one page share the moment that is pointed at.
 * @module
 */

import { html, useEffect, useRef, useState } from "../lib.js";
import { clock } from "../format.js";

/** @import { HistoryPoint } from "../types.js" */

/**
 * @typedef {object} Series
 * @property {string} label
 * @property {string} tone The name of its colour.
 * @property {(point: HistoryPoint) => number | null} value null: there was nothing to measure.
 */

/**
 * @typedef {object} Axis What all charts of a page have in common.
 * @property {HistoryPoint[]} points Oldest first.
 * @property {number} from
 * @property {number} until
 * @property {number} stepMs
 * @property {number | null} pointed The moment pointed at.
 * @property {(at: number | null) => void} onPoint
 */

const HEIGHT = 132;
const LEFT = 46;
const BOTTOM = 20;
const TOP = 8;

/**
 * @param {object} props
 * @param {string} props.title
 * @param {string} props.hint
 * @param {Axis} props.axis
 * @param {Series[]} props.series
 * @param {(value: number) => string} props.write
 * @param {(value: number) => string} props.mark Writes the round numbers of the axis.
 */
export function Chart({ title, hint, axis, series, write, mark }) {
  const box = useRef(/** @type {SVGSVGElement | null} */ (null));
  const width = useWidth(box);
  const { points, from, until, stepMs } = axis;
  const top = ceiling(points, series);
  /** @param {number} at */
  const x = (at) => LEFT + ((at - from) / Math.max(1, until - from)) * (width - LEFT - 6);
  /** @param {number} value */
  const y = (value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
  const pointed = axis.pointed === null ? undefined : nearest(points, axis.pointed);
  const shown = pointed ?? points.at(-1);

  /** @param {PointerEvent} event */
  const moved = (event) => {
    const bounds = box.current?.getBoundingClientRect();
    if (!bounds) return;
    const part = (event.clientX - bounds.left - LEFT) / (width - LEFT - 6);
    axis.onPoint(part < 0 || part > 1 ? null : from + part * (until - from));
  };

  return html`<figure class="chart">
    <figcaption>
      <span class="chart-title" title=${hint}>${title}</span>
      <span class="legend">
        ${series.map((one) => html`<${Legend} key=${one.label} series=${one} point=${shown} write=${write} />`)}
      </span>
    </figcaption>
    <svg
      ref=${box}
      height=${HEIGHT}
      role="img"
      aria-label="${title}: ${series.map((one) => `${one.label} ${written(one, shown, write)}`).join(", ")}"
      onPointerMove=${moved}
      onPointerLeave=${() => axis.onPoint(null)}
    >
      ${[0, 0.5, 1].map(
        (part) =>
          html`<g key=${part}>
            <line class="grid" x1=${LEFT} x2=${width - 6} y1=${y(top * part)} y2=${y(top * part)} />
            <text class="tick" x=${LEFT - 6} y=${y(top * part) + 4} text-anchor="end">${mark(top * part)}</text>
          </g>`,
      )}
      ${ticks(from, until, width).map(
        (at) =>
          html`<text key=${at} class="tick" x=${x(at)} y=${HEIGHT - 4} text-anchor="middle"
            >${clock(at).slice(0, 5)}</text
          >`,
      )}
      ${
        width > 0 &&
        series.map(
          (one) => html`<path key=${one.label} class="line ${one.tone}" d=${path(points, one, x, y, stepMs)} />`,
        )
      }
      ${pointed && html`<line class="cursor" x1=${x(pointed.at)} x2=${x(pointed.at)} y1=${TOP} y2=${HEIGHT - BOTTOM} />`}
      ${pointed && html`<text class="tick" x=${x(pointed.at)} y=${HEIGHT - 4} text-anchor="middle">${clock(pointed.at)}</text>`}
    </svg>
  </figure>`;
}

/** @param {{series: Series, point: HistoryPoint | undefined, write: (value: number) => string}} props */
function Legend({ series, point, write }) {
  return html`<span class="key"
    ><i class=${series.tone}></i>${series.label} <b>${written(series, point, write)}</b></span
  >`;
}

/**
 * @param {Series} series
 * @param {HistoryPoint | undefined} point
 * @param {(value: number) => string} write
 */
function written(series, point, write) {
  const value = point ? series.value(point) : null;
  return value === null ? "–" : write(value);
}

/**
 * @param {HistoryPoint[]} points
 * @param {Series} series
 * @param {(at: number) => number} x
 * @param {(value: number) => number} y
 * @param {number} stepMs
 * @returns {string} Broken where there was nothing to measure; a lone point is a dot.
 */
function path(points, series, x, y, stepMs) {
  let drawn = "";
  let before = -Infinity;
  for (const point of points) {
    const value = series.value(point);
    if (value === null) continue;
    const place = `${x(point.at).toFixed(1)} ${y(value).toFixed(1)}`;
    drawn += point.at - before > 2.5 * stepMs ? `M${place}h.01` : `L${place}`;
    before = point.at;
  }
  return drawn;
}

/**
 * @param {HistoryPoint[]} points
 * @param {Series[]} series
 * @returns {number} The smallest of 1, 2, 5, 10 … that all values are below.
 */
function ceiling(points, series) {
  let most = 0;
  for (const one of series) for (const point of points) most = Math.max(most, one.value(point) ?? 0);
  if (most <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= most) ?? 10);
}

/**
 * @param {HistoryPoint[]} points
 * @param {number} at
 */
function nearest(points, at) {
  let best = points[0];
  for (const point of points) if (best && Math.abs(point.at - at) < Math.abs(best.at - at)) best = point;
  return best;
}

/**
 * @param {number} from
 * @param {number} until
 * @param {number} width
 * @returns {number[]} Full minutes, far enough apart to be read.
 */
function ticks(from, until, width) {
  const wanted = Math.max(1, Math.floor(width / 85));
  const minutes = [1, 2, 5, 10, 15, 30, 60].find((step) => (until - from) / (step * 60_000) <= wanted) ?? 120;
  const step = minutes * 60_000;
  const found = [];
  for (let at = Math.ceil(from / step) * step; at < until; at += step) found.push(at);
  return found;
}

/**
 * @param {{current: Element | null}} box
 * @returns {number} Its width, kept up to date.
 */
function useWidth(box) {
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const observer = new ResizeObserver((entries) => setWidth(Math.floor(entries[0]?.contentRect.width ?? 0)));
    if (box.current) observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  return width;
}
