// The page of `slm annotate serve`: one task at a time, judged by a key or a click, written when it is judged.
const WORDS = {
  en: {
    pair: "Which answer is better?", answer: "Is this answer good?", document: "Should a model learn from this document?",
    left: "Left is better", right: "Right is better", tie: "Neither is better", good: "Good", bad: "Bad", keep: "Keep it",
    drop: "Drop it", later: "Later", back: "Back", other: "한국어", place: "{done} of {of} judged",
    keys: "Keys: ← or 1, → or 2, ↓ or 0 for neither; Space for later, Backspace to go back.",
    keysOne: "Keys: ← or 1, → or 2; Space for later, Backspace to go back.",
    end: "All is judged. Thank you; this page can be closed.",
    lost: "Not written: is `slm annotate serve` still running?",
    system: "System", user: "User", assistant: "Assistant",
  },
  ko: {
    pair: "어느 대답이 더 낫습니까?", answer: "좋은 대답입니까?", document: "모델이 이 문서를 배워도 됩니까?",
    left: "왼쪽이 낫다", right: "오른쪽이 낫다", tie: "비슷하다", good: "좋다", bad: "나쁘다", keep: "남긴다",
    drop: "뺀다", later: "나중에", back: "이전", other: "English", place: "{of}개 중 {done}개 판단함",
    keys: "키: ← 또는 1, → 또는 2, 비슷하면 ↓ 또는 0, 나중에 하려면 스페이스, 이전은 백스페이스.",
    keysOne: "키: ← 또는 1, → 또는 2, 나중에 하려면 스페이스, 이전은 백스페이스.",
    end: "모두 판단했습니다. 고맙습니다. 이 화면을 닫아도 됩니다.",
    lost: "저장하지 못했습니다. `slm annotate serve`가 실행 중인지 확인하세요.",
    system: "시스템", user: "사용자", assistant: "모델",
  },
};
// What can be said of a kind, each with the keys for it; by place on the keyboard, so that a Hangul mode does not matter.
const CHOICES = {
  pair: [["left", ["ArrowLeft", "Digit1", "Numpad1"]], ["tie", ["ArrowDown", "Digit0", "Numpad0"]], ["right", ["ArrowRight", "Digit2", "Numpad2"]]],
  answer: [["good", ["ArrowLeft", "Digit1", "Numpad1"]], ["bad", ["ArrowRight", "Digit2", "Numpad2"]]],
  document: [["keep", ["ArrowLeft", "Digit1", "Numpad1"]], ["drop", ["ArrowRight", "Digit2", "Numpad2"]]],
};
const SIGNS = { ArrowLeft: "←", ArrowRight: "→", ArrowDown: "↓" };

const $ = (id) => document.getElementById(id);
let language = localStorage.getItem("slm.judge.language") || (navigator.language.startsWith("ko") ? "ko" : "en");
let tasks = [], said = {}, at = 0, shown = null, busy = false;
const say = (name, values = {}) => WORDS[language][name].replace(/\{(\w+)\}/g, (_, key) => values[key]);

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

async function asked(path, body) {
  const headers = { "Content-Type": "application/json" };
  const response = await fetch(path, body ? { method: "POST", headers, body: JSON.stringify(body) } : {});
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(answer.error?.message), { told: answer.error?.message });
  return answer;
}

async function attempt(act) {
  if (busy) return;
  busy = true;
  document.body.dataset.busy = "yes";
  try { await act(); $("problem").textContent = ""; } catch (error) { $("problem").textContent = error.told || say("lost"); }
  busy = false;
  document.body.dataset.busy = "";
}

// The next task from a place on that is not judged, the first ones after the last; -1 if all are.
function next(from) {
  for (let step = 0; step < tasks.length; step += 1) {
    const place = (from + step) % tasks.length;
    if (!said[tasks[place]]) return place;
  }
  return -1;
}

async function show(place) {
  if (place >= 0) {
    shown = await asked(`/tasks/${tasks[place]}`);
    at = place;
  } else shown = null;
  draw();
  $("question").focus();
}

function draw() {
  document.documentElement.lang = language;
  $("language").textContent = say("other");
  const done = Object.keys(said).length;
  $("place").textContent = say("place", { done, of: tasks.length });
  Object.assign($("bar"), { max: tasks.length, value: done });
  for (const name of ["prompt", "texts", "choices"]) $(name).replaceChildren();
  $("question").textContent = shown ? say(shown.kind) : say("end");
  $("keys").textContent = shown ? say(shown.kind === "pair" ? "keys" : "keysOne") : "";
  $("choices").append(button("back", back, "⌫"));
  if (!shown) return;
  // Built from nodes, so that nothing a model writes is taken for HTML.
  $("prompt").append(...shown.prompt.flatMap((turn) => [
    element("p", { className: "who", textContent: say(turn.role) }), element("p", { className: "said", textContent: turn.content }),
  ]));
  const mine = said[shown.task];
  $("texts").append(...shown.texts.map((text, side) => {
    const article = element("article", { textContent: text, tabIndex: 0 });
    article.classList.toggle("chosen", mine === ["left", "right"][side]);
    return article;
  }));
  for (const [name, [key]] of CHOICES[shown.kind]) {
    const made = button(name, () => judge(name), SIGNS[key]);
    made.setAttribute("aria-pressed", mine === name);
    $("choices").append(made);
  }
  $("choices").append(button("later", later, "␣"));
}

function button(name, act, sign) {
  return element("button", { type: "button", id: `say-${name}`, onclick: act }, `${say(name)} `, element("kbd", { textContent: sign }));
}

const judge = (name) => attempt(async () => {
  await asked("/judgements", { task: shown.task, said: name });
  said[shown.task] = name;
  await show(next(at + 1));
});
const later = () => attempt(() => show(next(at + 1)));
const back = () => attempt(() => show(shown ? (at + tasks.length - 1) % tasks.length : at));

document.addEventListener("keydown", (event) => {
  if (event.isComposing || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const found = shown && CHOICES[shown.kind].find(([, keys]) => keys.includes(event.code));
  const act = found ? () => judge(found[0]) : event.code === "Backspace" ? back : event.code === "Space" && shown ? later : null;
  // Space and Enter on a button with the focus press it.
  if (!act || (event.code === "Space" && event.target.tagName === "BUTTON")) return;
  event.preventDefault();
  act();
});
$("language").onclick = () => {
  language = language === "en" ? "ko" : "en";
  localStorage.setItem("slm.judge.language", language);
  draw();
};

attempt(async () => {
  ({ tasks, said } = await asked("/tasks"));
  await show(next(0));
  document.body.dataset.ready = "yes";
});
