// All identities, page by page, filtered by name.

import { count, fill, h } from "../dom.js";
import { empty, pages, picture, tiles } from "../parts.js";

const PAGE = 60;

export async function show(main, context) {
  const { gallery, given } = context;
  const place = h("section", { "aria-label": "Identities" });
  const filter = h("input", {
    type: "search", value: given.contains ?? "", placeholder: "Filter by name", "aria-label": "Filter by name",
    oninput: () => { clearTimeout(waiting); waiting = setTimeout(list, 200); },
  });
  let waiting = null;
  fill(
    main,
    h("div", { class: "spread" },
      h("div", {}, h("h1", {}, "Browse"),
        h("p", { class: "quiet" }, `${count(gallery.items, "item")} of ${count(gallery.identities, "identity", "identities")}`)),
      h("div", { role: "search" }, filter)),
    place,
  );

  async function list() {
    const contains = filter.value.trim();
    history.replaceState(null, "", gallery.to("browse", contains ? { contains } : {}));
    const grid = tiles(gallery, []);
    const paged = pages(
      (after) => gallery.api.call("identities", { query: { after, contains, limit: PAGE, pictures: true } }),
      (into, page) => {
        if (!grid.isConnected) into.append(grid);
        grid.append(...page.identities.map((one) => h("li", {}, identityTile(gallery, one))));
        if (!page.total) fill(into, nothing(contains));
        return page.identities.length;
      },
      { what: ["identity", "identities"] },
    );
    fill(place, paged.element);
    await paged.next();
  }
  await list();
}

function identityTile(gallery, one) {
  return h("a", { class: "tile", href: gallery.to("identity", { name: one.identity }) },
    picture(gallery, one.picture, { name: one.identity, known: one.picture !== null }),
    h("span", { class: "words" }, h("span", { class: "name" }, one.identity), h("span", { class: "quiet" }, count(one.items, "item"))));
}

function nothing(contains) {
  return contains
    ? empty(h("p", {}, `No name contains “${contains}”.`))
    : empty(h("p", {}, "Nobody is enrolled yet. Ask with a picture and give it a name, or run ", h("code", {}, "trine enrol"), "."));
}
