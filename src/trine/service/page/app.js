// The page: which gallery, which view, and who asks.

import { call, galleryAt, onKeyNeeded } from "./api.js";
import { fill, h } from "./dom.js";
import { busy, dialog, empty, errorMessage } from "./parts.js";

const VIEWS = {
  ask: { title: "Ask", load: () => import("./views/ask.js") },
  browse: { title: "Browse", load: () => import("./views/browse.js") },
  identity: { title: null, under: "browse", load: () => import("./views/identity.js") },
  compare: { title: "Compare", load: () => import("./views/compare.js") },
  clusters: { title: "Clusters", load: () => import("./views/clusters.js") },
  review: { title: "Review", load: () => import("./views/review.js") },
  map: { title: "Map", load: () => import("./views/map.js") },
  runs: { title: "Runs", when: (gallery, session) => session.runs, load: () => import("./views/runs.js") },
};

const main = document.getElementById("main");
const select = document.getElementById("gallery");
const page = { session: null, galleries: [] };
let leaving = [];

/** The address of a view. */
export function addressOf(gallery, view, given = {}) {
  const query = new URLSearchParams(given).toString();
  return `#/${encodeURIComponent(gallery)}/${view}${query ? `?${query}` : ""}`;
}

function where() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [gallery = "", view = ""] = path.split("/").map(decodeURIComponent);
  return { gallery, view, given: Object.fromEntries(new URLSearchParams(query)) };
}

async function show() {
  const { gallery: wanted, view, given } = where();
  leaving.forEach((what) => what());
  leaving = [];
  if (!page.galleries.length) {
    fill(main, empty(h("h1", {}, "No gallery yet"), h("p", {}, "This key may use none of the galleries here.")));
    return;
  }
  const facts = page.galleries.find((each) => each.name === wanted) ?? page.galleries[0];
  const chosen = VIEWS[view] ? view : "ask";
  if (facts.name !== wanted || chosen !== view) {
    history.replaceState(null, "", addressOf(facts.name, chosen, given));
  }
  select.value = facts.name;
  navigation(facts, VIEWS[chosen].under ?? chosen);
  document.title = `${VIEWS[chosen].title ?? given.name ?? chosen} · ${facts.name} · trine`;
  const gallery = { ...facts, api: galleryAt(facts.name), to: (next, more) => addressOf(facts.name, next, more) };
  const context = {
    gallery, given, session: page.session,
    mayWrite: page.session.scopes.includes("write"),
    go: (next, more) => { location.hash = addressOf(facts.name, next, more); },
    refreshFacts,
    onLeave: (what) => { leaving.push(what); },
  };
  fill(main, busy("One moment …"));
  try {
    const module = await VIEWS[chosen].load();
    await module.show(main, context);
  } catch (error) {
    fill(main, errorMessage(error, show));
  }
}

function navigation(gallery, current) {
  const shown = Object.entries(VIEWS).filter(([, view]) => view.title && (view.when?.(gallery, page.session) ?? true));
  fill(document.getElementById("nav"), shown.map(([name, view]) => h(
    "a", { href: addressOf(gallery.name, name), "aria-current": name === current ? "page" : null }, view.title,
  )));
}

async function refreshFacts() {
  page.galleries = (await call("/v1/galleries")).galleries;
  const names = page.galleries.map((each) => each.name);
  fill(select, names.map((name) => h("option", { value: name }, name)));
  document.getElementById("gallery-box").hidden = !names.length;
  select.value = where().gallery || names[0];
}

async function askForKey() {
  const input = h("input", { type: "password", required: true, autocomplete: "off", maxlength: 200 });
  const given = await dialog({
    title: "This service needs a key",
    body: [
      h("p", {}, "Whoever runs it makes one with ", h("code", {}, "trine keys add NAME"), "."),
      h("label", { class: "field" }, "Key", input),
    ],
    action: "Sign in",
    read: () => input.value.trim(),
    done: (key) => call("/v1/session", { json: { key } }),
  });
  if (given === null) throw new Error("Nothing can be shown without a key.");
  page.session = given;
}

async function start() {
  fill(main, busy("One moment …"));
  try {
    page.session = await call("/v1/session");
    if (!page.session.name) await askForKey();
    await refreshFacts();
    document.getElementById("sign-out").hidden = !page.session.keys;
    await show();
  } catch (error) {
    fill(main, errorMessage(error, start));
  }
}

onKeyNeeded(askForKey);
addEventListener("hashchange", show);
select.addEventListener("change", () => { location.hash = addressOf(select.value, where().view || "ask"); });
document.getElementById("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
document.getElementById("sign-out").addEventListener("click", async () => {
  await call("/v1/session", { method: "DELETE" });
  location.reload();
});
// A picture that misses its place must not replace the page.
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => event.preventDefault());
start();
