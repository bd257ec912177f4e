/* Draws the components of messages (docs: Components Reference). */

import { colour, el } from "./dom.js";
import { link, render } from "./markdown.js";
import { covered, fileCard, gallery, picture } from "./media.js";
import { Select } from "./select.js";

const BUTTON_STYLES = ["", "primary", "secondary", "success", "danger", "secondary", "primary"];

/** One component of `message`, with those inside it. `context` is that of `messageItem`. */
export function component(part, message, context) {
  const inner = (parts) => parts.map((each) => component(each, message, context));
  switch (part.type) {
    case 1:
      return el("div", { class: "row" }, inner(part.components), el("p", { class: "fault", role: "alert" }));
    case 2:
      return button(part, message, context);
    case 3: case 5: case 6: case 7: case 8:
      return select(part, message, context);
    case 9:
      return el("div", { class: "section" }, el("div", { class: "section-text" }, inner(part.components)),
        el("div", { class: "accessory row" }, component(part.accessory, message, context), el("p", { class: "fault", role: "alert" })));
    case 10:
      return el("div", { class: "text" }, render(part.content, context));
    case 11: {
      const shown = picture({ url: part.media.url, description: part.description }, "thumbnail");
      return part.spoiler ? covered(shown) : shown;
    }
    case 12:
      return gallery(part.items);
    case 13: {
      const shown = fileCard(part.name, part.size, part.file.url);
      return part.spoiler ? covered(shown) : shown;
    }
    case 14:
      return el("hr", { class: [part.divider ? "" : "bare", part.spacing === 2 ? "wide" : ""].join(" ").trim() || null });
    case 17: {
      const bar = typeof part.accent_color === "number" ? colour(part.accent_color) : null;
      const box = el("div", { class: bar ? "embed container" : "embed container plain", "--bar": bar }, inner(part.components));
      return part.spoiler ? covered(box) : box;
    }
    default:
      return el("p", { class: "fault" }, "This page can't show this kind of component.");
  }
}

function button(part, message, context) {
  const emoji = part.emoji?.id ? `:${part.emoji.name}:` : part.emoji?.name;
  const text = [emoji, part.label].filter(Boolean).join(" ");
  if (part.url && !part.disabled) return link(part.url, `${text} ↗`, "button secondary");
  const look = { type: "button", class: `button ${BUTTON_STYLES[part.style]}`, "data-key": part.custom_id, disabled: part.disabled };
  const press = (event) => act(event.currentTarget, () => context.press(message, part.custom_id, []));
  return el("button", { ...look, onclick: press }, part.url ? `${text} ↗` : text || "Buy");
}

function select(part, message, context) {
  const choose = (values) => act(menu.button, () => context.press(message, part.custom_id, values));
  const menu = new Select(part, {
    id: `select-${message.id}-${part.id}`, label: part.placeholder ?? "Choose", world: context.world,
    channel: context.world.channels.get(message.channel_id), changed: choose,
  });
  return menu.element;
}

/** Run a control's action, one at a time; a refusal is shown in the control's row. */
async function act(control, work) {
  const fault = control.closest(".row")?.querySelector(".fault");
  if (control.ariaBusy === "true") return;
  control.ariaBusy = "true";
  try {
    await work();
    fault?.replaceChildren();
  } catch (refused) {
    fault?.replaceChildren(refused.message);
  }
  control.ariaBusy = null;
}
