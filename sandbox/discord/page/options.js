/* A command's options: parses a command line, and gives each option a form field with a typed value. */

import { el } from "./dom.js";
import { Listbox } from "./listbox.js";

export const TYPE = { string: 3, integer: 4, boolean: 5, user: 6, channel: 7, role: 8, mentionable: 9, number: 10, attachment: 11 };
const SUGGEST_AFTER_MS = 150;

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

/** One option as a form field. `suggest(option, text)` returns the choices of an autocomplete option. */
export class Field {
  constructor(option, { world, channel, suggest, removed }) {
    this.option = option;
    this.suggest = suggest;
    this.id = `option-${option.name}`;
    this.input = this.control(world, channel);
    this.fault = el("p", { class: "fault", id: `${this.id}-fault`, role: "alert" });
    this.list = option.autocomplete ? this.suggestions() : null;
    const { hint } = this;
    const remove = option.required ? null
      : el("button", { type: "button", class: "icon small", "aria-label": `Remove ${option.name}`, onclick: () => removed(this) }, "×");
    this.element = el("div", { class: "option" },
      el("label", { for: this.id }, option.name, option.required ? el("abbr", { title: "required" }, "*") : null),
      el("div", { class: "control" }, this.input, remove), this.list?.element ?? null,
      el("p", { class: "hint", id: `${this.id}-hint` }, option.description, hint ? ` (${hint})` : null), this.fault);
  }

  /** The allowed range in words. */
  get hint() {
    const { min_value: low, max_value: high, max_length: longest } = this.option;
    if (low !== undefined && high !== undefined) return `${low} to ${high}`;
    if (low !== undefined) return `at least ${low}`;
    if (high !== undefined) return `at most ${high}`;
    return longest === undefined ? "" : `up to ${longest} characters`;
  }

  control(world, channel) {
    const { option } = this;
    const look = { id: this.id, name: option.name, required: option.required, "aria-describedby": `${this.id}-hint ${this.id}-fault` };
    const choices = option.choices?.map((each) => [each.name, each.value]) ?? mentionChoices(option.type, world, channel);
    if (option.type === TYPE.boolean) choices.push(["True", true], ["False", false]);
    if (choices.length) {
      this.choices = choices;
      return el("select", look, choices.map(([name], index) => el("option", { value: index }, name)));
    }
    if (option.type !== TYPE.string || option.autocomplete) {
      const numeric = option.type === TYPE.integer ? "numeric" : option.type === TYPE.number ? "decimal" : null;
      return el("input", { ...look, type: "text", inputmode: numeric, autocomplete: "off" });
    }
    return el("textarea", { ...look, rows: 1, maxlength: option.max_length });
  }

  /** The typed value; undefined for an empty field. Text that doesn't fit the type is sent as text and refused. */
  get value() {
    const text = this.input.value;
    if (this.choices) return this.input.selectedIndex < 0 ? this.refused : this.choices[this.input.selectedIndex][1];
    if (this.chosen?.name === text) return this.chosen.value;
    const numeric = { [TYPE.integer]: /^\s*[-+]?\d+\s*$/, [TYPE.number]: /^\s*[-+]?\d+(\.\d+)?\s*$/ }[this.option.type];
    if (numeric?.test(text)) return Number(text);
    return text === "" ? undefined : text;
  }

  /** Fill in typed text; for a choice it is the choice's name or value. */
  fill(text) {
    if (this.choices) {
      const same = (each) => String(each).toLowerCase().replace(/^[@#]/, "") === text.toLowerCase().replace(/^[@#]/, "");
      this.input.selectedIndex = this.choices.findIndex((choice) => choice.some(same));
      this.refused = text; // sent unchanged if no choice fits, so that it is refused and not replaced silently
    } else this.input.value = text;
  }

  /** Show what is wrong with the field beside it; an empty sentence clears it. */
  fail(sentence) {
    this.fault.textContent = sentence;
    this.input.setAttribute("aria-invalid", String(Boolean(sentence)));
  }

  suggestions() {
    const list = new Listbox(this.input, `Suggestions for ${this.option.name}`);
    const ask = async () => {
      const text = this.input.value;
      const choices = await this.suggest(this.option, text).catch(() => null);
      if (this.input.value !== text || !this.input.isConnected) return; // the text changed meanwhile
      list.show((choices ?? []).map((choice) => ({ text: choice.name, choose: () => this.choose(choice) })));
    };
    this.input.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(ask, SUGGEST_AFTER_MS);
    });
    this.input.addEventListener("focus", ask);
    this.input.addEventListener("blur", () => list.show([]));
    return list;
  }

  choose(choice) {
    this.chosen = choice;
    this.input.value = choice.name;
    this.list.show([]);
  }
}

/** The choices of a user, channel or role option, as [name, id]. */
function mentionChoices(type, world, channel) {
  const people = [...world.people.values()].map((person) => [`@${person.name}`, person.id]);
  const places = [...world.channels.values()].filter((each) => each.server && each.server === channel.server);
  const roles = (channel.server?.roles ?? []).map((role) => [role.name, role.id]);
  return {
    [TYPE.user]: people,
    [TYPE.channel]: places.map((each) => [`#${each.name}`, each.id]),
    [TYPE.role]: roles,
    [TYPE.mentionable]: [...people, ...roles],
  }[type] ?? [];
}
