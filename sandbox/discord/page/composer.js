/* The message field: `/` opens the list of commands, and the selected command gets a field for each option. */

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
    const first = this.root.querySelector(".options :is(textarea, input, select)") ?? this.root.querySelector(".primary");
    (this.command ? first : this.input).focus();
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
    // A command that is typed in full and has no required option is sent at once, like a line with values.
    const whole = found && event.key === "Enter" && !found.command.options.some((option) => option.required);
    if (event.isComposing || (!(whole && this.list.chosen?.text === `/${found.command.path}`) && this.list.key(event))) return;
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

  /** Show a command's fields: the required options, and those that `texts` has values for. */
  open(command, texts = new Map()) {
    this.command = command;
    this.fields = new Map();
    this.fieldList = el("div", { class: "options" });
    this.chips = el("div", { class: "chips", role: "group", "aria-label": "Options to add" });
    this.fault = el("p", { class: "fault", role: "alert" });
    const close = el("button", { type: "button", class: "icon small", "aria-label": "Cancel this command", onclick: () => this.cancel() }, "×");
    const form = el("form", { class: "command", "aria-label": `/${command.path}`, novalidate: true, onkeydown: (event) => this.formKey(event) },
      el("div", { class: "command-head" }, el("b", {}, `/${command.path}`), el("span", {}, command.description), close),
      this.fieldList, this.chips, this.fault,
      el("div", { class: "command-foot" },
        el("span", { class: "hint" }, "Enter to send · Shift+Enter for a new line · Esc to cancel"),
        el("button", { class: "button primary" }, "Send")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
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

  /** Add an option's field; fields keep the order in which the bot registered the options. */
  add(option) {
    const field = new Field(option, {
      ...this.place(),
      suggest: (focused, text) => this.suggest(this.command.path, { ...this.values(), [focused.name]: text }, focused.name),
      removed: () => this.remove(option),
    });
    field.input.addEventListener("input", () => {
      field.fail("");
      grow(field.input);
    });
    this.fields.set(option.name, field);
    const order = this.command.options.filter(({ name }) => this.fields.has(name));
    this.fieldList.replaceChildren(...order.map(({ name }) => this.fields.get(name).element));
    return field;
  }

  remove(option) {
    this.fields.get(option.name).element.remove();
    this.fields.delete(option.name);
    this.updateChips();
    this.focus();
  }

  /** Show a chip for each option that has no field yet. */
  updateChips() {
    const left = this.command.options.filter((option) => !this.fields.has(option.name));
    this.chips.replaceChildren(...left.map((option) => {
      const add = () => {
        const field = this.add(option);
        this.updateChips();
        field.input.focus();
      };
      return el("button", { type: "button", class: "chip", title: option.description, onclick: add }, `+ ${option.name}`);
    }));
  }

  formKey(event) {
    const field = [...this.fields.values()].find((each) => each.input === event.target);
    if (field?.list?.key(event) || event.isComposing) return;
    if (event.key === "Escape") {
      event.preventDefault();
      this.cancel();
    } else if (event.key === "Enter" && !event.shiftKey && field) {
      event.preventDefault();
      this.submit();
    }
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
    this.fault.textContent = "";
    for (const field of this.fields.values()) field.fail("");
    try {
      await this.send(this.command.path, this.values());
      if (open()) this.cancel();
    } catch (refused) {
      if (!open()) return;
      const field = this.fields.get(refused.option);
      if (field) field.fail(refused.message);
      else this.fault.textContent = refused.message;
      field?.input.focus();
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
