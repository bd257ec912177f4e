/* Draws a message as a list item: content, embeds, components, files, and the note on ephemeral messages. */

import { avatar, bytes, colour, el } from "./dom.js";
import { link, moment, render } from "./markdown.js";

const SUPPRESS_EMBEDS = 1 << 2;
const EPHEMERAL = 1 << 6;
const LOADING = 1 << 7;
const COMPONENTS_V2 = 1 << 15;
const BUTTON_STYLES = ["", "primary", "secondary", "success", "danger", "secondary", "secondary"];
const VIDEO = /\.(mp4|m4v|mov|webm)$/i;

/**
 * The list item for a message as the API returns it. `context` is {world, viewer, commandName, press, dismiss}:
 * `commandName(id)` is the command of an interaction; `press` and `dismiss` act on the message.
 */
export function messageItem(message, context) {
  const author = context.world.people.get(message.author.id) ?? { name: message.author.username };
  const ephemeral = Boolean(message.flags & EPHEMERAL);
  const mine = message.mentions.some((user) => user.id === context.viewer);
  const classes = ["message", ephemeral && "ephemeral", mine && "mentions-me"].filter(Boolean).join(" ");
  const body = el(
    "div",
    { class: "body" },
    el(
      "header",
      {},
      el("span", { class: "name" }, author.name),
      message.author.bot ? el("span", { class: "badge" }, "BOT") : null,
      clockTime(message.timestamp),
      message.edited_timestamp ? clockTime(message.edited_timestamp, "edited ") : null,
    ),
    message.flags & LOADING ? thinking(author.name) : content(message, context),
    ephemeral ? onlyYou(() => context.dismiss(message)) : null,
  );
  return el("li", { class: classes, "data-id": message.id }, origin(message, context), avatar(author), body);
}

/** A note of the page itself, shown between the messages: for example, that the bot didn't answer. */
export function noteItem(text, dismiss) {
  const item = el("li", { class: "message ephemeral note" });
  const remove = () => {
    item.remove();
    dismiss();
  };
  item.append(avatar({ name: "!", colour: 0xb4532a }), el("div", { class: "body" }, el("p", {}, text), onlyYou(remove)));
  return item;
}

/** Replace `old` with `fresh` without stopping its videos or losing the keyboard focus. */
export function replaceItem(old, fresh) {
  const focused = old.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  for (const video of old.querySelectorAll("video")) {
    const same = [...fresh.querySelectorAll("video")].find((each) => each.dataset.file === video.dataset.file);
    const playing = !video.paused;
    same?.replaceWith(video);
    if (same && playing) queueMicrotask(() => video.play().catch(() => {})); // moving a video pauses it; it doesn't matter if the browser refuses to resume
  }
  old.replaceWith(fresh);
  if (focused) [...fresh.querySelectorAll("[data-key]")].find((each) => each.dataset.key === focused)?.focus();
}

/** The text that a screen reader announces for a new message. */
export function spoken(item) {
  const name = item.querySelector(".name")?.textContent ?? "";
  return `${name}: ${item.querySelector(".body > :not(header)")?.textContent ?? ""}`.slice(0, 300);
}

function clockTime(iso, before = "") {
  const date = new Date(iso);
  const text = before + date.toLocaleTimeString("en", { timeStyle: "short" });
  return el("time", { class: "sent", datetime: iso, title: date.toLocaleString("en") }, text);
}

function origin(message, context) {
  const used = message.interaction_metadata;
  if (!used) return null;
  const person = context.world.people.get(used.user.id) ?? { name: used.user.global_name ?? used.user.username };
  const name = context.commandName(used.id);
  const what = used.type === 2 ? ["used ", name ? el("b", {}, `/${name}`) : "a command"] : ["pressed a button"];
  return el("div", { class: "origin" }, avatar(person), el("span", {}, el("b", {}, person.name), " ", what));
}

function thinking(name) {
  const dots = el("span", { class: "dots", "aria-hidden": "true" }, el("i"), el("i"), el("i"));
  return el("p", { class: "thinking" }, dots, `${name} is thinking…`);
}

function onlyYou(dismiss) {
  return el("p", { class: "only-you" }, "Only you can see this · ",
    el("button", { type: "button", class: "link", "data-key": "dismiss", onclick: dismiss }, "Dismiss message"));
}

function content(message, context) {
  const links = [];
  const text = message.content ? render(message.content, context, links) : [];
  const quiet = message.flags & SUPPRESS_EMBEDS;
  const videoLinks = quiet ? [] : [...new Set(links)].filter((url) => VIDEO.test(pathOf(url)));
  const embedded = message.embeds.map((embed) => embed.image?.url);
  const shown = message.attachments.filter((each) => !embedded.includes(each.url)); // an embed's image isn't repeated below it
  const files = message.flags & COMPONENTS_V2 ? [] : shown; // components V2 show only the files they refer to
  return [
    text.length ? el("div", { class: "text" }, text) : null,
    videoLinks.map((url) => video({ url })),
    files.map(file),
    quiet ? [] : message.embeds.map((embed) => embedCard(embed, context)),
    message.components.map((each) => component(each, message, context)),
  ].flat();
}

