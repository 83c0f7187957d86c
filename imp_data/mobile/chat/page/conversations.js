// Conversations in this browser's IndexedDB: {id, title, changed, turns: [{role, text, image, speed}]}.

const STORE = "conversations";

function openDatabase() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open("impchat", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function runTransaction(mode, operation) {
  const database = await openDatabase();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(STORE, mode);
      const request = operation(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    });
  } finally {
    database.close();
  }
}

// All conversations, the newest first.
export async function all() {
  const stored = await runTransaction("readonly", (store) => store.getAll());
  return stored.sort((a, b) => b.changed - a.changed);
}

export const save = (conversation) => runTransaction("readwrite", (store) => store.put(conversation));
export const remove = (id) => runTransaction("readwrite", (store) => store.delete(id));

export function create() {
  // randomUUID is not available to a page on a plain http address of the local network.
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  return { id: `${Date.now()}-${high}${low}`, title: "", changed: Date.now(), turns: [] };
}

// The first question, truncated at a word.
export function titleOf(conversation) {
  const question = conversation.turns.find((turn) => turn.role === "user")?.text.trim() ?? "";
  if (question.length <= 48) return question || "An image";
  return `${question.slice(0, 48).replace(/\s+\S*$/, "")}…`;
}
