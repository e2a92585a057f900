// The map of the gallery: every item a point, near where it looks like others. Drawn on a plain canvas.

import { count, fill, h } from "../dom.js";
import { busy, change, dialog, empty, nameField, tile, tiles } from "../parts.js";

const REACH = 14; // pixels around the pointer
const CELLS = 160; // of the grid that finds the nearest point, per side
const MOST_LISTED = 60;

export async function show(main, context) {
  const { gallery } = context;
  fill(main, h("h1", {}, "Map"), busy("Placing the items …"));
  const found = await gallery.api.call("map");
  if (!found.items.length) {
    fill(main, h("h1", {}, "Map"), empty(h("p", {}, "There is nothing to place yet: enrol some items first.")));
    return;
  }
  const map = new Map2d(context, found);
  fill(
    main,
    h("div", { class: "spread" },
      h("div", {}, h("h1", {}, "Map"),
        h("p", { class: "quiet" }, `${count(found.items.length, "item")}${found.sampled ? " (a sample)" : ""}: what looks alike lies close together. `,
          "Drag to move, scroll or pinch to zoom; hold Shift and drag to select.")),
      h("label", {}, h("span", { class: "hidden-label" }, "Show one identity"), map.only)),
    map.element, map.chosen,
  );
  map.start();
  context.onLeave(() => map.stop());
}

class Map2d {
  constructor(context, found) {
    this.context = context;
    this.gallery = context.gallery;
    this.found = found;
    this.x = Float32Array.from(found.x);
    this.y = Float32Array.from(found.y);
    this.view = { x: 0, y: 0, zoom: 1 };
    this.picked = new Set();
    this.lit = null;
    this.pointers = new Map();
    this.canvas = h("canvas", {
      tabindex: "0", role: "application", "aria-label": "Map of the gallery: arrow keys move, plus and minus zoom, N steps to the next item, space selects it, Enter names what is selected",
    });
    this.hover = h("div", { class: "tile hover", hidden: true });
    this.said = h("p", { class: "hidden-label", role: "status" });
    this.chosen = h("section", { "aria-label": "Selected items" });
    this.selecting = h("button", { type: "button", "aria-pressed": "false", "aria-label": "Select by dragging", title: "Select by dragging", onclick: () => {
      this.selecting.setAttribute("aria-pressed", String(!this.isSelecting()));
    } }, "▢");
    this.only = h("select", { onchange: () => { this.draw(); } },
      h("option", { value: "" }, "All identities"), [...found.identities.entries()].sort((a, b) => a[1].localeCompare(b[1])).slice(0, 2000).map(([number, name]) => h("option", { value: number }, name)));
    this.element = h("div", { class: "map" }, this.canvas, this.hover, this.said,
      h("div", { class: "zoom" },
        h("button", { type: "button", "aria-label": "Zoom in", onclick: () => this.zoom(1.5) }, "+"),
        h("button", { type: "button", "aria-label": "Zoom out", onclick: () => this.zoom(1 / 1.5) }, "−"),
        h("button", { type: "button", "aria-label": "Show all", title: "Show all", onclick: () => { this.view = { x: 0, y: 0, zoom: 1 }; this.draw(); } }, "⌂"),
        this.selecting));
    this.colours = this.coloursOf();
    this.grid = this.gridOf();
  }

  isSelecting() {
    return this.selecting.getAttribute("aria-pressed") === "true";
  }

