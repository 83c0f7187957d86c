// The list of conversations: beside the log on a desk, a drawer over it on a phone.

const $ = (id) => document.getElementById(id);

export const narrow = matchMedia("(max-width: 760px)");

// `chosen` and `deleted` are called with a conversation.
export function fill(kept, current, { chosen, deleted }) {
  $("conversations").replaceChildren(...kept.map((talk) => entry(talk, talk.id === current.id, chosen, deleted)));
}

function entry(talk, shown, chosen, deleted) {
  const item = document.createElement("li");
  const open = document.createElement("button");
  open.className = "quiet open";
  open.textContent = talk.title || "New conversation";
  if (shown) open.setAttribute("aria-current", "true");
  open.onclick = () => chosen(talk);
  const remove = document.createElement("button");
  remove.className = "quiet remove";
  remove.setAttribute("aria-label", `Delete ${open.textContent}`);
  remove.textContent = "×";
  remove.onclick = () => confirm(`Delete “${open.textContent}”?`) && deleted(talk);
  item.append(open, remove);
  return item;
}

export function move(open) {
  document.body.classList.toggle("drawer-open", open);
  $("open-drawer").setAttribute("aria-expanded", String(open));
  $("shade").hidden = !open;
  // Out of the way of the Tab key while it is out of sight.
  $("drawer").inert = narrow.matches && !open;
  if (open) $("close-drawer").focus();
}

export const isOpen = () => document.body.classList.contains("drawer-open");

export function listen() {
  $("open-drawer").onclick = () => move(true);
  $("close-drawer").onclick = $("shade").onclick = () => move(false);
  narrow.onchange = () => move(false);
  move(false);
}
