/**
 * The same call for a terminal: as curl, grpcurl and osqueue's own command. Whatever stands in a payload is quoted so
 * that a shell takes it for one word.
 * @module
 */

import { OWN, tokenFor } from "./connection.js";
import { toBase64 } from "./bytes.js";

/** @typedef {import("./bytes.js").Content} Content */

const GRPC_PORT = 8081;
/** The default; the gateway does not tell where its broker's gRPC port is. */

/** @param {string} word */
export function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/**
 * @param {string} text
 * @returns {boolean} Whether a terminal takes it as it stands: no control character, nothing invisible.
 */
function plain(text) {
  return /^[\n\t\u0020-\u007e\u00a1-\u00ac\u00ae-\u0600]*$/.test(text);
}

function bearer() {
  return tokenFor(OWN) ? ` -H "Authorization: Bearer $OSQUEUE_TOKEN"` : "";
}

/**
 * @param {string} rpc
 * @param {string} request protobuf JSON
 */
function grpcurl(rpc, request) {
  const host = new URL(OWN).hostname;
  return `grpcurl -plaintext${bearer()} -d ${quoted(request)} ${host}:${GRPC_PORT} osqueue.v1.QueueService/${rpc}`;
}

/** @param {string} id */
export function lookAt(id) {
  return [
    { label: "curl", text: () => `curl${bearer()} ${OWN}/v1/jobs/${id}` },
    { label: "grpcurl", text: () => grpcurl("GetJob", JSON.stringify({ job_id: id })) },
    { label: "osqueue", text: () => `osqueue job show ${id} --broker ${OWN}` },
  ];
}

/**
 * @param {string} type
 * @param {Content} content
 */
export function submitAgain(type, content) {
  const kept = type ? { type } : {};
  const packed = () => toBase64(content.bytes);
  const asJson = content.kind === "json" && plain(content.text);
  /** The payload's text is put in as it stands: parsing it would round its large numbers. */
  const body = () =>
    asJson
      ? `{${type && `"type": ${JSON.stringify(type)}, `}"payload": ${content.text}}`
      : JSON.stringify({ ...kept, payloadBase64: packed() });
  const payload = () => `${quoted(content.text)}`;
  return [
    {
      label: "curl",
      text: () => `curl${bearer()} ${OWN}/v1/jobs -H 'content-type: application/json' -d ${quoted(body())}`,
    },
    { label: "grpcurl", text: () => grpcurl("SubmitJob", JSON.stringify({ ...kept, payload: packed() })) },
    {
      label: "osqueue",
      text: () =>
        content.kind !== "binary" && plain(content.text)
          ? `osqueue submit --broker ${OWN} -- ${quoted(type)} ${payload()}`
          : `base64 -d <<<${packed()} | osqueue submit --broker ${OWN} --file - -- ${quoted(type)}`,
    },
  ];
}
