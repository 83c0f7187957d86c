// Light or dark: the system's choice, or the user's stored one.

const KEY = "theme";

export function addListeners() {
  const root = document.documentElement;
  const stored = localStorage.getItem(KEY);
  if (stored) root.dataset.theme = stored;
  document.getElementById("theme").onclick = () => {
    const shown = root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    root.dataset.theme = shown === "dark" ? "light" : "dark";
    localStorage.setItem(KEY, root.dataset.theme);
  };
}