  start() {
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(this.canvas);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.recolour = () => { this.colours = this.coloursOf(); this.draw(); };
    this.scheme.addEventListener("change", this.recolour);
    const on = (name, act, options) => this.canvas.addEventListener(name, act, options);
    on("pointerdown", (event) => this.down(event));
    on("pointermove", (event) => this.move(event));
    on("pointerup", (event) => this.up(event));
    on("pointercancel", (event) => this.up(event));
    on("pointerleave", () => { this.show(null); });
    on("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 400), this.at(event));
    }, { passive: false });
    on("keydown", (event) => this.key(event));
  }

  stop() {
    this.resized.disconnect();
    this.scheme.removeEventListener("change", this.recolour);
  }

  // -- where things are ------------------------------------------------------------------------------------

  /** The pixels of the canvas that one unit of the map takes. */
  scale() {
    return 0.46 * Math.min(this.canvas.clientWidth, this.canvas.clientHeight) * this.view.zoom;
  }

  toScreen(item) {
    const scale = this.scale();
    return [
      this.canvas.clientWidth / 2 + (this.x[item] - this.view.x) * scale,
      this.canvas.clientHeight / 2 - (this.y[item] - this.view.y) * scale,
    ];
  }

  toMap([left, top]) {
    const scale = this.scale();
    return [this.view.x + (left - this.canvas.clientWidth / 2) / scale, this.view.y - (top - this.canvas.clientHeight / 2) / scale];
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  gridOf() {
    const cells = new Map();
    for (let item = 0; item < this.x.length; item += 1) {
      const name = cellOf(this.x[item]) * CELLS + cellOf(this.y[item]);
      if (cells.has(name)) cells.get(name).push(item);
      else cells.set(name, [item]);
    }
    return cells;
  }

  isShown(item) {
    return this.only.value === "" || this.found.identity[item] === Number(this.only.value);
  }

  nearest(point) {
    const [x, y] = this.toMap(point);
    const reach = REACH / this.scale();
    let best = null;
    let least = reach * reach;
    for (let i = cellOf(x - reach); i <= cellOf(x + reach); i += 1) {
      for (let j = cellOf(y - reach); j <= cellOf(y + reach); j += 1) {
        for (const item of this.grid.get(i * CELLS + j) ?? []) {
          const away = (this.x[item] - x) ** 2 + (this.y[item] - y) ** 2;
          if (away <= least && this.isShown(item)) [best, least] = [item, away];
        }
      }
    }
    return best;
  }

  // -- drawing ---------------------------------------------------------------------------------------------

  coloursOf() {
    const light = matchMedia("(prefers-color-scheme: dark)").matches ? 68 : 42;
    return this.found.identities.map((_, number) => `hsl(${Math.round((number * 137.508) % 360)} 65% ${light}%)`);
  }

  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.paint(); });
  }

  paint() {
    const { canvas } = this;
    const [width, height, dots] = [canvas.clientWidth, canvas.clientHeight, devicePixelRatio || 1];
    if (canvas.width !== Math.round(width * dots) || canvas.height !== Math.round(height * dots)) {
      canvas.width = Math.round(width * dots);
      canvas.height = Math.round(height * dots);
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    pen.clearRect(0, 0, width, height);
    const scale = this.scale();
    const size = Math.max(1.5, Math.min(9, (1.2 + 90 / Math.sqrt(this.x.length)) * Math.sqrt(this.view.zoom)));
    const [left, top] = [width / 2 - this.view.x * scale, height / 2 + this.view.y * scale];
    // By identity, so that the colour is set once for each.
    this.order ??= Uint32Array.from(this.found.identity.keys()).sort((a, b) => this.found.identity[a] - this.found.identity[b]);
    let colour = -1;
    for (const item of this.order) {
      if (!this.isShown(item)) continue;
      const x = left + this.x[item] * scale;
      const y = top - this.y[item] * scale;
      if (x < -size || y < -size || x > width + size || y > height + size) continue;
      if (this.found.identity[item] !== colour) {
        colour = this.found.identity[item];
        pen.fillStyle = this.colours[colour];
      }
      if (size < 3) pen.fillRect(x - size / 2, y - size / 2, size, size);
      else {
        pen.beginPath();
        pen.arc(x, y, size / 2, 0, 7);
        pen.fill();
      }
    }
    pen.strokeStyle = getComputedStyle(canvas).color;
    pen.lineWidth = 2;
    for (const item of [...this.picked, ...(this.lit === null ? [] : [this.lit])]) {
      const [x, y] = this.toScreen(item);
      pen.beginPath();
      pen.arc(x, y, size / 2 + 3, 0, 7);
      pen.stroke();
    }
    if (this.box) {
      const [[a, b], [c, d]] = this.box;
      pen.setLineDash([5, 4]);
      pen.strokeRect(Math.min(a, c), Math.min(b, d), Math.abs(a - c), Math.abs(b - d));
      pen.setLineDash([]);
    }
  }

  zoom(factor, point = [this.canvas.clientWidth / 2, this.canvas.clientHeight / 2]) {
    const before = this.toMap(point);
    this.view.zoom = Math.min(400, Math.max(0.5, this.view.zoom * factor));
    const after = this.toMap(point);
    this.view.x += before[0] - after[0];
    this.view.y += before[1] - after[1];
    this.draw();
  }

  // -- hands -----------------------------------------------------------------------------------------------

  down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.at(event));
    this.moved = false;
    if (this.pointers.size === 1 && (event.shiftKey || this.isSelecting())) this.box = [this.at(event), this.at(event)];
    else this.canvas.classList.add("dragging");
  }

  move(event) {
    const now = this.at(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      this.show(this.nearest(now), now);
      return;
    }
    if (Math.hypot(now[0] - before[0], now[1] - before[1]) > 3) this.moved = true;
    if (this.box) {
      this.box[1] = now;
      this.draw();
      return;
    }
    if (!this.moved) return;
    if (this.pointers.size === 2) {
      const [other] = [...this.pointers].filter(([name]) => name !== event.pointerId).map(([, point]) => point);
      const [was, is] = [before, now].map((point) => Math.hypot(point[0] - other[0], point[1] - other[1]));
      if (was > 0) this.zoom(is / was, [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2]);
    } else {
      this.view.x -= (now[0] - before[0]) / this.scale();
      this.view.y += (now[1] - before[1]) / this.scale();
      this.draw();
    }
    this.pointers.set(event.pointerId, now);
  }

  up(event) {
    const now = this.at(event);
    this.pointers.delete(event.pointerId);
    this.canvas.classList.remove("dragging");
    if (this.box) {
      const [a, b] = [this.toMap(this.box[0]), this.toMap(this.box[1])];
      this.box = null;
      if (this.moved) {
        const [[x0, x1], [y0, y1]] = [0, 1].map((axis) => [Math.min(a[axis], b[axis]), Math.max(a[axis], b[axis])]);
        for (let item = 0; item < this.x.length; item += 1) {
          if (this.isShown(item) && this.x[item] >= x0 && this.x[item] <= x1 && this.y[item] >= y0 && this.y[item] <= y1) this.picked.add(item);
        }
        this.listChosen();
        return;
      }
    }
    if (!this.moved && event.type === "pointerup") {
      const item = this.nearest(now);
      if (item !== null) this.toggle(item);
      this.show(item, now);
    }
  }

  key(event) {
    const step = 0.15 / this.view.zoom;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (moves[event.key]) {
      this.view.x += moves[event.key][0];
      this.view.y += moves[event.key][1];
      this.draw();
    } else if (event.key === "+" || event.key === "=") this.zoom(1.5);
    else if (event.key === "-") this.zoom(1 / 1.5);
    else if (event.key.toLowerCase() === "n") this.step(event.shiftKey ? -1 : 1);
    else if (event.key === " " && this.lit !== null) this.toggle(this.lit);
    else if (event.key === "Enter" && this.picked.size) this.name();
    else if (event.key === "Escape") this.clear();
    else return;
    event.preventDefault();
  }

  step(by) {
    const shown = this.found.items.length;
    let item = this.lit ?? (by > 0 ? -1 : shown);
    do item = (item + by + shown) % shown; while (!this.isShown(item));
    [this.view.x, this.view.y] = [this.x[item], this.y[item]];
    this.show(item, [this.canvas.clientWidth / 2, this.canvas.clientHeight / 2]);
  }

  show(item, point = null) {
    if (item === this.lit && item !== null) return;
    this.lit = item;
    this.draw();
    if (item === null) {
      this.hover.hidden = true;
      return;
    }
    const [left, top] = point;
    fill(this.hover, [...tile(this.gallery, this.itemOf(item)).childNodes]);
    this.hover.hidden = false;
    this.hover.style.left = `${Math.max(4, Math.min(left + 16, this.canvas.clientWidth - 158))}px`;
    this.hover.style.top = `${Math.max(4, Math.min(top + 16, this.canvas.clientHeight - 215))}px`;
    this.said.textContent = `${this.itemOf(item).identity}, ${this.itemOf(item).item}`;
  }

  itemOf(item) {
    return { item: this.found.items[item], identity: this.found.identities[this.found.identity[item]] };
  }

  // -- what is selected ------------------------------------------------------------------------------------

  toggle(item) {
    if (this.picked.has(item)) this.picked.delete(item);
    else this.picked.add(item);
    this.listChosen();
  }

  clear() {
    this.picked.clear();
    this.listChosen();
  }

  listChosen() {
    this.draw();
    if (!this.picked.size) {
      fill(this.chosen);
      return;
    }
    const items = [...this.picked].map((item) => this.itemOf(item));
    const owners = new Set(items.map((item) => item.identity));
    fill(this.chosen,
      h("p"),
      h("div", { class: "selection" },
        h("strong", { role: "status" }, `${count(items.length, "item")} of ${count(owners.size, "identity", "identities")} selected`),
        this.context.mayWrite ? h("button", { type: "button", class: "first", onclick: () => this.name() }, "Name them …") : null,
        h("button", { type: "button", onclick: () => this.clear() }, "Clear")),
      tiles(this.gallery, items.slice(0, MOST_LISTED).map((item) => tile(this.gallery, item, { href: this.gallery.to("identity", { name: item.identity }) }))),
      items.length > MOST_LISTED ? h("p", { class: "quiet" }, `and ${(items.length - MOST_LISTED).toLocaleString("en")} more`) : null);
  }

  async name() {
    const most = this.context.session.limits.items;
    const items = [...this.picked].map((item) => this.itemOf(item).item);
    const field = nameField(this.gallery, { label: "Who or what is it?" });
    await dialog({
      title: `Name ${count(items.length, "item")}`, body: field.element, action: "Name them",
      read: () => {
        if (items.length > most) throw new Error(`At most ${most.toLocaleString("en")} items can be named at once.`);
        return field.input.value.trim() || null;
      },
      done: (identity) => change(this.gallery, "move", { items, identity }, (answer) => `${count(answer.moved, "item")} are now ${identity}.`, async () => {
        await this.context.refreshFacts();
        await this.reload();
      }),
    });
  }

  /** The same places with the present names. */
  async reload() {
    this.found = await this.gallery.api.call("map");
    this.x = Float32Array.from(this.found.x);
    this.y = Float32Array.from(this.found.y);
    this.order = null;
    this.colours = this.coloursOf();
    this.grid = this.gridOf();
    this.lit = null;
    this.clear();
  }
}

function cellOf(value) {
  return Math.max(0, Math.min(CELLS - 1, Math.floor(((value + 1) / 2) * CELLS)));
}
