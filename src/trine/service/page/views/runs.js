// Training runs side by side: what was measured, their curves and their census.

import { call } from "../api.js";
import { fill, h } from "../dom.js";
import { empty, errorMessage } from "../parts.js";

const COLOURS = ["#3a6fd8", "#d9772b", "#2f9a5d", "#b0459b", "#8a7a1f", "#4a9fb5"];
const SHOWN = 6;

export async function show(main) {
  const { runs } = await call("/v1/runs");
  const chosen = new Set(runs.slice(0, 3).map((run) => run.name));
  const place = h("div");
  fill(main, h("h1", {}, "Runs"));
  if (!runs.length) {
    main.append(empty(h("p", {}, "There are no runs in this folder yet: ", h("code", {}, "trine train"), " makes them.")));
    return;
  }
  main.append(
    h("fieldset", { class: "card" }, h("legend", {}, "Beside each other"), h("div", { class: "row" }, runs.map((run) => h(
      "label", { class: "check" }, h("input", {
        type: "checkbox", checked: chosen.has(run.name), onchange: (event) => {
          if (event.target.checked) chosen.add(run.name);
          else chosen.delete(run.name);
          draw();
        },
      }), run.name)))),
    place,
  );
  const logs = new Map();
  await draw();

  async function draw() {
    const shown = runs.filter((run) => chosen.has(run.name)).slice(0, SHOWN);
    try {
      await Promise.all(shown.filter((run) => !logs.has(run.name)).map(async (run) => {
        logs.set(run.name, (await call(`/v1/runs/${encodeURIComponent(run.name)}/log`)).columns);
      }));
      fill(place, shown.length ? [measured(shown), curves(shown, logs)] : empty(h("p", {}, "Choose a run.")));
    } catch (error) {
      fill(place, errorMessage(error, draw));
    }
  }
}

// What a person looks at first: the name, and where it is in metrics.json.
const FIRST = [
  ["MAP@R before training", "before_training", "retrieval", "map_at_r"],
  ["MAP@R", "after_training", "retrieval", "map_at_r"],
  ["recall@1", "after_training", "retrieval", "recall_at", "1"],
  ["ROC AUC", "after_training", "verification", "roc_auc"],
  ["equal error rate", "after_training", "verification", "eer"],
  ["TAR at FAR 1 %", "after_training", "verification", "tar_at_far", "0.01"],
  ["TAR at FAR 0.1 %", "after_training", "verification", "tar_at_far", "0.001"],
  ["kNN accuracy", "after_training", "knn_classification", "accuracy"],
  ["items", "census", "items"],
  ["easy triplets", "census", "easy"],
  ["semi-hard triplets", "census", "semihard"],
  ["hard triplets", "census", "hard"],
  ["active triplets", "census", "active"],
  ["mean distance of positives", "census", "mean_positive_distance"],
  ["mean distance of negatives", "census", "mean_negative_distance"],
];

function measured(runs) {
  const first = FIRST.map(([name, ...path]) => [name, runs.map((run) => path.reduce((value, key) => value?.[key], run.metrics))])
    .filter(([, values]) => values.some((value) => typeof value === "number"));
  const every = new Map();
  runs.forEach((run, at) => {
    for (const [name, value] of numbersIn(run.metrics)) {
      if (!every.has(name)) every.set(name, runs.map(() => null));
      every.get(name)[at] = value;
    }
  });
  if (!every.size) return h("p", { class: "message" }, "None of them was evaluated: ", h("code", {}, "trine evaluate"), " measures a run.");
  return [
    figures("What was measured, and the census", runs, first.length ? first : [...every]),
    first.length ? h("details", { class: "card" }, h("summary", {}, `All ${every.size} figures`), figures("All figures", runs, [...every])) : null,
  ];
}

