// Requests to the server: an answer as it is generated, what is known of the models, and a judgement of an answer.

let key = sessionStorage.getItem("slm.key") || "";
export const setKey = (value) => { key = value; sessionStorage.setItem("slm.key", value); };

const headers = () => ({ "Content-Type": "application/json", ...(key && { Authorization: `Bearer ${key}` }) });

export class Problem extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

async function asked(path, body, signal) {
  const response = await fetch(path, { method: body ? "POST" : "GET", headers: headers(), body: body && JSON.stringify(body), signal });
  if (!response.ok) {
    const said = await response.json().catch(() => ({}));
    throw new Problem(response.status, said.error?.message || `HTTP ${response.status}`);
  }
  return response;
}

// {models: [{id, answers, context, parameters}], judgements: whether they are kept, documents: whether there are any}
export const about = async () => (await asked("/page/about")).json();

// What a text has in common with what a model was trained on.
export const trace = async (model, text) => (await asked("/v1/trace", { model, text })).json();

export const judge = (judgement) => asked("/page/judgements", judgement);

// Calls `piece` with each piece of text, and `learn` with {sources} and {citations}; returns why the answer ended.
export async function answer(path, body, signal, piece, learn) {
  const response = await asked(path, { ...body, stream: true }, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "", finish = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return finish;
    const events = (held + value).split("\n\n");
    held = events.pop();
    for (const event of events) {
      const data = event.replace(/^data: /, "");
      if (data === "[DONE]") return finish;
      const said = JSON.parse(data);
      if (said.error) throw new Problem(500, said.error.message);
      if (said.sources) learn({ sources: said.sources });
      const [choice] = said.choices;
      if (!choice) continue;
      finish = choice.finish_reason || finish;
      if (choice.citations) learn({ citations: choice.citations });
      const text = choice.delta ? choice.delta.content : choice.text;
      if (text) piece(text);
    }
  }
}
