// Long work: begins a job, shows how far it is, and lets it be cancelled.

import { call } from "./api.js";
import { fill, h } from "./dom.js";

const POLL = 400; // milliseconds

/**
 * Runs a job to its end.
 * @param {object} gallery
 * @param {object} request what `POST .../jobs` takes
 * @param {HTMLElement} place where the progress is shown
 * @param {string} doing in words, such as "Finding clusters"
 * @returns {Promise<object|null>} the result; null if it was cancelled
 */
export async function runJob(gallery, request, place, doing) {
  return followJob(await gallery.api.call("jobs", { json: request }), place, doing);
}

/** Follows a job that was begun. */
export async function followJob(job, place, doing) {
  const bar = h("progress", { "aria-label": doing, max: 1 });
  const words = h("p", { class: "busy", role: "status" }, `${doing} …`);
  const cancel = h("button", { type: "button", onclick: () => {
    cancel.disabled = true;
    call(`/v1/jobs/${job.id}/cancel`, { method: "POST", json: {} }).catch(() => {});
  } }, "Cancel");
  fill(place, h("div", { class: "card" }, words, bar, h("p"), cancel));
  let now = job;
  while (now.state === "waiting" || now.state === "running") {
    if (now.total && now.done) {
      bar.value = Math.min(1, now.done / now.total);
      words.textContent = `${doing}: ${now.done.toLocaleString("en")} of ${now.total.toLocaleString("en")}`;
    } else if (now.state === "waiting") words.textContent = `${doing}: waiting for other work to end …`;
    await new Promise((resolve) => { setTimeout(resolve, POLL); });
    if (!place.isConnected) return null;
    now = await call(`/v1/jobs/${job.id}`);
  }
  fill(place);
  if (now.state === "done") return now.result;
  if (now.state === "cancelled") {
    fill(place, h("p", { class: "quiet", role: "status" }, "Cancelled."));
    return null;
  }
  throw Object.assign(new Error(now.error || `The work ended without a result (${now.state}).`), { code: now.code, hint: "Begin it again." });
}

/** The jobs of a gallery, the latest first. */
export async function jobsOf(gallery) {
  return (await call("/v1/jobs")).jobs.filter((job) => job.gallery === gallery.name);
}
