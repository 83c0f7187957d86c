// The list of conversations: beside the log on a wide screen, a drawer over it on a narrow one.

const $ = (id) => document.getElementById(id);

export const narrow = matchMedia("(max-width: 760px)");

// `onOpen` and `onDelete` are called with a conversation.
export function render(conversations, current, { onOpen, onDelete }) {
  $("conversations").replaceChildren(...conversations.map((one) => entry(one, one.id === current.id, onOpen, onDelete)));
}

function entry(conversation, isCurrent, onOpen, onDelete) {
  const item = document.createElement("li");
  const open = document.createElement("button");
  open.className = "quiet open";
  open.textContent = conversation.title || "New conversation";
  if (isCurrent) open.setAttribute("aria-current", "true");
  open.onclick = () => onOpen(conversation);
  const remove = document.createElement("button");
  remove.className = "quiet remove";
  remove.setAttribute("aria-label", `Delete ${open.textContent}`);
  remove.textContent = "×";
  remove.onclick = () => confirm(`Delete “${open.textContent}”?`) && onDelete(conversation);
  item.append(open, remove);
  return item;
}

export function setOpen(open) {
  document.body.classList.toggle("drawer-open", open);
  $("open-drawer").setAttribute("aria-expanded", String(open));
  $("shade").hidden = !open;
  // The Tab key skips the drawer while it is hidden.
  $("drawer").inert = narrow.matches && !open;
  if (open) $("close-drawer").focus();
}

export const isOpen = () => document.body.classList.contains("drawer-open");

export function addListeners() {
  $("open-drawer").onclick = () => setOpen(true);
  $("close-drawer").onclick = $("shade").onclick = () => setOpen(false);
  narrow.onchange = () => setOpen(false);
  setOpen(false);
}