function figures(caption, runs, rows) {
  return h("div", { class: "card scroll", tabindex: "0", role: "region", "aria-label": caption }, h("table", {},
    h("caption", { class: "hidden-label" }, caption),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Metric"), runs.map((run, at) => h("th", { scope: "col", class: "number" }, key(at), run.name)))),
    h("tbody", {}, rows.map(([name, values]) => h("tr", {}, h("th", { scope: "row" }, name), values.map((value) => h("td", { class: "number" }, figure(value))))))));
}

function figure(value) {
  if (typeof value !== "number") return "–";
  return Number.isInteger(value) ? value.toLocaleString("en") : value.toPrecision(3);
}

/** All figures of metrics.json with their place in it. */
function* numbersIn(metrics, path = []) {
  for (const [name, value] of Object.entries(metrics ?? {})) {
    if (typeof value === "number" && path.length) yield [[...path, name].join(" · ").replaceAll("_", " "), value];
    else if (value && typeof value === "object" && !Array.isArray(value)) yield* numbersIn(value, [...path, name]);
  }
}

function curves(runs, logs) {
  const names = [...new Set(runs.flatMap((run) => Object.keys(logs.get(run.name) ?? {})))].filter((name) => name !== "step");
  const charts = names.map((name) => {
    const lines = runs.map((run, at) => ({ at, name: run.name, points: pointsOf(logs.get(run.name) ?? {}, name) })).filter((line) => line.points.length > 1);
    return lines.length ? chart(name, lines) : null;
  }).filter(Boolean);
  return charts.length ? h("div", { class: "charts" }, charts) : empty(h("p", {}, "There is no training log to draw."));
}

function pointsOf(columns, name) {
  const steps = columns.step ?? [];
  return (columns[name] ?? []).flatMap((value, row) => (typeof value === "number" && typeof (steps[row] ?? row) === "number" ? [[steps[row] ?? row, value]] : []));
}

function chart(name, lines) {
  const [width, height, left, bottom, top] = [420, 220, 56, 24, 8];
  const all = lines.flatMap((line) => line.points);
  const span = (axis) => {
    const values = all.map((point) => point[axis]);
    const low = Math.min(...values);
    const high = Math.max(...values);
    return high > low ? [low, high] : [low - 0.5, high + 0.5];
  };
  const [[x0, x1], [y0, y1]] = [span(0), span(1)];
  const x = (value) => left + ((value - x0) / (x1 - x0)) * (width - left - 8);
  const y = (value) => height - bottom - ((value - y0) / (y1 - y0)) * (height - bottom - top);
  const title = name.replaceAll("_", " ");
  return h("figure", { class: "card" },
    h("figcaption", {}, h("strong", {}, title), " ", lines.map((line) => h("span", { class: "quiet" }, " ", key(line.at), line.name))),
    s("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title} by step: ${lines.map((line) => `${line.name} ends at ${line.points.at(-1)[1].toPrecision(3)}`).join(", ")}` },
      [y0, (y0 + y1) / 2, y1].map((value) => [
        s("line", { class: "grid", x1: left, x2: width - 8, y1: y(value), y2: y(value) }),
        s("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, short(value)),
      ]),
      s("text", { x: left, y: height - 4 }, short(x0)),
      s("text", { x: width - 8, y: height - 4, "text-anchor": "end" }, short(x1)),
      lines.map((line) => s("polyline", { fill: "none", stroke: COLOURS[line.at % COLOURS.length], "stroke-width": 2, points: line.points.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" ") }))));
}

function short(value) {
  return Math.abs(value) >= 1000 || Number.isInteger(value) ? Math.round(value).toLocaleString("en") : value.toPrecision(2);
}

function key(at) {
  const mark = h("i", { class: "key", "aria-hidden": "true" });
  mark.style.background = COLOURS[at % COLOURS.length];
  return mark;
}

function s(tag, given, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(given)) element.setAttribute(name, value);
  element.append(...children.flat(Infinity));
  return element;
}
