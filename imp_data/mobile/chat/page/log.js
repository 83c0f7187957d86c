// What was said, as articles of the log.

const $ = (id) => document.getElementById(id);

// `again` is called to have the last question answered anew, `idea` with one of the `examples` that
// was picked from the blank page.
export function show(conversation, { again, idea, examples }) {
  const { title, turns } = conversation;
  $("title").textContent = title || "New conversation";
  document.title = title ? `${title} · ImpChat` : "ImpChat";
  $("log").replaceChildren(...(turns.length ? turns.map((turn) => article(turn, again)) : [blank(idea, examples)]));
  toEnd();
}

function blank(idea, examples) {
  const node = $("blank").content.cloneNode(true);
  const ideas = node.querySelector(".ideas");
  node.querySelector(".asked").hidden = !examples.length;
  if (examples.length) {
    ideas.replaceChildren(...examples.map(({ text }) => Object.assign(document.createElement("button"), { type: "button", textContent: text })));
  }
  for (const [number, button] of [...ideas.children].entries()) {
    button.onclick = () => idea(examples[number] ?? { text: button.textContent, short: false });
  }
  return node;
}

function article(turn, again) {
  const node = $("turn").content.firstElementChild.cloneNode(true);
  node.className = turn.role;
  node.querySelector("h2").textContent = turn.role === "user" ? "You" : "Imp";
  if (turn.image) {
    const shown = node.querySelector(".shown");
    shown.src = turn.image;
    shown.alt = "Image that goes with the question";
    shown.style.setProperty("--aspect", turn.aspect ?? 1); // stretched back to what the person gave
    shown.hidden = false;
  }
  fill(node, turn);
  node.querySelector(".copy").onclick = (event) => copy(turn.text, event.currentTarget);
  node.querySelector(".again").onclick = again;
  return node;
}

// Bring the last article up to date with its turn; the view follows where it was at the end.
export function refresh(turn) {
  const log = $("log");
  const following = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  fill(log.lastElementChild, turn);
  if (following) toEnd();
}

function fill(node, turn) {
  node.querySelector(".said").textContent = turn.text;
  node.classList.toggle("waiting", Boolean(turn.waiting));
  node.classList.toggle("failed", Boolean(turn.failed));
  node.querySelector(".speed").textContent = told(turn);
}

function told({ speed, suffix, stopped, failed }) {
  if (failed) return "";
  if (suffix) return "short answer";
  const parts = stopped ? ["stopped"] : [];
  if (speed?.tokensPerSecond) parts.push(`${speed.tokensPerSecond.toFixed(1)} tokens/s`);
  if (speed) parts.push(`first after ${speed.secondsToFirst.toFixed(speed.secondsToFirst < 1 ? 2 : 1)} s`);
  return parts.join(" · ");
}

function toEnd() {
  $("log").scrollTop = $("log").scrollHeight;
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Cannot copy";
  }
  setTimeout(() => (button.textContent = "Copy"), 1500);
}
