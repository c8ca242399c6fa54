// Why an item is where it is: its two utilities weighed, and which of the user's items it leans on.

import { byId, element } from "./dom.js";
import { INJECT, utility } from "./fusion.js";
import { counted, leaning, name, number } from "./words.js";

/** Explain one item at this weight of the LLM, for this kind of fusion; no item shows the legend instead. */
export function explain(item, alpha, kind) {
  byId("legend").hidden = item !== undefined;
  byId("why").hidden = item === undefined;
  byId("side").classList.toggle("open", item !== undefined);
  if (item === undefined) return byId("why").replaceChildren();
  byId("why").replaceChildren(
    element("button", { type: "button", class: "close", "aria-label": "Close" }, "×"),
    element("h2", {}, name(item)),
    element("p", { class: "id" }, item.item_id),
    weighed(item, alpha, kind),
    ...(item.why ? evidence(item.why) : []),
  );
}

/** What places the item, one line for each list: a weighted sum, or the better of both. */
function weighed(item, alpha, kind) {
  const better = kind === INJECT;
  const line = (list, rank, weight, worth) =>
    element(
      "tr",
      { class: list },
      element(
        "th",
        { scope: "row" },
        list === "llm" ? "LLM" : "recommender",
        element("span", {}, rank === null ? "not in its list" : `place ${rank}`),
      ),
      element("td", {}, better ? null : `${number(weight)} × ${number(worth)}`),
      element("td", {}, number(better ? worth : weight * worth)),
    );
  const sum = element(
    "tr",
    {},
    element("th", { scope: "row", colspan: 2 }, "fused"),
    element("td", {}, number(utility(item, alpha, kind))),
  );
  return element(
    "table",
    {},
    element("caption", {}, better ? "the better of both utilities" : "weight × utility of each list"),
    element(
      "tbody",
      {},
      line("recommender", item.recommender_rank, 1 - alpha, item.recommender_utility),
      line("llm", item.llm_rank, alpha, item.llm_utility),
    ),
    element("tfoot", {}, sum),
  );
}

function evidence({ how, leans_on }) {
  const exact = how === "neighbours";
  const rows = leans_on.map(({ weight, origin, observed_pairs, generated_pairs, ...one }) => {
    const bar = element("i", { "aria-hidden": "true" });
    bar.style.width = `${100 * Math.min(Math.abs(weight), 1)}%`;
    return element(
      "li",
      { class: origin },
      element("span", { class: "name" }, name(one)),
      element("span", { class: "worth" }, exact ? `${number(Math.round(100 * weight))} %` : number(weight)),
      bar,
      element("span", { class: "pairs" }, element("b", {}, origin), pairs(observed_pairs, generated_pairs)),
    );
  });
  return [element("h3", {}, leaning(how, rows.length)), ...(rows.length ? [element("ul", {}, ...rows)] : [])];
}

function pairs(observed, generated) {
  if (observed === null) return ""; // the training set is no longer in the workspace
  const more = generated ? `, ${generated.toLocaleString("en")} more if the LLM’s are counted` : "";
  return ` · ${counted(observed, "user")} took both${more}`;
}
