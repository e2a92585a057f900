// Which items belong together, whatever they are called; a cluster can be given a name.

import { count, fill, h } from "../dom.js";
import { followJob, jobsOf, runJob } from "../jobs.js";
import { change, dialog, empty, errorMessage, nameField, pages, picture, tile, tiles } from "../parts.js";

const PAGE = 12;
const DOING = "Finding clusters";
const LOOKED_AT = 40; // items

export async function show(main, context) {
  const { gallery, given, mayWrite } = context;
  if (given.cluster !== undefined) return showOne(main, context, Number(given.cluster));
  const progress = h("div");
  const place = h("section", { "aria-label": "Clusters" });
  const threshold = h("input", { type: "number", min: 0, step: "any", "aria-label": "Longest distance (optional)", placeholder: "Distance (optional)" });
  const form = h("form", { class: "row", onsubmit: (event) => { event.preventDefault(); find(); } },
    threshold, h("button", { type: "submit", class: "first" }, "Find clusters"));
  fill(
    main,
    h("div", { class: "spread" },
      h("div", {}, h("h1", {}, "Clusters"), h("p", { class: "quiet" }, "Items that belong together by the look of them, whatever they are called.")),
      mayWrite ? form : null),
    progress, place,
  );
  const running = (await jobsOf(gallery).catch(() => [])).find((job) => job.kind === "cluster" && ["waiting", "running"].includes(job.state));
  await list();
  if (running) await follow(() => followJob(running, progress, DOING));

  function find() {
    const limit = threshold.value === "" ? null : Number(threshold.value);
    const request = { kind: "cluster", recluster: true, ...(limit === null ? { choose: gallery.identities > 1 } : { threshold: limit }) };
    return follow(() => runJob(gallery, request, progress, DOING));
  }

  async function follow(job) {
    try {
      const result = await job();
      if (!result) return;
      fill(progress, h("p", { class: "message", role: "status" },
        `${count(result.clusters, "cluster")} of ${count(result.items, "item")}: two items are linked up to a distance of ${result.threshold.toPrecision(3)}.`));
      await list();
    } catch (error) {
      if (error.code === "no_threshold" && threshold.value === "") await suggest();
      else fill(progress, errorMessage(error, find));
    }
  }

  /** Where no distance is known, one to begin with: that within which half of the items have a neighbour. */
  async function suggest() {
    const { items } = await gallery.api.call("items", { query: { limit: 1000 } });
    const step = Math.ceil(items.length / LOOKED_AT);
    const found = await Promise.all(items.filter((_, at) => at % step === 0).map(({ item }) =>
      gallery.api.call("search", { json: { item, k: 1, exclude: [item] } })));
    const nearest = found.flatMap((answer) => answer.hits.map((hit) => hit.score)).sort((a, b) => a - b);
    if (!nearest.length) return fill(progress, empty(h("p", {}, "Clusters need at least two items.")));
    threshold.value = nearest[Math.floor(nearest.length / 2)].toPrecision(2);
    threshold.focus();
    return fill(progress, h("p", { class: "message", role: "status" },
      "It is not known at which distance items of this gallery belong together. Half of them have another within ",
      `${threshold.value}: “Find clusters” begins there. With a larger distance more belongs together, with a smaller one less.`));
  }

  async function list() {
    const paged = pages(
      (after) => gallery.api.call("clusters", { query: { after: after ?? 0, limit: PAGE } }),
      (into, page) => {
        if (!page.total) {
          fill(into, empty(h("p", {}, "There are no clusters yet. ", mayWrite ? "“Find clusters” groups what is alike." : "Somebody who may write can find them.")));
        }
        into.append(...page.clusters.map((cluster) => clusterCard(gallery, cluster)));
        return page.clusters.length;
      },
      { what: ["cluster"] },
    );
    fill(place, paged.element);
    await paged.next();
  }
}

function clusterCard(gallery, cluster) {
  const owners = Object.entries(cluster.identities).map(([name, number]) => `${name} (${number})`);
  const strip = h("span", { class: "strip", "aria-hidden": "true" },
    cluster.items.map((item) => picture(gallery, item, { side: 64, known: gallery.kind === "images" || gallery.kind === null })));
  return h("a", { class: "card cluster", href: gallery.to("clusters", { cluster: cluster.cluster }) },
    h("h2", {}, `Cluster ${cluster.cluster}: ${count(cluster.count, "item")}`),
    h("p", { class: "quiet" }, owners.slice(0, 4).join(", "), owners.length > 4 ? ` and ${owners.length - 4} more` : ""),
    gallery.kind === "texts" ? null : strip);
}

async function showOne(main, context, number) {
  const { gallery, mayWrite } = context;
  const grid = tiles(gallery, []);
  const owners = new Map();
  const names = [];
  const mixed = h("p", { class: "quiet" });
  const paged = pages(
    (after) => gallery.api.call("items", { query: { cluster: number, after, limit: 100 } }),
    (into, page) => {
      if (!grid.isConnected) into.append(grid);
      for (const item of page.items) {
        names.push(item.item);
        owners.set(item.identity, (owners.get(item.identity) ?? 0) + 1);
      }
      grid.append(...page.items.map((item) => h("li", {}, tile(gallery, item, { href: gallery.to("identity", { name: item.identity }) }))));
      mixed.textContent = owners.size > 1 ? `${owners.size} identities are in it: somebody may be here under two names.` : `All of ${[...owners.keys()][0] ?? "nobody"}.`;
      return page.items.length;
    },
    { what: ["item"] },
  );
  fill(
    main,
    h("p", {}, h("a", { href: gallery.to("clusters") }, "← All clusters")),
    h("div", { class: "spread" }, h("div", {}, h("h1", {}, `Cluster ${number}`), mixed),
      mayWrite ? h("button", { type: "button", class: "first", onclick: name }, "Name this cluster …") : null),
    paged.element,
  );
  await paged.next();

  async function name() {
    const most = [...owners].sort((a, b) => b[1] - a[1])[0]?.[0] ?? "";
    const field = nameField(gallery, { label: "Who or what is it?", value: most });
    await dialog({
      title: `Name cluster ${number}`,
      body: [field.element, h("p", { class: "quiet" }, "All its items get this name.")], action: "Name it",
      read: () => field.input.value.trim() || null,
      done: async (identity) => {
        const items = await allItems(gallery, number, context.session.limits.items);
        await change(gallery, "move", { items, identity }, (answer) => `${count(answer.moved, "item")} are now ${identity}.`, async () => {
          await context.refreshFacts();
          await showOne(main, context, number);
        });
      },
    });
  }
}

async function allItems(gallery, cluster, most) {
  const names = [];
  let after = "";
  do {
    const page = await gallery.api.call("items", { query: { cluster, after, limit: Math.min(1000, most) } });
    names.push(...page.items.map((item) => item.item));
    after = page.next;
  } while (after && names.length < most);
  return names.slice(0, most);
}
