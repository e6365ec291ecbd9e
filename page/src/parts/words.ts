// Figures and times as people read them. Text of others is made visible: what steers a terminal or turns a line around is shown as its code.

const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]|[\u{e0000}-\u{e007f}]|\p{Surrogate}/gu;

/** TYPE:ID, as the kernel reads the key of an instance. */
export const KEY = /^[a-z][a-z0-9_]{0,63}:[^]{1,200}$/;

export function visible(text: string): string {
  return text.replace(HIDDEN, (one) => `\\u{${one.codePointAt(0)!.toString(16)}}`);
}

export function number(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: value < 10 ? 1 : 0 });
}

/** `340 ms`, `2.4 s`, `3 h 05 min`, `2 d 4 h`. */
export function duration(ms: number): string {
  if (ms < 1) return ms <= 0 ? "0 ms" : `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 60) return `${s.toFixed(s < 10 ? 1 : 0)} s`;
  const minutes = Math.floor(s / 60);
  if (minutes < 60) return `${minutes} min ${String(Math.floor(s % 60)).padStart(2, "0")} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${String(minutes % 60).padStart(2, "0")} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** The largest part of it only: `3 h ago`. */
export function ago(iso: string, now_ms: number): string {
  const passed = now_ms - Date.parse(iso);
  return passed < 1000 ? "now" : `${/^\S+ \S+/.exec(duration(passed))![0]} ago`;
}

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

/** The zone in which times are shown, as short as the browser has it: `UTC`, `CET`, `GMT+2`. */
export const ZONE = new Intl.DateTimeFormat("en-GB", { timeZoneName: "short" }).formatToParts().find((part) => part.type === "timeZoneName")?.value ?? "";

export function clock(us: number): string {
  return CLOCK.format(us / 1000);
}

export function day(us: number): string {
  return DAY.format(us / 1000);
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${number(n)} ${n === 1 ? one : many}`;
}
