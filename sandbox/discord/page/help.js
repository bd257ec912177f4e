/* The help: example commands to click, and the prompt markers that make a run go wrong. */

import { el } from "./dom.js";

const EXAMPLES = [
  ["/veo prompt:a red fox trots through fresh snow at dawn duration:4s", "Your first video, 4 seconds long"],
  ["/veo prompt:a paper boat sails down a rainy street aspect_ratio:9:16 generate_audio:false", "Portrait and without sound, made for a phone"],
  ["/veo prompt:a lighthouse in a storm resolution:4k", "An expensive one: the bot asks you to confirm its price first"],
  ["/veo-quota", "How much this member can still spend"],
  ["/veo-admin report", "Who spent what. Only members who can manage the server see this command"],
];
// Every marker of sandbox/runflow/switches.py; a test compares the two.
const MARKERS = {
  "How the run ends": [
    ["[nsfw]", "The video is flagged, so the bot doesn't post it."],
    ["[failed]", "The run fails. Nothing is charged."],
    ["[policy]", "The run fails because the prompt breaks Veo's content policy."],
    ["[cancelled]", "Somebody cancels the run at Runflow."],
    ["[partial]", "Runflow finishes only part of the work. The bot posts the video anyway."],
    ["[provider]", "The run fails because Runflow's provider lost it."],
    ["[invalid]", "Runflow accepts the order, then rejects one of its options."],
    ["[errored]", "The run fails with the status “errored” instead of “failed”."],
    ["[empty]", "The run succeeds, but its list of videos is empty."],
    ["[missing]", "The run succeeds, but its list of videos is missing."],
    ["[nsfw-null]", "Runflow doesn't say whether the video is flagged."],
    ["[never]", "The run never ends."],
  ],
  "While it runs": [
    ["[queued]", "The run waits in line for two minutes."],
    ["[slow]", "The run takes 17 minutes, longer than the bot can edit its first answer."],
    ["[skip]", "The run goes straight from queued to its end."],
    ["[back]", "The run starts, goes back to queued, and starts again."],
    ["[unknown]", "The run has an unknown status for 30 seconds, then succeeds."],
    ["[unknown-for-ever]", "The run keeps an unknown status and never ends."],
  ],
  "What it costs": [
    ["[dear]", "The run costs $9.60, whatever the quote was."],
    ["[cheap]", "The run costs $0.01."],
    ["[free]", "The run costs nothing."],
    ["[digits]", "The run costs $3.2000001."],
    ["[late-cost]", "Runflow reports the cost a minute after the end."],
    ["[null-cost]", "Runflow never reports the cost."],
    ["[failed-cost]", "The run fails, and Runflow still charges $0.40."],
  ],
  "Sending the order": [
    ["[429]", "Runflow answers the first two orders with 429, without saying how long to wait."],
    ["[retry-after]", "Runflow answers the first two orders with 429 and asks the bot to wait one second."],
    ["[401]", "Runflow doesn't accept the API key (401)."],
    ["[402]", "The Runflow account is out of credit (402)."],
    ["[403]", "The API key isn't allowed to order videos (403)."],
    ["[422]", "Runflow rejects the prompt (422)."],
    ["[before-500]", "The order fails with 500, and no run exists."],
    ["[before-503]", "The order fails with 503, and no run exists."],
    ["[before-reset]", "The connection is reset, and no run exists."],
    ["[after-500]", "Runflow takes the order but answers 500. The bot doesn't order twice."],
    ["[after-504]", "Runflow takes the order but answers 504."],
    ["[after-reset]", "Runflow takes the order, then resets the connection."],
    ["[after-timeout]", "Runflow takes the order but never answers. The bot doesn't order twice."],
    ["[after-truncated]", "Runflow takes the order, but only half of its answer arrives."],
    ["[after-no-body]", "Runflow takes the order, but its answer is empty."],
  ],
  "Following the run": [
    ["[lost]", "The callback never arrives, so the bot has to poll."],
    ["[twice]", "The callback arrives twice. The bot posts the video once."],
    ["[storm]", "The callback arrives ten times at once."],
    ["[early]", "The callback arrives before the answer to the order."],
    ["[stale]", "After the callback, one with an older status arrives."],
    ["[unsigned]", "The callback has no signature."],
    ["[forged]", "The callback has a wrong signature."],
    ["[altered]", "The callback was changed after it was signed."],
    ["[event]", "The callback has an unknown event."],
    ["[stranger]", "The callback names a run that doesn't exist."],
    ["[reads-fail]", "The first three status requests fail with 503."],
    ["[lag]", "The run shows up in Runflow's list 30 seconds late."],
  ],
  "Getting the file": [
    ["[large]", "The video is too large to attach, so the bot posts a link."],
    ["[huge]", "The video is 600 MB large."],
    ["[expired]", "The first URL of the video has expired."],
    ["[gone]", "Every URL of the video answers 404."],
    ["[private]", "The URL points into a private network."],
    ["[redirect]", "The URL redirects to another one, which works."],
    ["[redirect-private]", "The URL redirects into a private network."],
    ["[webm]", "The file is WebM instead of MP4."],
    ["[mkv]", "The file is Matroska instead of MP4."],
    ["[mov]", "The file is QuickTime instead of MP4."],
    ["[hevc]", "The file is an MP4 with HEVC video."],
    ["[tail]", "The file is an MP4 with an extra byte at its end."],
    ["[truncated]", "Every download breaks off halfway."],
    ["[truncated-once]", "The first download breaks off halfway."],
    ["[short]", "Every download has only half of the file, without an error."],
    ["[stall]", "Every download stops halfway and hangs."],
    ["[html]", "The download is a web page."],
    ["[zero]", "The download is empty."],
  ],
};
const KEYS = [
  ["/", "find a command"],
  ["Alt+↑  Alt+↓", "switch channels"],
  ["Enter", "send"],
  ["Esc", "cancel a command"],
];

/** The help for a channel with these `commands`; `fill(line)` inserts a line into the composer. */
export function helpPanel(commands, fill) {
  const names = commands.map(({ path }) => path);
  const known = EXAMPLES.filter(([line]) => names.some((name) => `${line} `.startsWith(`/${name} `)));
  const examples = known.length ? known : commands.slice(0, 3).map((each) => [`/${each.path}`, each.description]);
  return el(
    "section",
    { class: "help" },
    el("h2", {}, "What to try"),
    el("p", {}, "The bot is real. The chat and the video service are built-in stand-ins, so ", el("b", {}, "nothing here costs money.")),
    examples.length
      ? el("ul", { class: "examples" }, examples.map(([line, why]) =>
          el("li", {}, el("button", { type: "button", onclick: () => fill(line) }, el("code", {}, line), el("small", {}, why)))))
      : el("p", { class: "hint" }, "Commands appear here once a bot has registered them."),
    names.includes("veo") && markerList(fill),
    el("p", { class: "keys" }, KEYS.map(([key, what]) => el("span", {}, el("kbd", {}, key), ` ${what}`))),
  );
}

function markerList(fill) {
  const row = ([marker, effect]) => {
    const insert = () => fill(`/veo prompt:a red fox ${marker}`);
    return el("div", {},
      el("dt", {}, el("button", { type: "button", class: "chip", "aria-label": `Try ${marker}`, onclick: insert }, marker)),
      el("dd", {}, effect));
  };
  return el("details", {}, el("summary", {}, "Make something go wrong"),
    el("p", {}, "Add one of these markers to your prompt, brackets included:"),
    Object.entries(MARKERS).map(([title, rows]) => [el("h3", {}, title), el("dl", {}, rows.map(row))]).flat());
}
