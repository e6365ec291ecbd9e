// The four lanes of a stretch of a life, with places: what the Tape draws. Pure: entries in, figures out.
//
// Each applied action is a mark in the lane `reducer`. An intent is a bar in the lane of its kind, from the mark that emitted it to
// the mark of its outcome. What came from outside (a person, a program, a message, a timer) is a mark in `orchestrator`.
// The distance of two marks grows with the logarithm of the time between them, so that a rhythm is seen; a pause of a
// minute or more is folded: it has one width, and says how long it was.

import type { LogEntryAnswer, RejectionAnswer, WorkflowAnswer } from "../api/types";
import { KEY } from "../parts/words";

export type Lane = "effect" | "compute" | "reducer" | "orchestrator";
export const LANES: readonly Lane[] = ["effect", "compute", "reducer", "orchestrator"];

export interface Mark {
  version: number;
  x: number;
  entry: LogEntryAnswer;
  /** whether the status changed, as far as the stretch tells */
  moved: boolean;
}

export interface Fold {
  x: number;
  ms: number;
}

export interface Bar {
  lane: Lane;
  row: number;
  name: string;
  from: number;
  to: number;
  /** where it ended within the stretch, and as what; `silent`: it has no outcome, so its emission is all that the log has of it */
  ended: "outcome" | "failed" | "cancelled" | "open" | "silent";
  begins: boolean;
  version: number;
  outcome: number | null;
}

export interface Cause {
  version: number;
  x: number;
  kind: "command" | "message" | "event";
  label: string;
  /** the other instance, and its version */
  key: string | null;
  at: number | null;
}

export interface Sent {
  version: number;
  x: number;
  name: string;
  key: string;
}

export interface Refusal {
  x: number;
  rejection: RejectionAnswer;
}

export interface Stretch {
  low: number;
  high: number;
  width: number;
  marks: Mark[];
  folds: Fold[];
  bars: Bar[];
  causes: Cause[];
  sent: Sent[];
  refusals: Refusal[];
  rows: Record<Lane, number>;
}

interface StoredIntent {
  name: string;
  cancel?: boolean;
  to?: string;
}

const FOLD_MS = 60_000;
const FOLD_WIDTH = 66;
const EDGE = 26;
const ROWS = 4;
/** Outcomes are looked for so many versions around the stretch. */
const REACH = 250;
const SILENT_WIDTH = 44;

function gap(ms: number, scale: number): number {
  if (ms >= FOLD_MS) return FOLD_WIDTH;
  return Math.min(52, 16 + 8 * Math.log10(1 + Math.max(0, ms))) * scale;
}

/** Where `entry` came from, when that is another instance. The outcome of an own intent is issued by `intent:NAME`. */
export function sender(entry: LogEntryAnswer): { key: string; version: number } | null {
  const own = `intent:${entry.outcome_of?.intent}`;
  return entry.outcome_of && entry.issuer !== own && KEY.test(entry.issuer) ? { key: entry.issuer, version: entry.outcome_of.version } : null;
}

/** The instance that published the event which `entry` is; its log may be in another store, and the version is not told. */
export function publisher(entry: LogEntryAnswer): string | null {
  return !entry.outcome_of && entry.cause !== null && KEY.test(entry.issuer) ? entry.issuer : null;
}

export function intents_of(entry: LogEntryAnswer): StoredIntent[] {
  return Array.isArray(entry.intents) ? (entry.intents as unknown as StoredIntent[]) : [];
}

export function lane_of(name: string, workflow: WorkflowAnswer | null): Lane {
  const kind = workflow?.intents.find((one) => one.name === name)?.kind ?? (name.startsWith("@") ? "timer" : "");
  if (kind === "compute_task") return "compute";
  return kind === "timer" || kind === "action_send" || kind.startsWith("@") ? "orchestrator" : "effect";
}

