/* The sandbox's state for the page: people, channels, available commands and the sandbox's time. */

const SUB_COMMAND = 1;
const SUB_GROUP = 2;
const CHAT_INPUT = 1;
const MESSAGE_MENU = 3;
const FALLBACK = { "en-US": "en-GB", "en-GB": "en-US", "es-419": "es-ES" }; // docs: Localization
const GROUP = 3; // channel types
const ADMINISTRATOR = 8n;

export class World {
  constructor() {
    this.ready = false;
    this.aheadS = 0; // how far the sandbox's clock is ahead of this computer's; it can be moved forward
    this.people = new Map();
    this.channels = new Map();
    this.locale = "en-US"; // the viewer's language
  }

  /** Read the reply of `GET state`. */
  load(state) {
    this.ready = true;
    this.state = state;
    this.connected = state.connected;
    this.aheadS = state.now - Date.now() / 1000;
    this.people = new Map([[state.bot.id, { ...state.bot, name: state.application.name, bot: true }]]);
    this.channels = new Map();
    for (const server of state.servers) {
      for (const member of server.members) if (!member.bot) this.people.set(member.id, member);
      for (const channel of server.channels) this.channels.set(channel.id, { ...channel, server });
    }
    for (const channel of [...state.direct, ...state.groups]) {
      this.channels.set(channel.id, { ...channel, name: channel.name ?? state.application.name, server: null });
    }
  }

  /** Seconds since 1970 on the sandbox's clock. */
  now() {
    return Date.now() / 1000 + this.aheadS;
  }

  /** Catch up with the sandbox's clock: a message from the future means that it was moved forward. */
  noteTime(iso) {
    this.aheadS = Math.max(this.aheadS, Date.parse(iso) / 1000 - Date.now() / 1000);
  }

  /** The people who can be selected under “Chat as”. */
  members() {
    return [...this.people.values()].filter((person) => !person.bot);
  }

  memberIn(server, id) {
    return server?.members.find((member) => member.id === id);
  }

  /** The name of the role with this id, or undefined. */
  roleName(id) {
    return this.state.servers.flatMap((server) => server.roles).find((role) => role.id === id)?.name;
  }

  /** Whether this member can see the channel. */
  sees(id, channel) {
    if (!channel.server) return channel.recipients?.some((user) => user.id === id);
    return Boolean(this.memberIn(channel.server, id)?.channels.includes(channel.id));
  }

  /** A member's roles in a server, such as `Owner · Editors`, and their color. */
  rank(server, member) {
    const roles = member.roles.map((id) => server.roles.find((role) => role.id === id)).filter(Boolean);
    const names = roles.map((role) => role.name);
    if (server.owner_id === member.id) names.unshift("Owner");
    return { text: names.join(" · ") || "Member", colour: roles.find((role) => role.color)?.color };
  }

  /** Whether this member sees a command: because of its default permissions, or because an admin allowed it. */
  shows(command, server, id) {
    const needed = command.default_member_permissions;
    if (!server || needed === null || needed === undefined || server.owner_id === id) return true;
    const roles = [server.id, ...(this.memberIn(server, id)?.roles ?? [])];
    if (server.command_permissions[command.name]?.some((given) => given === id || roles.includes(given))) return true;
    const bits = server.roles.filter((role) => roles.includes(role.id)).reduce((all, role) => all | BigInt(role.permissions), 0n);
    return Boolean(bits & ADMINISTRATOR) || (needed !== "0" && (bits & BigInt(needed)) === BigInt(needed));
  }

  /** The commands that `viewer` can use in the channel, subcommands by their full path. */
  commands(channel, viewer) {
    return this.offered(CHAT_INPUT, channel, viewer).flatMap((command) => this.leaves(command, command.name));
  }

  /** The names of the commands that apps offer for messages. */
  messageCommands(channel, viewer) {
    return this.offered(MESSAGE_MENU, channel, viewer).map((command) => command.name);
  }

  /** The commands of one type; those of the server win over global ones. */
  offered(type, channel, viewer) {
    const found = new Map();
    for (const command of this.state.commands) {
      const here = !command.guild_id || command.guild_id === channel.guild_id;
      const fits = !command.contexts || command.contexts.includes(channel.server ? 0 : channel.type === GROUP ? 2 : 1);
      if (command.type !== type || !here || !fits || !this.shows(command, channel.server, viewer)) continue;
      if (!found.has(command.name) || command.guild_id) found.set(command.name, command);
    }
    return [...found.values()];
  }

  leaves(part, path) {
    const inner = (part.options ?? []).filter((option) => option.type === SUB_COMMAND || option.type === SUB_GROUP);
    if (inner.length) return inner.flatMap((option) => this.leaves(option, `${path} ${option.name}`));
    const options = (part.options ?? []).map((option) => ({ ...option, description: this.local(option, "description") }));
    return [{ path, description: this.local(part, "description"), options }];
  }

  /** A text of a command in the viewer's language, or as it was registered. */
  local(part, key) {
    const translated = part[`${key}_localizations`];
    return translated?.[this.locale] ?? translated?.[FALLBACK[this.locale]] ?? part[key];
  }

  /** Who and what can be chosen in the channel, as [name, id]; `kinds` are the types of channel to offer. */
  mentionable(channel, { people, roles, channels, kinds }) {
    const { server } = channel;
    const inside = [...this.people.values()].filter((each) => (server ? each.bot || this.memberIn(server, each.id) : true));
    const places = [...this.channels.values()].filter((each) => each.server && each.server === server && (!kinds?.length || kinds.includes(each.type)));
    return [
      ...(people ? inside.map((each) => [`@${each.name}`, each.id]) : []),
      ...(roles ? (server?.roles ?? []).map((each) => [`@${each.name.replace(/^@/, "")}`, each.id]) : []),
      ...(channels ? places.map((each) => [`#${each.name}`, each.id]) : []),
    ];
  }
}
