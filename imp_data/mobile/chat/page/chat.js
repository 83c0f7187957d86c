// The chat page: send questions and images, show answers, store conversations.

import * as conversations from "./conversations.js";
import * as drawer from "./drawer.js";
import * as log from "./log.js";
import * as model from "./model.js";
import * as theme from "./theme.js";
import { firstImage, squareImage } from "./images.js";

const $ = (id) => document.getElementById(id);

let questionStyle = { short_answer_suffix: null, short_by_default: false, examples: [] }; // of training
let current = conversations.create();
let attached = null; // {image, aspect} of the next question
let answering = null; // AbortController while the model answers

async function ask() {
  const text = $("question").value.trim();
  if (answering || (!text && !attached)) return;
  current.turns.push({ role: "user", text: text || "Describe this image.", ...attached });
  setSuffix(current.turns);
  current.title ||= conversations.titleOf(current);
  setQuestion("");
  attach(null);
  await answer();
}

async function retry() {
  if (answering) return;
  while (current.turns.at(-1)?.role === "assistant") current.turns.pop();
  setSuffix(current.turns);
  if (current.turns.length) await answer();
}

async function answer() {
  const conversation = current;
  const turn = { role: "assistant", text: "", waiting: true };
  const history = usableTurns(conversation.turns);
  conversation.turns.push(turn);
  show();
  const controller = new AbortController();
  setAnswering(controller);
  await save(conversation);
  try {
    for await (const piece of model.streamAnswer(history, controller.signal)) {
      if (piece.text) turn.text = (turn.text + piece.text).trimStart();
      turn.waiting = false;
      turn.speed = piece.speed ?? turn.speed;
      if (conversation === current) log.refresh(turn);
    }
    turn.text ||= "(no answer)";
  } catch (error) {
    if (error.name === "AbortError") turn.stopped = true;
    else Object.assign(turn, { failed: true, text: readableMessage(error) });
  }
  turn.waiting = false;
  if (answering === controller) setAnswering(null);
  if (conversation === current) log.refresh(turn);
  announce(turn.failed ? `Failed: ${turn.text}` : turn.text);
  await save(conversation);
  focusQuestion();
}

// Append the suffix for short answers to the first such question; as in training, later questions
// of the conversation do not repeat it.
function setSuffix(turns) {
  const last = turns.at(-1);
  const suffix = questionStyle.short_answer_suffix;
  if (!last || !suffix) return;
  delete last.suffix;
  const hasSuffix = turns.some((turn) => turn.suffix) || last.text.endsWith(suffix.trim());
  if ($("short").checked && !hasSuffix) last.suffix = suffix;
}

// The turns to send to the model, without failed answers and questions that have no answer.
function usableTurns(turns) {
  const useful = turns.filter((turn) => turn.text && !turn.failed);
  return useful.filter((turn, n) => turn.role === "assistant" || useful[n + 1]?.role !== "user");
}

function readableMessage(error) {
  // The message of fetch for an unreachable server differs by browser and does not help the user.
  return error instanceof TypeError ? "The model is not reachable. Is `imp-data chat` still running?" : error.message;
}

function setAnswering(controller) {
  answering = controller;
  $("send").hidden = Boolean(controller);
  $("stop").hidden = !controller;
  $("log").setAttribute("aria-busy", String(Boolean(controller)));
}

// A screen reader reads the whole answer once; it could not follow the single tokens.
function announce(text) {
  $("announcement").textContent = text;
}

function showNotice(text) {
  const node = document.createElement("p");
  node.className = "notice";
  node.setAttribute("role", "alert");
  node.textContent = text;
  $("composer").prepend(node);
  setTimeout(() => node.remove(), 6000);
}

async function attachFile(file) {
  if (!file) return;
  try {
    attach(await squareImage(file));
    announce("Image attached");
  } catch (error) {
    showNotice(readableMessage(error));
  }
  focusQuestion();
}

function attach(image) {
  attached = image;
  $("attached").hidden = !image;
  if (image) $("preview").src = image.image;
  else $("preview").removeAttribute("src");
}

async function save(conversation) {
  conversation.changed = Date.now();
  try {
    // The unfinished turn is stored too: closing the page loses only the rest of the answer.
    const turns = conversation.turns.map(({ waiting, ...turn }) => turn);
    await conversations.save({ ...conversation, turns });
  } catch (error) {
    showNotice(`This browser does not store conversations (${error.message}).`);
  }
  await refreshList();
}

async function refreshList() {
  let stored = [];
  try {
    stored = await conversations.all();
  } catch {
    // Without storage the conversation continues; `save` shows a notice.
  }
  drawer.render(stored, current, { onOpen: openConversation, onDelete: remove });
}

async function remove(conversation) {
  await conversations.remove(conversation.id);
  if (conversation.id === current.id) openConversation(conversations.create());
  else await refreshList();
}

function openConversation(conversation) {
  stop();
  setAnswering(null);
  current = conversation;
  $("short").checked = conversation.short ?? questionStyle.short_by_default;
  attach(null);
  drawer.setOpen(false);
  show();
  refreshList();
  focusQuestion();
}

const show = () => log.show(current, { onRetry: retry, onExample: useExample, examples: questionStyle.examples });
const stop = () => answering?.abort();

// Fill in a question of the mixture, with the mixture's choice of short answers.
function useExample({ text, short }) {
  if (questionStyle.short_answer_suffix) setShort(short);
  setQuestion(text);
}

// Choose short or long answers for the whole conversation.
function setShort(short) {
  $("short").checked = current.short = short;
}

function setQuestion(text) {
  $("question").value = text;
  resizeQuestion();
  if (text) $("question").focus();
}

function resizeQuestion() {
  const box = $("question");
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight, 180)}px`;
}

// On a phone the focus would open the keyboard over the answer.
function focusQuestion() {
  if (!drawer.narrow.matches) $("question").focus();
}

function addListeners() {
  theme.addListeners();
  drawer.addListeners();
  addTextListeners();
  addImageListeners();
  $("stop").onclick = stop;
  $("new").onclick = () => openConversation(conversations.create());
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    if (drawer.isOpen()) drawer.setOpen(false);
    else stop();
  });
}

function addTextListeners() {
  $("composer").onsubmit = (event) => {
    event.preventDefault();
    ask();
  };
  $("question").oninput = resizeQuestion;
  $("short").onchange = () => setShort($("short").checked);
  $("question").onkeydown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      ask();
    }
  };
}

function addImageListeners() {
  $("choose-image").onclick = () => $("file").click();
  $("take-photo").onclick = () => $("camera").click();
  for (const input of [$("file"), $("camera")]) {
    input.onchange = () => {
      attachFile(input.files[0]);
      input.value = "";
    };
  }
  $("remove-image").onclick = () => attach(null);
  addEventListener("paste", (event) => {
    const image = firstImage(event.clipboardData);
    if (!image) return;
    event.preventDefault();
    attachFile(image);
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
    const image = firstImage(event.dataTransfer);
    if (image) attachFile(image);
    else showNotice("The dropped data contain no image.");
  });
}

async function start() {
  addListeners();
  try {
    const about = await model.fetchAbout();
    const side = about.image_size;
    $("about").textContent = `${about.name}, images of ${side}×${side} pixels. Licence: ${about.license}.`;
    questionStyle = about.asking;
    $("short-answers").hidden = !questionStyle.short_answer_suffix;
    $("short").checked = questionStyle.short_by_default;
  } catch (error) {
    showNotice(readableMessage(error));
  }
  show();
  await refreshList();
  focusQuestion();
  document.body.dataset.ready = "true";
}

start();