/** The stretch that is as wide as `room` at most, and has `middle` in it. */
export function stretch_around(
  entries: ReadonlyMap<number, LogEntryAnswer>,
  middle: number,
  room: number,
  scale: number,
): { low: number; high: number } {
  if (!entries.has(middle)) return { low: middle, high: middle };
  let [low, high, width] = [middle, middle, 2 * EDGE];
  const wide = (from: number) => gap((entries.get(from + 1)!.issued_us - entries.get(from)!.issued_us) / 1000, scale);
  for (let turn = 0; ; turn++) {
    const left = entries.has(low - 1) ? width + wide(low - 1) : Infinity;
    const right = entries.has(high + 1) ? width + wide(high) : Infinity;
    const goes_left = left <= room && (turn % 2 === 0 || right > room);
    if (goes_left) [low, width] = [low - 1, left];
    else if (right <= room) [high, width] = [high + 1, right];
    else if (left <= room) [low, width] = [low - 1, left];
    else return { low, high };
  }
}

export function stretch_of(
  entries: ReadonlyMap<number, LogEntryAnswer>,
  { low, high }: { low: number; high: number },
  room: number,
  scale: number,
  workflow: WorkflowAnswer | null,
  rejections: readonly RejectionAnswer[],
  ended: number | null,
): Stretch {
  const { marks, folds, width } = place(entries, low, high, room, scale);
  const x_of = new Map(marks.map((mark) => [mark.version, mark.x]));
  const bars = bars_of(entries, low, high, x_of, width, workflow, ended);
  const rows: Record<Lane, number> = { effect: 1, compute: 1, reducer: 1, orchestrator: 1 };
  for (const lane of LANES) rows[lane] = spread(bars.filter((bar) => bar.lane === lane));
  return { low, high, width, marks, folds, bars, rows, ...links(marks, workflow), refusals: refused(marks, rejections, entries) };
}

function place(
  entries: ReadonlyMap<number, LogEntryAnswer>,
  low: number,
  high: number,
  room: number,
  scale: number,
): { marks: Mark[]; folds: Fold[]; width: number } {
  const found: LogEntryAnswer[] = [];
  for (let version = low; version <= high; version++) {
    const entry = entries.get(version);
    if (entry) found.push(entry);
  }
  const gaps = found.slice(1).map((entry, n) => (entry.issued_us - found[n]!.issued_us) / 1000);
  const natural = gaps.reduce((sum, ms) => sum + gap(ms, scale), 0);
  // a short life is spread out, but not so far that it looks empty
  const factor = natural > 0 ? Math.min(3.2, Math.max(1, (room - 2 * EDGE) / natural)) : 1;
  const marks: Mark[] = [];
  const folds: Fold[] = [];
  let x = EDGE;
  found.forEach((entry, n) => {
    if (n > 0) {
      const wide = gap(gaps[n - 1]!, scale) * factor;
      if (gaps[n - 1]! >= FOLD_MS) folds.push({ x: x + wide / 2, ms: gaps[n - 1]! });
      x += wide;
    }
    const before = entries.get(entry.version - 1);
    marks.push({ version: entry.version, x, entry, moved: before?.status !== entry.status });
  });
  return { marks, folds, width: Math.max(room, x + EDGE) };
}

