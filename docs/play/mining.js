"use strict";

// The rules of trine.Mining on points of a plane: a rule for the positives, and one for the negatives of each positive.
const RULES = {
  "all": ["all", "all", "every valid triplet"],
  "hard": ["hard", "hard", "the farthest positive, the nearest negative"],
  "semihard": ["all", "semihard", "every positive, each with the nearest negative beyond it; if there is none, with the farthest negative"],
  "semihard-strict": ["all", "semihard-strict", "every positive, each with the nearest negative beyond it, if there is one"],
  "semihard-band": ["all", "semihard-band", "every positive, each with all negatives beyond it, up to the margin"],
  "violating": ["unordered", "violating", "every pair once (of two dots the first is the anchor), each with one negative at random whose loss is above 0"],
  "random": ["random", "random", "one positive and one negative at random"],
  "random-negative": ["all", "random", "every positive, each with one negative at random"],
  "moderate": ["moderate", "semihard", "one positive at random that is neither nearest nor farthest, with the nearest negative beyond it"],
  "easy-positive-hard": ["easy", "hard", "the nearest positive, the nearest negative"],
  "easy-positive-semihard": ["easy", "semihard", "the nearest positive, with the nearest negative beyond it"],
};

function distance(a, b) { return Math.hypot(a.x - b.x, a.y - b.y); }

function least(list, value) { return list.reduce((best, one) => best === null || value(one) < value(best) ? one : best, null); }

function some(list, random) { return list.length ? [list[Math.floor(random() * list.length)]] : []; }

function positivesOf(points, anchor, rule, random) {
  const from = (i) => distance(points[anchor], points[i]);
  const list = points.map((_, i) => i).filter((i) => i !== anchor && points[i].identity === points[anchor].identity);
  if (!list.length) return [];
  switch (rule) {
    case "all": return list;
    case "unordered": return list.filter((i) => i > anchor);
    case "hard": return [least(list, (i) => -from(i))];
    case "easy": return [least(list, from)];
    case "random": return some(list, random);
    case "moderate": {
      const far = least(list, (i) => -from(i)), near = least(list, from);
      return some(list.length < 3 ? list : list.filter((i) => i !== far && i !== near), random);
    }
  }
}

function negativesOf(points, anchor, positive, rule, margin, random) {
  const from = (i) => distance(points[anchor], points[i]);
  const list = points.map((_, i) => i).filter((i) => points[i].identity !== points[anchor].identity);
  const reach = from(positive), beyond = list.filter((i) => from(i) > reach);
  if (!list.length) return [];
  switch (rule) {
    case "all": return list;
    case "hard": return [least(list, from)];
    case "semihard": return [beyond.length ? least(beyond, from) : least(list, (i) => -from(i))];
    case "semihard-strict": return beyond.length ? [least(beyond, from)] : [];
    case "semihard-band": return beyond.filter((i) => from(i) <= reach + margin);
    case "violating": return some(list.filter((i) => from(i) < reach + margin), random);
    case "random": return some(list, random);
  }
}

function triplets(points, anchor, name, margin, random = Math.random) {
  const [positive, negative] = RULES[name];
  return positivesOf(points, anchor, positive, random).flatMap((p) =>
    negativesOf(points, anchor, p, negative, margin, random).map((n) => [anchor, p, n]));
}

function census(points, chosen, margin) {
  const count = { easy: 0, semihard: 0, hard: 0, active: 0 };
  for (const [a, p, n] of chosen) {
    const near = distance(points[a], points[p]), far = distance(points[a], points[n]);
    count[far <= near ? "hard" : far < near + margin ? "semihard" : "easy"] += 1;
    if (far < near + margin) count.active += 1;
  }
  return count;
}

// The page.

const SVG = "http://www.w3.org/2000/svg";
const plane = document.getElementById("plane");
const rule = document.getElementById("rule"), margin = document.getElementById("margin");
const positive = document.getElementById("positive");
const state = { points: [], anchor: 0, seed: 1, dragged: null };

