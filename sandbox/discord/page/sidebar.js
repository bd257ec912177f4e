/* The sidebar: the channels of each server with their unread marks, and the members to chat as. */

import { avatar, colour, el } from "./dom.js";

const LANGUAGES = ["en-US", "de", "fr", "es-ES", "pt-BR", "ja", "ko"]; // ko: one that the bot doesn't speak

const SIGNS = { 1: "@", 2: "🔊", 3: "@", 5: "📢", 10: "↳", 11: "↳", 12: "🔒", 15: "▤" }; // by channel type
const PRIVATE_THREAD = 12;

/** A channel's name with its sign. */
export function nameOf(channel) {
  return `${signOf(channel)} ${channel.name}`;
}

const signOf = (channel) => SIGNS[channel.type] ?? "#";

/** Draw the channels into `root`. `page` is {world, viewer, channel, unread}. */
export function drawPlaces(root, page, open) {
  const { world, viewer } = page;
  const focused = document.activeElement?.dataset.channel;
  const groups = world.state.servers.map((server) => group(server.name, shownIn(server, page), server, page, open));
  const direct = [...world.state.direct, ...world.state.groups].filter((each) => world.sees(viewer, world.channels.get(each.id)));
  if (direct.length) groups.push(group("Direct messages", direct, null, page, open));
  root.replaceChildren(...groups);
  if (focused) root.querySelector(`[data-channel="${focused}"]`)?.focus();
}

function group(name, channels, server, { world, viewer, channel: shown, unread }, open) {
  const outside = server && !world.memberIn(server, viewer);
  const buttons = channels.map(({ id }) => {
    const channel = world.channels.get(id);
    const current = id === shown.id;
    const fresh = unread.has(id) && !current;
    const classes = ["channel", channel.parent_id && "thread", fresh && "unread"].filter(Boolean).join(" ");
    const look = { type: "button", class: classes, "data-channel": id, "aria-current": current && "page" };
    return el("li", {}, el("button", { ...look, onclick: () => open(channel) },
      el("span", { "aria-hidden": "true" }, signOf(channel)), channel.name,
      fresh ? el("span", { class: "unseen" }, " (new messages)") : null));
  });
  return el("section", { class: outside ? "outside" : null, "aria-label": name }, el("h2", {}, name), el("ul", {}, buttons));
}

/** Draw the members into `root`; `become(id)` is called for the one that is chosen. */
export function drawMembers(root, { world, viewer, channel }, become) {
  const { server } = channel;
  const focused = root.contains(document.activeElement);
  const rows = world.members().map((person) => {
    const member = world.memberIn(server, person.id);
    const rank = member ? world.rank(server, member) : { text: server ? `not in ${server.name}` : "" };
    const dot = rank.colour ? el("i", { class: "role-dot", "--colour": colour(rank.colour) }) : null;
    const radio = el("input", { type: "radio", name: "member", value: person.id, class: "unseen", onchange: () => become(person.id) });
    radio.checked = person.id === viewer;
    return el("label", { class: "member" }, radio, avatar(person), el("span", {}, el("b", {}, person.name), el("small", {}, dot, rank.text)));
  });
  root.replaceChildren(el("legend", {}, "Chat as"), ...rows);
  if (focused) root.querySelector("input:checked").focus();
}

/** Draw the languages of the viewer's client and of the server into `root`; `choose(path, locale)` changes one. */
export function drawLanguages(root, { world, viewer, channel: { server } }, choose) {
  const person = world.people.get(viewer);
  const parts = [[person.name, `members/${viewer}`, person.locale], ...(server ? [[server.name, `servers/${server.id}`, server.locale]] : [])];
  const focused = document.activeElement?.dataset.path;
  root.replaceChildren(...parts.map(([name, path, locale]) => {
    const options = LANGUAGES.includes(locale) ? LANGUAGES : [locale, ...LANGUAGES];
    const menu = el("select", { "aria-label": `Language of ${name}`, "data-path": path, onchange: () => choose(path, menu.value) },
      options.map((each) => el("option", { value: each, selected: each === locale }, each)));
    return el("label", {}, el("span", {}, name), menu);
  }));
  if (focused) root.querySelector(`[data-path="${focused}"]`)?.focus();
}

/** The channels by position, each followed by its threads; private threads only for those inside. */
function shownIn(server, { world, viewer }) {
  const channels = server.channels.filter((each) => each.type !== PRIVATE_THREAD || world.sees(viewer, world.channels.get(each.id)));
  const tops = channels.filter((channel) => !channel.parent_id).sort((one, other) => one.position - other.position);
  return tops.flatMap((top) => [top, ...channels.filter((channel) => channel.parent_id === top.id)]);
}
