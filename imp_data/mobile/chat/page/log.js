// Render the turns of a conversation as articles of the log.

const $ = (id) => document.getElementById(id);

// `onRetry` is called to answer the last question again, `onExample` with the example that the user
// chose on the empty page.
export function show(conversation, { onRetry, onExample, examples }) {
  const { title, turns } = conversation;
  $("title").textContent = title || "New conversation";
  document.title = title ? `${title} · ImpChat` : "ImpChat";
  $("log").replaceChildren(...(turns.length ? turns.map((turn) => article(turn, onRetry)) : [emptyPage(onExample, examples)]));
  scrollToEnd();
}

function emptyPage(onExample, examples) {
  const node = $("empty").content.cloneNode(true);
  const buttons = node.querySelector(".examples");
  node.querySelector(".from-training").hidden = !examples.length;
  if (examples.length) {
    buttons.replaceChildren(...examples.map(({ text }) => Object.assign(document.createElement("button"), { type: "button", textContent: text })));
  }
  for (const [number, button] of [...buttons.children].entries()) {
    button.onclick = () => onExample(examples[number] ?? { text: button.textContent, short: false });
  }
  return node;
}

function article(turn, onRetry) {
  const node = $("turn").content.firstElementChild.cloneNode(true);
  node.className = turn.role;
  node.querySelector("h2").textContent = turn.role === "user" ? "You" : "Imp";
  if (turn.image) {
    const image = node.querySelector(".question-image");
    image.src = turn.image;
    image.alt = "Image of the question";
    image.style.setProperty("--aspect", turn.aspect ?? 1); // restores the aspect ratio of the file
    image.hidden = false;
  }
  fill(node, turn);
  node.querySelector(".copy").onclick = (event) => copy(turn.text, event.currentTarget);
  node.querySelector(".retry").onclick = onRetry;
  return node;
}

// Update the last article from its turn; keep the view at the end if it was there.
export function refresh(turn) {
  const log = $("log");
  const following = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  fill(log.lastElementChild, turn);
  if (following) scrollToEnd();
}

function fill(node, turn) {
  node.querySelector(".text").textContent = turn.text;
  node.classList.toggle("waiting", Boolean(turn.waiting));
  node.classList.toggle("failed", Boolean(turn.failed));
  node.querySelector(".speed").textContent = statusText(turn);
}

function statusText({ speed, suffix, stopped, failed }) {
  if (failed) return "";
  if (suffix) return "short answer";
  const parts = stopped ? ["stopped"] : [];
  if (speed?.tokensPerSecond) parts.push(`${speed.tokensPerSecond.toFixed(1)} tokens/s`);
  if (speed) parts.push(`first after ${speed.secondsToFirst.toFixed(speed.secondsToFirst < 1 ? 2 : 1)} s`);
  return parts.join(" · ");
}

function scrollToEnd() {
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
