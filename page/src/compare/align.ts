// Two histories aligned by what happened: a step is its trigger, the status before and the status after.
//
// What is equal at both ends is cut off first; between them stands a longest common subsequence, found by a table of n times m
// lengths. So a side holds at most STEPS steps: 4,000 times 4,000 lengths take 32 MB and a fraction of a second. Steps between two equal
// ones stand beside each other, though they are not the same.

import type { ChangesAnswer, Json, LogEntryAnswer } from "../api/types";

export const STEPS = 4000;

export interface Step {
  version: number;
  trigger: string;
  from: string;
  to: string;
  emitted: readonly string[];
}

export interface Row {
  left: Step | null;
  right: Step | null;
  same: boolean;
}

export function steps(entries: readonly LogEntryAnswer[]): Step[] {
  return entries.map((one, n) => ({
    version: one.version,
    trigger: one.trigger,
    from: n ? entries[n - 1]!.status : "",
    to: one.status,
    emitted: one.emitted,
  }));
}

export function align(left: readonly Step[], right: readonly Step[]): Row[] {
  const a = left.map(name_of);
  const b = right.map(name_of);
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail += 1;
  const rows: Row[] = [];
  const both = (n: number, m: number) => rows.push({ left: left[n]!, right: right[m]!, same: true });
  for (let n = 0; n < head; n++) both(n, n);
  let [n, m] = [head, head];
  for (const [x, y] of common(a.slice(head, a.length - tail), b.slice(head, b.length - tail))) {
    beside(rows, left.slice(n, head + x), right.slice(m, head + y));
    both(head + x, head + y);
    [n, m] = [head + x + 1, head + y + 1];
  }
  beside(rows, left.slice(n, a.length - tail), right.slice(m, b.length - tail));
  for (let k = tail; k > 0; k--) both(a.length - k, b.length - k);
  return rows;
}

function name_of(step: Step): string {
  return JSON.stringify([step.trigger, step.from, step.to]);
}

function beside(rows: Row[], left: readonly Step[], right: readonly Step[]): void {
  for (let k = 0; k < Math.max(left.length, right.length); k++) {
    rows.push({ left: left[k] ?? null, right: right[k] ?? null, same: false });
  }
}

/** Pairs of places, both rising: a longest common subsequence. */
function common(a: readonly string[], b: readonly string[]): [number, number][] {
  const wide = b.length + 1;
  const lengths = new Uint16Array((a.length + 1) * wide);
  for (let n = a.length - 1; n >= 0; n--) {
    for (let m = b.length - 1; m >= 0; m--) {
      const at = n * wide + m;
      lengths[at] = a[n] === b[m] ? lengths[at + wide + 1]! + 1 : Math.max(lengths[at + wide]!, lengths[at + 1]!);
    }
  }
  const pairs: [number, number][] = [];
  for (let n = 0, m = 0; n < a.length && m < b.length; ) {
    if (a[n] === b[m]) pairs.push([n++, m++]);
    else if (lengths[(n + 1) * wide + m]! >= lengths[n * wide + m + 1]!) n += 1;
    else m += 1;
  }
  return pairs;
}

const SHOWN = 50;
const CUT = 160;

/** Where two values differ, in the form of the API's own answers. */
export function differences(old: Json, now: Json): ChangesAnswer {
  const found: ChangesAnswer = { total: 0, first: [] };
  differ(old, now, "", found);
  return found;
}

function differ(old: Json | undefined, now: Json | undefined, path: string, found: ChangesAnswer): void {
  if (is_object(old) && is_object(now)) {
    for (const name of new Set([...Object.keys(old), ...Object.keys(now)])) {
      differ(own(old, name), own(now, name), path ? `${path}.${name}` : name, found);
    }
  } else if (Array.isArray(old) && Array.isArray(now)) {
    for (let n = 0; n < Math.max(old.length, now.length); n++) differ(old[n], now[n], `${path}[${n}]`, found);
  } else if (old !== now) {
    found.total += 1;
    if (found.first.length < SHOWN) found.first.push({ path, old: text(old), new: text(now) });
  }
}

function is_object(value: Json | undefined): value is { [name: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function own(value: { [name: string]: Json }, name: string): Json | undefined {
  return Object.hasOwn(value, name) ? value[name] : undefined;
}

function text(value: Json | undefined): string {
  const whole = value === undefined ? "" : JSON.stringify(value);
  return whole.length <= CUT ? whole : `${whole.slice(0, CUT)}... (${whole.length} characters)`;
}
