/* The message field: `/` opens the list of commands, and the selected command gets a pill for each option. */

import { el } from "./dom.js";
import { Listbox } from "./listbox.js";
import { Field, parseLine } from "./options.js";

const ONLY_COMMANDS = "Only commands work here. Type / to see them.";
const COMMANDS_SHOWN_MAX = 25;

export class Composer {
  /**
   * `place()` returns {world, channel, viewer}, or null if the viewer can't write here. `send(command, options)`
   * and `suggest(command, options, focused)` call the sandbox and throw Refused.
   */
  constructor(root, { place, send, suggest }) {
    this.root = root;
    this.place = place;
    this.send = send;
    this.suggest = suggest;
    this.reset();
  }

  /** Show an empty line again. */
  reset() {
    this.command = null;
    this.fields = new Map();
    this.input = el("textarea", { id: "line", rows: 1, "aria-label": "Message", "aria-describedby": "line-hint", placeholder: "Type / to use a command" });
    this.hint = el("p", { id: "line-hint", class: "hint", role: "status" });
    this.list = new Listbox(this.input, "Commands");
    this.input.addEventListener("input", () => this.typing());
    this.input.addEventListener("keydown", (event) => this.lineKey(event));
    this.input.addEventListener("blur", () => this.list.show([]));
    this.root.replaceChildren(el("div", { class: "line" }, this.list.element, this.input, this.hint));
    this.enable();
  }

  /** Adapt to the current channel: a command that is being filled in stays open if it exists there too. */
  enable() {
    const place = this.place();
    if (this.command && !this.known(place, this.command.path)) this.reset();
    this.input.disabled = !place;
    if (place && document.activeElement === document.body) this.focus();
  }

  known(place, path) {
    return place?.world.commands(place.channel, place.viewer).some((command) => command.path === path);
  }

  focus() {
    const fields = [...this.fields.values()];
    const next = this.missingField ?? fields.find((field) => field.undecided) ?? fields.find((field) => !field.list);
    (this.command ? (next?.input ?? this.tail) : this.input).focus();
  }

  /** Insert a line as if it had been typed; a complete command opens its fields. */
  fill(line) {
    this.reset();
    const found = this.parse(line);
    if (found) {
      this.open(found.command, found.texts);
      return;
    }
    this.input.value = line;
    this.focus();
    this.typing();
  }

  parse(line) {
    const place = this.place();
    return place && line.startsWith("/") ? parseLine(line, place.world.commands(place.channel, place.viewer)) : null;
  }

  typing() {
    grow(this.input);
    const text = this.input.value;
    const found = this.parse(text);
    const place = this.place();
    this.hint.textContent = "";
    if (!text.startsWith("/") || !place) {
      this.list.show([]);
      if (text) this.hint.textContent = ONLY_COMMANDS;
      return;
    }
    if (found?.given) {
      this.list.show([]);
      const names = found.command.options.map((option) => `${option.name}:`).join(" ");
      this.hint.textContent = `Press Enter to send, or Tab to fill in the fields: ${names}`;
      return;
    }
    const wanted = text.slice(1).trim().toLowerCase();
    const commands = place.world.commands(place.channel, place.viewer);
    const starting = commands.filter(({ path }) => path.startsWith(wanted));
    const others = commands.filter((each) => !starting.includes(each) && each.path.includes(wanted));
    const shown = [...starting, ...others].slice(0, COMMANDS_SHOWN_MAX);
    this.list.show(shown.map((command) => ({ text: `/${command.path}`, detail: command.description, choose: () => this.open(command) })));
    if (!shown.length) this.hint.textContent = commands.length ? `There's no command ${text.trim()} here.` : "No bot has registered commands yet.";
  }

