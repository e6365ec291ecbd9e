// One instance as the page knows it: its outline, pages of its log, the moment under the playhead.
//
// A life may have a million events. So the log is read in pages of PAGE around the playhead, and at most PAGES of them are kept; the
// outline (the whole life in at most 240 ranges) comes ready from the service, and so does each moment, folded there. While a person
// drags, only the newest place of the playhead matters. So one moment is asked for at a time, and the next question is for where the playhead
// is by then; a page that it has left is given up. A queue of old questions would hold up the newest, here and in the service.

import { follow, get, get_folded, pause } from "../api/client";
import type {
  InstanceAnswer,
  IntentStoryAnswer,
  IntentsAnswer,
  LogAnswer,
  LogEntryAnswer,
  OutlineAnswer,
  PassAnswer,
  ProofAnswer,
  RejectionAnswer,
  RejectionsAnswer,
  StretchAnswer,
  WorkflowAnswer,
} from "../api/types";

const PAGE = 200;
const PAGES = 20;
const MOMENTS = 120;
const AROUND = 260;
const REFRESH_MS = 2000;

export class Life {
  readonly key: string;
  readonly type: string;

  version = $state(1);
  first = $state(1);
  last = $state(0);
  ended = $state(false);
  error = $state("");
  pass = $state<PassAnswer | null>(null);
  moment = $state.raw<InstanceAnswer | null>(null);
  outline = $state.raw<OutlineAnswer | null>(null);
  workflow = $state.raw<WorkflowAnswer | null>(null);
  entries = $state.raw<ReadonlyMap<number, LogEntryAnswer>>(new Map());
  stories = $state.raw<readonly IntentStoryAnswer[]>([]);
  rejections = $state.raw<readonly RejectionAnswer[]>([]);
  stretches = $state.raw<readonly StretchAnswer[] | null>(null);
  proving = $state(false);
  playing = $state(false);

  private readonly over = new AbortController();
  private folding = false;
  private readonly moments = new Map<number, InstanceAnswer>();
  private readonly pages = new Map<number, LogEntryAnswer[]>();
  private readonly coming = new Map<number, AbortController>();

  constructor(key: string) {
    this.key = key;
    this.type = key.slice(0, key.indexOf(":"));
  }

  /** Begins at `version`, or at the newest. */
  async begin(version: number | null): Promise<void> {
    try {
      const now = await get_folded<InstanceAnswer>("instance", { key: this.key }, this.over.signal, (pass) => (this.pass = pass));
      this.pass = null;
      this.first = now.first_version;
      this.last = now.last_version;
      this.ended = now.terminal;
      this.keep(now);
      this.go(version ?? this.last);
      const [outline, refused, workflow] = await Promise.all([
        get<OutlineAnswer>("instance/outline", { key: this.key, points: 240 }, this.over.signal),
        get<RejectionsAnswer>("rejections", { key: this.key, limit: 200 }, this.over.signal),
        get<WorkflowAnswer>("workflow", { name: this.type }, this.over.signal).catch(() => null), // there may be no app
        this.tell_stories(),
      ]);
      [this.outline, this.rejections, this.workflow] = [outline, refused.rejections.toReversed(), workflow];
    } catch (error) {
      if (!this.over.signal.aborted) this.error = String(error instanceof Error ? error.message : error);
      return;
    }
    void this.refresh();
    void follow("instance/live", { key: this.key, after: this.last }, this.over.signal, (name, data) => {
      if (name === "action") this.grown(data as LogEntryAnswer);
      else if (name === "ended") this.ended = true;
    });
  }

  /** What it waits for changes without a new event: tries, leases, an engine that goes. It is read again while that is on show. */
  private async refresh(): Promise<void> {
    while (!this.over.signal.aborted && !this.ended) {
      await pause(REFRESH_MS, this.over.signal).catch(() => {});
      const shown = this.moment;
      if (this.over.signal.aborted || document.hidden || this.folding || !shown?.waiting || shown.version !== this.last) continue;
      const found = await get<InstanceAnswer | PassAnswer>("instance", { key: this.key }, this.over.signal).catch(() => null);
      if (!found || "folded" in found || found.version !== this.last) continue;
      this.keep(found);
      if (this.version === found.version) this.moment = found;
    }
  }

  end(): void {
    this.over.abort();
    for (const one of this.coming.values()) one.abort();
  }

  private grown(entry: LogEntryAnswer): void {
    const followed = this.version === this.last;
    this.pages.get(page_of(entry.version))?.push(entry);
    this.last = Math.max(this.last, entry.version);
    this.show();
    if (followed) this.go(this.last);
    void this.tell_stories();
    void get<OutlineAnswer>("instance/outline", { key: this.key, points: 240 }, this.over.signal)
      .then((outline) => (this.outline = outline))
      .catch(() => {});
  }

  private async tell_stories(): Promise<void> {
    const told = await get<IntentsAnswer>("instance/intents", { key: this.key }, this.over.signal).catch(() => null);
    if (told) this.stories = told.intents;
  }

  // --- the playhead ---------------------------------------------------------------------------------------------------

