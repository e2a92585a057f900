// Ask with a picture or a text: who is it, and what is nearest?

import { formOf } from "../api.js";
import { count, fill, h } from "../dom.js";
import { badge, busy, drawBoxes, dropZone, errorMessage, nameField, sentence, tile, tiles, verdict, whoInWords } from "../parts.js";

const NEAREST = 12;

export async function show(main, context) {
  const { gallery, given } = context;
  const out = h("section", { "aria-label": "Answer", "aria-live": "polite" });
  const asker = askerFor(context, (probe, shown) => ask(context, out, probe, shown));
  const rate = h("div");
  fill(
    main,
    h("h1", {}, gallery.faces ? "Who is this?" : "What is this?"),
    h("p", { class: "quiet" }, `${count(gallery.items, "item")} of ${count(gallery.identities, "identity", "identities")} in ${gallery.name}`),
    h("div", { class: "two" }, h("div", {}, asker.element, rate), out),
  );
  fill(out, welcome(gallery));
  if (given.item) await ask(context, out, { item: given.item }, null);
  showRate(gallery, rate);
}

function welcome(gallery) {
  if (!gallery.items) {
    return h("div", { class: "message" },
      h("p", {}, h("strong", {}, "This gallery is empty.")),
      h("p", {}, "Give a picture and then a name to add the first item, or fill it with ", h("code", {}, "trine enrol"), "."));
  }
  return h("div", { class: "empty" }, h("p", {}, "The answer appears here: who it is, or that it is nobody we know, and the nearest items."));
}

async function showRate(gallery, place) {
  try {
    const found = await gallery.api.call("calibration");
    fill(place, h("details", { class: "card" },
      h("summary", {}, "How sure are answers here? ", badge(found.state)),
      h("p", {}, sentence(found.sentence)),
      found.warning ? h("p", { class: "quiet" }, sentence(found.warning)) : null));
  } catch { /* The answers say it, too. */ }
}

function askerFor(context, onAsk) {
  const { gallery } = context;
  if (gallery.kind === "images") {
    const zone = dropZone({ label: gallery.faces ? "A picture of one or more people" : "A picture", onPicture: (file) => onAsk({ picture: file }, zone.shown) });
    const pasted = (event) => zone.paste(event);
    addEventListener("paste", pasted);
    context.onLeave(() => removeEventListener("paste", pasted));
    return zone;
  }
  const input = h("textarea", { required: true, rows: 4, placeholder: gallery.kind === "texts" ? "What does a customer ask?" : "0.1, 0.7, …" });
  const label = { texts: "A text", vectors: "Numbers, separated by commas" }[gallery.kind] ?? `An embedding: ${gallery.dimension} numbers, separated by commas`;
  if (gallery.kind === "texts") input.placeholder = "";
  const form = h(
    "form", {
      class: "card",
      onsubmit: (event) => {
        event.preventDefault();
        if (gallery.kind === "texts") onAsk({ text: input.value }, null);
        else {
          const numbers = input.value.split(/[\s,;]+/).filter(Boolean).map(Number);
          onAsk({ [gallery.kind === "vectors" ? "vector" : "embedding"]: numbers }, null);
        }
      },
    },
    h("label", { class: "field" }, label, input),
    h("button", { type: "submit", class: "first" }, "Ask"),
  );
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  return { element: form };
}

async function ask(context, out, probe, shown) {
  const { gallery, session } = context;
  if (probe.picture && probe.picture.size > session.limits.body) {
    fill(out, errorMessage({ message: "The picture is too large.", hint: `This service takes up to ${Math.round(session.limits.body / 2 ** 20)} MiB.` }));
    return;
  }
  fill(out, busy(gallery.faces && probe.picture ? "Looking for faces …" : "Looking …"));
  try {
    const send = (path, more) => gallery.api.call(path, probe.picture ? { form: formOf({ ...probe, ...more }) } : { json: { ...probe, ...more } });
    const { answers } = await send("identify", {});
    const cards = await Promise.all(answers.map(async (answer, number) => {
      const several = answers.length > 1;
      const { hits } = await send("search", { k: NEAREST, ...(answer.face ? { face: number } : {}), ...(probe.item ? { exclude: [probe.item] } : {}) });
      return answerCard(context, answer, hits, { number, several, probe });
    }));
    fill(out,
      answers.length > 1 ? h("p", {}, `${count(answers.length, "face")}, the largest first.`) : null,
      cards);
    if (shown) drawBoxes(shown, answers, (number) => {
      cards[number].scrollIntoView({ behavior: "smooth", block: "start" });
      cards[number].querySelector("h2").focus({ preventScroll: true });
    });
  } catch (error) {
    fill(out, errorMessage(error, error.status === 0 || error.status >= 500 ? () => ask(context, out, probe, shown) : null));
  }
}

function answerCard(context, answer, hits, { number, several, probe }) {
  const { gallery, mayWrite } = context;
  const words = whoInWords(answer, gallery);
  if (several) words.text = `${number + 1}: ${words.text}`;
  const problems = answer.face?.problems ?? [];
  const nearest = hits.map((hit) => tile(gallery, hit, {
    score: hit.score, scale: answer.threshold, href: gallery.to("identity", { name: hit.identity, item: hit.item }),
  }));
  const where = h("div");
  const add = mayWrite && !probe.item ? h("button", { type: "button", onclick: () => fill(where, enrolForm(context, answer, probe, number, where)) }, "Add to the gallery …") : null;
  return verdict(words, answer, [
    problems.length ? h("p", { class: "quiet" }, `Look with care: ${problems.join("; ")}.`) : null,
    hits.length ? h("h3", {}, "Nearest") : null,
    answer.threshold && hits.length ? h("p", { class: "quiet" }, "The mark on each bar is the threshold: shorter counts as the same.") : null,
    tiles(gallery, nearest),
    h("p"), add, where,
  ]);
}

function enrolForm(context, answer, probe, number, where) {
  const { gallery } = context;
  const name = nameField(gallery, { label: "Under which name?", value: answer.accepted ? answer.identity : "" });
  const failed = h("div");
  const button = h("button", { type: "submit", class: "first" }, "Add");
  queueMicrotask(() => name.input.focus());
  return h(
    "form", {
      onsubmit: async (event) => {
        event.preventDefault();
        button.disabled = true;
        const identity = name.input.value.trim();
        try {
          const item = newItemName(identity, probe.picture?.name);
          const body = { ...probe, identity, item, ...(answer.face ? { face: number } : {}) };
          await gallery.api.call("enrol", probe.picture ? { form: formOf(body) } : { json: body });
          fill(where, h("p", { role: "status" }, "Added to ", h("a", { href: gallery.to("identity", { name: identity }) }, identity), "."));
          await context.refreshFacts();
        } catch (error) {
          fill(failed, errorMessage(error));
          button.disabled = false;
        }
      },
    },
    name.element,
    gallery.keeps_pictures || !probe.picture ? null : h("p", { class: "quiet" }, "This service does not keep pictures: only what the network sees is stored."),
    button, failed,
  );
}

/** A name that no other item has, so that adding never replaces. */
export function newItemName(identity, file) {
  const now = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
  return `${identity}/${now}-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)} ${file ?? ""}`.trim();
}
