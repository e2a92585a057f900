// What several views show: tiles of items, verdicts, messages, dialogs, a place to drop pictures.

import { count, digits, fill, h, newId } from "./dom.js";

/** An error in words, with what to do and a button that tries again. */
export function errorMessage(error, again = null) {
  return h(
    "div", { class: "message error", role: "alert" },
    h("p", {}, h("strong", {}, sentence(error.message || String(error)))),
    error.hint ? h("p", {}, sentence(error.hint)) : null,
    again ? h("p", {}, h("button", { type: "button", onclick: again }, "Try again")) : null,
  );
}

/** A first letter as in a sentence, and a full stop. */
export function sentence(text) {
  const trimmed = text.trim();
  if (!trimmed) return trimmed;
  return trimmed[0].toUpperCase() + trimmed.slice(1) + (/[.?!]$/.test(trimmed) ? "" : ".");
}

/** That something takes a moment. */
export function busy(text) {
  return h("p", { class: "busy", role: "status" }, text);
}

/** What to say where there is nothing. */
export function empty(...children) {
  return h("div", { class: "empty" }, children);
}

/** The picture of an item; its first letter where there is none. */
export function picture(gallery, item, { side = 128, alt = "", known = true, name = item } = {}) {
  const nothing = () => h("span", { class: "nothing", "aria-hidden": "true" }, [...name][0]?.toUpperCase() ?? "?");
  if (!known) return nothing();
  const image = h("img", {
    class: "picture", alt, loading: "lazy", decoding: "async", width: side, height: side,
    src: gallery.api.thumbnail(item, side * 2),
  });
  image.addEventListener("error", () => image.replaceWith(nothing()), { once: true });
  return image;
}

/** The text that an item stands for, if it is one. */
export function textOf(item) {
  const text = item.metadata?.text;
  return typeof text === "string" ? text : null;
}

/** One item as a tile; `scale` is the threshold that its distance is drawn against. */
export function tile(gallery, item, { score = null, scale = null, href = null, children = [] } = {}) {
  const text = textOf(item);
  const words = h(
    "span", { class: "words" },
    h("span", { class: "name", title: text ? null : item.identity }, text ?? item.identity),
    score === null ? null : distanceBar(score, scale),
    h("span", { class: "quiet" }, score === null ? null : `distance ${digits(score)}`),
    h("span", { class: "quiet" }, text ? item.identity : shortName(item)),
  );
  const shown = picture(gallery, item.item, {
    name: item.identity, known: item.picture !== false && gallery.kind !== "texts" && gallery.kind !== "vectors",
  });
  return h(href ? "a" : "div", { class: "tile", href }, shown, words, children);
}

/** Items as a grid. */
export function tiles(gallery, made) {
  return h("ul", { class: gallery.kind === "texts" ? "rows texts" : "rows" }, made.map((each) => h("li", {}, each)));
}

/** An item's name without the identity that it begins with. */
function shortName(item) {
  const start = `${item.identity}/`;
  return item.item.startsWith(start) ? item.item.slice(start.length) : item.item;
}

function distanceBar(score, threshold) {
  if (!threshold) return null;
  const bar = h("i");
  bar.style.width = `${Math.min(100, (50 * score) / threshold)}%`;
  return h("span", { class: "scale", "aria-hidden": "true" }, bar, h("b"));
}

const STATES = {
  firm: "The rate is known: it was measured on enough identities of this gallery.",
  provisional: "The rate is an estimate: this gallery has too few identities to be sure of it.",
  uncalibrated: "No rate is known: this gallery has too few identities to measure one.",
};

/** How well the rate is known. */
export function badge(state) {
  return h("span", { class: `badge ${state}`, title: STATES[state] }, state);
}

/** "Who is this?" in plain words. */
export function whoInWords(answer, gallery) {
  if (answer.accepted) return { kind: "yes", text: `This is ${answer.identity}` };
  if (answer.nearest === null) return { kind: "no", text: "There is nobody to compare with yet" };
  if (answer.threshold === null) return { kind: "", text: `Most like ${answer.nearest}` };
  return { kind: "no", text: gallery.faces ? "Nobody we know" : "None that we know" };
}

/** "Are these the same?" in plain words. */
export function sameInWords(answer) {
  if (answer.accepted === null || answer.threshold === null) {
    return { kind: "", text: `Distance ${digits(answer.score)}` };
  }
  return answer.accepted ? { kind: "yes", text: "The same" } : { kind: "no", text: "Different" };
}

