// Where the page is: the address says it, so that a link leads to the same moment. `?key=K&version=N` is an instance,
// `?screen=NAME` another screen, which reads its own words; else it is home.

export type Words = Record<string, string | number | null | undefined>;

class Route {
  words = $state.raw(new URLSearchParams());
  readonly key = $derived(this.words.get("key"));
  readonly screen = $derived(this.words.get("screen"));
  /** Of the address; null where it names none, or no number above 0. */
  readonly version = $derived(number_of(this.words.get("version")));

  constructor() {
    this.read();
    addEventListener("popstate", () => this.read());
  }

  private read(): void {
    this.words = new URLSearchParams(location.search);
  }

  go(words: Words): void {
    history.pushState(null, "", link(words));
    this.read();
    scrollTo(0, 0);
  }

  /** The moment moved: the address follows, and the way back stays as it was. */
  moved(words: Words): void {
    history.replaceState(null, "", link(words));
  }
}

function number_of(text: string | null): number | null {
  const number = Number(text);
  return text && Number.isSafeInteger(number) && number > 0 ? number : null;
}

export const route = new Route();

export function link(words: Words): string {
  const said = new URLSearchParams();
  for (const [name, value] of Object.entries(words)) if (value != null && value !== "") said.set(name, String(value));
  const text = said.toString();
  return text ? `/?${text}` : "/";
}

/** A plain click goes there without loading the page again; any other click is the browser's. */
export function here(event: MouseEvent, words: Words): void {
  if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  route.go(words);
}
