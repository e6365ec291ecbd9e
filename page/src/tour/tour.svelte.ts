// The tour of the demo: which step it is at, kept until this tab is closed, and what each step points at.

import { route, type Words } from "../parts/route.svelte";

export interface Step {
  title: string;
  text: string;
  /** The screen that it is on. */
  at: Words;
  /** What it points at, while that is there. */
  find: () => Element | null;
}

const ISLAND: Words = { key: "order_saga:far-island" };

export const STEPS: readonly Step[] = [
  {
    title: "Kill the engine",
    text: "This button is a real kill -9 of the process that runs all of this. It is started again at once. The numbers are counted by another process.",
    at: {},
    find: () => document.querySelector(".demo .kill"),
  },
  {
    title: "Somebody waits for you",
    text: "Ada's expense waits for a person. Approve or refuse it, and its Tape shows what follows. Come back here with “Next”.",
    at: {},
    find: () => document.querySelector(".demo .examples"),
  },
  {
    title: "The Tape",
    text: "All that happened to one order, in four lanes. It was reserved and paid, but nobody ships there: so it was refunded and released.",
    at: ISLAND,
    find: () => document.querySelector(".middle .tape"),
  },
  {
    title: "Drag the playhead",
    text: "Drag it, or use the arrow keys. The state of that moment is folded again from the log. No effect runs.",
    at: ISLAND,
    find: () => document.querySelector("[role=slider] .head"),
  },
  {
    title: "Why",
    text: "Each moment says what changed, which intents it emitted, and why: the transition, its guard, and the line of the contract.",
    at: ISLAND,
    find: () => [...document.querySelectorAll("aside.right h3")].find((one) => one.textContent?.trim() === "Why")?.parentElement ?? null,
  },
  {
    title: "What if?",
    text: "Change one recorded action, and see what would have followed. Nothing is fired. That was the tour: the rest is yours.",
    at: ISLAND,
    find: () => [...document.querySelectorAll(".tools button")].find((one) => one.textContent === "Fork") ?? null,
  },
];

const KEPT = "onex-tour";
const OFFERED = -1;
const OVER = -2;

class Tour {
  /** A step by its number; OFFERED before the first, OVER behind the last or when it was not wanted. */
  n = $state(read());
  readonly step = $derived(STEPS[this.n] ?? null);
  readonly offered = $derived(this.n === OFFERED);
  readonly last = $derived(this.n === STEPS.length - 1);

  go(n: number): void {
    this.n = n >= STEPS.length ? OVER : n;
    sessionStorage.setItem(KEPT, String(this.n));
    const step = this.step;
    if (step && (route.key !== (step.at.key ?? null) || route.screen !== null)) route.go(step.at);
  }

  next(): void {
    this.go(this.n + 1);
  }

  back(): void {
    if (this.n > 0) this.go(this.n - 1);
  }

  end(): void {
    this.go(OVER);
  }
}

function read(): number {
  const kept = Number(sessionStorage.getItem(KEPT) ?? OFFERED);
  return Number.isInteger(kept) && kept >= OVER && kept < STEPS.length ? kept : OFFERED;
}

export const tour = new Tour();