/** The API's sentence without the words that the heading says. */
function evidence(answer) {
  const said = [`this is ${answer.identity} (`, "the same (", "different ("].find((start) => answer.sentence.startsWith(start));
  return said && answer.sentence.endsWith(")") ? answer.sentence.slice(said.length, -1) : answer.sentence;
}

/** A verdict with its evidence. */
export function verdict(words, answer, children = []) {
  return h(
    "article", { class: `card verdict ${words.kind}` },
    h("div", { class: "spread" }, h("h2", { tabindex: "-1" }, words.text), badge(answer.state)),
    h("p", {}, sentence(evidence(answer))),
    answer.warning ? h("p", { class: "quiet" }, sentence(answer.warning)) : null,
    children,
  );
}

/**
 * Opens a dialog with a form and waits for it.
 * @returns {Promise<object|null>} what `read` returned, null if it was cancelled
 */
export function dialog({ title, body, action, danger = false, read = () => true, done = null }) {
  return new Promise((resolve) => {
    const heading = newId("dialog");
    const failed = h("div");
    let result = null;
    const accept = h("button", { type: "submit", class: danger ? "first danger" : "first" }, action);
    const form = h(
      "form", {
        onsubmit: async (event) => {
          event.preventDefault();
          accept.disabled = true;
          try {
            const given = read();
            if (given === null) return;
            result = done ? await done(given) : given;
            box.close();
          } catch (error) {
            fill(failed, errorMessage(error));
          } finally {
            accept.disabled = false;
          }
        },
      },
      h("h2", { id: heading }, title), body, failed,
      h("div", { class: "row" }, h("button", { type: "button", onclick: () => box.close() }, "Cancel"), accept),
    );
    const box = h("dialog", { "aria-labelledby": heading, onclose: () => { box.remove(); resolve(result); } }, form);
    document.body.append(box);
    box.showModal();
    box.querySelector("input:not([type=file]), textarea")?.focus();
  });
}

/** A field for the name of an identity, which proposes those there are. */
export function nameField(gallery, { label = "Name", value = "", required = true } = {}) {
  const list = h("datalist", { id: newId("names") });
  const input = h("input", {
    type: "text", value, required, autocomplete: "off", list: list.id, maxlength: 200,
    oninput: () => propose(),
  });
  let wanted = 0;
  async function propose() {
    const mine = (wanted += 1);
    const found = await gallery.api.call("identities", { query: { contains: input.value, limit: 20 } }).catch(() => null);
    if (found && mine === wanted) fill(list, found.identities.map((each) => h("option", { value: each.identity })));
  }
  propose();
  return { input, element: h("label", { class: "field" }, label, input, list) };
}

/** Says what was changed, with a button that takes it back. */
export function changed(text, undo = null) {
  const place = document.getElementById("changed");
  const toast = h(
    "div", { class: "toast" }, h("span", {}, text),
    undo ? h("button", { type: "button", onclick: async (event) => {
      event.target.disabled = true;
      try {
        await undo();
        changed("Taken back.");
      } catch (error) {
        changed(`Could not be taken back: ${error.message}`);
      }
    } }, "Undo") : null,
    h("button", { type: "button", "aria-label": "Dismiss", onclick: () => fill(place) }, "×"),
  );
  fill(place, toast);
}

/** Sends a change and offers to take it back; afterwards the view is shown again. */
export async function change(gallery, path, body, text, refresh) {
  const answer = await gallery.api.call(path, { json: body });
  const undo = answer.undo?.length ? async () => {
    for (const step of answer.undo) await gallery.api.call(step.call, { json: step.body });
    await refresh(true);
  } : null;
  changed(text(answer), undo);
  await refresh(false);
  return answer;
}

/**
 * A place to drop, paste, choose or take a picture.
 * @param {{label: string, onPicture: function(File)}} given
 * @returns {{element: HTMLElement, show: function(File): HTMLElement, paste: function(ClipboardEvent): boolean}}
 */
