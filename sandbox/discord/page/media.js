/* Pictures, videos and files, and the covers of spoilers. */

import { bytes, el } from "./dom.js";
import { link } from "./markdown.js";

const VIDEO = /\.(mp4|m4v|mov|webm)$/i;

export const pathOf = (url) => (URL.canParse(url) ? new URL(url).pathname : "");
export const isVideo = (url) => VIDEO.test(pathOf(url));
const nameOf = (url) => decodeURIComponent(pathOf(url).split("/").at(-1));

/** An attachment: played, shown, or as a card with its name. */
export function file(attachment) {
  const type = attachment.content_type ?? "";
  const shown = type.startsWith("video/") ? video(attachment) : type.startsWith("image/") ? picture(attachment)
    : fileCard(attachment.filename, attachment.size, attachment.url);
  return attachment.filename.startsWith("SPOILER_") ? covered(shown) : shown;
}

export function fileCard(name, size, url) {
  return el("p", { class: "file" }, el("span", { class: "file-icon", "aria-hidden": "true" }, "▤"),
    el("span", {}, link(url, name), el("small", {}, size === undefined || size === null ? "" : bytes(size))));
}

/** A picture with its description; without one, its file name is better than silence. */
export function picture({ url, width, height, description }, name = "picture") {
  return el("img", { class: name, src: url, width, height, alt: description || `Picture ${nameOf(url)}`, title: description, loading: "lazy" });
}

/** A player with a link below it; if the browser can't play the video, a note and the link. */
export function video({ url, width, height, filename, size, description }) {
  const path = pathOf(url);
  const name = filename ?? nameOf(url);
  const player = el("video", {
    controls: true, playsinline: true, preload: "metadata", src: `${url}#t=0.001`, // the first frame as poster
    "aria-label": description || `Video ${name}`, "data-file": path, "--ratio": width ? width / height : 16 / 9,
  });
  const box = el("figure", { class: "video" }, player,
    el("figcaption", {}, link(url, name), size ? el("small", {}, bytes(size)) : null));
  player.addEventListener("loadedmetadata", () => {
    if (player.videoWidth) player.style.setProperty("--ratio", player.videoWidth / player.videoHeight);
  });
  player.addEventListener("error", () => player.replaceWith(el("p", { class: "fault" }, "This video can't be played here. Use its link instead.")));
  return box;
}

/** A grid of pictures and videos; a single one keeps its shape. */
export function gallery(items) {
  const look = items.length > 1 ? { class: "gallery many", "--columns": [2, 4].includes(items.length) ? 2 : 3 } : { class: "gallery" };
  return el("div", look, items.map(({ media, description, spoiler }) => {
    const shown = (media.content_type ?? "").startsWith("video/") || isVideo(media.url) ? video({ ...media, description }) : picture({ ...media, description });
    return spoiler ? covered(shown) : shown;
  }));
}

/** Hide an element under a button until somebody asks for it. */
export function covered(inner) {
  const box = el("div", { class: "spoiler covered" }, inner);
  inner.inert = true;
  const reveal = el("button", { type: "button", class: "cover", onclick: () => {
    box.classList.remove("covered");
    inner.inert = false;
    reveal.remove();
  } }, el("span", {}, "Spoiler"));
  box.append(reveal);
  return box;
}
