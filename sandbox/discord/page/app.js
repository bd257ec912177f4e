/* The page itself: which member looks at which channel, and what they see. Its parts are in the modules beside it. */

import { Refused, Stream, call } from "./control.js";
import { Composer } from "./composer.js";
import { avatar, colour, el } from "./dom.js";
import { helpPanel } from "./help.js";
import { tick } from "./markdown.js";
import { messageItem, noteItem, replaceItem, spoken } from "./messages.js";
import { World } from "./world.js";

const COMMAND = 2; // interaction types
const COMPONENT = 3;
const AT_END_PX = 80;
const byId = (id) => document.getElementById(id);

class App {
  constructor() {
    this.world = new World();
    this.viewer = null; // user id
    this.channel = null; // an entry of world.channels
    this.unread = new Set();
    this.names = new Map(); // interaction id -> command name, which Discord's messages don't contain
    this.away = false;
    this.atEnd = true;
    this.composer = new Composer(byId("composer"), {
      place: () => (this.channel && this.allowed ? { world: this.world, channel: this.channel, viewer: this.viewer } : null),
      send: (command, options) => this.send(command, options),
      suggest: (command, options, focused) => this.suggest(command, options, focused),
    });
    this.listen();
  }

  get allowed() {
    return this.world.sees(this.viewer, this.channel);
  }

  /** Load the state, read member and channel from the page's address, and subscribe to events. */
  async start() {
    try {
      this.world.load(await call("GET", "state"));
    } catch {
      this.setAway(true);
      setTimeout(() => this.start(), 1500);
      return;
    }
    const asked = new URLSearchParams(location.search);
    const members = this.world.members();
    const named = members.find((each) => [each.id, each.name.toLowerCase()].includes(asked.get("as")?.toLowerCase()));
    this.viewer = (named ?? this.world.people.get(this.world.state.application.owner_id) ?? members[0]).id;
    const wanted = asked.get("channel");
    const channels = [...this.world.channels.values()];
    this.channel = channels.find((each) => wanted === each.id || wanted === each.name) ?? channels.find((each) => this.world.sees(this.viewer, each)) ?? channels[0];
    this.follow();
  }

  follow() {
    this.stream?.close();
    this.stream = new Stream(this.viewer, {
      event: (event) => this.handleEvent(event),
      opened: () => this.refresh(),
      lost: () => this.setAway(true),
    });
  }

  /** Reload everything: the stream doesn't repeat events that were missed while it was disconnected. */
  async refresh() {
    try {
      this.world.load(await call("GET", "state"));
      this.channel = this.world.channels.get(this.channel.id) ?? [...this.world.channels.values()][0];
      this.setAway(false);
      this.drawFrame();
      await this.loadMessages();
    } catch (problem) {
      if (!(problem instanceof Refused)) throw problem;
      this.setAway(true);
    }
  }

  async reloadState() {
    try {
      this.world.load(await call("GET", "state"));
      this.channel = this.world.channels.get(this.channel.id) ?? this.channel;
      this.drawFrame();
    } catch (problem) {
      if (!(problem instanceof Refused)) throw problem; // the stream ends too, and shows the banner
    }
  }

  /** Load and show the channel's messages. Events that arrive meanwhile are held and applied afterwards. */
  async loadMessages() {
    const held = (this.held = []);
    try {
      const found = this.allowed ? await call("GET", `channels/${this.channel.id}/messages?viewer=${this.viewer}`) : [];
      if (this.held !== held) return; // another channel or member was selected meanwhile
      byId("messages").replaceChildren(...found.map((message) => this.item(message)));
    } finally {
      if (this.held === held) this.held = null;
    }
    for (const event of held) this.handleEvent(event);
    this.atEnd = true;
    this.updateIntro();
  }

  async open(channel) {
    this.channel = channel;
    this.unread.delete(channel.id);
    document.body.classList.remove("menu-open");
    byId("messages").replaceChildren();
    this.drawFrame();
    this.composer.focus();
    await this.loadMessages().catch(() => this.setAway(true));
  }

  become(id) {
    this.viewer = id;
    this.held = []; // discard a list that is still loading for the previous member
    this.unread.clear();
    byId("messages").replaceChildren();
    this.drawFrame();
    this.follow(); // opening the stream loads the messages
  }

  // Events of the sandbox

  handleEvent(event) {
    const { type } = event;
    if (this.held && type.startsWith("message_")) this.held.push(event);
    else if (type === "message_created" || type === "message_updated") this.show(event.message, type === "message_created");
    else if (type === "message_deleted") this.find(event.message_id)?.remove();
    else if (type === "interaction_acknowledged" && event.interaction.modal) this.note("The bot opened a form. This page can't show forms.");
    else if (type === "interaction_expired") this.expired(event.interaction);
    else if (type === "interaction_created") this.names.set(event.interaction.id, event.interaction.name);
    else if (/^(gateway_|commands_|channel_)/.test(type)) this.reloadState();
    this.updateIntro();
  }