export function dropZone({ label, onPicture, camera = true }) {
  const file = h("input", {
    type: "file", accept: "image/*,.heic,.pgm", class: "hidden-label", tabindex: "-1", "aria-label": `${label}: file`,
    onchange: () => { if (file.files.length) take(file.files[0]); file.value = ""; },
  });
  const choose = h("button", { type: "button", class: "first", onclick: () => file.click() }, "Choose a picture");
  const shoot = h("button", { type: "button", onclick: () => takePicture(take, file) }, "Take a picture");
  const hint = h("p", { class: "quiet" }, "or drop or paste one here");
  const shown = h("div", { class: "shown", hidden: true });
  const buttons = h("div", { class: "row" }, choose, camera ? shoot : null);
  const element = h(
    "div", {
      class: "drop", role: "group", "aria-label": label,
      ondragover: (event) => { event.preventDefault(); element.classList.add("over"); },
      ondragleave: () => element.classList.remove("over"),
      ondrop: (event) => {
        event.preventDefault();
        element.classList.remove("over");
        const dropped = event.dataTransfer.files[0];
        if (dropped) take(dropped);
      },
    },
    shown, h("strong", {}, label), buttons, hint, file,
  );
  let address = null;

  function take(picked) {
    show(picked);
    onPicture(picked);
  }

  function show(picked) {
    if (address) URL.revokeObjectURL(address);
    address = URL.createObjectURL(picked);
    const image = h("img", { alt: `Your picture ${picked.name ?? ""}` });
    image.addEventListener("error", () => fill(shown, h("p", { class: "quiet" }, "(This browser cannot show it.)")));
    image.src = address;
    fill(shown, image);
    shown.hidden = false;
    element.classList.add("filled");
    choose.textContent = "Another picture";
    choose.classList.remove("first");
    return shown;
  }

  function paste(event) {
    const pasted = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith("image/"));
    if (!pasted) return false;
    event.preventDefault();
    take(pasted);
    return true;
  }

  return { element, show, paste, shown };
}

async function takePicture(take, file) {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: { ideal: "environment" } } });
  } catch {
    // No camera, or no permission: phones then offer theirs.
    file.setAttribute("capture", "environment");
    file.click();
    file.removeAttribute("capture");
    return;
  }
  const video = h("video", { autoplay: true, playsinline: true, "aria-label": "What the camera sees" });
  video.muted = true;
  video.srcObject = stream;
  const made = await dialog({
    title: "Take a picture", body: video, action: "Take it",
    done: async () => {
      const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
      canvas.getContext("2d").drawImage(video, 0, 0);
      return new Promise((resolve) => { canvas.toBlob(resolve, "image/jpeg", 0.92); });
    },
  });
  stream.getTracks().forEach((track) => track.stop());
  if (made) take(new File([made], `camera-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.jpg`, { type: "image/jpeg" }));
}

/** The faces of a picture as boxes over it. */
export function drawBoxes(shown, answers, onChoose) {
  shown.querySelectorAll(".box").forEach((old) => old.remove());
  const image = shown.querySelector("img");
  if (!image || !answers.some((answer) => answer.face)) return;
  const place = () => {
    if (!image.naturalWidth) return;
    answers.forEach((answer, number) => {
      if (!answer.face) return;
      const [left, top, width, height] = answer.face.box;
      const box = h("button", {
        type: "button", class: "box", "aria-label": `Face ${number + 1}: ${answer.identity ?? "unknown"}`,
        onclick: () => onChoose(number),
      }, h("span", {}, String(number + 1)));
      box.style.left = `${(100 * left) / image.naturalWidth}%`;
      box.style.top = `${(100 * top) / image.naturalHeight}%`;
      box.style.width = `${(100 * width) / image.naturalWidth}%`;
      box.style.height = `${(100 * height) / image.naturalHeight}%`;
      shown.append(box);
    });
  };
  if (image.complete) place();
  else image.addEventListener("load", place, { once: true });
}

/** The names of items, page after page, with a button for more. */
export function pages(load, draw, { what }) {
  const list = h("div");
  const more = h("button", { type: "button", hidden: true, onclick: () => next() }, "Show more");
  const state = h("div");
  let after = null;
  let got = 0;
  async function next() {
    more.disabled = true;
    fill(state, busy("One moment …"));
    try {
      const page = await load(after);
      fill(state);
      got += draw(list, page);
      after = page.next;
      more.hidden = after === null;
      if (page.total !== undefined) fill(state, h("p", { class: "quiet" }, `${got.toLocaleString("en")} of ${count(page.total, ...what)}`));
    } catch (error) {
      fill(state, errorMessage(error, () => next()));
    } finally {
      more.disabled = false;
    }
  }
  return { element: h("div", {}, list, state, more), next };
}
