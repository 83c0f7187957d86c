// Light or dark: the system's choice until a person makes another, which is then kept.

const KEY = "theme";

export function listen() {
  const root = document.documentElement;
  const kept = localStorage.getItem(KEY);
  if (kept) root.dataset.theme = kept;
  document.getElementById("theme").onclick = () => {
    const shown = root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    root.dataset.theme = shown === "dark" ? "light" : "dark";
    localStorage.setItem(KEY, root.dataset.theme);
  };
}