  show(message, created) {
    this.world.noteTime(message.edited_timestamp ?? message.timestamp);
    if (message.channel_id !== this.channel.id) {
      if (created) this.unread.add(message.channel_id);
      if (this.world.channels.has(message.channel_id)) this.drawPlaces();
      else this.reloadState(); // the bot opened a direct message
      return;
    }
    const old = this.find(message.id);
    const item = this.item(message);
    if (old) replaceItem(old, item);
    else byId("messages").append(item);
    byId("announcer").textContent = spoken(item);
  }

  expired({ kind }) {
    const error = { [COMMAND]: "The application did not respond", [COMPONENT]: "This interaction failed" }[kind];
    if (error) this.note(`The bot didn't answer in time. On Discord you'd see “${error}”.`);
  }

  note(text) {
    byId("messages").append(noteItem(text, () => this.updateIntro()));
    byId("announcer").textContent = text;
    this.updateIntro();
  }

  async send(command, options) {
    await call("POST", "interactions", { member: this.viewer, channel: this.channel.id, command, options });
    this.atEnd = true;
  }

  async suggest(command, options, focused) {
    const body = { member: this.viewer, channel: this.channel.id, command, options, focused };
    return (await call("POST", "autocomplete", body)).choices;
  }

  async dismiss(message) {
    await call("DELETE", `messages/${message.id}`).catch((refused) => this.note(refused.message));
    this.composer.focus();
  }

  // Drawing

  item(message) {
    return messageItem(message, {
      world: this.world,
      viewer: this.viewer,
      commandName: (id) => this.names.get(id),
      press: (of, custom_id, values) => call("POST", "components", { member: this.viewer, message: of.id, custom_id, values }),
      dismiss: (of) => this.dismiss(of),
    });
  }

  find(id) {
    return [...byId("messages").children].find((item) => item.dataset.id === id);
  }

  drawFrame() {
    const { channel } = this;
    const server = channel.server?.name ?? "Direct messages";
    const address = new URLSearchParams({ as: this.world.people.get(this.viewer).name, channel: channel.server ? channel.name : channel.id });
    history.replaceState(null, "", `?${address}`);
    document.title = `${this.nameOf(channel)} · ${server}`;
    byId("title").textContent = this.nameOf(channel);
    byId("subtitle").textContent = channel.thread_metadata?.archived ? `${server} · archived thread` : server;
    this.drawPlaces();
    this.drawMembers();
    this.drawBanner();
    byId("help").replaceChildren(this.helpFor(), el("button", { type: "button", class: "button secondary", onclick: () => byId("help").close() }, "Close"));
    this.composer.enable();
    this.updateIntro();
  }

  nameOf(channel) {
    return channel.server ? `${channel.parent_id ? "↳ " : "# "}${channel.name}` : `@ ${channel.name}`;
  }

  drawPlaces() {
    const { state } = this.world;
    const focused = document.activeElement?.dataset.channel;
    const groups = state.servers.map((server) => this.drawGroup(server.name, inOrder(server.channels), server));
    const direct = state.direct.filter((each) => this.world.sees(this.viewer, this.world.channels.get(each.id)));
    if (direct.length) groups.push(this.drawGroup("Direct messages", direct, null));
    byId("places").replaceChildren(...groups);
    if (focused) byId("places").querySelector(`[data-channel="${focused}"]`)?.focus();
  }

  drawGroup(name, channels, server) {
    const outside = server && !this.world.memberIn(server, this.viewer);
    const buttons = channels.map(({ id }) => {
      const channel = this.world.channels.get(id);
      const current = id === this.channel.id;
      const classes = ["channel", channel.parent_id && "thread", this.unread.has(id) && !current && "unread"].filter(Boolean).join(" ");
      const look = { type: "button", class: classes, "data-channel": id, "aria-current": current && "page" };
      return el("li", {}, el("button", { ...look, onclick: () => this.open(channel) },
        el("span", { "aria-hidden": "true" }, channel.server ? (channel.parent_id ? "↳" : "#") : "@"), channel.name,
        this.unread.has(id) && !current ? el("span", { class: "unseen" }, " (new messages)") : null));
    });
    return el("section", { class: outside ? "outside" : null, "aria-label": name }, el("h2", {}, name), el("ul", {}, buttons));
  }

  drawMembers() {
    const server = this.channel.server;
    const focused = byId("members").contains(document.activeElement);
    const rows = this.world.members().map((person) => {
      const member = this.world.memberIn(server, person.id);
      const rank = member ? this.world.rank(server, member) : { text: server ? `not in ${server.name}` : "" };
      const dot = rank.colour ? el("i", { class: "role-dot", "--colour": colour(rank.colour) }) : null;
      const radio = el("input", { type: "radio", name: "member", value: person.id, class: "unseen", onchange: () => this.become(person.id) });
      radio.checked = person.id === this.viewer;
      return el("label", { class: "member" }, radio, avatar(person), el("span", {}, el("b", {}, person.name), el("small", {}, dot, rank.text)));
    });
    byId("members").replaceChildren(el("legend", {}, "Chat as"), ...rows);
    if (focused) byId("members").querySelector("input:checked").focus();
  }

