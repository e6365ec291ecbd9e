// What a run tells of one instance, as `onex whatif --json` does; the API's document leaves it open.

import type { Json, WhatIfAnswer } from "../api/types";

export interface Told {
  key: string;
  branch: "differs" | "open" | "same";
  first: { version: number; trigger: string; what: string; why: string } | null;
  open: { from: number; trigger: string; why: string } | null;
  stranded: string | null;
}

export function told(run: WhatIfAnswer): readonly Told[] {
  return run.instances as unknown as readonly Told[];
}

export function count(run: WhatIfAnswer, name: string): number {
  const found: Json | undefined = run.summary?.[name];
  return typeof found === "number" ? found : 0;
}

/** `997 same, 3 differ, first at event 14`. */
export function verdict(run: WhatIfAnswer): string {
  const [all, same, differs, open] = [count(run, "instances"), count(run, "same"), count(run, "differs"), count(run, "open_only")];
  if (!all) return "Nothing was recorded to compare";
  const firsts = told(run).flatMap((one) => (one.first ? [one.first.version] : []));
  const parts = [`${same.toLocaleString("en-US")} same`];
  if (differs) parts.push(`${differs.toLocaleString("en-US")} ${differs === 1 ? "differs" : "differ"}`);
  if (open) parts.push(`${open.toLocaleString("en-US")} open`);
  if (firsts.length) parts.push(`first at event ${firsts.reduce((a, b) => Math.min(a, b)).toLocaleString("en-US")}`);
  return parts.join(", ");
}
