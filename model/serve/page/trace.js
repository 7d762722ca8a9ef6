// What an answer has in common with what the model was trained on: its passages, and the documents that hold them.

// element: makes a node; say: words in the reader's language. Built from nodes, so that no document is taken for HTML.
export function panel(told, element, say) {
  const place = element("div", { className: "traced" });
  place.append(element("p", { textContent: say("share", { share: Math.round(told.share * 100), least: told.least }) }));
  place.append(marked(told, element, say));
  told.passages.forEach((passage, index) => {
    const times = say("times", { count: passage.count.toLocaleString(), tokens: passage.tokens });
    const head = element("summary", { textContent: `${index + 1}. ${short(passage.text)} (${times})` });
    const documents = passage.documents.map((document) => source(document, element, say));
    place.append(element("details", {}, head, ...documents));
  });
  return place;
}

const short = (text) => (text.trim().length > 80 ? `${text.trim().slice(0, 80)}…` : text.trim());

// The answer with its passages marked; what stands nowhere is not.
function marked(told, element, say) {
  const line = element("p", { className: "passages" });
  let at = 0;
  told.passages.forEach((passage, index) => {
    const start = Math.max(at, passage.start);
    line.append(slice(told.text, at, start));
    line.append(element("mark", { textContent: slice(told.text, start, passage.end), title: `${index + 1}` }));
    at = passage.end;
  });
  line.append(slice(told.text, at));
  if (!told.passages.length) line.title = say("nowhere");
  return line;
}

// Places are counted in characters (code points), as the server counts them.
const slice = (text, start, end) => [...text].slice(start, end).join("");

function source(document, element, say) {
  const names = [say(document.kind), `${document.source}: ${document.id ?? document.doc_id}`];
  if (document.answer) names.push(say(`${document.answer}Answer`));
  names.push(document.licence || say("noLicence"));
  const about = element("p", { className: "about", textContent: names.join(" · ") });
  if (/^https?:\/\//.test(document.url ?? "")) {
    about.append(" · ", element("a", { href: document.url, textContent: document.url, rel: "noreferrer", target: "_blank" }));
  }
  const text = element("p", {}, `… ${document.before}`, element("mark", { textContent: document.passage }), `${document.after} …`);
  const found = [about, text];
  if (document.steps) {
    const steps = document.steps.steps.slice(0, 8).map((step) => step.toLocaleString()).join(", ");
    const more = document.steps.steps.length > 8 ? " …" : "";
    const words = { steps: steps + more, last: document.steps.last.toLocaleString(), model: document.steps.of };
    found.push(element("p", { className: "about", textContent: steps ? say("learned", words) : say("notLearned", words) }));
  }
  return element("blockquote", {}, ...found);
}
