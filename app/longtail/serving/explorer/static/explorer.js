// The page: what is asked, what was answered, and the weight that is looked at.

import { mark, render } from "./board.js";
import { byId, element } from "./dom.js";
import { LISTS, focus, onKey, rowOf } from "./lists.js";
import { Refused, recommend, useKey, version } from "./service.js";
import { Picker } from "./titles.js";
import { explain } from "./why.js";
import { counted, lacking, number } from "./words.js";

const MOST = 100; // the most that the service gives in one answer: the three lists are made from it
const SIZES = ["10", "20", "50"];

const state = { answer: null, alpha: 0, chosen: null, asking: null };
const picker = new Picker(ask, refused);

// Asking

async function ask() {
  const user = byId("user").value.trim();
  const history = picker.ids;
  remember(user, history);
  state.asking?.abort();
  if (!user && !history.length) return answered(null);
  const asking = (state.asking = new AbortController());
  byId("ask").classList.add("busy");
  try {
    const asked = { ...(user && { user_id: user }), ...(history.length && { history }) };
    answered(await recommend({ ...asked, k: MOST, explain: true }, asking.signal));
  } catch (error) {
    if (error.name !== "AbortError") refused(error);
  } finally {
    if (state.asking === asking) byId("ask").classList.remove("busy");
  }
}

function answered(answer) {
  const first = state.answer === null;
  Object.assign(state, { answer, chosen: null });
  byId("refused").hidden = true;
  byId("start").hidden = answer !== null;
  byId("answer").hidden = answer === null;
  if (answer === null) return;
  writeFacts(answer);
  writeDegraded(answer.degraded);
  byId("by-recommender").textContent = answer.recommender;
  byId("by-llm").textContent = answer.list ?? "";
  byId("mark").style.setProperty("--served", answer.alpha);
  setAlpha(answer.alpha);
  if (first) toList("fused", "instant");
}

function refused(error) {
  if (!(error instanceof Refused)) throw error;
  const faults = error.faults.map(({ pointer, message }) => element("span", {}, `${pointer} ${message}`));
  byId("refused").replaceChildren(error.message, ...faults);
  byId("refused").hidden = false;
  if (error.status === 401) {
    byId("keyed").hidden = false;
    byId("key").focus();
  }
}

/** The question is in the address: it can be sent to somebody, and the browser's way back works. */
function remember(user, history) {
  const size = byId("first").value;
  const parts = [
    ...(user ? [["user", user]] : []),
    ...history.map((id) => ["item", id]),
    ...(size === SIZES[0] ? [] : [["first", size]]),
  ];
  const hash = new URLSearchParams(parts).toString();
  if (hash !== location.hash.slice(1)) window.history.pushState(null, "", hash ? `#${hash}` : location.pathname);
}

function recall() {
  const asked = new URLSearchParams(location.hash.slice(1));
  byId("user").value = asked.get("user") ?? "";
  byId("first").value = SIZES.find((size) => size === asked.get("first")) ?? SIZES[0];
  picker.replace(asked.getAll("item").map((id) => ({ item_id: id, title: null })));
  ask();
}

// Showing

function writeFacts(answer) {
  const facts = {
    user: answer.user ?? "somebody new",
    history: counted(answer.interactions, "interaction"),
    arm: answer.arm,
    version: answer.model_version,
    took: `${number(answer.took_ms)} ms`,
  };
  const rows = Object.entries(facts).filter(([, value]) => value !== null && value !== undefined);
  byId("facts").replaceChildren(
    ...rows.map(([fact, value]) => element("div", { class: fact }, element("dt", {}, fact), element("dd", {}, value))),
  );
}

function writeDegraded(degraded) {
  const parts = degraded?.parts ?? [];
  byId("degraded").replaceChildren(...parts.map((part) => element("li", {}, lacking(part))));
  byId("degraded").hidden = !parts.length;
}

/** Look at the answer with this weight of the LLM. */
function setAlpha(alpha) {
  const { alpha: served, sparsity, items } = state.answer;
  state.alpha = alpha;
  byId("alpha").value = alpha;
  byId("weight").textContent = alpha.toFixed(2);
  byId("back").disabled = alpha === served;
  const about = `${served.toFixed(2)} is served, for a sparsity of ${sparsity.toFixed(2)}.`;
  const cut = items.length < MOST ? "" : ` The lists end with the ${MOST} best items as served.`;
  byId("mixed").textContent = about + cut;
  show();
}

function show() {
  const { items } = state.answer;
  const both = items.some((item) => item.llm_rank !== null) && items.some((item) => item.recommender_rank !== null);
  byId("mix").hidden = !both;
  render(items, state.alpha, Number(byId("first").value), state.chosen);
  explain(items.find((item) => item.item_id === state.chosen) ?? null, state.alpha);
}

/** Say why this item is there; null says it of none. */
function choose(id) {
  const from = document.activeElement?.closest?.("#lists li");
  const before = state.chosen;
  state.chosen = id;
  mark("chosen", id);
  explain(state.answer.items.find((item) => item.item_id === id) ?? null, state.alpha);
  if (id !== null) from?.scrollIntoView({ block: "nearest", inline: "nearest" }); // out from under the sheet
  if (id === null && before !== null && !from) focus(LISTS.find((list) => rowOf(list, before)), before);
}

/** Bring a list into view if the lists are swiped. */
function toList(list, behavior = "smooth") {
  const lists = byId("lists");
  const target = byId(list).parentElement;
  lists.scrollTo({ left: target.offsetLeft - (lists.clientWidth - target.offsetWidth) / 2, behavior });
}

// Listening

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  if (byId("key").value) useKey(byId("key").value);
  ask();
});
byId("first").addEventListener("change", () => {
  remember(byId("user").value.trim(), picker.ids);
  if (state.answer) show();
});
byId("alpha").addEventListener("input", () => setAlpha(byId("alpha").valueAsNumber));
byId("back").addEventListener("click", () => {
  setAlpha(state.answer.alpha);
  byId("alpha").focus();
});

const lists = byId("lists");
const itemAt = (event) => event.target.closest?.("#lists li, #lines path")?.dataset.id ?? null;
lists.addEventListener("keydown", onKey);
lists.addEventListener("click", (event) => {
  const id = itemAt(event);
  if (id !== null) choose(id === state.chosen ? null : id);
});
for (const moved of ["pointerover", "focusin"]) lists.addEventListener(moved, (event) => mark("near", itemAt(event)));
for (const gone of ["pointerleave", "focusout"]) lists.addEventListener(gone, () => mark("near", null));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && state.chosen !== null) choose(null);
});
byId("why").addEventListener("click", (event) => {
  if (event.target.closest(".close")) choose(null);
});
for (const button of document.querySelectorAll(".swipe button")) {
  button.addEventListener("click", () => toList(button.dataset.list));
}
new ResizeObserver(() => state.answer && show()).observe(lists);
window.addEventListener("popstate", recall);

version()
  .then(({ users, items }) => (byId("served").textContent = `${counted(users, "user")} · ${counted(items, "item")}`))
  .catch(() => {}); // a key may be needed: the first question says so
recall();
