/**
 * Addresses: each page has one, filters live in the query, and links work as links.
 * @module
 */

import { useEffect, useState } from "./lib.js";

/** Pages that may dial other gateways are documents of their own, since they are served with a wider policy. */
const DIALLING = ["/producer", "/worker"];
const MOVED = "osqueue:moved";

/**
 * @param {string} href
 * @param {{replace?: boolean}} [how]
 */
export function go(href, { replace = false } = {}) {
  const target = new URL(href, location.href);
  if (dials(target.pathname) !== dials(location.pathname)) {
    location.assign(target);
    return;
  }
  if (target.href === location.href) return;
  if (replace) history.replaceState(null, "", target);
  else history.pushState(null, "", target);
  dispatchEvent(new Event(MOVED));
  if (!replace) scrollTo(0, 0);
}

/** @param {string} path */
function dials(path) {
  return DIALLING.includes(path);
}

/** @returns {URL} Where we are; renders again when that changes. */
export function useAddress() {
  const [href, setHref] = useState(location.href);
  useEffect(() => {
    const moved = () => setHref(location.href);
    addEventListener(MOVED, moved);
    addEventListener("popstate", moved);
    return () => {
      removeEventListener(MOVED, moved);
      removeEventListener("popstate", moved);
    };
  }, []);
  return new URL(href);
}

/** Let clicks on links of the dashboard change the page without loading it anew. */
export function followLinks() {
  addEventListener("click", (event) => {
    if (
      event.defaultPrevented ||
      event.button !== 0 ||
      event.metaKey ||
      event.ctrlKey ||
      event.shiftKey ||
      event.altKey
    )
      return;
    const link = event.target instanceof Element ? event.target.closest("a[href]") : null;
    if (!(link instanceof HTMLAnchorElement) || link.target || link.origin !== location.origin) return;
    if (link.dataset.outside !== undefined) return;
    event.preventDefault();
    go(link.href);
  });
}
