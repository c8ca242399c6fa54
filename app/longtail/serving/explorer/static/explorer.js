// The page: what is asked, what was answered, and the weight that is looked at.

import { mark, render } from "./board.js";
import { byId, element } from "./dom.js";
import { INJECT, fused } from "./fusion.js";
import { LISTS, focus, onKey, rowOf } from "./lists.js";
import { Refused, recommend, useKey, version } from "./service.js";
import { Picker } from "./titles.js";
import { explain } from "./why.js";
import { counted, fusing, lacking, number } from "./words.js";

const MOST = 100; // the most that the service gives in one answer: the three lists are made from it
const SIZES = ["10", "20", "50"];

const state = { answer: null, fusion: null, alpha: 0, chosen: null, asking: null, version: null };
const picker = new Picker(ask, refused);

// Asking

async function ask() {
  const user = byId("user").value.trim();
  remember(user);
  state.asking?.abort();
  if (!user && !picker.ids.length) return forget();
  const asking = (state.asking = new AbortController());
  byId("ask").classList.add("busy");
  try {
    const asked = { ...(user && { user_id: user }), ...(picker.ids.length && { history: picker.ids }) };
    const answer = await recommend({ ...asked, k: MOST, explain: true }, asking.signal);
    await readVersion(answer.model_version, asking.signal);
    answered(answer);
  } catch (error) {
    if (error.name === "AbortError") return;
    forget();
    refused(error);
  } finally {
    if (state.asking === asking) byId("ask").classList.remove("busy");
  }
}

/** Know what is served: the arms, with their kinds of fusion, stay the same as long as the version does. */
async function readVersion(wanted, signal) {
  if (state.version?.model_version === wanted) return;
  state.version = await version(signal);
  const { users, items } = state.version;
  byId("served").textContent = `${counted(users, "user")} · ${counted(items, "item")}`;
}

function answered(answer) {
  const first = state.answer === null;
  const { fusion } = state.version.arms.find(({ arm }) => arm === answer.arm) ?? {};
  Object.assign(state, { answer, fusion: answer.list ? fusion : null, chosen: null });
  byId("refused").hidden = byId("start").hidden = true;
  byId("answer").hidden = false;
  writeFacts(answer);
  writeDegraded(answer.degraded);
  byId("by-recommender").textContent = answer.recommender;
  byId("by-fused").textContent = state.fusion?.kind ?? "";
  byId("by-llm").textContent = answer.list ?? "";
  const cut = `The page has the ${MOST} best items as served; with another weight, items below them are missing.`;
  byId("fusing").textContent = [state.fusion && fusing(state.fusion), answer.items.length === MOST && cut]
    .filter(Boolean)
    .join(" ");
  byId("mix").hidden = !state.fusion || state.fusion.kind === INJECT;
  byId("mark").style.setProperty("--served", answer.alpha);
  setAlpha(answer.alpha);
  if (first) toList("fused", "instant");
}

function forget() {
  state.answer = null;
  byId("refused").hidden = byId("answer").hidden = true;
  byId("start").hidden = false;
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
function remember(user) {
  const size = byId("first").value;
  const parts = [
    ...(user ? [["user", user]] : []),
    ...picker.ids.map((id) => ["item", id]),
    ...(size === SIZES[0] ? [] : [["first", size]]),
  ];
  const hash = new URLSearchParams(parts).toString();
  if (hash !== location.hash.slice(1)) window.history.pushState(picker.titles, "", hash ? `#${hash}` : location.pathname);
}

function recall() {
  const asked = new URLSearchParams(location.hash.slice(1));
  byId("user").value = asked.get("user") ?? "";
  byId("first").value = SIZES.find((size) => size === asked.get("first")) ?? SIZES[0];
  const titles = window.history.state ?? {}; // of a link from somebody else there are only ids
  picker.replace(asked.getAll("item").map((id) => ({ item_id: id, title: titles[id] ?? null })));
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
  const { alpha: served, sparsity } = state.answer;
  state.alpha = alpha;
  byId("alpha").value = alpha;
  byId("weight").textContent = alpha.toFixed(2);
  byId("back").disabled = alpha === served;
  byId("mixed").textContent = `${served.toFixed(2)} is served, for a sparsity of ${sparsity.toFixed(2)}.`;
  show();
}

function show() {
  const { items } = state.answer;
  render(items, fused(items, state.alpha, state.fusion?.kind), Number(byId("first").value), state.chosen);
  say();
}

function say() {
  explain(state.answer.items.find((item) => item.item_id === state.chosen), state.alpha, state.fusion?.kind);
}

/** Say why this item is there; null says it of none. */
function choose(id) {
  const before = state.chosen;
  const closed = byId("why").contains(document.activeElement);
  state.chosen = id;
  mark("chosen", id);
  say();
  document.activeElement.closest("#lists li")?.scrollIntoView({ block: "nearest" }); // out from under the sheet
  const list = LISTS.find((one) => rowOf(one, before));
  if (closed && list) focus(list, before);
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
  remember(byId("user").value.trim());
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
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address holds the question
  const row = document.querySelector("#fused button[tabindex='0']");
  (state.answer && row ? row : byId("user")).focus();
});

recall();