// A small generator with a seed, so that moving a dot does not draw anew.
function generator(seed) {
  let s = seed >>> 0;
  return () => {
    s = (s + 0x6D2B79F5) >>> 0;
    let t = Math.imul(s ^ (s >>> 15), s | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function newPoints(seed) {
  const random = generator(seed), points = [];
  for (let identity = 0; identity < 4; identity++) {
    const centre = { x: (random() - 0.5) * 3, y: (random() - 0.5) * 2 };
    for (let k = 0; k < 5; k++) {
      points.push({ identity, x: centre.x + (random() - 0.5) * 1.9, y: centre.y + (random() - 0.5) * 1.6 });
    }
  }
  return points;
}

function drawn(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  plane.append(made);
  return made;
}

function shape(point) {
  const { x, y } = point, r = 0.075;
  switch (point.identity) {
    case 0: return `M${x - r},${y} a${r},${r} 0 1,0 ${2 * r},0 a${r},${r} 0 1,0 ${-2 * r},0`;
    case 1: return `M${x - r},${y - r} h${2 * r} v${2 * r} h${-2 * r} z`;
    case 2: return `M${x},${y - 1.2 * r} L${x + 1.15 * r},${y + r} H${x - 1.15 * r} z`;
    default: return `M${x},${y - 1.35 * r} L${x + 1.35 * r},${y} L${x},${y + 1.35 * r} L${x - 1.35 * r},${y} z`;
  }
}

function circle(c, r) { return `M${c.x - r},${c.y} a${r},${r} 0 1,0 ${2 * r},0 a${r},${r} 0 1,0 ${-2 * r},0`; }

function show() {
  const points = state.points, anchor = points[state.anchor], alpha = Number(margin.value);
  const chosen = triplets(points, state.anchor, rule.value, alpha, generator(state.seed));
  const same = points.map((_, i) => i).filter((i) => i !== state.anchor && points[i].identity === anchor.identity);
  const ranked = [...same].sort((a, b) => distance(anchor, points[a]) - distance(anchor, points[b]));
  const around = ranked[Math.min(Number(positive.value), ranked.length - 1)];
  plane.replaceChildren();
  const reach = distance(anchor, points[around]);
  drawn("path", { class: "band", d: circle(anchor, reach) + circle(anchor, reach + alpha) });
  drawn("path", { class: "ring", d: circle(anchor, reach) });
  drawn("path", { class: "ring", d: circle(anchor, reach + alpha) });
  const ends = (column, name) => new Set(chosen.map((one) => one[column])).forEach((i) =>
    drawn("line", { class: `link ${name}`, x1: anchor.x, y1: anchor.y, x2: points[i].x, y2: points[i].y }));
  ends(2, "to-negative");
  ends(1, "to-positive");
  points.forEach((point, i) => {
    const dot = drawn("path", { class: `dot i${point.identity}${i === state.anchor ? " anchor" : ""}`, d: shape(point), tabindex: 0 });
    dot.addEventListener("pointerdown", (event) => { state.anchor = i; state.dragged = i; plane.setPointerCapture(event.pointerId); show(); });
    dot.addEventListener("keydown", (event) => { if (event.key === "Enter") { state.anchor = i; show(); } });
  });
  document.getElementById("alpha").value = alpha.toFixed(2);
  document.getElementById("says").textContent = `${rule.value}: ${RULES[rule.value][2]}.`;
  const every = points.flatMap((_, i) => triplets(points, i, "all", alpha));
  const all = points.flatMap((_, i) => triplets(points, i, rule.value, alpha, generator(state.seed + i)));
  const rows = [["this anchor, selected", chosen], ["all anchors, selected", all], ["all anchors, every valid triplet", every]];
  document.getElementById("counts").replaceChildren(...rows.map(([name, list]) => {
    const count = census(points, list, alpha), row = document.createElement("tr");
    for (const [k, words] of [name, count.easy, count.semihard, count.hard, count.active].entries()) {
      const cell = document.createElement(k ? "td" : "th");
      cell.textContent = words;
      row.append(cell);
    }
    return row;
  }));
}

plane.addEventListener("pointermove", (event) => {
  if (state.dragged === null) return;
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(plane.getScreenCTM().inverse());
  Object.assign(state.points[state.dragged], { x: Math.max(-2.9, Math.min(2.9, at.x)), y: Math.max(-2.1, Math.min(2.1, at.y)) });
  show();
});
plane.addEventListener("pointerup", () => { state.dragged = null; });
rule.replaceChildren(...Object.keys(RULES).map((name) => new Option(name, name, name === "semihard", name === "semihard")));
positive.replaceChildren(...["nearest", "second", "third", "farthest"].map((name, i) => new Option(name, i, i === 3, i === 3)));
for (const input of [rule, margin, positive]) input.addEventListener("input", show);
document.getElementById("draw").addEventListener("click", () => { state.seed += 100; show(); });
document.getElementById("new").addEventListener("click", () => { state.points = newPoints(++state.seed); show(); });
state.points = newPoints(7);
show();
