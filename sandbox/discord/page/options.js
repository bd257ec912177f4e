/* A command's options: parses a command line, and gives each option a pill with a field and a typed value. */

import { el } from "./dom.js";
import { Listbox } from "./listbox.js";

export const TYPE = { string: 3, integer: 4, boolean: 5, user: 6, channel: 7, role: 8, mentionable: 9, number: 10, attachment: 11 };
const SUGGEST_AFTER_MS = 150;
const CHOICES_SHOWN_MAX = 25;

/**
 * Parse a command line such as `/veo prompt:a red fox duration:4s` by the options of `commands`.
 * Null if it starts with no known command. Text before the first option name belongs to the first option.
 */
export function parseLine(line, commands) {
  const text = line.replace(/^\//, "");
  const fits = commands.filter(({ path }) => text === path || /^\s/.test(text.slice(path.length)) && text.startsWith(path));
  const command = fits.sort((one, other) => other.path.length - one.path.length)[0];
  if (!command) return null;
  const rest = text.slice(command.path.length);
  const names = command.options.map((option) => option.name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const marks = names.length ? [...rest.matchAll(new RegExp(`(?<=^|\\s)(${names.join("|")}):`, "g"))] : [];
  const texts = new Map();
  const before = rest.slice(0, marks[0]?.index ?? rest.length).trim();
  if (before && command.options.length) texts.set(command.options[0].name, before);
  marks.forEach((mark, index) => {
    texts.set(mark[1], rest.slice(mark.index + mark[0].length, marks[index + 1]?.index ?? rest.length).trim());
  });
  return { command, texts, given: Boolean(rest.trim()) };
}

/**
 * One option as a pill. Nothing is chosen at first. Choices are a list in which Enter picks; `picked()` is called after
 * that, and moves on. `suggest(option, text)` returns the choices of an autocomplete option.
 */
export class Field {
  constructor(option, { world, channel, suggest, removed, picked }) {
    this.option = option;
    this.suggest = suggest;
    this.picked = picked;
    this.id = `option-${option.name}`;
    this.choices = fixedChoices(option, world, channel);
    this.input = this.control();
    this.list = this.choices || option.autocomplete ? this.suggestions() : null;
    const remove = option.required ? null
      : el("button", { type: "button", class: "icon small", "aria-label": `Remove ${option.name}`, onclick: () => removed() }, "×");
    this.element = el("div", { class: "option" },
      el("label", { for: this.id }, option.name, option.required ? el("abbr", { title: "required" }, "*") : null),
      this.input, remove, this.list?.element ?? null, el("span", { class: "unseen", id: `${this.id}-hint` }, this.about));
  }

  /** What the option is for, and what it allows. */
  get about() {
    const { min_value: low, max_value: high, max_length: longest, description } = this.option;
    const range = low !== undefined && high !== undefined ? `${low} to ${high}`
      : low !== undefined ? `at least ${low}` : high !== undefined ? `at most ${high}` : longest !== undefined ? `up to ${longest} characters` : "";
    return description + (range ? ` (${range})` : "");
  }

  control() {
    const { option } = this;
    const look = { id: this.id, name: option.name, required: option.required, "aria-describedby": `${this.id}-hint option-fault` };
    const wide = option.type === TYPE.string && !this.choices && !option.autocomplete;
    if (wide) return el("textarea", { ...look, rows: 1, maxlength: option.max_length });
    const mode = { [TYPE.integer]: "numeric", [TYPE.number]: "decimal" }[option.type];
    return el("input", { ...look, type: "text", inputmode: this.choices ? null : mode, autocomplete: "off", placeholder: this.choices ? "Choose…" : null });
  }

  /** The typed value; undefined for an empty field. Text that doesn't fit is sent as text, so that it is refused. */
  get value() {
    const text = this.input.value;
    if (text === "") return undefined;
    if (this.chosen?.name === text) return this.chosen.value;
    const meant = this.choices && this.meant(text);
    if (meant) return meant.value;
    const numeric = { [TYPE.integer]: /^\s*[-+]?\d+\s*$/, [TYPE.number]: /^\s*[-+]?\d+(\.\d+)?\s*$/ }[this.option.type];
    return numeric?.test(text) ? Number(text) : text;
  }

  /** Whether it has text to complete of which nothing was picked yet. */
  get undecided() {
    return Boolean(this.option.autocomplete) && this.input.value !== "" && this.chosen?.name !== this.input.value;
  }

  /** The choice that has this text as its name or value. */
  meant(text) {
    return this.choices.find((choice) => plain(choice.name) === plain(text) || plain(choice.value) === plain(text));
  }

  /** Fill in typed text. */
  fill(text) {
    this.input.value = (this.choices && this.meant(text)?.name) || text;
  }

  /** Mark the field as the one at fault, or not. */
  fail(failed) {
    this.input.setAttribute("aria-invalid", String(failed));
  }

  /** Handle a key; true if it was used. In a field with a list Enter picks or moves on, and never sends. */
  key(event) {
    if (!this.list || event.isComposing) return false;
    if (this.list.key(event)) return true;
    const reopen = event.key === "ArrowDown" || event.key === "Enter" && this.input.value === "";
    if (!reopen && event.key !== "Enter") return false;
    event.preventDefault();
    if (reopen) this.offer(true);
    else this.picked();
    return true;
  }

  suggestions() {
    const list = new Listbox(this.input, `Choices for ${this.option.name}`);
    this.input.addEventListener("input", () => {
      clearTimeout(this.timer);
      if (this.choices) this.offer(); // at once, so that a quick Enter doesn't pick from the list of before
      else this.timer = setTimeout(() => this.offer(), SUGGEST_AFTER_MS);
    });
    this.input.addEventListener("focus", () => this.offer(true));
    this.input.addEventListener("blur", () => list.show([]));
    return list;
  }

  /** Show the choices that fit the text; `all` of those that the page knows, if one of them is chosen already. */
  async offer(all) {
    const text = this.input.value;
    const meant = all && this.choices && this.meant(text);
    const found = this.choices ? this.fitting(meant ? "" : text) : ((await this.suggest(this.option, text).catch(() => [])) ?? []);
    if (this.input.value !== text || document.activeElement !== this.input) return; // the member went on meanwhile
    const active = Math.max(0, found.indexOf(meant));
    this.list.show(found.map((choice) => ({ text: choice.name, choose: () => this.choose(choice) })), active);
  }

  /** The choices with this text in their name, those that begin with it first. */
  fitting(text) {
    const typed = plain(text);
    const rank = ({ name }) => Number(!plain(name).startsWith(typed));
    const found = this.choices.filter(({ name }) => plain(name).includes(typed));
    return found.sort((one, other) => rank(one) - rank(other)).slice(0, CHOICES_SHOWN_MAX);
  }

  choose(choice) {
    this.chosen = choice;
    this.input.value = choice.name;
    this.list.show([]);
    this.input.dispatchEvent(new Event("change", { bubbles: true }));
    this.picked();
  }
}

/** A name or value as people type it. */
const plain = (text) => String(text).toLowerCase().replace(/^[@#]/, "");

/** The choices that the page knows by itself, as {name, value}: the option's own, booleans, people, channels, roles. */
function fixedChoices(option, world, channel) {
  if (option.choices) return option.choices.map((each) => ({ name: world.local(each, "name"), value: each.value }));
  if (option.type === TYPE.boolean) return [{ name: "True", value: true }, { name: "False", value: false }];
  const wanted = {
    people: [TYPE.user, TYPE.mentionable].includes(option.type), roles: [TYPE.role, TYPE.mentionable].includes(option.type),
    channels: option.type === TYPE.channel, kinds: option.channel_types,
  };
  if (!wanted.people && !wanted.roles && !wanted.channels) return null;
  return world.mentionable(channel, wanted).map(([name, value]) => ({ name, value }));
}