  /** Show the help in an empty channel, or a notice in one that this member can't see; keep the end in view. */
  updateIntro() {
    if (!this.world.ready || !this.viewer) return;
    const empty = !byId("messages").children.length;
    const intro = !this.allowed ? this.noAccessPanel() : empty ? this.helpFor() : null;
    // Redrawn only when it changes, so that an open list stays open.
    const key = !this.allowed ? `no access ${this.viewer} ${this.channel.id}` : empty ? `help ${this.commands.map(({ path }) => path)}` : "";
    if (byId("intro").dataset.shown !== key) byId("intro").replaceChildren(...(intro ? [intro] : []));
    byId("intro").dataset.shown = key;
    if (this.atEnd) byId("scroll").scrollTop = byId("scroll").scrollHeight;
  }

  noAccessPanel() {
    const { name } = this.world.people.get(this.viewer);
    const inside = this.world.members().filter((person) => this.world.sees(person.id, this.channel));
    const place = this.channel.server ? this.channel.server.name : "this conversation";
    return el("section", { class: "help" }, el("h2", {}, `${name} isn't in ${place}`),
      el("p", {}, "Just like on Discord, they can't see what's here. Switch to a member who can, or open another channel."),
      el("p", { class: "chips" }, inside.map((person) => el("button", { type: "button", class: "button secondary", onclick: () => this.become(person.id) }, `Switch to ${person.name}`))));
  }

  get commands() {
    return this.world.commands(this.channel, this.viewer);
  }

  helpFor() {
    return helpPanel(this.commands, (line) => {
      byId("help").close();
      this.composer.fill(line);
    });
  }

  setAway(away) {
    this.away = away;
    this.drawBanner();
  }

  drawBanner() {
    const text = this.away ? "The sandbox isn't running. This page reconnects by itself once it's back."
      : this.world.ready && !this.world.connected ? "The bot isn't connected, so commands won't get an answer." : "";
    if (byId("banner").textContent !== text) byId("banner").textContent = text;
    byId("banner").hidden = !text;
  }

  // Input outside of composer and messages

  listen() {
    document.addEventListener("keydown", (event) => this.key(event));
    byId("scroll").addEventListener("scroll", ({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
      this.atEnd = scrollHeight - scrollTop - clientHeight < AT_END_PX;
    });
    // Videos and fonts change heights when they load. A reader at the end of the channel stays at the end.
    const watch = new ResizeObserver(() => this.atEnd && byId("scroll").scrollTo(0, byId("scroll").scrollHeight));
    for (const id of ["messages", "scroll"]) watch.observe(byId(id));
    const menu = (open) => {
      document.body.classList.toggle("menu-open", open);
      byId("menu").setAttribute("aria-expanded", String(document.body.classList.contains("menu-open")));
    };
    byId("menu").addEventListener("click", () => menu());
    byId("shade").addEventListener("click", () => menu(false));
    byId("ask").addEventListener("click", () => byId("help").showModal());
    setInterval(() => tick(document, this.world.now()), 1000);
    chooseTheme();
  }

  key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const typing = /^(INPUT|TEXTAREA|SELECT|VIDEO)$/.test(document.activeElement?.tagName);
    if (event.altKey && step) {
      const open = [...byId("places").querySelectorAll("section:not(.outside) [data-channel]")];
      const here = open.findIndex((each) => each.dataset.channel === this.channel?.id);
      event.preventDefault();
      open.at((here + step) % open.length)?.click();
    } else if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !byId("help").open) {
      event.preventDefault();
      this.composer.fill("/");
    } else if (event.key === "Escape" && document.body.classList.contains("menu-open")) {
      byId("menu").click();
      byId("menu").focus();
    }
  }
}

/** The channels by position, each followed by its threads. */
function inOrder(channels) {
  const tops = channels.filter((channel) => !channel.parent_id).sort((one, other) => one.position - other.position);
  return tops.flatMap((top) => [top, ...channels.filter((channel) => channel.parent_id === top.id)]);
}

/** Follow the system's light or dark mode until the reader picks one; the choice is remembered. */
function chooseTheme() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (localStorage.theme ? localStorage.theme === "dark" : system.matches);
  const apply = () => {
    document.documentElement.dataset.theme = isDark() ? "dark" : "light";
    byId("theme").setAttribute("aria-pressed", String(isDark()));
  };
  byId("theme").addEventListener("click", () => {
    localStorage.theme = isDark() ? "light" : "dark";
    apply();
  });
  system.addEventListener("change", apply);
  apply();
}

new App().start();
