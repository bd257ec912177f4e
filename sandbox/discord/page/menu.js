/* The menu of a message: the commands that apps offer for it, and its link. */

import { el } from "./dom.js";

/**
 * Open a menu at `point` (with clientX and clientY) or below `opener`, which gets the focus back. `groups` are
 * [heading, items], each item [text, action].
 */
export function openMenu(groups, opener, point) {
  const rows = groups.flatMap(([heading, items]) => [
    heading && items.length ? el("p", { role: "presentation", class: "menu-heading" }, heading) : null,
    ...items.map(([text, action]) => el("button", { type: "button", role: "menuitem", tabindex: -1, onclick: () => {
      close();
      action();
    } }, text)),
  ]);
  const menu = el("div", { class: "menu", role: "menu", "aria-label": "Message actions" }, rows);
  const items = [...menu.querySelectorAll("button")];
  const close = () => opener.focus(); // a menu without the focus is gone
  menu.addEventListener("focusout", ({ relatedTarget }) => {
    if (!menu.contains(relatedTarget)) menu.remove();
  });
  menu.addEventListener("keydown", (event) => {
    const here = items.indexOf(document.activeElement);
    const to = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: -1 }[event.key];
    if (event.key === "Escape" || event.key === "Tab") close();
    else if (to !== undefined) items.at(to % items.length).focus();
    else return;
    event.preventDefault();
  });
  document.body.append(menu);
  place(menu, point ?? { clientX: opener.getBoundingClientRect().right - menu.offsetWidth, clientY: opener.getBoundingClientRect().bottom + 4 });
  items[0]?.focus();
}

/** Put the menu at the point, inside the window. */
function place(menu, { clientX, clientY }) {
  menu.style.left = `${Math.max(8, Math.min(clientX, innerWidth - menu.offsetWidth - 8))}px`;
  menu.style.top = `${Math.max(8, Math.min(clientY, innerHeight - menu.offsetHeight - 8))}px`;
}
