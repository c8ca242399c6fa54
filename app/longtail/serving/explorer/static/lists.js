// The three lists: rows that keep their element while they move, and the keys that go through them.

import { byId, element } from "./dom.js";
import { name } from "./words.js";

export const LISTS = ["recommender", "fused", "llm"];
const KINDS = ["came", "away"];
const CALM = matchMedia("(prefers-reduced-motion: reduce)");
const MOVE = 220; // milliseconds, as the lines in explorer.css

/** The rows of one list, by item id. */
const rows = new Map(LISTS.map((list) => [list, new Map()]));

/** The row of an item in a list; undefined if it is not shown there. */
export function rowOf(list, id) {
  return rows.get(list).get(id);
}

/**
 * Show `shown`, the items of one list from its top. `mark(item, place)` gives what a row says of its item: a kind of
 * KINDS or none, a short text, and the same for a screen reader. `rest` stands below the list.
 */
export function show(list, shown, mark, rest) {
  const held = byId(list);
  const kept = rows.get(list);
  const before = new Map([...kept].map(([id, row]) => [id, row.getBoundingClientRect().top]));
  const now = new Map(
    shown.map((item, place) => [item.item_id, written(kept.get(item.item_id) ?? made(), item, place, mark(item, place))]),
  );
  const focused = document.activeElement?.closest?.(`#${list} li`)?.dataset.id;
  held.replaceChildren(...now.values());
  held.nextElementSibling.textContent = rest;
  rows.set(list, now);
  if (focused !== undefined) focus(list, now.has(focused) ? focused : shown[0]?.item_id);
  else if (shown.length) reachable(list, shown[0].item_id);
  if (!CALM.matches) for (const [id, row] of now) slide(row, before.get(id));
}

function made() {
  const parts = ["from recommender", "place", "name", "said", "from llm"];
  const spans = parts.map((part) => element("span", { class: part }));
  return element("li", {}, element("button", { type: "button", tabindex: -1 }, ...spans));
}

function written(row, item, place, { kind, text, spoken }) {
  row.dataset.id = item.item_id;
  row.classList.remove(...KINDS);
  if (kind) row.classList.add(kind);
  const [button] = row.children;
  const texts = [item.recommender_rank ?? "–", place + 1, name(item), text, item.llm_rank ?? "–"];
  texts.forEach((one, part) => (button.children[part].textContent = one));
  button.setAttribute("aria-label", [`${place + 1}: ${name(item)}`, spoken].filter(Boolean).join(", "));
  button.title = name(item);
  return row;
}

function slide(row, before) {
  const after = row.getBoundingClientRect().top;
  if (before === undefined) {
    row.animate([{ opacity: 0 }, { opacity: 1 }], { duration: MOVE });
  } else if (before !== after) {
    const way = [{ transform: `translateY(${before - after}px)` }, { transform: "none" }];
    row.animate(way, { duration: MOVE, easing: "ease-out" });
  }
}

/** Mark the item in every list that shows it; null marks none. `state` is a class: `near` or `chosen`. */
export function markItem(id, state) {
  for (const row of document.querySelectorAll(`#lists li.${state}`)) row.classList.remove(state);
  if (id === null) return;
  for (const list of LISTS) rowOf(list, id)?.classList.add(state);
}

/** Say to a screen reader which row is explained. */
export function markPressed(id) {
  for (const row of document.querySelectorAll("#lists li")) {
    row.firstChild.setAttribute("aria-pressed", String(row.dataset.id === id));
  }
}

/** Move the focus to an item of a list. */
export function focus(list, id) {
  const row = rowOf(list, id);
  if (!row) return;
  reachable(list, id);
  row.firstChild.focus({ preventScroll: false });
}

function reachable(list, id) {
  for (const [other, row] of rows.get(list)) row.firstChild.tabIndex = other === id ? 0 : -1;
}

/** What an arrow key does in a list. */
export function onKey(event) {
  const row = event.target.closest("li");
  if (!row || event.altKey || event.ctrlKey || event.metaKey) return;
  const list = row.parentElement.id;
  const ids = [...rows.get(list).keys()];
  const place = ids.indexOf(row.dataset.id);
  const down = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: ids.length - 1 }[event.key];
  const aside = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (down !== undefined) focus(list, ids[Math.min(Math.max(down, 0), ids.length - 1)]);
  else if (aside !== undefined) across(list, place, row.dataset.id, aside);
  else return;
  event.preventDefault();
}

/** To the same item of the next list that shows it, else to the same place of the next list. */
function across(list, place, id, aside) {
  const at = LISTS.indexOf(list);
  const beyond = aside < 0 ? LISTS.slice(0, at).reverse() : LISTS.slice(at + 1);
  const target = beyond.find((other) => rowOf(other, id)) ?? beyond.find((other) => rows.get(other).size);
  if (target === undefined) return;
  const ids = [...rows.get(target).keys()];
  focus(target, rowOf(target, id) ? id : ids[Math.min(place, ids.length - 1)]);
}
