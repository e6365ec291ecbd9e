// Written by `make docs` from the API's document. Do not edit.

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

export interface ApprovalAnswer {
  key: string;
  task: string;
  version: number;
  since: string;
  due_at: string | null;
}

export interface ApproveBody {
  key: string;
  task: string;
  approved: boolean;
  note?: string;
  expected_version?: number | null;
}

export interface AttemptAnswer {
  attempt: number;
  began_at: string | null;
  ended_at: string;
  ms: number | null;
  outcome: string;
  code: string | null;
  error: string | null;
  trace: string[];
}

export interface BoxAnswer {
  id: string;
  lines: string[];
  detail: string;
  note: string;
  kind: string;
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface BranchSideAnswer {
  status: string;
  intents: string[];
  changes: ChangesAnswer | null;
}

export interface BranchStepAnswer {
  version: number;
  trigger: string;
  issued_at: string;
  recorded: BranchSideAnswer;
  other: BranchSideAnswer | null;
  refused: string;
  why: string;
  state: ChangesAnswer | null;
  emitted: ChangesAnswer | null;
}

export interface BranchesAnswer {
  number: number;
  against: string;
  key: string;
  first: number | null;
  what: string;
  why: string;
  opened: number | null;
  opened_why: string;
  steps: BranchStepAnswer[];
  first_version: number;
  last_version: number;
  next: number | null;
  effects_fired: number;
}

export interface CancelBody {
  key: string;
}

export interface CausesAnswer {
  chain: LogEntryAnswer[];
  broken: string;
}

export interface ChangeAnswer {
  path: string;
  old: string;
  new: string;
}

export interface ChangesAnswer {
  total: number;
  first: ChangeAnswer[];
}

export interface CodeAnswer {
  version: string;
  digest: string;
}

export interface CommandAnswer {
  action_id: string;
  answered: boolean;
  key: string;
  version?: number | null;
  status?: string | null;
  position?: string | null;
  duplicate?: boolean;
  note?: string;
}

export interface CountAnswer {
  type: string;
  status: string;
  instances: number;
}

export interface DecisionAnswer {
  type: string;
  status: string;
  triggers: string[];
  instances: number;
  first: WaitingInstanceAnswer[];
}

export interface DemoAnswer {
  title: string;
  effects: number;
  effects_seen: number;
  effects_retried: number;
  effects_repeated: number;
  kills: number;
  engine_takes_work: boolean;
  done: boolean;
  rows: DemoRow[];
  conclusion: string[];
  examples: DemoExample[];
}

export interface DemoChoice {
  label: string;
  trigger: string;
  payload: Record<string, JsonValue>;
}

export interface DemoExample {
  key: string;
  what: string;
  status: string | null;
  waits_in: string[];
  choices: DemoChoice[];
}

export interface DemoRow {
  what: string;
  number: string;
  meaning: string;
}

export interface DrawingAnswer {
  width: number;
  height: number;
  boxes: BoxAnswer[];
  lines: LineAnswer[];
}

export interface EdgeAnswer {
  from_state: string;
  to_state: string;
  trigger: string;
  guards: string[];
  path: string;
  line: number;
}

export type EnumRole = "anyone" | "viewer" | "operator" | "admin";

export type EnumWhatIf = "running" | "done" | "failed" | "cancelled";

export interface ForkAnswer {
  steps: ForkedStepAnswer[];
  more: number;
  last: number;
  opened: number | null;
  trigger: string;
  why: string;
  state: JsonValue;
  changes: ChangesAnswer | null;
  effects_fired: number;
}

export interface ForkBody {
  key: string;
  version: number;
  trigger?: string | null;
  payload?: Record<string, JsonValue> | null;
}

export interface ForkedStepAnswer {
  version: number;
  trigger: string;
  status: string;
  recorded_status: string;
  intents: string[];
  recorded_intents: string[];
  refused: string;
  why: string;
}

export interface HealthAnswer {
  status: string;
  why: string;
}

export interface HeldAnswer {
  instances: InstanceRow[];
  next: string | null;
}

export interface IdleAnswer {
  after: number;
  us: number;
}

export interface InstanceAnswer {
  key: string;
  version: number;
  last_version: number;
  first_version: number;
  status: string;
  status_before: string | null;
  terminal: boolean;
  changed_at: string;
  state: JsonValue;
  state_is_known: boolean;
  unknown: string;
  unproven: string;
  is_folded: boolean;
  changes: ChangesAnswer | null;
  action: LogEntryAnswer;
  tried: TransitionAnswer[];
  accepts: string[];
  public: string[];
  code: CodeAnswer | null;
  is_app_code: boolean | null;
  state_schema: number;
  tasks: TaskAnswer[];
  waiting: WaitingAnswer | null;
}

export interface InstancePageAnswer {
  instances: InstanceRow[];
  next: string | null;
  counts: CountAnswer[];
}

export interface InstanceRow {
  key: string;
  status: string;
  terminal: boolean;
  version: number;
  changed_at: string;
  held: string | null;
  held_intents: number;
  dead_intents: number;
  failures: number;
  why?: string;
}

export interface IntentAnswer {
  name: string;
  kind: string;
  target: string;
  outcomes: Record<string, string>;
  sends_to: string;
}

export interface IntentStoryAnswer {
  pointer: string;
  intent: string;
  n: number;
  version: number;
  state: string;
  ended_as: string | null;
  error: string | null;
  outcome: string | null;
  outcome_version: number | null;
  outcome_after_ms: number | null;
  attempts: AttemptAnswer[];
}

export interface IntentsAnswer {
  intents: IntentStoryAnswer[];
  first_version: number;
}

export type JsonValue = Json;

export interface KillAnswer {
  killed: boolean;
}

export interface LabelAnswer {
  lines: string[];
  x: number;
  y: number;
  full: string;
}

export interface LineAnswer {
  source: string;
  target: string;
  kind: string;
  path: string;
  label: LabelAnswer | null;
}

export interface LinkAnswer {
  source: string;
  target: string;
  kind: string;
}

export interface LogAnswer {
  actions: LogEntryAnswer[];
  first_version: number;
  last_version: number;
  next: number | null;
}

export interface LogEntryAnswer {
  position: string;
  key: string;
  version: number;
  trigger: string;
  status: string;
  payload: JsonValue;
  intents: JsonValue;
  emitted: string[];
  issued_at: string;
  issued_us: number;
  action_id: string;
  correlation_id: string;
  cause: string | null;
  outcome_of: OutcomeOfAnswer | null;
  issuer: string;
}

export interface NodeAnswer {
  node_id: string;
  status: string;
  changed_at: string;
  about: Record<string, JsonValue>;
}

export interface NodesAnswer {
  directory: string | null;
  nodes: NodeAnswer[];
}

export interface OpenIntentAnswer {
  pointer: string;
  intent: string;
  state: string;
  running: boolean | null;
  version: number;
  attempt: number;
  due_at: string | null;
  error: string | null;
}

export interface OutcomeOfAnswer {
  intent_id: string;
  intent: string;
  n: number;
  version: number;
}

export interface OutlineAnswer {
  first_version: number;
  last_version: number;
  ranges: RangeAnswer[];
  idle: IdleAnswer[];
  exact: boolean;
}

export interface PartAnswer {
  id: string;
  kind: "store" | "engine" | "worker" | "node" | "workflow" | "target" | "topic";
  name: string;
  health: "well" | "silent" | "unknown";
  about: string;
  instances?: number | null;
}

export interface PassAnswer {
  folded: number;
  of: number;
}

export interface ProblemAnswer {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: string;
  place: string;
  cause: string;
  next: string;
  retryable?: boolean;
  context?: Record<string, JsonValue>;
}

export interface ProofAnswer {
  up_to: number;
  proven: boolean;
  stretches: StretchAnswer[];
}

export interface RangeAnswer {
  first: number;
  last: number;
  first_us: number;
  last_us: number;
}

export interface RedriveBody {
  pointer: string;
}

export interface RejectionAnswer {
  key: string;
  action_id: string | null;
  code: string;
  message: string;
  times: number;
  first_at: string;
  last_at: string;
  body: JsonValue;
  body_is_cut: boolean;
  trace: string[];
}

export interface RejectionsAnswer {
  rejections: RejectionAnswer[];
  more: boolean;
}

export interface ReleaseBody {
  key: string;
}

export interface SessionAnswer {
  name: string;
  role: EnumRole;
  sees_payloads: boolean;
  csrf: string;
  store: string;
  app: string | null;
  version: string;
  demo: boolean;
}

export interface SignalBody {
  key: string;
  signal: string;
  payload?: Record<string, JsonValue>;
}

export interface StatusAnswer {
  name: string;
  initial: boolean;
  terminal: boolean;
  timeout_s: number;
  on_timeout: string;
  path: string;
  line: number;
}

export interface StoppedAnswer {
  intents: StoppedIntentAnswer[];
  next: string | null;
}

export interface StoppedIntentAnswer {
  pointer: string;
  key: string;
  status: string | null;
  intent: string;
  state: string;
  version: number;
  attempts: number;
  crashes: number;
  error: string | null;
  result: JsonValue;
}

export interface StretchAnswer {
  first: number;
  last: number;
  why: string;
}

export interface SubmitBody {
  key: string;
  trigger: string;
  payload?: Record<string, JsonValue>;
  expected_version?: number | null;
  correlation_id?: string | null;
  cause?: string | null;
  expires_at?: string | null;
}

export interface SummaryAnswer {
  instances: number;
  actions: number;
  actions_per_s: number;
  p99_ms: number | null;
  in_flight: number;
  stuck: number;
  stuck_is_exact: boolean;
  held: number;
  dead: number;
  rejections: number;
  lag_ms: number | null;
  engine_runs: boolean;
  counted_ago_s: number;
  by_status: CountAnswer[];
}

export interface SystemAnswer {
  workflows: string[];
  targets: string[];
  topics: string[];
  links: LinkAnswer[];
  parts: PartAnswer[];
  drawing: DrawingAnswer;
}

export interface TaskAnswer {
  task: string;
  state: string;
  began: string;
  ended: string;
  items: string;
  error: string;
}

export interface TimerAnswer {
  name: string;
  due_at: string;
}

export interface TransitionAnswer {
  from_state: string;
  to_state: string;
  trigger: string;
  guards: string[];
  path: string;
  line: number;
  taken: boolean;
  failed: string;
}

export interface WaitAnswer {
  reached: boolean;
  status: string | null;
  version: number;
}

export interface WaitingAnswer {
  intents: OpenIntentAnswer[];
  timers: TimerAnswer[];
  leased_until: string | null;
  epoch: number;
  held: string | null;
  failures: number;
  engine_runs: boolean;
}

export interface WaitingForPeopleAnswer {
  approvals: ApprovalAnswer[];
  decisions: DecisionAnswer[];
  complete: boolean;
}

export interface WaitingInstanceAnswer {
  key: string;
  version: number;
  since: string;
  due_at: string | null;
}

export interface WhatIfAnswer {
  number: number;
  state: EnumWhatIf;
  against: string;
  type: string | null;
  folded: number;
  of: number;
  round: number;
  error: string;
  effects_fired: number | null;
  summary: Record<string, JsonValue> | null;
  instances: Record<string, JsonValue>[];
  more: boolean;
}

export interface WhatIfBody {
  against: string;
  type?: string | null;
}

export interface WhatIfRuns {
  runs: WhatIfAnswer[];
}

export interface WorkflowAnswer {
  name: string;
  description: string;
  contract_version: string;
  code: string;
  statuses: StatusAnswer[];
  edges: EdgeAnswer[];
  triggers: Record<string, JsonValue>;
  internal: string[];
  intents: IntentAnswer[];
  consumed: string[];
  published: string[];
  drawing: DrawingAnswer;
  plan: DrawingAnswer | null;
  mermaid: string;
}

export interface WorkflowSummary {
  name: string;
  description: string;
  contract_version: string;
  code: string;
  statuses: number;
  triggers: number;
  intents: number;
}

export interface WorkflowsAnswer {
  app: string | null;
  digest: string | null;
  workflows: WorkflowSummary[];
}
