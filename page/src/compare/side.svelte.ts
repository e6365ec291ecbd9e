// One of two instances that are compared: the beginning of its log, and the moment under its playhead.

import { get, get_folded, pause } from "../api/client";
import type { InstanceAnswer, LogAnswer, LogEntryAnswer } from "../api/types";
import { steps, type Step } from "./align";

const PAGE = 500;
const STILL_MS = 60;

export class Side {
  readonly key: string;
  version = $state(0);
  first = $state(1);
  last = $state(0);
  steps = $state.raw<readonly Step[]>([]);
  moment = $state.raw<InstanceAnswer | null>(null);
  trouble = $state("");

  private entries: LogEntryAnswer[] = [];
  private readonly kept = new Map<number, InstanceAnswer>();
  private asked = new AbortController();
  private readonly over = new AbortController();

  constructor(key: string) {
    this.key = key;
  }

  /** Reads on, up to `events` in all. Raises what the service says. */
  async read(events: number): Promise<void> {
    while (this.entries.length < events) {
      const after = this.entries.at(-1)?.version ?? (this.last ? this.last : await this.begin());
      const limit = Math.min(PAGE, events - this.entries.length);
      const page = await get<LogAnswer>("instance/log", { key: this.key, after, limit }, this.over.signal);
      [this.first, this.last] = [page.first_version, page.last_version];
      this.entries.push(...page.actions);
      if (page.next === null || !page.actions.length) break;
    }
    this.steps = steps(this.entries);
  }

  private async begin(): Promise<number> {
    const newest = await get<LogAnswer>("instance/log", { key: this.key, limit: 1 }, this.over.signal);
    return newest.first_version - 1;
  }

  /** The playhead. The state is asked for when it stands still. */
  go(version: number): void {
    const [low, high] = [this.steps[0]?.version ?? 1, this.steps.at(-1)?.version ?? 1];
    this.version = Math.min(Math.max(version, low), high);
    this.moment = this.kept.get(this.version) ?? this.moment;
    if (!this.kept.has(this.version)) void this.fold(this.version);
  }

  private async fold(version: number): Promise<void> {
    this.asked.abort();
    const asked = (this.asked = new AbortController());
    try {
      await pause(STILL_MS, asked.signal);
      const moment = await get_folded<InstanceAnswer>("instance", { key: this.key, version }, asked.signal, () => {});
      this.kept.set(version, moment);
      if (version === this.version) this.moment = moment;
      this.trouble = "";
    } catch (error) {
      if (!asked.signal.aborted) this.trouble = error instanceof Error ? error.message : String(error);
    }
  }

  end(): void {
    this.over.abort();
    this.asked.abort();
  }
}
