// Light or dark: as was chosen here before, else as the system has it. Also for who is not signed in.
const KEY = "studio-theme";

export type Theme = "light" | "dark";

export function theme(): Theme {
  const chosen = localStorage.getItem(KEY);
  if (chosen === "light" || chosen === "dark") return chosen;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

export function show(wanted: Theme): void {
  document.documentElement.dataset.theme = wanted;
}

export function keep(chosen: Theme): void {
  localStorage.setItem(KEY, chosen);
}