  go(version: number): void {
    this.version = Math.min(Math.max(Math.round(version), this.first), Math.max(this.last, this.first));
    const kept = this.kept(this.version);
    if (kept) this.moment = kept;
    if (kept && !this.folding) this.read_around(this.version);
    else if (!this.folding) void this.fold();
  }

  /** Asks for the moment under the playhead until it is there: one question at a time, each for where the playhead is by then. */
  private async fold(): Promise<void> {
    this.folding = true;
    while (!this.over.signal.aborted && !this.kept(this.version)) {
      const version = this.version;
      const asked = new AbortController();
      const stop = () => asked.abort();
      this.over.signal.addEventListener("abort", stop);
      try {
        const query = { key: this.key, version };
        const moment = await get_folded<InstanceAnswer>("instance", query, asked.signal, (pass) => {
          this.pass = pass;
          if (version !== this.version) stop(); // a first pass takes long, and nobody waits for this one any more
        });
        this.keep(moment);
        this.moment = moment;
        this.error = "";
      } catch (error) {
        if (asked.signal.aborted) continue;
        this.error = String(error instanceof Error ? error.message : error);
        if (version === this.version) break;
      } finally {
        this.over.signal.removeEventListener("abort", stop);
        this.pass = null;
      }
      if (this.coming.size === 0) this.read_around(this.version);
      if (version === this.version) break;
    }
    this.folding = false;
    if (this.over.signal.aborted) return;
    this.moment = this.kept(this.version) ?? this.moment;
    this.read_around(this.version);
  }

  /** A moment that was told before. What an instance waits for is told of its last version only, and that moves. */
  private kept(version: number): InstanceAnswer | undefined {
    const found = this.moments.get(version);
    return found && (version < this.last || found.waiting) ? found : undefined;
  }

  private keep(moment: InstanceAnswer): void {
    this.moments.set(moment.version, moment);
    if (this.moments.size > MOMENTS) this.moments.delete(this.moments.keys().next().value!);
  }

  // --- the log --------------------------------------------------------------------------------------------------------

  read_around(version: number): void {
    const from = page_of(Math.max(this.first, version - AROUND));
    const to = page_of(Math.min(Math.max(this.last, 1), version + AROUND));
    for (const [page, one] of this.coming) if (page < from || page > to) one.abort();
    for (let page = from; page <= to; page++) if (!this.pages.has(page) && !this.coming.has(page)) void this.read(page);
  }

  private async read(page: number): Promise<void> {
    const asked = new AbortController();
    this.coming.set(page, asked);
    try {
      const query = { key: this.key, after: page * PAGE, limit: PAGE };
      const answer = await get<LogAnswer>("instance/log", query, asked.signal);
      this.pages.set(page, answer.actions.filter((entry) => page_of(entry.version) === page));
      const far = [...this.pages.keys()].sort((a, b) => this.distance(b) - this.distance(a));
      for (const one of far.slice(0, Math.max(0, far.length - PAGES))) this.pages.delete(one);
      this.show();
    } catch (error) {
      if (!asked.signal.aborted) this.error = String(error instanceof Error ? error.message : error);
    } finally {
      this.coming.delete(page);
    }
  }

  private distance(page: number): number {
    return Math.abs(page - page_of(this.version));
  }

  private show(): void {
    const shown = new Map<number, LogEntryAnswer>();
    for (const page of this.pages.values()) for (const entry of page) shown.set(entry.version, entry);
    this.entries = shown;
  }

  // --- refusals, proof ------------------------------------------------------------------------------------------------

  /** The last version that stood when something was refused at `iso`. */
  async version_at(iso: string): Promise<number> {
    const us = Date.parse(iso) * 1000 + 999; // the service tells milliseconds
    const ranges = this.outline?.ranges ?? [];
    const range = ranges.findLast((one) => one.first_us <= us);
    if (!range) return this.first;
    if (range.last_us <= us) return range.last;
    let after = range.first - 1;
    for (;;) {
      const { actions } = await get<LogAnswer>("instance/log", { key: this.key, after, limit: 1000 }, this.over.signal);
      const found = actions.findLast((entry) => entry.issued_us <= us);
      const end = actions.at(-1);
      if (!end || !found || found !== end || end.version >= range.last) return found?.version ?? after;
      after = end.version;
    }
  }

  /** The next refusal behind the playhead; from the last one it begins again. */
  async next_rejection(): Promise<void> {
    if (!this.rejections.length) return;
    try {
      const at = await Promise.all(this.rejections.map((one) => this.version_at(one.first_at)));
      this.go(at.find((version) => version > this.version) ?? at[0]!);
    } catch (error) {
      if (!this.over.signal.aborted) this.error = String(error instanceof Error ? error.message : error);
    }
  }

  async prove(): Promise<void> {
    this.proving = true;
    try {
      const found = await get_folded<ProofAnswer>("instance/proof", { key: this.key }, this.over.signal, () => {});
      this.stretches = found.stretches;
    } catch (error) {
      if (!this.over.signal.aborted) this.error = String(error instanceof Error ? error.message : error);
    } finally {
      this.proving = false;
    }
  }
}

function page_of(version: number): number {
  return Math.floor((version - 1) / PAGE);
}
