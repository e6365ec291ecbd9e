// Where the page is: the address says it, so that a link leads to the same moment. `?key=K&version=N` is an instance, else it is home.

class Route {
  key = $state<string | null>(null);
  version = $state<number | null>(null);

  constructor() {
    this.read();
    addEventListener("popstate", () => this.read());
  }

  private read(): void {
    const words = new URLSearchParams(location.search);
    this.key = words.get("key");
    const version = Number(words.get("version"));
    this.version = Number.isSafeInteger(version) && version > 0 ? version : null;
  }

  go(key: string | null, version: number | null = null): void {
    history.pushState(null, "", link(key, version));
    this.read();
    scrollTo(0, 0);
  }

  /** The moment moved: the address follows, and the way back stays as it was. */
  moved(key: string, version: number): void {
    history.replaceState(null, "", link(key, version));
  }
}

export const route = new Route();

export function link(key: string | null, version: number | null = null): string {
  if (key === null) return "/";
  const words = new URLSearchParams({ key });
  if (version !== null) words.set("version", String(version));
  return `/?${words}`;
}

/** A plain click goes there without loading the page again; any other click is the browser's. */
export function here(event: MouseEvent, key: string | null, version: number | null = null): void {
  if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  route.go(key, version);
}
