/* A select menu of a message or form. Its values change when its list closes, never while the arrow keys move. */

import { el } from "./dom.js";
import { Listbox } from "./listbox.js";

const USER = 5;
const ROLE = 6;
const MENTIONABLE = 7;
const CHANNEL = 8;

export class Select {
  /**
   * `part` is the component (docs: Components Reference, the selects), `id` unique on the page. `changed(values)` is
   * called when the member has chosen others.
   */
  constructor(part, { id, label, world, channel, describedBy, changed }) {
    this.part = part;
    this.changed = changed;
    this.choices = choicesOf(part, world, channel);
    this.least = part.required === false ? 0 : (part.min_values ?? 1);
    this.most = part.max_values ?? 1;
    this.values = this.choices.filter((each) => each.chosen).map((each) => each.value);
    this.sent = this.values;
    this.face = el("span", { class: "select-face" });
    this.button = el("div", {
      id, class: "select", tabindex: part.disabled ? null : 0, "aria-disabled": part.disabled && "true", "aria-haspopup": "listbox",
      "data-key": part.custom_id, "aria-label": label, "aria-describedby": describedBy,
      onclick: () => (this.list.open ? this.close() : this.open()), onkeydown: (event) => this.key(event), onblur: () => this.close(),
    }, this.face);
    this.list = new Listbox(this.button, label);
    this.button.removeAttribute("aria-autocomplete");
    this.element = el("div", { class: "select-box" }, this.button, this.list.element);
    this.draw();
  }

  open(active) {
    if (this.part.disabled) return;
    const items = this.choices.map((each) => ({
      text: each.label, detail: each.description, checked: this.values.includes(each.value), choose: () => this.pick(each.value),
    }));
    this.list.show(items, active ?? Math.max(0, this.choices.findIndex((each) => this.values.includes(each.value))));
  }

  key(event) {
    if (event.key === " " && this.list.open) {
      event.preventDefault();
      this.list.chosen.choose();
    } else if (event.key === "Tab") {
      this.close();
    } else if (event.key === "Escape" && this.list.open) {
      event.preventDefault();
      event.stopPropagation(); // closes the list, not the form around it
      this.close();
    } else if (this.list.key(event)) {
      return;
    } else if (["ArrowDown", "ArrowUp", "Enter", " "].includes(event.key) && !event.altKey) {
      event.preventDefault();
      event.stopPropagation();
      this.open();
    } else if (event.key.length === 1 && !event.ctrlKey && !event.metaKey) {
      const found = this.choices.findIndex((each) => each.label.toLowerCase().startsWith(event.key.toLowerCase()));
      if (found >= 0) this.open(found);
    }
  }

  /** Choose a value, or give it up again; a menu for one value closes. */
  pick(value) {
    const had = this.values.includes(value);
    const others = this.values.filter((each) => each !== value);
    if (this.most === 1) this.values = had && this.least === 0 ? [] : [value];
    else if (had) this.values = others;
    else if (others.length < this.most) this.values = [...others, value];
    this.draw();
    if (this.most === 1) this.close();
    else this.open(this.list.active);
  }

  close() {
    if (!this.list.open) return;
    this.list.show([]);
    const ordered = this.choices.map((each) => each.value).filter((each) => this.values.includes(each));
    if (String(ordered) === String(this.sent)) return;
    this.values = this.sent = ordered;
    this.changed?.(ordered);
  }

  draw() {
    const chosen = this.choices.filter((each) => this.values.includes(each.value)).map((each) => each.label);
    this.face.classList.toggle("empty", !chosen.length);
    this.face.textContent = chosen.join(", ") || (this.part.placeholder ?? "Make a selection");
  }
}

/** What a select offers, as {label, description, value, chosen}: its own options, or people, roles and channels. */
function choicesOf(part, world, channel) {
  if (part.options) {
    return part.options.map((each) => ({
      label: [each.emoji?.id ? `:${each.emoji.name}:` : each.emoji?.name, each.label].filter(Boolean).join(" "),
      description: each.description, value: each.value, chosen: Boolean(each.default),
    }));
  }
  const chosen = (part.default_values ?? []).map((each) => each.id);
  return world.mentionable(channel, {
    people: [USER, MENTIONABLE].includes(part.type), roles: [ROLE, MENTIONABLE].includes(part.type),
    channels: part.type === CHANNEL, kinds: part.channel_types,
  }).map(([label, value]) => ({ label, value, chosen: chosen.includes(value) }));
}
