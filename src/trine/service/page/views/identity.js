// One identity: its items, and what can be changed about them.

import { formOf } from "../api.js";
import { count, fill, h } from "../dom.js";
import { change, changed, dialog, dropZone, nameField, pages, tile, tiles } from "../parts.js";
import { newItemName } from "./ask.js";

const PAGE = 60;

export async function show(main, context) {
  const { gallery, given, mayWrite } = context;
  const name = given.name ?? "";
  const chosen = new Set();
  const bar = h("div", { class: "selection", role: "region", "aria-label": "Selected items", hidden: true });
  const grid = tiles(gallery, []);
  const paged = pages(
    (after) => gallery.api.call("items", { query: { identity: name, after, limit: PAGE } }),
    (into, page) => {
      if (!grid.isConnected) into.append(grid);
      grid.append(...page.items.map((item) => h("li", {}, itemTile(item))));
      return page.items.length;
    },
    { what: ["item"] },
  );
  // After a change the name may be another, or gone.
  const refresh = (to = name) => async (undone) => {
    await context.refreshFacts();
    const next = undone ? name : to;
    if (next === null) context.go("browse");
    else if (location.hash === gallery.to("identity", { name: next })) await show(main, { ...context, given: { name: next } });
    else context.go("identity", { name: next });
  };

  fill(
    main,
    h("p", {}, h("a", { href: gallery.to("browse") }, "← All identities")),
    h("div", { class: "spread" }, h("h1", {}, name), mayWrite ? actions(context, name, refresh) : null),
    bar, paged.element,
  );
  await paged.next();

  function itemTile(item) {
    const box = h("input", {
      type: "checkbox", "aria-label": `Select ${item.item}`,
      onchange: () => { if (box.checked) chosen.add(item.item); else chosen.delete(item.item); draw(); },
    });
    const ask = h("a", { class: "quiet", href: gallery.to("ask", { item: item.item }) }, "Nearest …");
    const made = tile(gallery, item, { children: mayWrite ? [box] : [] });
    made.querySelector(".words").append(ask);
    return made;
  }

  function draw() {
    bar.hidden = chosen.size === 0;
    const items = [...chosen];
    fill(
      bar, h("strong", {}, `${count(items.length, "item")} selected`),
      h("button", { type: "button", onclick: () => moveTo("move", "Move to another identity", "Move") }, "Move …"),
      h("button", { type: "button", onclick: () => moveTo("split", "Split off as a new identity", "Split off") }, "Split off …"),
      h("button", { type: "button", class: "danger", onclick: remove }, "Remove …"),
      h("button", { type: "button", class: "plain", onclick: () => {
        chosen.clear();
        grid.querySelectorAll("input:checked").forEach((box) => { box.checked = false; });
        draw();
      } }, "Clear"),
    );

    async function moveTo(path, title, action) {
      const field = nameField(gallery, { label: path === "move" ? "To which identity?" : "Name of the new identity" });
      const total = (await gallery.api.call("items", { query: { identity: name, limit: 1000 } })).items.length;
      await dialog({
        title, body: field.element, action, read: () => field.input.value.trim() || null,
        done: (identity) => change(gallery, path, { items, identity },
          (answer) => `${count(answer.moved, "item")} moved from ${name} to ${identity}.`,
          refresh(total === items.length ? identity : name)),
      });
    }

    async function remove() {
      await dialog({
        title: `Remove ${count(items.length, "item")}?`,
        body: h("p", {}, "They and their kept pictures are deleted. This cannot be undone."), action: "Remove", danger: true,
        done: async () => {
          for (const item of items) await gallery.api.call("remove", { json: { item } });
          changed(`${count(items.length, "item")} removed.`);
          const left = await gallery.api.call("identities", { query: { contains: name, limit: 1000 } });
          await refresh(left.identities.some((one) => one.identity === name) ? name : null)(false);
        },
      });
    }
  }
}

function actions(context, name, refresh) {
  const { gallery } = context;
  return h(
    "div", { class: "row" },
    gallery.kind === "images" ? h("button", { type: "button", onclick: add }, "Add a picture …") : null,
    h("button", { type: "button", onclick: rename }, "Rename …"),
    h("button", { type: "button", onclick: merge }, "Merge …"),
    h("button", { type: "button", class: "danger", onclick: forget }, "Forget …"),
  );

  async function add() {
    let file = null;
    const zone = dropZone({ label: `A picture of ${name}`, camera: false, onPicture: (picked) => { file = picked; } });
    await dialog({
      title: `Add a picture of ${name}`, body: zone.element, action: "Add",
      read: () => {
        if (!file) throw new Error("Choose a picture first.");
        return file;
      },
      done: async (picture) => {
        const item = newItemName(name, picture.name);
        await gallery.api.call("enrol", { form: formOf({ identity: name, item, picture }) });
        changed(`Added to ${name}.`);
        await refresh()(false);
      },
    });
  }

  async function rename() {
    const input = h("input", { type: "text", value: name, required: true, maxlength: 200 });
    await dialog({
      title: `Rename ${name}`, body: h("label", { class: "field" }, "New name", input), action: "Rename",
      read: () => input.value.trim() || null,
      done: (to) => change(gallery, "rename", { identity: name, to }, () => `${name} is now ${to}.`, refresh(to)),
    });
  }

  async function merge() {
    const field = nameField(gallery, { label: "Who else is this?" });
    await dialog({
      title: `Merge another identity into ${name}`,
      body: [field.element, h("p", { class: "quiet" }, `All items of the other one move to ${name}.`)], action: "Merge",
      read: () => field.input.value.trim() || null,
      done: (other) => change(gallery, "merge", { identity: name, other },
        (answer) => `${count(answer.moved, "item")} of ${other} moved to ${name}.`, refresh()),
    });
  }

  async function forget() {
    const input = h("input", { type: "text", autocomplete: "off", required: true });
    await dialog({
      title: `Forget ${name}?`,
      body: [
        h("p", {}, "All items, kept pictures and answers about them are deleted, and the name is wiped from the log. ", h("strong", {}, "This cannot be undone.")),
        h("label", { class: "field" }, `Type ${name} to confirm`, input),
      ],
      action: "Forget", danger: true,
      read: () => {
        if (input.value.trim() !== name) throw new Error("That is another name.");
        return name;
      },
      done: async () => {
        const answer = await gallery.api.call("forget", { json: { identity: name } });
        changed(`${count(answer.deleted, "item")} forgotten.`);
        await refresh(null)(false);
      },
    });
  }
}
