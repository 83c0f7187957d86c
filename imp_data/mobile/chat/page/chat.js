// The page: a question and an image in, an answer out, the conversation kept.

import * as conversations from "./conversations.js";
import * as drawer from "./drawer.js";
import * as log from "./log.js";
import * as model from "./model.js";
import * as theme from "./theme.js";
import { imageOf, squared } from "./images.js";

const $ = (id) => document.getElementById(id);

let asking = { short_answer_suffix: null, short_by_default: false, examples: [] }; // as in training
let current = conversations.begun();
let attached = null; // {image, aspect} that goes with the next question
let answering = null; // AbortController while the model speaks

async function ask() {
  const text = $("question").value.trim();
  if (answering || (!text && !attached)) return;
  current.turns.push({ role: "user", text: text || "Describe this image.", ...attached });
  sayHow(current.turns);
  current.title ||= conversations.titleOf(current);
  write("");
  attach(null);
  await answer();
}

async function again() {
  if (answering) return;
  while (current.turns.at(-1)?.role === "assistant") current.turns.pop();
  sayHow(current.turns);
  if (current.turns.length) await answer();
}

async function answer() {
  const talk = current;
  const turn = { role: "assistant", text: "", waiting: true };
  const asked = heard(talk.turns);
  talk.turns.push(turn);
  show();
  const mine = new AbortController();
  busy(mine);
  await keep(talk);
  try {
    for await (const piece of model.answered(asked, mine.signal)) {
      if (piece.text) turn.text = (turn.text + piece.text).trimStart();
      turn.waiting = false;
      turn.speed = piece.speed ?? turn.speed;
      if (talk === current) log.refresh(turn);
    }
    turn.text ||= "(no answer)";
  } catch (error) {
    if (error.name === "AbortError") turn.stopped = true;
    else Object.assign(turn, { failed: true, text: plain(error) });
  }
  turn.waiting = false;
  if (answering === mine) busy(null);
  if (talk === current) log.refresh(turn);
  say(turn.failed ? `Failed: ${turn.text}` : turn.text);
  await keep(talk);
  rest();
}

// The last question with what stands behind the first of those that are to be answered shortly, as
// in training; those after it have nothing there.
function sayHow(turns) {
  const last = turns.at(-1);
  const suffix = asking.short_answer_suffix;
  if (!last || !suffix) return;
  delete last.suffix;
  const said = turns.some((turn) => turn.suffix) || last.text.endsWith(suffix.trim());
  if ($("short").checked && !said) last.suffix = suffix;
}

// The turns that the model is to know: a question without an answer would stand beside the next.
function heard(turns) {
  const useful = turns.filter((turn) => turn.text && !turn.failed);
  return useful.filter((turn, n) => turn.role === "assistant" || useful[n + 1]?.role !== "user");
}

function plain(error) {
  // What fetch says when nobody listens differs by browser and tells people nothing.
  return error instanceof TypeError ? "The model is not reachable. Is `imp-data chat` still running?" : error.message;
}

function busy(controller) {
  answering = controller;
  $("send").hidden = Boolean(controller);
  $("stop").hidden = !controller;
  $("log").setAttribute("aria-busy", String(Boolean(controller)));
}

// Read aloud by a screen reader, once and whole: token by token it could not be followed.
function say(text) {
  $("spoken").textContent = text;
}

function notice(text) {
  const node = document.createElement("p");
  node.className = "notice";
  node.setAttribute("role", "alert");
  node.textContent = text;
  $("composer").prepend(node);
  setTimeout(() => node.remove(), 6000);
}

async function offered(file) {
  if (!file) return;
  try {
    attach(await squared(file));
    say("Image attached");
  } catch (error) {
    notice(plain(error));
  }
  rest();
}

function attach(image) {
  attached = image;
  $("attached").hidden = !image;
  if (image) $("preview").src = image.image;
  else $("preview").removeAttribute("src");
}

async function keep(talk) {
  talk.changed = Date.now();
  try {
    // The turn in the making is kept too: a closed page loses no more than the answer's rest.
    const turns = talk.turns.map(({ waiting, ...turn }) => turn);
    await conversations.keep({ ...talk, turns });
  } catch (error) {
    notice(`This browser does not keep conversations (${error.message}).`);
  }
  await list();
}

async function list() {
  let kept = [];
  try {
    kept = await conversations.all();
  } catch {
    // A window without storage: `keep` says so, and the talk goes on.
  }
  drawer.fill(kept, current, { chosen: turnTo, deleted: forget });
}

async function forget(talk) {
  await conversations.forget(talk.id);
  if (talk.id === current.id) turnTo(conversations.begun());
  else await list();
}

function turnTo(talk) {
  stop();
  busy(null);
  current = talk;
  $("short").checked = talk.short ?? asking.short_by_default;
  attach(null);
  drawer.move(false);
  show();
  list();
  rest();
}

const show = () => log.show(current, { again, idea, examples: asking.examples });
const stop = () => answering?.abort();

// A question of the mixture's, asked as it is asked there.
function idea({ text, short }) {
  if (asking.short_answer_suffix) choose(short);
  write(text);
}

// Short answers or not, for the whole conversation.
function choose(short) {
  $("short").checked = current.short = short;
}

function write(text) {
  $("question").value = text;
  grow();
  if (text) $("question").focus();
}

function grow() {
  const box = $("question");
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight, 180)}px`;
}

// On a phone the focus would bring up the keyboard over what was just said.
function rest() {
  if (!drawer.narrow.matches) $("question").focus();
}

function listen() {
  theme.listen();
  drawer.listen();
  listenForText();
  listenForImages();
  $("stop").onclick = stop;
  $("new").onclick = () => turnTo(conversations.begun());
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    if (drawer.isOpen()) drawer.move(false);
    else stop();
  });
}

function listenForText() {
  $("composer").onsubmit = (event) => {
    event.preventDefault();
    ask();
  };
  $("question").oninput = grow;
  $("short").onchange = () => choose($("short").checked);
  $("question").onkeydown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      ask();
    }
  };
}

function listenForImages() {
  $("pick").onclick = () => $("file").click();
  $("shoot").onclick = () => $("camera").click();
  for (const input of [$("file"), $("camera")]) {
    input.onchange = () => {
      offered(input.files[0]);
      input.value = "";
    };
  }
  $("detach").onclick = () => attach(null);
  addEventListener("paste", (event) => {
    const image = imageOf(event.clipboardData);
    if (!image) return;
    event.preventDefault();
    offered(image);
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    $("drop").hidden = !event.dataTransfer.types.includes("Files");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) $("drop").hidden = true;
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    $("drop").hidden = true;
    const image = imageOf(event.dataTransfer);
    if (image) offered(image);
    else notice("There is no image in what was dropped.");
  });
}

async function begin() {
  listen();
  try {
    const sees = await model.about();
    const side = sees.image_size;
    $("about").textContent = `${sees.name}, images of ${side}×${side} pixels. Licence: ${sees.license}.`;
    asking = sees.asking;
    $("shortly").hidden = !asking.short_answer_suffix;
    $("short").checked = asking.short_by_default;
  } catch (error) {
    notice(plain(error));
  }
  show();
  await list();
  rest();
  document.body.dataset.ready = "true";
}

begin();
