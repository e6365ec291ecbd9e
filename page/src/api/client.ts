// The API, asked by fetch alone: a token, where one is needed, is a header, and no address ever holds it. So streams are read by fetch
// too, not by EventSource, which can send no header. A stream that ends is asked again, with the id of the last event that came.

import type { PassAnswer, ProblemAnswer, SessionAnswer } from "./types";

export type Query = Record<string, string | number | null | undefined>;

const TOKEN = "onex-token";
const AGAIN_MS = 1000;

/** An answer that is no success, as the API says it. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly told: Partial<ProblemAnswer>,
  ) {
    super(told.detail ?? (status ? `the service answered ${status}` : "the service does not answer"));
  }
}

export function set_token(token: string): void {
  if (token) sessionStorage.setItem(TOKEN, token);
  else sessionStorage.removeItem(TOKEN);
}

export function has_token(): boolean {
  return sessionStorage.getItem(TOKEN) !== null;
}

function headers(more: Record<string, string> = {}): Record<string, string> {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

export function address(what: string, query: Query = {}): string {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value != null && value !== "") words.set(name, String(value));
  const text = words.toString();
  return `/api/${what}${text ? `?${text}` : ""}`;
}

async function ask(path: string, init: RequestInit): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(path, { ...init, cache: "no-store", credentials: "omit", redirect: "error" });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem(0, {});
  }
  if (answer.ok) return answer;
  let told: Partial<ProblemAnswer> = {};
  try {
    told = (await answer.json()) as ProblemAnswer;
  } catch {
    // a proxy in between may answer with anything
  }
  throw new Problem(answer.status, told);
}

export async function get<T>(what: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  const answer = await ask(address(what, query), { headers: headers(), signal: signal ?? null });
  return (await answer.json()) as T;
}

/** The same, where the answer may be that a first pass over a long history is under way: then it is asked again. */
export async function get_folded<T extends object>(
  what: string,
  query: Query,
  signal: AbortSignal,
  under_way: (pass: PassAnswer) => void,
): Promise<T> {
  for (;;) {
    const answer = await get<T | PassAnswer>(what, query, signal);
    if (!("folded" in answer)) return answer;
    under_way(answer);
    await pause(250, signal);
  }
}

export async function post<T>(what: string, body: object, session: SessionAnswer): Promise<T> {
  const sent = headers({ "Content-Type": "application/json", "X-CSRF-Token": session.csrf });
  const answer = await ask(address(what), { method: "POST", headers: sent, body: JSON.stringify(body) });
  return (await answer.json()) as T;
}

export async function remove(what: string, session: SessionAnswer): Promise<void> {
  await ask(address(what), { method: "DELETE", headers: headers({ "X-CSRF-Token": session.csrf }) });
}

export async function download(what: string, query: Query, name: string): Promise<void> {
  const answer = await ask(address(what, query), { headers: headers() });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((done, failed) => {
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      failed(new DOMException("aborted", "AbortError"));
    });
  });
}

/** Calls `heard` for each event until `signal`, or until an event `ended`. `connected` is told whether the stream stands. */
export async function follow(
  what: string,
  query: Query,
  signal: AbortSignal,
  heard: (name: string, data: unknown) => void,
  connected: (stands: boolean) => void = () => {},
): Promise<void> {
  let last = "";
  while (!signal.aborted) {
    try {
      const answer = await ask(address(what, query), {
        headers: headers(last ? { "Last-Event-ID": last } : {}),
        signal,
      });
      connected(true);
      for await (const event of events(answer)) {
        if (event.id) last = event.id;
        heard(event.name, event.data);
        if (event.name === "ended") return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Problem && [401, 403, 404].includes(error.status)) return;
    }
    connected(false);
    try {
      await pause(AGAIN_MS, signal);
    } catch {
      return;
    }
  }
}

async function* events(answer: Response): AsyncGenerator<{ name: string; id: string; data: unknown }> {
  const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      const fields: Record<string, string> = {};
      for (const line of block.split("\n")) {
        const at = line.indexOf(": ");
        if (at > 0) fields[line.slice(0, at)] = line.slice(at + 2);
      }
      if (fields.event) yield { name: fields.event, id: fields.id ?? "", data: JSON.parse(fields.data ?? "{}") };
    }
  }
}
