/**
 * What every component imports: Preact, its hooks, and `html`, which reads like JSX and needs no compiler.
 * @module
 */

import { h, render } from "./vendor/preact.js";
import htm from "./vendor/htm.js";

export { render };
export { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/hooks.js";

/** @typedef {import("preact").ComponentChildren} Children */
/** @typedef {import("preact").VNode} VNode */

/** @type {(strings: TemplateStringsArray, ...values: any[]) => VNode} */
export const html = /** @type {any} */ (htm.bind(/** @type {any} */ (h)));