  lineKey(event) {
    const found = this.parse(this.input.value);
    if (event.isComposing || this.list.key(event)) return; // Enter in the list picks a command, and doesn't send it yet
    if (event.key === "Tab" && !event.shiftKey && found) {
      event.preventDefault();
      this.open(found.command, found.texts);
    } else if (event.key === "Escape") {
      this.reset();
      this.focus();
    } else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      if (found) {
        this.open(found.command, found.texts);
        this.submit();
      } else if (this.input.value) this.hint.textContent = this.hint.textContent || ONLY_COMMANDS;
    }
  }

  /** Show a command's pills: the required options, and those that `texts` has values for. */
  open(command, texts = new Map()) {
    this.command = command;
    this.fields = new Map();
    this.tail = this.tailField();
    this.pills = el("div", { class: "pills" }, this.tail);
    this.chips = el("div", { class: "chips", role: "group", "aria-label": "Options to add" });
    this.about = el("p", { class: "about hint", "aria-hidden": "true" }, command.description); // read out with each field
    this.fault = el("p", { class: "fault", id: "option-fault", role: "alert" });
    const close = el("button", { type: "button", class: "icon small", "aria-label": "Cancel this command", onclick: () => this.cancel() }, "×");
    const form = el("form", { class: "command", "aria-label": `/${command.path}`, novalidate: true, onkeydown: (event) => this.formKey(event) },
      this.tailList.element, el("div", { class: "command-head" }, el("b", {}, `/${command.path}`), this.about, close),
      this.pills, this.chips, this.fault,
      el("div", { class: "command-foot" },
        el("span", { class: "hint" }, "Enter to send · Shift+Enter for a new line · Esc to cancel"),
        el("button", { class: "button primary" }, "Send")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    form.addEventListener("focusin", ({ target }) => {
      this.about.textContent = this.fieldOf(target)?.about ?? command.description;
    });
    this.root.replaceChildren(form);
    for (const option of command.options) {
      if (option.required || texts.has(option.name)) this.add(option);
      if (texts.has(option.name)) this.fields.get(option.name).fill(texts.get(option.name));
    }
    this.updateChips();
    for (const area of form.querySelectorAll("textarea")) grow(area);
    this.focus();
  }

  /** The end of the line, behind the last pill: a typed name adds an option, and Enter in the empty field sends. */
  tailField() {
    const tail = el("input", { id: "option-tail", class: "tail", type: "text", "aria-label": "Add an option", autocomplete: "off" });
    this.tailList = new Listbox(tail, "Options");
    tail.addEventListener("input", () => {
      const typed = tail.value.toLowerCase();
      const exact = typed.endsWith(":") && this.missing.find((option) => `${option.name}:` === typed.trimStart());
      const fitting = typed.trim() ? this.missing.filter((option) => option.name.includes(typed.trim().replace(/:$/, ""))) : [];
      this.tailList.show(fitting.map((option) => ({ text: option.name, detail: option.description, choose: () => this.begin(option) })));
      this.fault.textContent = typed.trim() && !fitting.length ? `/${this.command.path} has no other option ${typed.trim()}.` : "";
      if (exact) this.begin(exact);
    });
    tail.addEventListener("blur", () => this.tailList.show([]));
    return tail;
  }

  get missing() {
    return this.command.options.filter((option) => !this.fields.has(option.name));
  }

  /** The first required field that is empty. */
  get missingField() {
    return [...this.fields.values()].find((field) => field.option.required && field.value === undefined);
  }

  fieldOf(target) {
    return [...this.fields.values()].find((each) => each.input === target);
  }

  /** Add an option's pill; they keep the order in which the bot registered the options. */
  add(option) {
    const field = new Field(option, {
      ...this.place(),
      suggest: (focused, text) => this.suggest(this.command.path, { ...this.values(), [focused.name]: text }, focused.name),
      removed: () => this.remove(option),
      picked: () => this.moveOn(),
    });
    const changed = () => {
      this.fail(null, "");
      grow(field.input);
    };
    field.input.addEventListener("input", changed);
    field.input.addEventListener("change", changed);
    this.fields.set(option.name, field);
    const order = this.command.options.filter(({ name }) => this.fields.has(name));
    this.pills.replaceChildren(...order.map(({ name }) => this.fields.get(name).element), this.tail);
    return field;
  }

  /** Add an option that the member asked for, and let them fill it in. */
  begin(option) {
    this.tail.value = "";
    this.tailList.show([]);
    const field = this.add(option);
    this.updateChips();
    field.input.focus();
  }

  /** After a pick: to the next required field that is empty, else to the end of the line. */
  moveOn() {
    (this.missingField?.input ?? this.tail).focus();
  }

  remove(option) {
    this.fields.get(option.name).element.remove();
    this.fields.delete(option.name);
    this.updateChips();
    this.moveOn();
  }

  /** Show a chip for each option that has no pill yet. */
  updateChips() {
    this.chips.replaceChildren(...this.missing.map((option) =>
      el("button", { type: "button", class: "chip", title: option.description, onclick: () => this.begin(option) }, `+ ${option.name}`)));
    this.tail.placeholder = this.fields.size || this.missing.length ? "" : "Press Enter to send";
  }

  formKey(event) {
    const field = this.fieldOf(event.target);
    const atTail = event.target === this.tail;
    if (event.isComposing || field?.key(event) || (atTail && this.tailList.key(event))) return;
    if (event.key === "Escape") {
      event.preventDefault();
      this.cancel();
    } else if (event.key === "Enter" && !event.shiftKey && (field || atTail)) {
      event.preventDefault();
      if (!atTail || !this.tail.value.trim()) this.submit();
    }
  }

  /** Say what is wrong, and mark the field at fault; an empty sentence clears it. */
  fail(field, sentence) {
    this.fault.textContent = sentence;
    for (const each of this.fields.values()) each.fail(each === field);
  }

  cancel() {
    this.reset();
    this.focus();
  }

  values() {
    const entries = [...this.fields].map(([name, field]) => [name, field.value]);
    return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
  }

  async submit() {
    const form = this.root.firstChild;
    const open = () => form === this.root.firstChild; // not canceled while the reply was pending
    if (this.sending === form) return;
    this.sending = form;
    this.fail(null, "");
    try {
      await this.send(this.command.path, this.values());
      if (open()) this.cancel();
    } catch (refused) {
      if (!open()) return;
      const field = this.fields.get(refused.option);
      this.fail(field, refused.message);
      field?.input.focus();
      field?.list?.show([]); // or it would cover what is wrong
    } finally {
      if (this.sending === form) this.sending = null;
    }
  }
}

/** Make a text area as high as its text, up to the maximum of the style sheet. */
function grow(area) {
  if (area.tagName !== "TEXTAREA") return;
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight + 2}px`;
}
