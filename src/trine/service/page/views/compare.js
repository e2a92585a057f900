// Are these two the same?

import { digits, fill, h } from "../dom.js";
import { busy, dropZone, errorMessage, sameInWords, verdict } from "../parts.js";

export async function show(main, context) {
  const { gallery } = context;
  const out = h("section", { "aria-label": "Answer", "aria-live": "polite" });
  const given = [null, null];
  const sides = [0, 1].map((side) => sideFor(gallery, side, (probe) => { given[side] = probe; compare(gallery, given, out); }));
  const pasted = (event) => sides[given[0] === null || given[1] !== null ? 0 : 1].paste?.(event);
  addEventListener("paste", pasted);
  context.onLeave(() => removeEventListener("paste", pasted));
  fill(
    main,
    h("h1", {}, gallery.faces ? "Are these two the same person?" : "Are these two the same?"),
    h("p", { class: "quiet" }, gallery.faces ? "Of several faces on a picture, the largest is compared." : "Give two, and see."),
    h("div", { class: "halves" }, sides.map((side) => side.element)),
    out,
  );
}

function sideFor(gallery, side, onGiven) {
  const label = ["First", "Second"][side];
  if (gallery.kind === "images") {
    return dropZone({ label: `${label} picture`, onPicture: async (file) => onGiven({ picture: await base64(file) }) });
  }
  const texts = gallery.kind === "texts";
  const input = h("textarea", { rows: 4, onchange: () => {
    const numbers = input.value.split(/[\s,;]+/).filter(Boolean).map(Number);
    const name = gallery.kind === "vectors" ? "vector" : "embedding";
    if (input.value.trim()) onGiven(texts ? { text: input.value } : { [name]: numbers });
  } });
  return { element: h("div", { class: "card" }, h("label", { class: "field" }, `${label} ${texts ? "text" : "row of numbers"}`, input)) };
}

async function compare(gallery, [a, b], out) {
  if (!a || !b) {
    fill(out, h("p", { class: "quiet", role: "status" }, "Now the other one."));
    return;
  }
  fill(out, busy("Comparing …"));
  try {
    const { answer, note } = await verified(gallery, { a, b });
    fill(out, verdict(sameInWords(answer), answer, note ? h("p", { class: "quiet" }, note) : null));
  } catch (error) {
    fill(out, errorMessage(error, error.status === 0 || error.status >= 500 ? () => compare(gallery, [a, b], out) : null));
  }
}

/** The gallery's answer; one without a threshold for pairs judges by the one that it names people by. */
async function verified(gallery, pair) {
  if ((await gallery.api.call("model")).threshold !== null) {
    return { answer: await gallery.api.call("verify", { json: pair }) };
  }
  const { threshold } = await gallery.api.call("calibration");
  const answer = await gallery.api.call("verify", { json: { ...pair, threshold: threshold ?? 0 } });
  if (threshold === null) {
    return {
      answer: { ...answer, threshold: null, sentence: `distance ${digits(answer.score)}; this gallery has no threshold` },
      note: "Whether they are the same cannot be said: calibrate the model with trine evaluate --calibrate.",
    };
  }
  return {
    answer,
    note: "Judged by the threshold that this gallery names by, as it has none for pairs: how often two strangers pass is not known.",
  };
}

/** The bytes of a file in base64, as JSON takes them. */
function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result.slice(reader.result.indexOf(",") + 1)));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(file);
  });
}
