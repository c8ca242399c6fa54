// The lines between the same items: from the recommender's list and from the LLM's list to the fused one.

import { byId, drawn } from "./dom.js";
import { LISTS, rowOf } from "./lists.js";

const paths = new Map(); // by `list id`, so that a line glides to its new place

/**
 * Draw a line for each of `ways`: {list, id, kind}. An end that is not shown is at the foot of its list, and the line
 * is dashed. Nothing is drawn if the lists do not stand side by side.
 */
export function draw(ways) {
  const board = byId("lists").getBoundingClientRect();
  const beside = getComputedStyle(byId("lines")).display !== "none";
  const wanted = new Map();
  for (const { list, id, kind } of beside ? ways : []) {
    const from = end(list, id, list === LISTS[0] ? "right" : "left", board);
    const to = end("fused", id, list === LISTS[0] ? "left" : "right", board);
    if (from.far && to.far) continue;
    const key = `${list} ${id}`;
    const path = paths.get(key) ?? drawn("path", {});
    path.dataset.id = id;
    path.setAttribute("class", [list, kind, from.far || to.far ? "far" : ""].join(" "));
    const way = curve(from, to);
    path.setAttribute("d", way);
    path.style.setProperty("d", `path("${way}")`); // as a style it has a transition
    wanted.set(key, path);
  }
  for (const [key, path] of paths) if (!wanted.has(key)) path.remove();
  for (const [key, path] of wanted) if (!paths.has(key)) byId("lines").append(path);
  paths.clear();
  for (const [key, path] of wanted) paths.set(key, path);
}

/** Mark the lines of an item; null marks none. */
export function markLines(id, state) {
  for (const path of paths.values()) path.classList.toggle(state, path.dataset.id === id);
}

/** Where a line ends: the middle of the row's side, or the foot of the list. Without animation, which moves rows. */
function end(list, id, side, board) {
  const held = byId(list);
  const row = rowOf(list, id);
  const x = held.getBoundingClientRect()[side] - board.left;
  const top = held.getBoundingClientRect().top - board.top;
  if (row) return { x, y: top + row.offsetTop - held.offsetTop + row.offsetHeight / 2, far: false };
  const foot = held.nextElementSibling.getBoundingClientRect();
  return { x, y: foot.top - board.top + foot.height / 2, far: true };
}

function curve(from, to) {
  const middle = (from.x + to.x) / 2;
  const [a, b, c, d, e] = [from.x, from.y, middle, to.y, to.x].map((value) => value.toFixed(1));
  return `M ${a} ${b} C ${c} ${b} ${c} ${d} ${e} ${d}`;
}
