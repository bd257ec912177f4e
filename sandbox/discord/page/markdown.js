/* Renders the markdown of chat clients as nodes. Unknown or incomplete markup stays plain text. */

import { el } from "./dom.js";

const FENCE = /```(?:[\w+-]*\n)?([\s\S]*?)```\n?/g;
const URL_TEXT = String.raw`https?:\/\/[^\s<>]*[^\s<>.,:;"'!?)\]*_~|]`;
const JUMP = /^https?:\/\/(?:(?:ptb|canary)\.)?discord(?:app)?\.com\/channels\/(?:@me|\d+)\/(\d+)(?:\/(\d+))?\/?$/;
const INLINE = new RegExp(
  [
    String.raw`\\(?<escaped>[^A-Za-z0-9\s])`,
    "(?<ticks>`{1,2})(?<code>[^`](?:[\\s\\S]*?[^`])?)\\k<ticks>(?!`)",
    String.raw`\[(?<label>[^\[\]\n]+)\]\(<?(?<target>https?:\/\/[^\s<>)]+)>?\)`,
    String.raw`<(?<plain>https?:\/\/[^\s<>]+)>`,
    `(?<url>${URL_TEXT})`,
    String.raw`<@!?(?<user>\d+)>`,
    String.raw`<@&(?<role>\d+)>`,
    String.raw`<#(?<channel>\d+)>`,
    String.raw`<\/(?<command>[-\w ]+):\d+>`,
    String.raw`<t:(?<unix>-?\d{1,12})(?::(?<style>[tTdDfFR]))?>`,
    String.raw`\*\*(?<bold>[\s\S]+?)\*\*(?!\*)`,
    String.raw`__(?<under>[\s\S]+?)__(?!_)`,
    String.raw`~~(?<struck>[\s\S]+?)~~`,
    String.raw`\|\|(?<hidden>[\s\S]+?)\|\|`,
    String.raw`<a?:(?<emoji>\w+):\d+>`,
    String.raw`\*(?=\S)(?<star>[\s\S]*?\S)\*`,
    String.raw`(?<!\w)_(?=\S)(?<italic>[\s\S]*?\S)_(?!\w)`,
  ].join("|"),
  "g",
);
const LINES = [
  [/^# (.*)$/, "h3"],
  [/^## (.*)$/, "h4"],
  [/^### (.*)$/, "h5"],
  [/^-# (.*)$/, "subtext"],
  [/^> ?(.*)$/, "quote"],
  [/^ *[-*] (.*)$/, "bullet"],
  [/^ *\d+\. (.*)$/, "number"],
];
const DATES = {
  t: { timeStyle: "short" },
  T: { timeStyle: "medium" },
  d: { dateStyle: "short" },
  D: { dateStyle: "long" },
  f: { dateStyle: "long", timeStyle: "short" },
  F: { dateStyle: "full", timeStyle: "short" },
};
const SPANS = [["year", 31_557_600], ["month", 2_629_800], ["day", 86_400], ["hour", 3600], ["minute", 60], ["second", 1]];

/** Nodes for `text`. `context` is {world, viewer}; URLs that clients would preview are added to `links`. */
export function render(text, context, links = []) {
  const nodes = [];
  let from = 0;
  for (const fence of text.matchAll(FENCE)) {
    nodes.push(...blocks(text.slice(from, fence.index), context, links));
    nodes.push(el("pre", { tabindex: "0" }, el("code", {}, fence[1])));
    from = fence.index + fence[0].length;
  }
  return [...nodes, ...blocks(text.slice(from), context, links)];
}

/** Group lines of the same kind; all other lines form paragraphs that keep their line breaks. `>>> ` quotes the rest. */
function blocks(text, context, links) {
  const groups = [];
  const rest = /^>>> /m.exec(text);
  if (rest) {
    const quoted = el("blockquote", {}, blocks(text.slice(rest.index + 4), context, links));
    return [...blocks(text.slice(0, rest.index), context, links), quoted];
  }
  for (const line of text.replace(/\n$/, "").split("\n")) {
    const [pattern, kind] = LINES.find(([each]) => each.test(line)) ?? [null, "paragraph"];
    const content = pattern ? line.match(pattern)[1] : line;
    const last = groups.at(-1);
    if (last?.kind === kind) last.lines.push(content);
    else groups.push({ kind, lines: [content] });
  }
  return groups.filter(({ lines }) => lines.some((line) => line.trim())).flatMap(({ kind, lines }) => {
    if (kind === "paragraph") return el("p", {}, inline(lines.join("\n"), context, links));
    if (kind === "quote") return el("blockquote", {}, inline(lines.join("\n"), context, links));
    if (kind === "bullet") return el("ul", {}, lines.map((line) => el("li", {}, inline(line, context, links))));
    if (kind === "number") return el("ol", {}, lines.map((line) => el("li", {}, inline(line, context, links))));
    if (kind === "subtext") return lines.map((line) => el("p", { class: kind }, inline(line, context, links)));
    return lines.map((line) => el(kind, { class: "heading" }, inline(line, context, links)));
  });
}

function inline(text, context, links) {
  const nodes = [];
  let from = 0;
  for (const match of text.matchAll(INLINE)) {
    nodes.push(text.slice(from, match.index), token(match.groups, context, links));
    from = match.index + match[0].length;
  }
  return [...nodes, text.slice(from)];
}

function token(found, context, links) {
  const within = (tag, inner) => el(tag, {}, inline(inner, context, links));
  if (found.escaped) return found.escaped;
  if (found.code) return el("code", {}, found.code.trim() || found.code);
  if (found.target) return link(found.target, inline(found.label, context, []));
  const address = found.plain ?? found.url;
  if (address && JUMP.test(address)) return placeLink(address, context);
  if (found.plain) return link(found.plain, found.plain);
  if (found.url) {
    links.push(found.url);
    return link(found.url, found.url);
  }
  if (found.user) return mention(`@${context.world.people.get(found.user)?.name ?? "unknown"}`, found.user === context.viewer);
  if (found.role) return mention(`@${(context.world.roleName(found.role) ?? "role").replace(/^@/, "")}`);
  if (found.channel) {
    const name = `#${context.world.channels.get(found.channel)?.name ?? "unknown"}`;
    return el("a", { class: "mention", href: "#", "data-channel-link": found.channel }, name);
  }
  if (found.command) return mention(`/${found.command}`);
  if (found.unix) return moment(Number(found.unix), found.style ?? "f", context.world);
  if (found.emoji) return `:${found.emoji}:`;
  if (found.hidden) return hiddenText(inline(found.hidden, context, links));
  if (found.bold) return within("strong", found.bold);
  if (found.under) return within("u", found.under);
  if (found.struck) return within("s", found.struck);
  return within("em", found.star ?? found.italic);
}

/** A link that opens in a new tab, or jumps on this page; anything but an http(s) URL stays text. */
export function link(url, content, name) {
  if (!/^https?:\/\//i.test(url) || !URL.canParse(url)) return el("span", { class: name }, content);
  const [, channel, message] = JUMP.exec(url) ?? [];
  const away = channel ? { "data-channel-link": channel, "data-message-link": message } : { target: "_blank", rel: "noopener noreferrer" };
  return el("a", { class: name, href: url, ...away }, content);
}

/** The address of a channel or message as Discord shows it: by the channel's name. */
function placeLink(url, context) {
  const [, channel, message] = JUMP.exec(url);
  const name = context.world.channels.get(channel)?.name ?? "unknown";
  return link(url, `#${name}${message ? " › message" : ""}`, "mention");
}

/** Text that shows when it is clicked. */
function hiddenText(inner) {
  const shown = (event) => {
    if (event.type === "keydown" && !["Enter", " "].includes(event.key)) return;
    event.preventDefault();
    cover.classList.remove("covered");
    for (const name of ["role", "tabindex", "aria-label"]) cover.removeAttribute(name);
  };
  const cover = el("span", { class: "spoiler-text covered", role: "button", tabindex: 0, "aria-label": "Spoiler", onclick: shown, onkeydown: shown }, el("span", {}, inner));
  return cover;
}

function mention(text, mine = false) {
  return el("span", { class: mine ? "mention mine" : "mention" }, text);
}

/** A time in one of the styles of `<t:…>`, in the viewer's language; `tick` keeps style `R` up to date. */
export function moment(unix, style, world) {
  const date = new Date(unix * 1000);
  if (Number.isNaN(date.getTime())) return "Invalid Date";
  const full = date.toLocaleString(world.locale, DATES.F);
  const text = style === "R" ? relative(unix - world.now(), world.locale) : date.toLocaleString(world.locale, DATES[style]);
  return el("time", { datetime: date.toISOString(), title: full, "data-relative": style === "R" && unix }, text);
}

/** Update every relative time below `root`. */
export function tick(root, world) {
  for (const element of root.querySelectorAll("time[data-relative]")) {
    const text = relative(Number(element.dataset.relative) - world.now(), world.locale);
    if (element.textContent !== text) element.textContent = text;
  }
}

function relative(seconds, locale) {
  // Almost a whole unit counts as one: 59.9 minutes are shown as an hour.
  const [unit, size] = SPANS.find(([, each]) => Math.abs(seconds) >= 0.98 * each) ?? ["second", 1];
  return new Intl.RelativeTimeFormat(locale).format(Math.round(seconds / size), unit);
}
