// Why an item is where it is: its two utilities weighed, and which of the user's items it leans on.

import { byId, element } from "./dom.js";
import { utility } from "./fusion.js";
import { counted, leaning, name, number } from "./words.js";

/** Explain one item at this weight of the LLM; null shows the legend instead. */
export function explain(item, alpha) {
  byId("legend").hidden = item !== null;
  byId("why").hidden = item === null;
  byId("side").classList.toggle("open", item !== null);
  if (item === null) return byId("why").replaceChildren();
  byId("why").replaceChildren(
    element("button", { type: "button", class: "close", "aria-label": "Close" }, "×"),
    element("h2", {}, name(item)),
    element("p", { class: "id" }, item.item_id),
    weighed(item, alpha),
    ...(item.why ? evidence(item.why) : []),
  );
}

/** The sum that places the item, one line for each list. */
function weighed(item, alpha) {
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
      element("td", {}, `${number(weight)} × ${number(worth)}`),
      element("td", {}, number(weight * worth)),
    );
  const sum = element(
    "tr",
    {},
    element("th", { scope: "row", colspan: 2 }, "fused"),
    element("td", {}, number(utility(item, alpha))),
  );
  return element(
    "table",
    {},
    element("caption", {}, "weight × utility of each list"),
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
  const more = generated ? `, ${generated.toLocaleString("en")} more if the LLM’s are counted` : "";
  return ` · ${counted(observed, "user")} took both${more}`;
}