function bars_of(
  entries: ReadonlyMap<number, LogEntryAnswer>,
  low: number,
  high: number,
  x_of: ReadonlyMap<number, number>,
  width: number,
  workflow: WorkflowAnswer | null,
  ended: number | null,
): Bar[] {
  const outcome = new Map<string, LogEntryAnswer>();
  const versions: number[] = [];
  for (let version = low - REACH; version <= high + REACH; version++) if (entries.has(version)) versions.push(version);
  for (const version of versions) {
    const entry = entries.get(version)!;
    const of = entry.outcome_of;
    if (of && !sender(entry)) outcome.set(`${of.version} ${of.n} ${of.intent}`, entry);
  }
  const bars: Bar[] = [];
  for (const version of versions) {
    if (version > high) break;
    const seen = new Map<string, number>();
    for (const intent of intents_of(entries.get(version)!)) {
      const n = seen.get(intent.name) ?? 0;
      seen.set(intent.name, n + 1);
      if (intent.cancel) continue;
      const facts = workflow?.intents.find((one) => one.name === intent.name);
      const lane = lane_of(intent.name, workflow);
      const answered = outcome.get(`${version} ${n} ${intent.name}`);
      const silent = facts && !Object.keys(facts.outcomes).length && facts.kind !== "timer";
      if (silent && !answered) {
        const x = x_of.get(version);
        const at = { lane, row: 0, name: intent.name, version, begins: true, outcome: null };
        if (x !== undefined && !facts.sends_to) bars.push({ ...at, from: x, to: x + SILENT_WIDTH, ended: "silent" });
        continue;
      }
      const stop = answered ? null : cancelled(entries, versions, version, intent.name);
      const end = answered?.version ?? stop ?? ended;
      if (end !== null && end < low) continue;
      if (version < low && end === null) continue; // open since long ago: the list of intents tells it
      const failed = facts && answered && [facts.outcomes.failed, facts.outcomes.unknown].includes(answered.trigger);
      bars.push({
        lane,
        row: 0,
        name: intent.name,
        from: x_of.get(version) ?? 0,
        to: end === null || end > high ? width : x_of.get(end)!,
        begins: version >= low,
        ended: answered ? (failed && facts.outcomes.failed !== facts.outcomes.succeeded ? "failed" : "outcome") : end === null ? "open" : "cancelled",
        version,
        outcome: answered?.version ?? null,
      });
    }
  }
  return bars;
}

/** The version that took back the timer `name` of `version`, or set it again. */
function cancelled(
  entries: ReadonlyMap<number, LogEntryAnswer>,
  versions: readonly number[],
  version: number,
  name: string,
): number | null {
  return versions.find((one) => one > version && intents_of(entries.get(one)!).some((intent) => intent.name === name)) ?? null;
}

/** Bars that overlap lie in rows under one another; the number of rows. */
function spread(bars: Bar[]): number {
  const free: number[] = [];
  for (const bar of bars.sort((a, b) => a.from - b.from)) {
    let row = free.findIndex((x) => x <= bar.from + 2);
    if (row < 0) row = free.length < ROWS ? free.length : free.indexOf(Math.min(...free));
    free[row] = bar.to;
    bar.row = row;
  }
  return Math.max(1, free.length);
}

function links(marks: readonly Mark[], workflow: WorkflowAnswer | null): { causes: Cause[]; sent: Sent[] } {
  const causes: Cause[] = [];
  const sent: Sent[] = [];
  for (const { version, x, entry } of marks) {
    const from = sender(entry);
    const published_by = publisher(entry);
    if (from) causes.push({ version, x, kind: "message", label: from.key, key: from.key, at: from.version });
    else if (published_by) causes.push({ version, x, kind: "event", label: published_by, key: published_by, at: null });
    else if (!entry.outcome_of) causes.push({ version, x, kind: "command", label: entry.issuer || "a client", key: null, at: null });
    for (const intent of intents_of(entry)) {
      const type = workflow?.intents.find((one) => one.name === intent.name)?.sends_to;
      if (type && intent.to) sent.push({ version, x, name: intent.name, key: `${type}:${intent.to}` });
    }
  }
  return { causes, sent };
}

function refused(
  marks: readonly Mark[],
  rejections: readonly RejectionAnswer[],
  entries: ReadonlyMap<number, LogEntryAnswer>,
): Refusal[] {
  const found: Refusal[] = [];
  for (const rejection of rejections) {
    const us = Date.parse(rejection.first_at) * 1000 + 999;
    const n = marks.findLastIndex((mark) => mark.entry.issued_us <= us);
    const mark = marks[n];
    const later = mark && entries.get(mark.version + 1);
    if (!mark || (later && later.issued_us <= us)) continue;
    const next = marks[n + 1];
    found.push({ x: next ? mark.x + Math.min(14, (next.x - mark.x) / 2) : mark.x + 13, rejection });
  }
  return found;
}
