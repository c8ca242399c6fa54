// Picking titles by search: a combobox, and the titles that are picked, oldest first.

import { byId, element } from "./dom.js";
import { titles } from "./service.js";
import { name } from "./words.js";

const WAIT = 150; // milliseconds after the last key, before the service is asked

/** The titles that are picked; `changed` is called when they are others. */
export class Picker {
  #picked = [];
  #found = [];
  #at = -1;
  #waiting = null;
  #asking = null;

  constructor(changed, failed) {
    this.input = byId("title");
    this.matches = byId("matches");
    this.changed = changed;
    this.failed = failed;
    this.input.addEventListener("input", () => this.#search(WAIT));
    this.input.addEventListener("focus", () => this.#search(0));
    this.input.addEventListener("blur", () => this.#close());
    this.input.addEventListener("keydown", (event) => this.#onKey(event));
    this.matches.addEventListener("mousedown", (event) => event.preventDefault()); // the focus stays in the input
    this.matches.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (option) this.#pick([...this.matches.children].indexOf(option));
    });
  }

  /** The ids, oldest first. */
  get ids() {
    return this.#picked.map((item) => item.item_id);
  }

  /** From the ids to the titles. */
  get titles() {
    return Object.fromEntries(this.#picked.map((item) => [item.item_id, item.title]));
  }

  /** Take these items instead; nobody is told. */
  replace(items) {
    this.#picked = items;
    this.#write();
  }

  #search(wait) {
    clearTimeout(this.#waiting);
    this.#asking?.abort();
    this.#waiting = setTimeout(async () => {
      const asking = (this.#asking = new AbortController());
      try {
        const { items: found } = await titles(this.input.value.trim(), asking.signal);
        if (document.activeElement === this.input) this.#open(found);
      } catch (error) {
        if (error.name !== "AbortError") this.failed(error);
      }
    }, wait);
  }

  #open(found) {
    const taken = new Set(this.ids);
    this.#found = found.filter((item) => !taken.has(item.item_id));
    const none = this.input.value.trim() ? "No title begins like this." : null;
    this.matches.replaceChildren(
      ...this.#found.map((item, place) =>
        element("li", { role: "option", id: `match-${place}`, "aria-selected": "false" }, name(item)),
      ),
      ...(this.#found.length || none === null ? [] : [element("li", { class: "none" }, none)]),
    );
    this.matches.hidden = !this.matches.children.length;
    this.input.setAttribute("aria-expanded", String(!this.matches.hidden));
    this.#select(-1);
  }

  #close() {
    clearTimeout(this.#waiting);
    this.#asking?.abort();
    this.matches.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.#select(-1);
  }

  #select(at) {
    this.#at = at;
    [...this.matches.children].forEach((option, place) => option.setAttribute("aria-selected", String(place === at)));
    if (at < 0) this.input.removeAttribute("aria-activedescendant");
    else {
      this.input.setAttribute("aria-activedescendant", `match-${at}`);
      this.matches.children[at].scrollIntoView({ block: "nearest" });
    }
  }

  #onKey(event) {
    const open = !this.matches.hidden && this.#found.length > 0;
    if (event.key === "ArrowDown" && open) this.#select((this.#at + 1) % this.#found.length);
    else if (event.key === "ArrowUp" && open) this.#select(this.#at <= 0 ? this.#found.length - 1 : this.#at - 1);
    else if (event.key === "Enter" && open && (this.#at >= 0 || this.input.value.trim())) this.#pick(Math.max(this.#at, 0));
    else if (event.key === "Escape" && !this.matches.hidden) this.#close();
    else if (event.key === "Backspace" && !this.input.value && this.#picked.length) this.#drop(this.#picked.length - 1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #pick(place) {
    this.#picked = [...this.#picked, this.#found[place]];
    this.input.value = "";
    this.#close();
    this.#write();
    this.changed();
  }

  #drop(place) {
    this.#picked = this.#picked.filter((_, at) => at !== place);
    this.#write();
    this.input.focus();
    this.changed();
  }

  #write() {
    const chips = this.#picked.map((item, place) => {
      const off = element("button", { type: "button", "aria-label": `Remove ${name(item)}` }, "×");
      off.addEventListener("click", () => this.#drop(place));
      return element("span", { class: "chip" }, element("span", {}, name(item)), off);
    });
    while (this.input.previousSibling) this.input.previousSibling.remove();
    this.input.before(...chips); // the input itself stays, and keeps the focus
  }
}
