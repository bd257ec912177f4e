/* The sidebar: the channels of each server with their unread marks, and the members to chat as. */

import { avatar, colour, el } from "./dom.js";

const LANGUAGES = ["en-US", "de", "fr", "es-ES", "pt-BR", "ja", "ko"]; // ko: one that the bot doesn't speak

/** A channel's name with its sign. */
export function nameOf(channel) {
  return channel.server ? `${channel.parent_id ? "↳ " : "# "}${channel.name}` : `@ ${channel.name}`;
}

/** Draw the channels into `root`. `page` is {world, viewer, channel, unread}. */
export function drawPlaces(root, page, open) {
  const { world, viewer } = page;
  const focused = document.activeElement?.dataset.channel;
  const groups = world.state.servers.map((server) => group(server.name, inOrder(server.channels), server, page, open));
  const direct = world.state.direct.filter((each) => world.sees(viewer, world.channels.get(each.id)));
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
      el("span", { "aria-hidden": "true" }, channel.server ? (channel.parent_id ? "↳" : "#") : "@"), channel.name,
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

/** The channels by position, each followed by its threads. */
function inOrder(channels) {
  const tops = channels.filter((channel) => !channel.parent_id).sort((one, other) => one.position - other.position);
  return tops.flatMap((top) => [top, ...channels.filter((channel) => channel.parent_id === top.id)]);
}
