// The fused order of one answer for any weight, as the server makes it (longtail/aggregation/kinds.py). Numbers only.

/** The kind of fusion in which the LLM's items take fixed places; all other kinds weight both utilities by alpha. */
export const INJECT = "inject";

/** U of one item. The same products and sum as on the server, so that equal weights give equal numbers. */
export function utility(item, alpha, kind) {
  if (kind === INJECT) return Math.max(item.recommender_utility ?? -Infinity, item.llm_utility ?? -Infinity);
  return alpha * item.llm_utility + (1 - alpha) * item.recommender_utility;
}

/** The items of the answer, best first. Equal utilities stay in the order of the union: see `byUnion`. */
export function fused(items, alpha, kind) {
  const worth = new Map(items.map((item) => [item, utility(item, alpha, kind)]));
  return byUnion(items).sort((one, other) => worth.get(other) - worth.get(one));
}

/** The recommender's items in its order, then those that only the LLM's list has, in its order. */
export function byUnion(items) {
  const alone = items.filter((item) => item.recommender_rank === null);
  return [...ranked(items, "recommender_rank"), ...alone.sort((one, other) => one.llm_rank - other.llm_rank)];
}

/** One of the two lists: the items that have this rank, best first. */
export function ranked(items, rank) {
  return items.filter((item) => item[rank] !== null).sort((one, other) => one[rank] - other[rank]);
}

/**
 * What the LLM changed in the first n: each fused item against the recommender's own first n.
 * came: those that the recommender alone would not show; left: those that it would; rose, fell, stayed: the others.
 */
export function changes(order, recommender, n) {
  const before = new Map(recommender.slice(0, n).map((item, place) => [item, place]));
  const first = order.slice(0, n);
  const now = new Set(first);
  const moved = (sign) =>
    first.filter((item, place) => before.has(item) && Math.sign(before.get(item) - place) === sign);
  return {
    came: first.filter((item) => !before.has(item)),
    left: [...before.keys()].filter((item) => !now.has(item)),
    rose: moved(1),
    fell: moved(-1),
    stayed: moved(0),
  };
}
