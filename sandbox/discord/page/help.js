/* What a newcomer is offered: commands to click, and the words that make a run end otherwise. */

import { el } from "./dom.js";

const EXAMPLES = [
  ["/veo prompt:a red fox trots through fresh snow at dawn duration:4s", "a first video, four seconds long"],
  ["/veo prompt:a paper boat sails down a rainy street aspect_ratio:9:16 generate_audio:false", "upright and silent, as for a phone"],
  ["/veo prompt:a lighthouse in a storm resolution:4k", "a dear one: the price is asked about first"],
  ["/veo-quota", "what is left of this member's limit"],
  ["/veo-admin report", "who spent what: shown to who may manage the server"],
];
const MARKERS = [
  ["[nsfw]", "The video is flagged, so it is not posted."],
  ["[failed]", "Runflow fails, and nothing is charged."],
  ["[policy]", "Runflow refuses the prompt by its content policy."],
  ["[cancelled]", "Somebody cancels the run at Runflow."],
  ["[partial]", "Only part of the work is done; the video comes all the same."],
  ["[large]", "The video is too large to attach, so a link is posted."],
  ["[slow]", "The run takes 17 minutes, longer than the bot may edit its first answer."],
  ["[lost]", "Runflow never calls back; the bot finds out by asking."],
  ["[twice]", "Runflow calls back twice; the video is posted once."],
  ["[after-timeout]", "The order is taken but its answer never comes; nothing is ordered twice."],
];
const KEYS = [
  ["/", "type a command"],
  ["Alt+↑  Alt+↓", "change the channel"],
  ["Enter", "send"],
  ["Esc", "leave the command"],
];

/** The help for a channel in which `commands` exist; `fill(line)` writes into the composer. */
export function helpPanel(commands, fill) {
  const names = commands.map(({ path }) => path);
  const known = EXAMPLES.filter(([line]) => names.some((name) => `${line} `.startsWith(`/${name} `)));
  const examples = known.length ? known : commands.slice(0, 3).map((each) => [`/${each.path}`, each.description]);
  const films = names.includes("veo");
  const fox = (marker) => fill(`/veo prompt:a red fox ${marker}`);
  return el(
    "section",
    { class: "help" },
    el("h2", {}, "What to try"),
    el("p", {}, "This is a rehearsal: the bot is real, the chat and the video service are built in. ", el("b", {}, "No money is spent here.")),
    examples.length
      ? el("ul", { class: "examples" }, examples.map(([line, why]) =>
          el("li", {}, el("button", { type: "button", onclick: () => fill(line) }, el("code", {}, line), el("small", {}, why)))))
      : el("p", { class: "hint" }, "Commands appear here as soon as a bot has registered them."),
    films && el("details", {}, el("summary", {}, "Make something go wrong"),
      el("p", {}, "Put one of these words into the prompt, with its brackets:"),
      el("dl", {}, MARKERS.map(([marker, what]) => el("div", {},
        el("dt", {}, el("button", { type: "button", class: "chip", "aria-label": `Try ${marker}`, onclick: () => fox(marker) }, marker)),
        el("dd", {}, what))))),
    el("p", { class: "keys" }, KEYS.map(([key, what]) => el("span", {}, el("kbd", {}, key), ` ${what}`))),
  );
}
