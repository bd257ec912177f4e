/* Draws a message as a list item: content, embeds, components, files, and the note on ephemeral messages. */

import { component } from "./components.js";
import { avatar, colour, el } from "./dom.js";
import { link, moment, render } from "./markdown.js";
import { file, isVideo, picture, video } from "./media.js";

const SUPPRESS_EMBEDS = 1 << 2;
const EPHEMERAL = 1 << 6;
const LOADING = 1 << 7;
const COMPONENTS_V2 = 1 << 15;
const COMMAND = 2; // interaction types
const FORWARD = 1; // of message references
const PREVIEW_MAX = 90;

/**
 * The list item for a message as the API returns it. `context` is {world, viewer, message, press, dismiss, menu}:
 * `message(id)` is another message, if it is loaded; the others act on this one.
 */
export function messageItem(message, context) {
  const author = context.world.people.get(message.author.id) ?? { name: message.author.username };
  const ephemeral = Boolean(message.flags & EPHEMERAL);
  const loading = Boolean(message.flags & LOADING);
  const mine = message.mentions.some((user) => user.id === context.viewer);
  const classes = ["message", ephemeral && "ephemeral", mine && "mentions-me"].filter(Boolean).join(" ");
  const body = el(
    "div",
    { class: "body" },
    el(
      "header",
      {},
      el("span", { class: "name" }, author.name),
      message.author.bot ? el("span", { class: "badge" }, "APP") : null,
      clockTime(message.timestamp, context.world.locale),
    ),
    loading ? thinking(author.name) : content(message, context),
    (message.message_snapshots ?? []).map((each) => forwarded(each.message, message, context)),
    message.reactions?.length ? el("p", { class: "row" }, message.reactions.map(reaction)) : null,
    ephemeral ? onlyYou(() => context.dismiss(message)) : null,
  );
  const more = el("button", {
    type: "button", class: "more icon small", "aria-label": "Message actions", "aria-haspopup": "menu",
    onclick: ({ currentTarget }) => context.menu(message, currentTarget),
  }, "…");
  return el("li", {
    class: classes, "data-id": message.id, tabindex: -1,
    oncontextmenu: (event) => {
      if (ephemeral || loading || event.target.closest("a, video, img") || String(getSelection())) return; // the browser's own menu
      event.preventDefault();
      context.menu(message, more, event);
    },
  }, origin(message, context), avatar(author), body, ephemeral || loading ? null : more);
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
  return `${name}: ${item.querySelector(".body > :not(header)")?.innerText ?? ""}`.slice(0, 300);
}

function clockTime(iso, locale) {
  const date = new Date(iso);
  return el("time", { class: "sent", datetime: iso, title: date.toLocaleString(locale) }, date.toLocaleTimeString(locale, { timeStyle: "short" }));
}

/** The line above a message: the command that it responds to, or the message that it answers. */
function origin(message, context) {
  const used = message.interaction_metadata;
  const cause = used?.triggering_interaction_metadata ?? used; // what opened the form, if it was one
  const replied = message.message_reference?.type === FORWARD ? null : message.message_reference;
  const answered = cause?.interacted_message_id ?? replied?.message_id;
  if (answered) return reply(answered, message, context);
  if (!used) return null;
  const person = context.world.people.get(used.user.id) ?? { name: used.user.global_name ?? used.user.username };
  const name = message.interaction?.name;
  const slash = name && /^[-_'\p{L}\p{N} ]+$/u.test(name) && name === name.toLowerCase() ? `/${name}` : name;
  const what = cause.type !== COMMAND ? "pressed a button" : ["used ", slash ? el("b", {}, slash) : "a command"];
  return el("div", { class: "origin" }, avatar(person), el("span", {}, el("b", {}, person.name), " ", what));
}

function reply(id, message, context) {
  const other = context.message(id);
  if (!other) return el("div", { class: "origin" }, el("span", {}, "Answers an earlier message"));
  const author = context.world.people.get(other.author.id) ?? { name: other.author.username };
  const jump = { class: "preview", href: "#", "data-channel-link": message.channel_id, "data-message-link": id };
  return el("div", { class: "origin" }, avatar(author), el("b", {}, author.name), el("a", jump, preview(other)));
}

/** The first words of a message. */
function preview(message) {
  const texts = [message.content, ...message.embeds.flatMap((each) => [each.title, each.description]), ...wordsOf(message.components)];
  const words = texts.filter(Boolean).join(" ").replace(/<[@#t/][^>]*>|[*_`#>|~]|-# /g, "").trim();
  return words ? words.slice(0, PREVIEW_MAX) : "Click to see the attachment";
}

function wordsOf(components) {
  return components.flatMap((each) => [each.content, ...wordsOf(each.components ?? [])]);
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
  const videoLinks = quiet ? [] : [...new Set(links)].filter(isVideo);
  const files = message.flags & COMPONENTS_V2 ? [] : message.attachments; // without those that an embed shows
  const edited = message.edited_timestamp ? editedMark(message.edited_timestamp, context.world.locale) : null;
  if (edited && text.length && text.at(-1).matches("p:not(.subtext)")) text.at(-1).append(" ", edited);
  return [
    text.length ? el("div", { class: "text" }, text) : null,
    videoLinks.map((url) => video({ url })),
    files.map(file),
    quiet ? [] : message.embeds.map((embed) => embedCard(embed, context)),
    message.components.map((each) => component(each, message, context)),
    edited && !edited.parentNode ? el("p", {}, edited) : null,
  ].flat();
}

/** What a forward shows of the original: not its author. */
function forwarded(snapshot, { id, channel_id }, context) {
  return el("div", { class: "forward" }, el("p", { class: "subtext" }, "↪ Forwarded"), content({ ...snapshot, id, channel_id }, context));
}

function reaction({ emoji, count }) {
  return el("span", { class: "reaction" }, emoji.name, " ", el("small", {}, String(count)));
}

function editedMark(iso, locale) {
  return el("small", { class: "edited", title: `Edited ${new Date(iso).toLocaleString(locale)}` }, "(edited)");
}

function embedCard(embed, context) {
  const text = (value, name) => (value ? el("div", { class: name }, render(value, context)) : null);
  const title = embed.title && el("h2", {}, embed.url ? link(embed.url, embed.title) : embed.title);
  const fields = (embed.fields ?? []).map((field) =>
    el("div", { class: field.inline ? "field inline" : "field" }, el("dt", {}, field.name), el("dd", {}, render(field.value, context))));
  const foot = [embed.footer?.text, embed.timestamp && moment(Date.parse(embed.timestamp) / 1000, "f", context.world)];
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
