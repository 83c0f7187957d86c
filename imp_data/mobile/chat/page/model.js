// Client of the model's server, by OpenAI's protocol.

const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? sessionStorage.getItem("token");
if (token) {
  sessionStorage.setItem("token", token);
  history.replaceState(null, "", location.pathname); // remove the token from the URL and the history
}
const headers = token ? { Authorization: `Bearer ${token}` } : {};

export async function fetchAbout() {
  const answer = await fetch("v1/about", { headers });
  if (!answer.ok) throw new Error(await errorMessage(answer));
  return answer.json();
}

// {image: PNG data URL of the square image, aspect: ratio of width to height to display it with}.
export async function squareImage(blob) {
  const answer = await fetch("v1/image", { method: "POST", headers, body: blob });
  if (!answer.ok) throw new Error(await errorMessage(answer));
  return answer.json();
}

// Yields the answer in pieces, then {speed}: tokens per second and seconds to the first token.
export async function* streamAnswer(turns, signal) {
  const start = performance.now();
  const answer = await fetch("v1/chat/completions", {
    method: "POST",
    headers: { ...headers, "Content-Type": "application/json" },
    body: JSON.stringify({ messages: turns.map(toMessage), stream: true, max_tokens: 1024, temperature: 0 }),
    signal,
  });
  if (!answer.ok) throw new Error(await errorMessage(answer));
  let first = null;
  let pieces = 0;
  let timings = null;
  for await (const event of readEvents(answer.body)) {
    if (event.error) throw new Error(event.error.message);
    timings = event.timings ?? timings;
    const text = event.choices?.[0]?.delta?.content;
    if (!text) continue;
    first ??= performance.now();
    pieces += 1;
    yield { text };
  }
  if (first === null) return;
  // A single piece has no speed, which is measured between pieces.
  const elapsed = (performance.now() - first) / 1000;
  const measured = elapsed > 0 ? (pieces - 1) / elapsed : null;
  yield {
    speed: {
      tokensPerSecond: pieces > 1 ? (timings?.predicted_per_second ?? measured) : null,
      secondsToFirst: (first - start) / 1000,
    },
  };
}

function toMessage({ role, text, suffix = "", image }) {
  const part = { type: "text", text: text + suffix };
  if (!image) return { role, content: part.text };
  return { role, content: [{ type: "image_url", image_url: { url: image } }, part] };
}

async function errorMessage(answer) {
  if (answer.status === 401) return "Open the URL with the token that was printed at start-up.";
  try {
    return (await answer.json()).error.message;
  } catch {
    return `The model answered with status ${answer.status}.`;
  }
}

async function* readEvents(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const data = line.startsWith("data:") ? line.slice(5).trim() : "";
      if (data && data !== "[DONE]") yield JSON.parse(data);
    }
  }
}
