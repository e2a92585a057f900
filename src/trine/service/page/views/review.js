// What a person should look at: probably wrong labels, and the hardest pairs. Answers become triplets.

import { count, digits, fill, h } from "../dom.js";
import { jobsOf, runJob } from "../jobs.js";
import { empty, errorMessage, picture, sentence, textOf } from "../parts.js";

const KINDS = {
  labels: { title: "Wrong labels", job: "audit", doing: "Looking for wrong labels", asks: "Do these two belong to one identity?" },
  far: { title: "Same, but far apart", job: "pairs", doing: "Finding the hardest pairs", asks: "Both have one name. Are they the same?" },
  near: { title: "Different, but close", job: "pairs", doing: "Finding the hardest pairs", asks: "They have two names. Are they the same?" },
};
const ANSWERS = [
  { answer: "same", text: "Same", key: "s" },
  { answer: "different", text: "Different", key: "d" },
  { answer: "wrong_label", text: "Wrong label", key: "w" },
];
const COUNT = 60;

export async function show(main, context) {
  const { gallery, given, mayWrite } = context;
  const kind = KINDS[given.kind] ? given.kind : "labels";
  const progress = h("div");
  const place = h("section", { "aria-label": KINDS[kind].title });
  const kept = h("div");
  let listening = null;
  fill(
    main,
    h("div", { class: "spread" },
      h("div", {}, h("h1", {}, "Review"), h("p", { class: "quiet" }, "Your answers are kept and become triplets to train with. The gallery's names stay as they are.")),
      kept),
    h("nav", { class: "tabs", "aria-label": "What to review" }, Object.entries(KINDS).map(([name, each]) => h(
      "a", { href: gallery.to("review", { kind: name }), "aria-current": name === kind ? "page" : null }, each.title))),
    progress, place,
  );
  const said = new Map((await gallery.api.call("judgements")).judgements.map((one) => [pairKey(one.first, one.second), one.answer]));
  drawKept();
  if (gallery.identities < 2) {
    fill(place, empty(h("p", {}, "There is nothing to compare yet: a review needs at least two identities.")));
    return;
  }
  const earlier = (await jobsOf(gallery)).find((job) => job.kind === KINDS[kind].job && job.state === "done");
  if (earlier) await ask(earlier.result);
  else if (mayWrite) await find();
  else fill(place, empty(h("p", {}, "Nobody has looked yet; somebody who may write can begin.")));

  function drawKept() {
    fill(kept, h("div", { class: "row" },
      h("span", { role: "status", id: "kept" }, count(said.size, "answer"), " kept"),
      said.size ? h("a", { class: "button", href: `${gallery.api.base}/triplets.csv`, download: "triplets.csv" }, "Download triplets") : null,
      mayWrite ? h("button", { type: "button", onclick: find }, "Look again") : null));
  }

  async function find() {
    fill(place);
    try {
      const result = await runJob(gallery, { kind: KINDS[kind].job, count: COUNT }, progress, KINDS[kind].doing);
      if (result) await ask(result);
    } catch (error) {
      fill(progress, errorMessage(error, find));
    }
  }

  async function ask(result) {
    const all = pairsOf(kind, result);
    let at = 0;
    const card = h("div");
    fill(place, card);
    removeEventListener("keydown", listening);
    listening = onKey;
    addEventListener("keydown", onKey);
    context.onLeave(() => removeEventListener("keydown", onKey));
    next(0);

    function next(step) {
      at += step;
      while (step >= 0 && at < all.length && said.has(pairKey(all[at].first, all[at].second))) at += 1;
      at = Math.max(0, at);
      draw().catch((error) => fill(card, errorMessage(error, () => next(0))));
    }

    async function draw() {
      const pair = all[at];
      if (!pair) {
        const back = all.length ? h("button", { type: "button", onclick: () => next(-1) }, "Look at the last one again") : null;
        fill(card, empty(
          h("p", {}, all.length ? "That was all. Thank you." : "Nothing looks wrong here."),
          h("p", {}, back)));
        return;
      }
      const items = await Promise.all([pair.first, pair.second].map((name) => gallery.api.call("item", { query: { name } }).catch(() => null)));
      if (all[at] !== pair) return;
      if (items.includes(null)) {
        all.splice(at, 1); // removed since it was found
        next(0);
        return;
      }
      const answer = said.get(pairKey(pair.first, pair.second));
      fill(
        card,
        h("div", { class: "card" },
          h("h2", { tabindex: "-1" }, KINDS[kind].asks),
          h("p", { class: "quiet" }, `${at + 1} of ${all.length}. ${sentence(pair.why)}`),
          h("div", { class: "pair" }, items.map((item) => shown(gallery, item))),
          answer ? h("p", { class: "quiet" }, `You said: ${answer.replace("_", " ")}.`) : null,
          h("div", { class: "answers" },
            mayWrite ? ANSWERS.map(({ answer: each, text, key }) => h(
              "button", { type: "button", class: each === answer ? "first" : null, "aria-keyshortcuts": key, onclick: () => judge(each) }, text, " ", h("kbd", { "aria-hidden": "true" }, key))) : null,
            h("button", { type: "button", class: "plain", disabled: at === 0, onclick: () => next(-1) }, "Back"),
            h("button", { type: "button", class: "plain", onclick: () => { at += 1; next(0); } }, "Skip"))),
      );
    }

    async function judge(answer) {
      const pair = all[at];
      if (!pair) return;
      try {
        await gallery.api.call("judgements", { json: { first: pair.first, second: pair.second, answer } });
        said.set(pairKey(pair.first, pair.second), answer);
        drawKept();
        next(0);
      } catch (error) {
        card.append(errorMessage(error));
      }
    }

    function onKey(event) {
      if (event.ctrlKey || event.metaKey || event.altKey || /INPUT|TEXTAREA|SELECT/.test(event.target.tagName)) return;
      const found = ANSWERS.find((each) => each.key === event.key.toLowerCase());
      if (found && mayWrite) judge(found.answer);
      else if (event.key === "ArrowLeft" && at > 0) next(-1);
      else if (event.key === "ArrowRight" && all[at]) { at += 1; next(0); }
    }
  }
}

/** The pairs of a job's result; a suspect is held beside the nearest item of the identity it looks like. */
function pairsOf(kind, result) {
  if (kind !== "labels") {
    return result[kind].map((each) => ({ first: each.first, second: each.second, why: `distance ${digits(each.distance)}` }));
  }
  const seen = new Set();
  return result.suspects.flatMap((each) => {
    const second = each.like ?? each.neighbours[0];
    const name = pairKey(each.item, second);
    if (!second || seen.has(name)) return [];
    seen.add(name);
    return [{ first: each.item, second, why: `called ${each.identity}, looks like ${each.looks_like}: ${each.evidence}` }];
  });
}

function shown(gallery, item) {
  const text = textOf(item);
  return h("figure", {},
    text ? h("blockquote", {}, text) : picture(gallery, item.item, { side: 256, alt: `Item ${item.item}`, name: item.identity, known: item.picture }),
    h("figcaption", {}, h("strong", {}, item.identity), h("span", { class: "quiet" }, ` ${item.item}`)));
}

function pairKey(first, second) {
  return [first, second].sort().join("\u0000");
}
