// The sentences of the page.

/** A weight or a utility with two decimals and a real minus sign; null is none. */
export function number(value) {
  if (value === null) return "none";
  const shown = Number.isInteger(value) ? String(value) : value.toFixed(2);
  return shown.replace("-", "−");
}

export function name(item) {
  return item.title || item.item_id;
}

export function counted(count, thing) {
  return `${count.toLocaleString("en")} ${thing}${count === 1 ? "" : "s"}`;
}

/** What the LLM changed, in one sentence; `has` says which lists have items. */
export function headline(changed, n, has) {
  if (!has.llm && !has.recommender) return "There is nothing to recommend.";
  if (!has.llm) return "The LLM has no list here: this is the recommender alone.";
  if (!has.recommender) return "The recommender has no list here: this is the LLM alone.";
  const { came, rose, fell } = changed;
  if (came.length) return `The LLM brings ${counted(came.length, "new item")} into the first ${n}.`;
  if (rose.length || fell.length) return `The LLM reorders the first ${n}, with no new item.`;
  return `The LLM changes nothing in the first ${n}.`;
}

/** How the recommender's own items moved. */
export function movements({ rose, fell, stayed, left }) {
  const parts = [
    rose.length ? `${rose.length} rise` + (rose.length === 1 ? "s" : "") : null,
    fell.length ? `${fell.length} fall` + (fell.length === 1 ? "s" : "") : null,
    stayed.length ? `${stayed.length} stay` + (stayed.length === 1 ? "s" : "") : null,
    left.length ? `${left.length} drop` + (left.length === 1 ? "s out" : " out") : null,
  ];
  return `Of the recommender’s own: ${parts.filter((part) => part !== null).join(", ")}.`;
}

/** How the lists are fused, from the `fusion` of an arm. */
export function fusing({ kind, ...numbers }) {
  if (kind === "inject") return `The LLM’s items take place ${numbers.first} and every ${ordinal(numbers.every)} after it.`;
  const told = Object.entries(numbers).map(([name, value]) => `${GREEK[name] ?? name} = ${[value].flat().join(", ")}`);
  return `Fusion: ${kind}, ${told.join("; ")}.`;
}

function ordinal(count) {
  const ending = { one: "st", two: "nd", few: "rd", other: "th" }[ORDINALS.select(count)];
  return count === 1 ? "one" : `${count}${ending}`;
}

/** What the rows of the evidence are, by the `how` of the service. */
export function leaning(how, rows) {
  if (how === "neighbours" && rows) return "Shares of the recommender’s score";
  if (how === "nearest" && rows) return "Nearest of the user’s items, by cosine";
  if (how === "popularity") return "It is here because it is popular.";
  if (how === "llm") return "Only the LLM’s list has it.";
  if (how === "unknown") return "The recommender cannot say what it leans on.";
  return "It leans on no item of the user.";
}

const GREEK = { alpha_1: "α₁", alpha_2: "α₂" };
const ORDINALS = new Intl.PluralRules("en", { type: "ordinal" });
const PARTS = { retriever: "The recommender", llm: "The LLM", user: "The user", history: "The history", filter: "The filter" };
const REASONS = {
  late: "was not ready in time",
  failed: "failed",
  moved_on: "ranked an older history: this user has gone on since",
  not_live: "is not asked live, and there is no list made before",
  unknown_user: "is not known",
  unknown_items: "has items that the catalogue lacks",
  no_match: "leaves no item",
};

/** One part of the `degraded` block as a sentence; a word that the page does not know is shown as it is. */
export function lacking({ part, reason, stood_in, items }) {
  const named = items?.length ? `: ${items.join(", ")}` : "";
  return `${PARTS[part] ?? part} ${REASONS[reason] ?? reason}${named}. In its place: ${stood_in}.`;
}
