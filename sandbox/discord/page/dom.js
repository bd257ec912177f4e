/* Builds elements. Text always becomes a text node: nothing on this page parses HTML. */

/** An element with attributes (`on…` adds a listener, `--…` a CSS property) and children; null values are skipped. */
export function el(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) element.style.setProperty(name, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A number 0xRRGGBB as a CSS colour. */
export const colour = (number) => `#${number.toString(16).padStart(6, "0")}`;

/** The person's initials on their color. Decorative: the name is always beside it. */
export function avatar(person) {
  const rgb = person.colour ?? 0x64748b;
  const light = (0.299 * (rgb >> 16) + 0.587 * ((rgb >> 8) & 255) + 0.114 * (rgb & 255)) / 255;
  const initials = person.name.split(/\s+/).map((word) => word[0]).join("").slice(0, 2).toUpperCase();
  const look = { class: "avatar", "aria-hidden": "true", "--colour": colour(rgb), "--ink": light > 0.45 ? "#14161a" : "#fff" };
  return el("span", look, initials);
}

/** A byte count in words, such as `1.4 MB`. */
export function bytes(count) {
  if (count < 1000) return `${count} bytes`;
  return count < 1_000_000 ? `${Math.round(count / 1000)} KB` : `${(count / 1_000_000).toFixed(1)} MB`;
}
