// The page: conversations are kept in the browser, answers come from the server as they are generated.
//
// A conversation is {id, mode, system, turns}; a turn is {prompt, columns}; a column is one model's answers to the
// prompt, {model, choices, shown}, of which one is shown; a choice is {id, text, finish, problem, thumb}, and of an
// answer from documents {sources, citations}, too.
import { NUMBERS, WORDS } from "./words.js";
import * as talk from "./talk.js";
import { panel } from "./trace.js";

const $ = (id) => document.getElementById(id);
const read = (name, otherwise) => {
  try { return JSON.parse(localStorage.getItem(`slm.${name}`)) ?? otherwise; } catch { return otherwise; }
};
const keep = (name, value) => localStorage.setItem(`slm.${name}`, JSON.stringify(value));
const newId = () => [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

const DEFAULTS = { temperature: 0.8, top_p: 0.95, top_k: 0, min_p: 0, repetition_penalty: 1, max_tokens: 512, seed: "" };
let language = read("language", navigator.language.startsWith("ko") ? "ko" : "en");
let settings = { ...DEFAULTS, ...read("settings", {}) };
let conversations = read("conversations", []);
let models = [];
let judging = false;
let documents = false; // whether answers can be taken from documents
let current = null;
const traces = new WeakMap(); // of a choice: what it has in common with the training text; not kept in the browser
let busy = null; // the AbortController of the answers under way

const say = (name, values = {}) => WORDS[language][name].replace(/\{(\w+)\}/g, (_, key) => values[key]);
const modelOf = (name) => models.find((model) => model.id === name);
const shown = (column) => column.choices[column.shown];

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

function button(label, act, { tip = "", pressed = null, disabled = false, glyph = "" } = {}) {
  const made = element("button", { type: "button", className: "quiet", textContent: glyph || label, title: tip || label, disabled, onclick: act });
  if (glyph === THUMB) made.replaceChildren(thumbIcon(label === say("bad")));
  if (glyph) made.setAttribute("aria-label", label);
  if (pressed !== null) made.setAttribute("aria-pressed", pressed);
  return made;
}

// Drawn, since not every system has a font with this sign.
const THUMB = "M2 11h4v10H2zM8 21V11l4.2-8.2c1.7.1 2.6 1.5 2.2 3.1L13.7 9.5H20a2 2 0 0 1 2 2.4l-1.4 7.4A2 2 0 0 1 18.6 21z";
function thumbIcon(down) {
  const [icon, path] = ["svg", "path"].map((name) => document.createElementNS("http://www.w3.org/2000/svg", name));
  icon.setAttribute("viewBox", "0 0 24 24");
  icon.setAttribute("class", down ? "icon down" : "icon");
  path.setAttribute("d", THUMB);
  icon.append(path);
  return icon;
}

// --- conversations ---

function begin() {
  const mode = modelOf($("first").value)?.answers ? "chat" : "text";
  current = { id: newId(), mode, system: "", turns: [], grounded: documents && read("grounded", true) };
  drawAll();
  $("prompt").focus();
}

function save() {
  if (current.turns.length && !conversations.includes(current)) conversations.unshift(current);
  try {
    keep("conversations", conversations);
  } catch { // the browser's room is used up: the oldest goes
    conversations.pop();
    if (conversations.length) save();
  }
}

function drawList() {
  $("list").replaceChildren(...conversations.map((one) => {
    const open = element("button", {
      type: "button", textContent: one.turns[0].prompt.slice(0, 60),
      onclick: () => { current = one; document.body.classList.remove("side"); drawAll(); },
    });
    if (one === current) open.setAttribute("aria-current", "true");
    const remove = button(say("remove"), () => {
      conversations = conversations.filter((other) => other !== one);
      keep("conversations", conversations);
      if (one === current) begin(); else drawList();
    }, { glyph: "×" });
    return element("li", {}, open, remove);
  }));
}

// --- what is said ---

// Text with its fenced code as blocks; built from nodes, so that nothing a model writes is taken for HTML.
function formatted(text) {
  return text.split(/^```[^\n]*\n?/m).map((part, index) =>
    index % 2 ? element("pre", {}, part.replace(/\n$/, "")) : document.createTextNode(part));
}

// The text of an answer with a mark after each sentence that is taken from a source.
function cited(choice) {
  if (!choice.citations?.length || choice.text.includes("```")) return formatted(choice.text);
  const letters = [...choice.text]; // citations count characters
  const nodes = [];
  let at = 0;
  for (const { end, source } of choice.citations) {
    nodes.push(letters.slice(at, end).join(""), element("sup", { textContent: `[${source}]` }));
    at = end;
  }
  return [...nodes, letters.slice(at).join("")];
}

function drawSources(choice) {
  if (!choice.sources?.length) return null;
  const items = choice.sources.map(({ number, name, url, text }) => {
    const place = /^https?:/.test(url || "") ? element("a", { href: url, textContent: name, rel: "noreferrer", target: "_blank" }) : name;
    return element("details", {}, element("summary", {}, `[${number}] `, place), element("blockquote", { textContent: text }));
  });
  return element("div", { className: "sources" }, element("span", { textContent: say("sources") }), ...items);
}

function fill(place, turn, choice) {
  place.replaceChildren();
  if (current.mode === "text") place.append(element("span", { className: "given", textContent: turn.prompt }), choice.text);
  else place.append(...cited(choice));
  if (choice.problem) place.append(element("span", { className: "problem", textContent: ` ${choice.problem}` }));
}

function drawAnswer(turn, column, last) {
  const choice = shown(column);
  const place = element("div", { className: "said" });
  fill(place, turn, choice);
  const box = element("div", { className: `answer${choice.finish || choice.problem ? "" : " busy"}` });
  box.append(element("div", { className: "who", textContent: column.model }), place);
  choice.place = place;
  const sources = drawSources(choice);
  if (sources) box.append(sources);
  box.append(element("div", { className: "acts" }, ...acts(turn, column, choice, last)));
  if (traces.has(choice)) box.append(panel(traces.get(choice), element, say));
  return box;
}

function acts(turn, column, choice, last) {
  const done = [];
  if (!choice.finish && !choice.problem) return [element("span", { textContent: `${say("working")}…` })];
  if (column.choices.length > 1) {
    const move = (by) => () => { column.shown += by; save(); drawTurns(); };
    done.push(
      button(say("earlier"), move(-1), { glyph: "‹", disabled: column.shown === 0 }),
      element("span", { textContent: `${column.shown + 1}/${column.choices.length}` }),
      button(say("later"), move(1), { glyph: "›", disabled: column.shown === column.choices.length - 1 }),
    );
  }
  if (last) done.push(button(say("again"), () => again(), { tip: say("againTip"), disabled: !!busy }));
  if (last && current.mode === "text") done.push(button(say("on"), () => ask(turn.prompt + choice.text), { disabled: !!busy }));
  const copied = button(say("copy"), async () => {
    await navigator.clipboard.writeText(choice.text);
    copied.textContent = say("copied");
  });
  done.push(copied);
  if (modelOf(column.model)?.traced && choice.text.trim()) {
    done.push(button(say("trace"), () => trace(column, choice), { tip: say("traceTip"), pressed: traces.has(choice) }));
  }
  if (judging && current.mode === "chat" && choice.text.trim()) {
    done.push(
      button(say("good"), () => thumb(turn, column, choice, true), { glyph: THUMB, pressed: choice.thumb === true }),
      button(say("bad"), () => thumb(turn, column, choice, false), { glyph: THUMB, pressed: choice.thumb === false }),
    );
    const others = turn.columns.filter((other) => other !== column && shown(other).text.trim());
    if (others.length) done.push(button(say("better"), () => better(turn, column, others[0]), { pressed: turn.better === choice.id }));
  }
  if (choice.finish === "length") done.push(element("span", { textContent: say("cut") }));
  if (choice.finish === "stopped") done.push(element("span", { textContent: say("stopped") }));
  return done;
}

function drawTurns() {
  const place = $("turns");
  const low = place.scrollHeight - place.scrollTop - place.clientHeight < 80;
  place.replaceChildren(...current.turns.map((turn, index) => {
    const last = index === current.turns.length - 1;
    const answers = element("div", { className: "columns" }, ...turn.columns.map((column) => drawAnswer(turn, column, last)));
    const asked = current.mode === "chat" ? element("div", { className: "asked", textContent: turn.prompt }) : null;
    return element("article", {}, asked, answers);
  }));
  if (!current.turns.length) {
    const words = say(current.mode === "chat" ? "emptyChat" : "emptyText", { model: $("first").value });
    place.append(element("p", { className: "empty", textContent: words }));
  }
  if (low) place.scrollTop = place.scrollHeight;
  $("send").hidden = !!busy;
  $("stop").hidden = !busy;
}

// --- asking ---

// The turns before `turn`, as the model of a column said them.
function history(turn, index) {
  const messages = current.system.trim() ? [{ role: "system", content: current.system }] : [];
  for (const earlier of current.turns) {
    if (earlier === turn) break;
    const said = shown(earlier.columns[index] ?? earlier.columns[0]).text;
    if (said.trim()) messages.push({ role: "user", content: earlier.prompt }, { role: "assistant", content: said });
  }
  return [...messages, { role: "user", content: turn.prompt }];
}

function sampling() {
  const given = Object.fromEntries(Object.keys(NUMBERS).map((name) => [name, settings[name]]));
  if (given.seed === "") delete given.seed;
  return given;
}

async function generate(turn, column, index, signal) {
  const choice = shown(column);
  const body = { model: column.model, ...sampling() };
  const [path, more] = current.mode === "chat"
    ? ["/v1/chat/completions", { messages: history(turn, index), leave_out_oldest: true, rag: !!current.grounded && documents }]
    : ["/v1/completions", { prompt: turn.prompt }];
  const scroll = $("turns");
  try {
    choice.finish = await talk.answer(path, { ...body, ...more }, signal, (piece) => {
      const low = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
      choice.text += piece;
      fill(choice.place, turn, choice);
      if (low) scroll.scrollTop = scroll.scrollHeight;
    }, (learnt) => Object.assign(choice, learnt)) || "stop";
  } catch (error) {
    if (error.name === "AbortError") choice.finish = "stopped";
    else if (error instanceof talk.Problem) choice.problem = error.message;
    else choice.problem = say("lost");
  }
}

async function answerAll(turn) {
  busy = new AbortController();
  const { signal } = busy;
  $("turns").scrollTop = $("turns").scrollHeight;
  drawTurns();
  await Promise.all(turn.columns.map(async (column, index) => {
    await generate(turn, column, index, signal);
    drawTurns();
  }));
  busy = null;
  save();
  drawTurns();
  drawList();
}

const fresh = () => ({ id: newId(), text: "", finish: "", problem: "" });

function ask(prompt) {
  if (busy || !prompt.trim()) return;
  const names = [$("first").value, $("second").value].filter(Boolean);
  const turn = { prompt, columns: names.map((model) => ({ model, choices: [fresh()], shown: 0 })) };
  current.turns.push(turn);
  $("prompt").value = "";
  answerAll(turn);
}

function again() {
  const turn = current.turns.at(-1);
  if (busy || !turn) return;
  for (const column of turn.columns) column.shown = column.choices.push(fresh()) - 1;
  answerAll(turn);
}

// --- where it comes from ---

async function trace(column, choice) {
  if (!traces.delete(choice)) {
    try { traces.set(choice, await talk.trace(column.model, choice.text)); }
    catch (error) { alert(error.status ? error.message : say("lost")); return; }
  }
  drawTurns();
}

// --- judging ---

async function send(judgement) {
  try { await talk.judge(judgement); } catch (error) { alert(error.status ? error.message : say("lost")); }
}

async function thumb(turn, column, choice, good) {
  choice.thumb = choice.thumb === good ? undefined : good;
  save();
  drawTurns();
  const messages = history(turn, turn.columns.indexOf(column));
  await send({ kind: "thumb", id: choice.id, model: column.model, messages, answer: choice.text, good: choice.thumb ?? null });
  // A good and a bad answer of one model to the same prompt are a pair.
  const [best, worst] = [true, false].map((is) => column.choices.find((one) => one.thumb === is));
  if (best && worst && best.text.trim() !== worst.text.trim()) {
    await send({ kind: "pair", id: `${column.choices[0].id}-thumbs`, model: column.model, messages, chosen: best.text, rejected: worst.text });
  }
}

async function better(turn, column, other) {
  turn.better = shown(column).id;
  save();
  drawTurns();
  const chosen = shown(column).text, rejected = shown(other).text;
  if (chosen.trim() === rejected.trim()) return;
  const names = { model: column.model, against: other.model };
  const id = `${turn.columns[0].choices[0].id}-beside`;
  await send({ kind: "pair", id, ...names, messages: history(turn, 0), chosen, rejected });
}

// --- the frame ---

function drawAll() {
  document.documentElement.lang = language;
  for (const place of document.querySelectorAll("[data-say]")) place.textContent = say(place.dataset.say);
  for (const place of document.querySelectorAll("[data-tip]")) place.title = say(place.dataset.tip);
  for (const place of document.querySelectorAll("[data-label]")) place.setAttribute("aria-label", say(place.dataset.label));
  $("language").textContent = say("other");
  $("second").options[0].textContent = say("none");
  $("system").value = current.system;
  $("system-label").hidden = current.mode !== "chat";
  $("documents").hidden = !documents || current.mode !== "chat";
  $("grounded").checked = !!current.grounded;
  for (const radio of document.querySelectorAll("[name=mode]")) {
    radio.checked = radio.value === current.mode;
    radio.disabled = radio.value === "chat" && !modelOf($("first").value)?.chats;
  }
  $("prompt").placeholder = say(current.mode === "chat" ? "askHere" : "beginHere");
  $("hint").textContent = say("hint");
  const about = modelOf($("first").value);
  if (about) $("hint").textContent += ` ${say("small", { parameters: (about.parameters / 1e6).toFixed(1), context: about.context })}`;
  drawNumbers();
  drawTurns();
  drawList();
}

function drawNumbers() {
  $("numbers").replaceChildren(...Object.entries(NUMBERS).map(([name, [min, max, step]]) => {
    const input = element("input", { type: "number", id: name, min, max, step, value: settings[name] });
    input.onchange = () => {
      const valid = input.value === "" ? name === "seed" : input.validity.rangeUnderflow || input.validity.rangeOverflow ? false : true;
      settings[name] = valid ? (input.value === "" ? "" : Number(input.value)) : DEFAULTS[name];
      input.value = settings[name];
      keep("settings", settings);
    };
    return element("label", {}, say(name), input);
  }));
}

function chooseModels() {
  for (const [place, first] of [[$("first"), null], [$("second"), ""]]) {
    const options = models.map((model) => element("option", { value: model.id, textContent: model.id }));
    place.replaceChildren(...(first === null ? [] : [element("option", { value: first })]), ...options);
  }
  $("first").parentElement.hidden = false;
  $("beside").hidden = models.length < 2;
  const kept = read("models", []);
  if (modelOf(kept[0])) $("first").value = kept[0];
  if (models.length > 1 && modelOf(kept[1])) $("second").value = kept[1];
}

function listen() {
  $("ask").onsubmit = (event) => { event.preventDefault(); ask($("prompt").value.trimEnd()); };
  $("prompt").onkeydown = (event) => {
    // While a Korean syllable is being composed, Enter only ends the syllable.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229) {
      event.preventDefault();
      ask($("prompt").value.trimEnd());
    }
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      if (busy) busy.abort();
      document.body.classList.remove("side");
    }
    if (event.altKey && event.code === "KeyR") { event.preventDefault(); again(); }
    if (event.altKey && event.code === "KeyN") { event.preventDefault(); if (!busy) begin(); }
  });
  $("stop").onclick = () => busy?.abort();
  $("new").onclick = () => { if (!busy) begin(); document.body.classList.remove("side"); };
  $("forget").onclick = () => {
    if (busy || !confirm(say("confirm"))) return;
    conversations = [];
    keep("conversations", conversations);
    begin();
  };
  $("language").onclick = () => {
    language = language === "en" ? "ko" : "en";
    keep("language", language);
    drawAll();
  };
  $("menu").onclick = () => $("menu").setAttribute("aria-expanded", document.body.classList.toggle("side"));
  $("settings-button").onclick = () => {
    $("settings").hidden = !$("settings").hidden;
    $("settings-button").setAttribute("aria-expanded", !$("settings").hidden);
  };
  $("settings").onsubmit = (event) => event.preventDefault();
  $("defaults").onclick = () => { settings = { ...DEFAULTS }; keep("settings", settings); drawNumbers(); };
  $("grounded").onchange = () => { current.grounded = $("grounded").checked; keep("grounded", current.grounded); save(); };
  $("system").onchange = () => { current.system = $("system").value; save(); };
  for (const radio of document.querySelectorAll("[name=mode]")) {
    radio.onchange = () => {
      if (busy) return;
      const mode = radio.value;
      if (current.turns.length) begin(); // a conversation keeps its mode
      current.mode = mode;
      drawAll();
    };
  }
  for (const place of [$("first"), $("second")]) {
    place.onchange = () => { keep("models", [$("first").value, $("second").value]); if (!current.turns.length) begin(); else drawAll(); };
  }
}

async function start() {
  for (;;) {
    try {
      const known = await talk.about();
      models = known.models;
      judging = known.judgements;
      documents = known.documents;
      break;
    } catch (error) {
      if (error.status !== 401) { $("turns").textContent = error.status ? error.message : say("lost"); return; }
      for (const place of document.querySelectorAll("dialog [data-say]")) place.textContent = say(place.dataset.say);
      $("key").showModal();
      await new Promise((resolve) => { $("key").onclose = resolve; });
      talk.setKey($("key-value").value.trim());
    }
  }
  chooseModels();
  listen();
  begin();
  document.body.dataset.ready = "yes";
}

start();
