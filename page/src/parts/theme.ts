// Light or dark: as the system says, until somebody chooses. Only this choice is kept in the browser.

const KEPT = "onex-theme";

export type Theme = "light" | "dark";

export function theme(): Theme {
  const kept = localStorage.getItem(KEPT);
  if (kept === "light" || kept === "dark") return kept;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

export function begin_theme(): void {
  const kept = localStorage.getItem(KEPT);
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
}

export function choose_theme(chosen: Theme): void {
  localStorage.setItem(KEPT, chosen);
  document.documentElement.dataset.theme = chosen;
}
