/* The page itself: which member looks at which channel, and what they see. Its parts are in the modules beside it. */

import { Refused, Stream, call } from "./control.js";
import { Composer } from "./composer.js";
import { el } from "./dom.js";
import { Form } from "./form.js";
import { helpPanel } from "./help.js";
import { tick } from "./markdown.js";
import { openMenu } from "./menu.js";
import { messageItem, noteItem, replaceItem, spoken } from "./messages.js";
import { drawLanguages, drawMembers, drawPlaces, nameOf } from "./sidebar.js";
import { World } from "./world.js";

const COMMAND = 2; // interaction types
const COMPONENT = 3;
const MODAL_SUBMIT = 5;
const AT_END_PX = 80;
const PAGE_SIZE = 50;
const byId = (id) => document.getElementById(id);

class App {
  constructor() {
    this.world = new World();
    this.viewer = null; // user id
    this.channel = null; // an entry of world.channels
    this.unread = new Set();
    this.messages = new Map(); // those that the channel shows, by id
    this.used = new Set(); // ids of the interactions that began on this page, the only one that shows their forms
    this.asking = Promise.resolve(); // ends with the latest of them
    this.away = false;
    this.atEnd = true;
    this.scrolledTo = 0;
    this.composer = new Composer(byId("composer"), {
      place: () => (this.channel && this.allowed ? { world: this.world, channel: this.channel, viewer: this.viewer } : null),
      send: (command, options) => this.act("interactions", { channel: this.channel.id, command, options }),
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
    this.viewer = this.memberCalled(asked.get("as")).id;
    this.channel = this.channelCalled(asked.get("channel"));
    this.follow();
  }

  /** The member with this name or id, else the owner; a wrong name is reported. */
  memberCalled(wanted) {
    const members = this.world.members();
    const found = members.find((each) => [each.id, each.name.toLowerCase()].includes(wanted?.toLowerCase()));
    if (found) return found;
    const owner = this.world.people.get(this.world.state.application.owner_id) ?? members[0];
    if (wanted) this.notice(`There's no member called “${wanted}” here. You're chatting as ${owner.name}.`);
    return owner;
  }

  /** The channel with this name or id, else the first that the viewer sees; a wrong name is reported. */
  channelCalled(wanted) {
    const channels = [...this.world.channels.values()];
    const found = channels.find((each) => wanted === each.id || wanted === each.name);
    if (found) return found;
    const first = channels.find((each) => this.world.sees(this.viewer, each)) ?? channels[0];
    if (wanted && byId("notice").hidden) this.notice(`There's no channel called “${wanted}” here. This is ${nameOf(first)}.`);
    return first;
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

  /** Load and show the channel's newest messages. Events that arrive meanwhile are held and applied afterwards. */
  async loadMessages() {
    const held = (this.held = []);
    try {
      const found = await this.page();
      if (this.held !== held) return; // another channel or member was selected meanwhile
      this.messages.clear();
      byId("messages").replaceChildren();
      this.prepend(found);
    } finally {
      if (this.held === held) this.held = null;
    }
    for (const event of held) this.handleEvent(event);
    this.atEnd = true;
    this.updateIntro();
  }

  /** The newest messages of the channel, or those before the message with this id. */
  async page(before) {
    if (!this.allowed) return [];
    const query = new URLSearchParams({ viewer: this.viewer, limit: PAGE_SIZE, ...(before && { before }) });
    return await call("GET", `channels/${this.channel.id}/messages?${query}`);
  }

  prepend(found) {
    for (const message of found) this.messages.set(message.id, message);
    byId("messages").prepend(...found.map((message) => this.item(message)));
    byId("older").hidden = found.length < PAGE_SIZE;
  }

  /** Load the page before the first message, and keep the reader's place. */
  async loadOlder() {
    if (byId("older").hidden || this.loading) return;
    this.loading = true;
    try {
      const first = byId("messages").querySelector("[data-id]");
      const found = await this.page(first.dataset.id);
      if (!first.isConnected) return; // another channel or member was selected meanwhile
      const top = first.offsetTop - byId("scroll").scrollTop;
      this.prepend(found);
      byId("scroll").scrollTop = first.offsetTop - top;
    } catch (refused) {
      this.note(refused.message);
    } finally {
      this.loading = false;
    }
  }

  /** Go to a channel and one of its messages, as a click on their address does. */
  async jump(channelId, messageId) {
    const channel = this.world.channels.get(channelId);
    if (!channel || !this.world.sees(this.viewer, channel)) return this.notice("You can't see that channel.");
    this.notice("");
    if (channel !== this.channel) await this.open(channel);
    if (!messageId) return;
    while (!this.find(messageId) && !byId("older").hidden && this.channel === channel) await this.loadOlder();
    const item = this.find(messageId);
    if (!item) return this.notice("That message doesn't exist any more.");
    this.atEnd = false;
    item.scrollIntoView({ block: "center" });
    item.focus({ preventScroll: true });
    item.classList.remove("found");
    requestAnimationFrame(() => item.classList.add("found")); // flashes again when it is found again
  }

  async open(channel) {
    this.channel = channel;
    this.unread.delete(channel.id);
    document.body.classList.remove("menu-open");
    this.empty();
    this.drawFrame();
    this.composer.focus();
    await this.loadMessages().catch(() => this.setAway(true));
  }

  become(id) {
    this.viewer = id;
    this.held = []; // discard a list that is still loading for the previous member
    this.unread.clear();
    this.notice("");
    this.empty();
    this.drawFrame();
    this.follow(); // opening the stream loads the messages
  }

  empty() {
    this.messages.clear();
    byId("messages").replaceChildren();
    byId("older").hidden = true;
  }

  // Events of the sandbox

  handleEvent(event) {
    const { type } = event;
    if (this.held && type.startsWith("message_")) this.held.push(event);
    else if (type === "message_created" || type === "message_updated") this.show(event.message, type === "message_created");
    else if (type === "message_deleted") this.find(event.message_id)?.remove();
    else if (type === "interaction_acknowledged") this.acknowledged(event.interaction);
    else if (type === "interaction_expired") this.expired(event.interaction);
    else if (/^(gateway_|commands_|channel_)/.test(type)) this.reloadState();
    this.updateIntro();
  }

  show(message, created) {
    this.world.noteTime(message.edited_timestamp ?? message.timestamp);
    if (message.channel_id !== this.channel.id) {
      const channel = this.world.channels.get(message.channel_id);
      if (created && (!channel || this.world.sees(this.viewer, channel))) this.unread.add(message.channel_id);
      if (channel) this.drawPlaces();
      else this.reloadState(); // the bot opened a direct message
      return;
    }
    if (!this.allowed) return;
    if (!created && !this.messages.has(message.id)) return; // an older page, which isn't loaded
    this.messages.set(message.id, message);
    const old = this.find(message.id);
    const item = this.item(message);
    if (old) replaceItem(old, item);
    else byId("messages").append(item);
    byId("announcer").textContent = spoken(item);
  }

  /** The bot responded: it may have opened a form, or taken the values of one. */
  async acknowledged({ id, kind, modal }) {
    if (kind === MODAL_SUBMIT) {
      if (await this.isFromForm(id)) this.form.close();
      return;
    }
    await this.asking;
    if (!modal || !this.used.has(id) || this.form?.open) return;
    const submit = async (values) => (await call("POST", "modals", { interaction: id, values })).id;
    const { world, channel, viewer } = this;
    this.form = new Form(modal, { app: world.state.application.name, world, channel, viewer, submit });
  }

  async expired({ id, kind }) {
    if (kind === MODAL_SUBMIT && (await this.isFromForm(id))) return this.form.fail("Something went wrong. Try again.");
    const error = { [COMMAND]: "The application did not respond", [COMPONENT]: "This interaction failed" }[kind];
    if (error) this.note(`The bot didn't answer in time. On Discord you'd see “${error}”.`);
  }

  /** Whether this interaction is the latest submit of the form on this page. */
  async isFromForm(id) {
    return this.form?.open && (await this.form.sent) === id;
  }

  note(text) {
    byId("messages").append(noteItem(text, () => this.updateIntro()));
    byId("announcer").textContent = text;
    this.updateIntro();
  }

  /** Use a command or component as the viewer; throws Refused. */
  async act(path, body) {
    const asked = call("POST", path, { member: this.viewer, ...body }).then(({ id }) => this.used.add(id));
    this.asking = asked.catch(() => {});
    await asked;
    if (path === "interactions") this.atEnd = true;
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
      message: (id) => this.messages.get(id),
      press: (of, custom_id, values) => this.act("components", { message: of.id, custom_id, values }),
      dismiss: (of) => this.dismiss(of),
      menu: (of, opener, point) => this.openMenu(of, opener, point),
    });
  }

  openMenu(message, opener, point) {
    const { channel } = this;
    const use = (command) => this.act("menus", { channel: channel.id, command, target: message.id }).catch((refused) => this.note(refused.message));
    const apps = this.world.messageCommands(channel, this.viewer).map((name) => [name, () => use(name)]);
    const address = `https://discord.com/channels/${channel.guild_id ?? "@me"}/${channel.id}/${message.id}`;
    openMenu([["Apps", apps], ["", [["Copy message link", () => navigator.clipboard.writeText(address)]]]], opener, point);
  }

  find(id) {
    return [...byId("messages").children].find((item) => item.dataset.id === id);
  }

  drawFrame() {
    const { channel } = this;
    this.world.locale = this.world.people.get(this.viewer).locale;
    const server = channel.server?.name ?? "Direct messages";
    const address = new URLSearchParams({ as: this.world.people.get(this.viewer).name, channel: channel.server ? channel.name : channel.id });
    history.replaceState(null, "", `?${address}`);
    document.title = `${nameOf(channel)} · ${server}`;
    byId("title").textContent = nameOf(channel);
    byId("subtitle").textContent = channel.thread_metadata?.archived ? `${server} · archived thread` : server;
    this.drawPlaces();
    this.drawMembers();
    this.drawBanner();
    byId("help").replaceChildren(this.helpFor(), el("button", { type: "button", class: "button secondary", onclick: () => byId("help").close() }, "Close"));
    this.composer.enable();
    this.updateIntro();
  }

  drawPlaces() {
    drawPlaces(byId("places"), this, (channel) => this.open(channel));
  }

  drawMembers() {
    drawMembers(byId("members"), this, (id) => this.become(id));
    this.drawLanguages();
  }

  drawLanguages() {
    if (byId("languages").open) drawLanguages(byId("language-list"), this, (path, locale) => this.speak(path, locale));
    else byId("language-list").replaceChildren();
  }

  /** Change the language of a member or server. */
  async speak(path, locale) {
    await call("POST", path, { locale }).catch((refused) => this.notice(refused.message));
    await this.refresh();
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

  /** Show a sentence above the messages until the next one; an empty one hides it. */
  notice(text) {
    byId("notice").textContent = text;
    byId("notice").hidden = !text;
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
      // Content that has just grown also moves the end away; only a reader who scrolls up leaves it.
      if (scrollHeight - scrollTop - clientHeight < AT_END_PX) this.atEnd = true;
      else if (scrollTop < this.scrolledTo) this.atEnd = false;
      this.scrolledTo = scrollTop;
    });
    byId("languages").addEventListener("toggle", () => this.drawLanguages());
    byId("older").addEventListener("click", () => this.loadOlder());
    document.addEventListener("click", (event) => {
      const { channelLink, messageLink } = event.target.closest?.("[data-channel-link]")?.dataset ?? {};
      if (!channelLink || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      this.jump(channelLink, messageLink);
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
    setInterval(() => tick(document, this.world), 1000);
    chooseTheme();
  }

  key(event) {
    if (document.querySelector("dialog[open], [role=menu]")) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const typing = /^(INPUT|TEXTAREA|SELECT|VIDEO)$/.test(document.activeElement?.tagName) || document.activeElement?.role === "combobox";
    if (event.altKey && step) {
      const open = [...byId("places").querySelectorAll("section:not(.outside) [data-channel]")];
      const here = open.findIndex((each) => each.dataset.channel === this.channel?.id);
      event.preventDefault();
      open.at((here + step) % open.length)?.click();
    } else if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      this.composer.fill("/");
    } else if (event.key === "Escape" && document.body.classList.contains("menu-open")) {
      byId("menu").click();
      byId("menu").focus();
    }
  }
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
