/* A list below or above a field: arrow keys move, Enter and Tab pick, Escape closes. A key that it uses goes no further. */

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

  /**
   * Show `items`, each {text, detail, checked, choose}; an empty array closes the list. Item `active` is the one that
   * Enter picks; -1 is none before an arrow key moves.
   */
  show(items, active = 0) {
    this.items = items;
    this.active = active;
    this.element.replaceChildren(...items.map((item, index) => this.row(item, index)));
    this.element.hidden = !items.length;
    this.field.setAttribute("aria-expanded", String(this.open));
    this.mark();
  }

  row({ text, detail, checked, choose }, index) {
    const look = { id: `${this.id}-${index}`, role: "option", "aria-checked": checked === undefined ? null : String(checked) };
    return el("li", { ...look, onmousedown: (event) => event.preventDefault(), onclick: () => choose() },
      el("span", {}, text), detail ? el("small", {}, detail) : null);
  }

  /** Handle a key of the field; true if the list used it. */
  key(event) {
    if (!this.open || event.isComposing) return false;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      const from = this.active < 0 && step < 0 ? 0 : this.active;
      this.active = (from + step + this.items.length) % this.items.length;
      this.mark();
    } else if (event.key === "Escape") {
      this.show([]);
    } else if ((event.key === "Enter" || event.key === "Tab") && !event.shiftKey && this.chosen) {
      this.chosen.choose();
    } else {
      return false;
    }
    event.preventDefault();
    event.stopPropagation();
    return true;
  }

  mark() {
    [...this.element.children].forEach((item, index) => item.setAttribute("aria-selected", String(index === this.active)));
    const active = this.element.children[this.active];
    if (active && this.open) this.field.setAttribute("aria-activedescendant", active.id);
    else this.field.removeAttribute("aria-activedescendant");
    active?.scrollIntoView({ block: "nearest" });
  }
}
