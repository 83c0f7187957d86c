// Conversations in this browser's IndexedDB: {id, title, changed, turns: [{role, text, image, speed}]}.

const KEPT = "conversations";

function opened() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open("impchat", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(KEPT, { keyPath: "id" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function within(mode, ask) {
  const database = await opened();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(KEPT, mode);
      const request = ask(transaction.objectStore(KEPT));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    });
  } finally {
    database.close();
  }
}

// The newest first.
export async function all() {
  const kept = await within("readonly", (store) => store.getAll());
  return kept.sort((a, b) => b.changed - a.changed);
}

export const keep = (conversation) => within("readwrite", (store) => store.put(conversation));
export const forget = (id) => within("readwrite", (store) => store.delete(id));

export function begun() {
  // Not randomUUID, which a page on a plain http address of the local network does not have.
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  return { id: `${Date.now()}-${high}${low}`, title: "", changed: Date.now(), turns: [] };
}

// The first question, cut at a word.
export function titleOf(conversation) {
  const asked = conversation.turns.find((turn) => turn.role === "user")?.text.trim() ?? "";
  if (asked.length <= 48) return asked || "An image";
  return `${asked.slice(0, 48).replace(/\s+\S*$/, "")}…`;
}
