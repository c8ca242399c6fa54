// The board: the three lists of one answer at one weight, the lines between them, and the sentence above them.

import { byId } from "./dom.js";
import { changes, ranked } from "./fusion.js";
import { draw, markLines } from "./lines.js";
import { markItem, markPressed, show } from "./lists.js";
import { headline, movements } from "./words.js";

const NOTHING = { kind: "", text: "", spoken: "" };

/** Show the first `n` of each list of `items`, with their `fused` order; `chosen` is the id of a marked item or null. */
export function render(items, fused, n, chosen) {
  const lists = {
    recommender: ranked(items, "recommender_rank"),
    fused,
    llm: ranked(items, "llm_rank"),
  };
  const has = { recommender: lists.recommender.length > 0, llm: lists.llm.length > 0 };
  const both = has.recommender && has.llm;
  const changed = changes(lists.fused, lists.recommender, n);
  const marks = {
    recommender: outcome(lists.fused, n),
    fused: both ? movement(lists.recommender, n) : () => NOTHING,
    llm: outcome(lists.fused, n),
  };
  byId("headline").textContent = headline(changed, Math.min(n, items.length), has);
  byId("movements").textContent = both ? movements(changed) : "";
  for (const [list, held] of Object.entries(lists)) show(list, held.slice(0, n), marks[list], below(held.length, n));
  draw(ways(lists, n, new Set(changed.came)));
  mark("chosen", chosen);
}

/** Mark an item in all lists, with its lines; null marks none. `state` is a class: `near` or `chosen`. */
export function mark(state, id) {
  markItem(id, state);
  markLines(id, state);
  if (state === "chosen") markPressed(id);
}

/** What a row of the fused list says: how the item moved against the recommender's list. */
function movement(recommender, n) {
  const before = new Map(recommender.map((item, place) => [item, place]));
  return (item, place) => {
    const moved = (before.get(item) ?? Infinity) - place;
    if ((before.get(item) ?? n) >= n) return { kind: "came", text: "new", spoken: "brought in by the LLM" };
    if (moved > 0) return { kind: "", text: `▲ ${moved}`, spoken: `rises by ${moved}` };
    if (moved < 0) return { kind: "", text: `▼ ${-moved}`, spoken: `falls by ${-moved}` };
    return NOTHING;
  };
}

/** What a row of another list says: that the fused list does not show the item, and its place there. */
function outcome(order, n) {
  const places = new Map(order.map((item, place) => [item, place + 1]));
  return (item) => {
    const place = places.get(item);
    return place > n ? { kind: "away", text: `→ ${place}`, spoken: `at place ${place} of the fused list` } : NOTHING;
  };
}

function below(length, n) {
  if (!length) return "no list";
  return length > n ? `${length - n} more` : "";
}

/** A line for each item that a list has and that is shown in this list or in the fused one. */
function ways(lists, n, came) {
  const top = lists.fused.slice(0, n);
  return ["recommender", "llm"].flatMap((list) => {
    const held = new Set(lists[list]);
    const shown = new Set([...lists[list].slice(0, n), ...top.filter((item) => held.has(item))]);
    return [...shown].map((item) => ({ list, id: item.item_id, kind: came.has(item) ? "came" : "" }));
  });
}
