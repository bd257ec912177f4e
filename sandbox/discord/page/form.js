/* A form ("modal") that the bot opened: its fields, and what the member enters (docs: Components Reference). */

import { el } from "./dom.js";
import { render } from "./markdown.js";
import { Select } from "./select.js";

const ROW = 1;
const TEXT_INPUT = 4;
const TEXT_DISPLAY = 10;
const LABEL = 18;
const RADIO_GROUP = 21;
const CHECKBOX_GROUP = 22;
const CHECKBOX = 23;
const PARAGRAPH = 2;

export class Form {
  /**
   * Show `modal`. `submit(values)` sends the values by `custom_id`, resolves to the id of that interaction, and throws
   * Refused. The form stays open until `close` or `fail` is called.
   */
  constructor(modal, { app, submit, ...place }) {
    this.place = place; // {world, channel, viewer}
    this.submit = submit;
    this.fields = new Map(); // custom_id -> {label, value(), fail(sentence), focus()}
    this.fault = el("p", { class: "fault", role: "alert" });
    this.send = el("button", { class: "button primary" }, "Submit");
    const form = el("form", { novalidate: true },
      el("h2", { id: "form-title" }, modal.title),
      el("p", { class: "hint" }, `This form goes to ${app}. Don't enter passwords or other secrets.`),
      modal.components.map((part, index) => this.part(part, index)), this.fault,
      el("div", { class: "form-foot" }, el("button", { type: "button", class: "button secondary", onclick: () => this.close() }, "Cancel"), this.send));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.deliver();
    });
    this.dialog = el("dialog", { class: "form", "aria-labelledby": "form-title", onclose: () => this.dialog.remove() }, form);
    document.body.append(this.dialog);
    this.dialog.showModal();
    [...this.fields.values()][0]?.focus();
  }

  get open() {
    return this.dialog.open;
  }

  close() {
    this.dialog.close();
  }

  /** Say what is wrong, at the field with this `custom_id` if there is one, and let the member try again. */
  fail(sentence, customId) {
    this.busy(false);
    const field = this.fields.get(customId);
    if (field) field.fail(sentence.replace(customId, field.label));
    else this.fault.textContent = sentence;
    field?.focus();
  }

  busy(waiting) {
    this.send.disabled = waiting;
    this.send.textContent = waiting ? "Sending…" : "Submit";
  }

  deliver() {
    if (this.send.disabled) return;
    this.fault.textContent = "";
    for (const field of this.fields.values()) field.fail("");
    this.busy(true);
    const values = Object.fromEntries([...this.fields].map(([id, field]) => [id, field.value()]));
    this.sent = this.submit(values).catch((refused) => this.fail(refused.message, refused.option));
  }

  part(part, index) {
    if (part.type === TEXT_DISPLAY) return el("div", { class: "text" }, render(part.content, this.place));
    const inner = part.type === LABEL ? part.component : part.type === ROW ? part.components[0] : part;
    return this.field(inner, part.label ?? inner.label ?? "", part.description, `form-${index}`);
  }

  /** A field with its label, description and fault. */
  field(part, label, description, id) {
    const fault = el("p", { class: "fault", role: "alert", id: `${id}-fault` });
    const ids = { id, label, describedBy: description ? `${id}-about ${id}-fault` : `${id}-fault` };
    const control = this.control(part, ids);
    if (!control) return el("p", { class: "fault" }, `${label}: this page can't show this kind of field.`);
    const fail = (sentence) => {
      fault.textContent = sentence;
      control.target.setAttribute("aria-invalid", String(Boolean(sentence)));
    };
    this.fields.set(part.custom_id, { label, value: control.value, fail, focus: () => control.target.focus() });
    const optional = part.required === false || part.type === CHECKBOX;
    const named = control.group ? { id: `${id}-label` } : { for: id };
    return el("div", { class: "field", role: control.group ?? null, "aria-labelledby": control.group && `${id}-label` },
      el(control.group ? "p" : "label", { class: "field-label", ...named }, label, optional ? null : el("abbr", { title: "required" }, " *")),
      description ? el("p", { class: "hint", id: `${id}-about` }, description) : null, control.element, fault);
  }

  /** The control of a field: {element, target, value(), group}. */
  control(part, ids) {
    if (part.type === TEXT_INPUT) return textInput(part, ids);
    if (part.type === CHECKBOX) return checkbox(part, ids);
    if (part.type === RADIO_GROUP || part.type === CHECKBOX_GROUP) return choiceGroup(part, ids);
    if (part.type === 3 || (part.type >= 5 && part.type <= 8)) {
      const menu = new Select(part, { ...ids, ...this.place });
      return { element: menu.element, target: menu.button, value: () => menu.values };
    }
    return null;
  }
}

function textInput(part, { id, describedBy }) {
  const look = { id, placeholder: part.placeholder, maxlength: part.max_length ?? 4000, "aria-describedby": describedBy };
  const input = part.style === PARAGRAPH ? el("textarea", { ...look, rows: 4 }) : el("input", { ...look, type: "text", autocomplete: "off" });
  input.value = part.value ?? "";
  const counter = el("small", { class: "counter", "aria-hidden": "true" });
  const count = () => {
    counter.textContent = `${[...input.value].length}/${part.max_length ?? 4000}`;
  };
  input.addEventListener("input", count);
  count();
  const counted = part.max_length || part.style === PARAGRAPH;
  return { element: el("div", { class: "text-input" }, input, counted ? counter : null), target: input, value: () => input.value };
}

function checkbox(part, { id, describedBy }) {
  const input = el("input", { id, type: "checkbox", "aria-describedby": describedBy });
  input.checked = Boolean(part.default);
  return { element: input, target: input, value: () => input.checked };
}

/** Radio buttons or checkboxes; the value is one value or null, or a list of values. */
function choiceGroup(part, { id, describedBy }) {
  const one = part.type === RADIO_GROUP;
  const inputs = part.options.map((each) => {
    const input = el("input", { type: one ? "radio" : "checkbox", name: id, value: each.value, "aria-describedby": describedBy });
    input.checked = Boolean(each.default);
    return input;
  });
  const rows = inputs.map((input, index) => {
    const { label, description } = part.options[index];
    return el("label", { class: "choice" }, input, el("span", {}, label, description ? el("small", {}, description) : null));
  });
  const chosen = () => inputs.filter((each) => each.checked).map((each) => each.value);
  const element = el("div", { id }, rows);
  return { element, target: inputs[0], group: one ? "radiogroup" : "group", value: () => (one ? (chosen()[0] ?? null) : chosen()) };
}
