// The model behind this page, spoken to in OpenAI's protocol.

const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? sessionStorage.getItem("token");
if (token) {
  sessionStorage.setItem("token", token);
  history.replaceState(null, "", location.pathname); // out of sight and out of the history
}
const headers = token ? { Authorization: `Bearer ${token}` } : {};

export async function about() {
  const answer = await fetch("v1/about", { headers });
  if (!answer.ok) throw new Error(await complaint(answer));
  return answer.json();
}

// {image: a PNG data URL as the model sees it, aspect: width by height to show it in}.
export async function squared(blob) {
  const answer = await fetch("v1/image", { method: "POST", headers, body: blob });
  if (!answer.ok) throw new Error(await complaint(answer));
  return answer.json();
}

// Yields the answer piece by piece, then {speed}: tokens a second and seconds to the first.
export async function* answered(turns, signal) {
  const asked = performance.now();
  const answer = await fetch("v1/chat/completions", {
    method: "POST",
    headers: { ...headers, "Content-Type": "application/json" },
    body: JSON.stringify({ messages: turns.map(message), stream: true, max_tokens: 1024, temperature: 0 }),
    signal,
  });
  if (!answer.ok) throw new Error(await complaint(answer));
  let first = null;
  let pieces = 0;
  let timings = null;
  for await (const event of events(answer.body)) {
    if (event.error) throw new Error(event.error.message);
    timings = event.timings ?? timings;
    const text = event.choices?.[0]?.delta?.content;
    if (!text) continue;
    first ??= performance.now();
    pieces += 1;
    yield { text };
  }
  if (first === null) return;
  // One piece has no speed: nothing passed between it and another.
  const passed = (performance.now() - first) / 1000;
  const measured = passed > 0 ? (pieces - 1) / passed : null;
  yield {
    speed: {
      tokensPerSecond: pieces > 1 ? (timings?.predicted_per_second ?? measured) : null,
      secondsToFirst: (first - asked) / 1000,
    },
  };
}

function message({ role, text, suffix = "", image }) {
  const asked = { type: "text", text: text + suffix };
  if (!image) return { role, content: asked.text };
  return { role, content: [{ type: "image_url", image_url: { url: image } }, asked] };
}

async function complaint(answer) {
  if (answer.status === 401) return "Open the address with the token that was printed at the start.";
  try {
    return (await answer.json()).error.message;
  } catch {
    return `The model answered with status ${answer.status}.`;
  }
}

async function* events(stream) {
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