function file(attachment) {
  const type = attachment.content_type ?? "";
  if (type.startsWith("video/")) return video(attachment);
  if (type.startsWith("image/")) return picture(attachment);
  return fileCard(attachment.filename, attachment.size, attachment.url);
}

function fileCard(name, size, url) {
  return el("p", { class: "file" }, el("span", { class: "file-icon", "aria-hidden": "true" }, "▤"),
    el("span", {}, link(url, name), el("small", {}, size === undefined ? "" : bytes(size))));
}

function picture({ url, width, height, description }) {
  return el("img", { class: "picture", src: url, width, height, alt: description ?? "", loading: "lazy" });
}

const pathOf = (url) => (URL.canParse(url) ? new URL(url).pathname : "");

/** A player with a link below it; if the browser can't play the video, a note and the link. */
function video({ url, width, height, filename, size, description }) {
  const path = pathOf(url);
  const name = filename ?? path.split("/").at(-1);
  const player = el("video", {
    controls: true, playsinline: true, preload: "metadata", src: `${url}#t=0.001`, // the first frame as poster
    "aria-label": description ?? `Video ${name}`, "data-file": path, "--ratio": width ? width / height : 16 / 9,
  });
  const box = el("figure", { class: "video" }, player,
    el("figcaption", {}, link(url, name), size ? el("small", {}, bytes(size)) : null));
  player.addEventListener("loadedmetadata", () => {
    if (player.videoWidth) player.style.setProperty("--ratio", player.videoWidth / player.videoHeight);
  });
  player.addEventListener("error", () => player.replaceWith(el("p", { class: "fault" }, "This video can't be played here. Use its link instead.")));
  return box;
}

function embedCard(embed, context) {
  const text = (value, name) => (value ? el("div", { class: name }, render(value, context)) : null);
  const title = embed.title && el("h2", {}, embed.url ? link(embed.url, embed.title) : embed.title);
  const fields = (embed.fields ?? []).map((field) =>
    el("div", { class: field.inline ? "field inline" : "field" }, el("dt", {}, field.name), el("dd", {}, render(field.value, context))));
  const foot = [embed.footer?.text, embed.timestamp && moment(Date.parse(embed.timestamp) / 1000, "f", context.world.now())];
  return el(
    "article",
    { class: "embed", "--bar": embed.color ? colour(embed.color) : null },
    embed.author?.name ? el("p", { class: "embed-author" }, embed.author.name) : null,
    title || null,
    text(embed.description, "text"),
    fields.length ? el("dl", {}, fields) : null,
    embed.image ? picture(embed.image) : null,
    embed.thumbnail ? picture(embed.thumbnail) : null,
    foot.some(Boolean) ? el("footer", {}, foot.map((part, index) => [part && index && foot[0] ? " · " : "", part || ""]).flat()) : null,
  );
}

/** One component (Discord docs, Components Reference); of the selects only the string select. */
function component(part, message, context) {
  const inner = () => part.components.map((each) => component(each, message, context));
  switch (part.type) {
    case 1:
      return el("div", { class: "row" }, inner(), el("p", { class: "fault", role: "alert" }));
    case 2:
      return button(part, message, context);
    case 3:
      return select(part, message, context);
    case 9:
      return el("div", { class: "section" }, el("div", {}, inner()), component(part.accessory, message, context));
    case 10:
      return el("div", { class: "text" }, render(part.content, context));
    case 11:
      return picture({ url: part.media.url, description: part.description });
    case 12:
      return el("div", { class: "gallery" }, part.items.map(({ media, description }) =>
        (media.content_type ?? "").startsWith("video/") || VIDEO.test(pathOf(media.url))
          ? video({ ...media, description: description ?? undefined })
          : picture({ ...media, description })));
    case 13:
      return fileCard(part.name, part.size, part.file.url);
    case 14:
      return el("hr", { class: part.divider ? null : "bare" });
    case 17:
      return el("div", { class: "embed container", "--bar": part.accent_color === null ? null : colour(part.accent_color) }, inner());
    default:
      return el("p", { class: "fault" }, "This page can't show this kind of component.");
  }
}

function button(part, message, context) {
  const text = [part.emoji?.name, part.label].filter(Boolean).join(" ");
  if (part.url) return link(part.url, `${text} ↗`, "button secondary");
  const look = { type: "button", class: `button ${BUTTON_STYLES[part.style]}`, "data-key": part.custom_id, disabled: part.disabled };
  const press = (event) => act(event.currentTarget, () => context.press(message, part.custom_id, []));
  return el("button", { ...look, onclick: press }, text);
}

function select(part, message, context) {
  const many = part.max_values > 1;
  const options = part.options.map((each) =>
    el("option", { value: each.value, selected: each.default, title: each.description }, each.label));
  if (!many) options.unshift(el("option", { value: "", disabled: true, selected: !part.options.some((each) => each.default) }, part.placeholder ?? "Choose…"));
  const choose = (event) => {
    const values = [...event.currentTarget.selectedOptions].map((each) => each.value);
    act(event.currentTarget, () => context.press(message, part.custom_id, values));
  };
  return el("select", { "aria-label": part.placeholder ?? "Choose", "data-key": part.custom_id, multiple: many, disabled: part.disabled, onchange: choose }, options);
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
