/* A list of suggestions for a text field: arrow keys move, Enter and Tab accept, Escape closes. */

import { el } from "./dom.js";

export class Listbox {
  /** Turn `field` into a combobox (WAI-ARIA Authoring Practices); the caller places `element` beside it. */
  constructor(field, label) {
    this.field = field;
    this.id = `${field.id}-list`;
    this.element = el("ul", { class: "listbox", id: this.id, role: "listbox", "aria-label": label, hidden: true });
    for (const [name, value] of Object.entries({ role: "combobox", "aria-autocomplete": "list", "aria-controls": this.id, autocomplete: "off" })) {
      field.setAttribute(name, value);
    }
    this.show([]);
  }

  get open() {
    return !this.element.hidden;
  }

  get chosen() {
    return this.items[this.active];
  }

  /** Show `items`, each {text, detail, choose}; the first is active. An empty array closes the list. */
  show(items) {
    this.items = items;
    this.active = 0;
    this.element.replaceChildren(
      ...items.map((item, index) =>
        el("li", { id: `${this.id}-${index}`, role: "option", onmousedown: (event) => event.preventDefault(), onclick: () => item.choose() },
          el("span", {}, item.text), item.detail ? el("small", {}, item.detail) : null)),
    );
    this.element.hidden = !items.length;
    this.field.setAttribute("aria-expanded", String(this.open));
    this.mark();
  }

  /** Handle a key of the field; true if the list used it. */
  key(event) {
    if (!this.open || event.isComposing) return false;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      this.active = (this.active + step + this.items.length) % this.items.length;
      this.mark();
    } else if (event.key === "Escape") {
      this.show([]);
    } else if ((event.key === "Enter" || event.key === "Tab") && !event.shiftKey) {
      this.chosen.choose();
    } else {
      return false;
    }
    event.preventDefault();
    return true;
  }

  mark() {
    [...this.element.children].forEach((item, index) => item.setAttribute("aria-selected", String(index === this.active)));
    const active = this.element.children[this.active];
    if (active) this.field.setAttribute("aria-activedescendant", active.id);
    else this.field.removeAttribute("aria-activedescendant");
    active?.scrollIntoView({ block: "nearest" });
  }
}
