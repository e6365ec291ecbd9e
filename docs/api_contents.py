"""Which name stands on which page of the Python reference, and which page of the documentation explains it.

Every name of ``onex.__all__`` and every public name of ``onex.testing`` must be here: ``api_reference`` refuses to write
the pages otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Entry(NamedTuple):
    """A class or function by its home. ``members``: only these of a class are for users; empty: all public ones.

    ``constructed``: users call the class. Otherwise they are given its instances.
    """

    home: str
    members: Sequence[str] = ()
    constructed: bool = True


class Section(NamedTuple):
    """``read`` is the page that explains these names, as ``title`` and path from ``docs``."""

    title: str
    read: tuple[str, str]
    entries: Sequence[Entry]


class ApiPage(NamedTuple):
    file: str
    title: str
    about: str
    sections: Sequence[Section]


LEASES = ("lease", "take_lease", "renew_lease", "release_lease")
ALONE = ("",)
"""Of a class no members: they are those of a port, which is described there."""

ONE_FILE = ("one file, or contract first", "guides/one-file-or-contract-first.md")
STEPS = ("actions and steps", "concepts/actions-and-steps.md")
REDUCER = ("writing a reducer", "guides/writing-a-reducer.md")
INTENTS = ("intents and outcomes", "concepts/intents-and-outcomes.md")
TIMERS = ("timers and messages", "concepts/timers-and-messages.md")
EFFECTS = ("effects and idempotency", "guides/effects-and-idempotency.md")
BLOBS = ("blobs and compute", "concepts/blobs-and-compute.md")
CHANGING = ("changing a workflow that runs", "guides/changing-a-workflow.md")
ISOLATION = ("one instance must not hurt the others", "guides/isolation.md")
REGISTRATION = ("registration of nodes", "concepts/registration.md")
EVENTS = ("events between workflows", "guides/events.md")
STORES = ("stores", "concepts/stores.md")
OTHERS = ("from other processes", "guides/other-processes.md")
PROMISES = ("what is promised", "concepts/promises.md")
PROJECTIONS = ("projections", "concepts/projections.md")
REPLAY = ("replay and code", "concepts/replay-and-code.md")
WHAT_IF = ("what if", "concepts/what-if.md")
DEPLOYING = ("deploying a change", "guides/deploying-a-change.md")
SIMULATION = ("simulation", "concepts/simulation.md")
CONTAINER = ("container", "guides/container.md")
ORCHESTRATION = ("orchestration", "concepts/orchestration.md")
NODE = ("the engine as a node", "guides/engine-as-a-node.md")
ROUTING = ("routing", "guides/routing.md")
TESTING = ("testing your workflow", "guides/testing-your-workflow.md")

PAGES: Sequence[ApiPage] = (
    ApiPage(
        "workflow.md",
        "A workflow in one file",
        "Decorators that declare transitions, intents and their handlers. The contract is derived from them.",
        (
            Section(
                "The declaration",
                ONE_FILE,
                (
                    Entry("authoring.declaration.workflow"),
                    Entry(
                        "authoring.declaration.WorkflowDeclaration",
                        ("on", "move", "effect", "compute", "timer", "send"),
                        constructed=False,
                    ),
                    Entry("authoring.schema_changes.SchemaChanges", ("migrate", "renames"), constructed=False),
                ),
            ),
            Section(
                "Events",
                EVENTS,
                (
                    Entry("authoring.declared_events.DeclaredEvents", ("publishes", "event_handler"), constructed=False),
                    Entry("authoring.event_handler.event_handler"),
                    Entry("kernel.envelope.DataAvailableEvent"),
                ),
            ),
            Section(
                "What the decorators give back",
                ONE_FILE,
                (
                    Entry("authoring.intents.ServedIntent", constructed=False),
                    Entry("authoring.intents.SentIntent", constructed=False),
                    Entry("authoring.intents.PublishedEvent", constructed=False),
                    Entry("authoring.intents.TimerIntent", constructed=False),
                    Entry("authoring.intents.Trigger", constructed=False),
                ),
            ),
            Section("Retries", INTENTS, (Entry("kernel.retry.RetryPolicy"), Entry("kernel.retry.BreakerPolicy"))),
            Section("Quotas", ISOLATION, (Entry("kernel.quota.ResourceLimits"),)),
        ),
    ),
    ApiPage(
        "reducer.md",
        "States, actions and steps",
        "What a handler takes and returns, in both forms of an app. All of it is pure.",
        (
            Section(
                "Values",
                STEPS,
                (
                    Entry("kernel.step.State", ("status", "evolve")),
                    Entry("kernel.action.Payload"),
                    Entry("kernel.action.Nothing"),
                    Entry("kernel.action.Action"),
                    Entry("kernel.action.OutcomeOf"),
                    Entry("kernel.action.WorkflowKey"),
                    Entry("kernel.step.Step"),
                    Entry("kernel.secret.Secret"),
                ),
            ),
            Section("Contract first", REDUCER, (Entry("kernel.machine.reducer"), Entry("kernel.machine.Handlers"))),
            Section(
                "Intents",
                INTENTS,
                (
                    Entry("kernel.intent.intent"),
                    Entry("kernel.intent.IntentDraft"),
                    Entry("kernel.intent.Failure"),
                    Entry("kernel.intent_fields.EnumIntentPriority"),
                    Entry("kernel.intent.EnumIntentType"),
                    Entry("kernel.intent.EnumDelivery"),
                    Entry("kernel.intent.EnumOutcome"),
                ),
            ),
            Section(
                "Timers and messages",
                TIMERS,
                (Entry("kernel.intent.timer"), Entry("kernel.intent.cancel"), Entry("kernel.intent.send")),
            ),
            Section("Changes of schema", CHANGING, (Entry("kernel.migration.migrate"), Entry("kernel.rename.renames"))),
        ),
    ),
    ApiPage(
        "effects.md",
        "Effects and compute",
        "Functions that perform intents. They are called by the engine, and never by a handler.",
        (
            Section(
                "Effects",
                EFFECTS,
                (
                    Entry("nodes.effect.effect"),
                    Entry("kernel.intent.ModelIntent"),
                    Entry("nodes.effect.EffectIO", ("read", "blob"), constructed=False),
                    Entry("kernel.errors.EffectFailed"),
                    Entry("kernel.errors.EffectUnknown"),
                ),
            ),
            Section(
                "Compute and blobs",
                BLOBS,
                (
                    Entry("nodes.compute.compute"),
                    Entry("nodes.chunks.chunked"),
                    Entry("nodes.chunks.cached"),
                    Entry("nodes.compute.ComputeIO", ("read", "blob"), constructed=False),
                    Entry("wiring.compute_workers.compute_workers"),
                    Entry("nodes.compute.AlgorithmRegistry", ("get_algorithm",)),
                    Entry("nodes.compute_node.NodeCompute", ("execute_compute",)),
                    Entry("nodes.compute_node.ModelAlgorithmConfig"),
                    Entry("nodes.compute_node.ModelComputeInput"),
                    Entry("nodes.compute_node.ModelComputeOutput", constructed=False),
                    Entry("kernel.action.Blob"),
                ),
            ),
        ),
    ),
    ApiPage(
        "engine.md",
        "Engine and store",
        "A program opens an engine on a store, or reads and sends beside one that runs elsewhere.",
        (
            Section("Apps", REDUCER, (Entry("app.load_app"), Entry("app.App", constructed=False), Entry(
                        "app.LoadedWorkflow",
                        ("contract", "reducer", "code", "effects", "computes", "folder", "contract_text"),
                        constructed=False,
                    ))),
            Section(
                "The engine",
                PROMISES,
                (
                    Entry("wiring.engine.open"),
                    Entry("wiring.engine.WiredEngine", ("materialize",), constructed=False),
                    Entry(
                        "engine.pattern_engine.ReducerPatternEngine",
                        (
                            "close", "counters", "submit", "submit_many", "stored", "state", "wait", "subscribe", "idle",
                            "state_at", "rollback", "perform", "release", "redrive", "lease", "take_lease", "renew_lease",
                            "release_lease",
                        ),
                    ),
                    Entry("engine.pending.Committed"),
                    Entry("engine.held_lease.HeldLease", ("submit", "lease"), constructed=False),
                    Entry("kernel.lease.WorkflowLease"),
                    Entry("kernel.action.ModelAction"),
                    Entry("engine.limits.Limits"),
                ),
            ),
            Section(
                "Other processes",
                OTHERS,
                (
                    Entry("wiring.client.connect"),
                    Entry(
                        "wiring.client.EngineClient",
                        ("submit", "perform", "action_status", "wait", "state", "stored", "history", *LEASES, "close"),
                        constructed=False,
                    ),
                    Entry("wiring.store_access.open_reader"),
                    Entry("wiring.store_access.open_sender"),
                ),
            ),
            Section("Settings from the environment", STORES, (Entry("settings.Settings"), Entry("settings.read_settings"))),
            Section("Errors", PROMISES, (Entry("kernel.errors.OnexError"), Entry("kernel.errors.Refused"))),
        ),
    ),
    ApiPage(
        "testing.md",
        "Testing",
        "Tests of reducers without an engine, and the suite that every store must pass.",
        (Section("Given, when, then", TESTING, ()),),
    ),
    ApiPage(
        "history.md",
        "Replay, what-if and simulation as a library",
        "What the commands `onex replay`, `onex whatif`, `onex forward`, `onex shadow`, `onex versions` and `onex simulate` call.",
        (
            Section(
                "Replaying",
                REPLAY,
                (
                    Entry("engine.registry.ReducerRegistry"),
                    Entry("engine.registry.Workflow"),
                    Entry("replay.replay.Replay"),
                    Entry("replay.history_export.export_history"),
                    Entry("replay.history_reader.HistoryReader", ("open",), constructed=False),
                ),
            ),
            Section("What if", WHAT_IF, (Entry("whatif.what_if.WhatIf"),)),
            Section(
                "Before and while new code runs",
                DEPLOYING,
                (
                    Entry("processes.forward_check.check_forward"),
                    Entry("processes.forward_check.ForwardTask"),
                    Entry("whatif.forward_result.ForwardResult"),
                    Entry("whatif.forward_result.ForwardFinding"),
                    Entry("processes.shadow_run.ShadowProcess"),
                    Entry("processes.shadow_run.ShadowTask"),
                    Entry("whatif.shadow_counts.ShadowCounts"),
                    Entry("replay.code_standing.code_standing"),
                    Entry("replay.code_standing.CodeStanding", constructed=False),
                    Entry("replay.code_standing.Holding", constructed=False),
                ),
            ),
            Section(
                "Simulation of an app",
                SIMULATION,
                (Entry("simulation.app_sim.World", constructed=False), Entry("simulation.app_sim.at_end")),
            ),
            Section(
                "Simulation of a program of your own",
                SIMULATION,
                (Entry("simulation.seeded_run.run"), Entry("simulation.seeded_run.Sim")),
            ),
        ),
    ),
    ApiPage(
        "services.md",
        "Containers, routing and delegation",
        "Parts that programs around an engine use.",
        (
            Section("Containers", CONTAINER, (Entry("container.ONEXContainer"),)),
            Section(
                "The engine as a node",
                NODE,
                (
                    Entry("nodes.reducer_pattern.NodeReducerPatternEngine"),
                    Entry("nodes.services.ProtocolReducerPatternEngine", constructed=False),
                    Entry("wiring.integration_bridge.IntegrationBridge"),
                    Entry("nodes.reducer.NodeReducer"),
                    Entry("nodes.reducer.ModelReducerInput"),
                    Entry("nodes.reducer.ModelReducerOutput", constructed=False),
                ),
            ),
            Section(
                "Effects as a node, and a pipeline of nodes",
                NODE,
                (
                    Entry("nodes.node_effect.ResourceManagedEffectService"),
                    Entry("nodes.node_effect.ModelEffectInput"),
                    Entry("nodes.node_effect.ModelEffectOutput", constructed=False),
                    Entry("nodes.error_handling.standard_error_handling"),
                    Entry("nodes.error_handling.PipelineErrorContext"),
                ),
            ),
            Section(
                "An orchestration as a node",
                ORCHESTRATION,
                (
                    Entry("orchestration.node.NodeOrchestrator"),
                    Entry("orchestration.node.ModelOrchestratorInput"),
                    Entry("orchestration.node.ModelOrchestratorOutput", constructed=False),
                    Entry("contracts.model.bus.ModelDependency"),
                ),
            ),
            Section(
                "Nodes that register, and the bridge's nodes",
                REGISTRATION,
                (
                    Entry("wiring.self_registration.EngineNode", ALONE),
                    Entry("wiring.self_registration.registered"),
                    Entry("wiring.bridge_nodes.NodeBridgeRegistry"),
                    Entry("wiring.bridge_nodes.NodeBridgeOrchestrator", ALONE),
                    Entry("wiring.bridge_nodes.NodeBridgeReducer", ALONE),
                ),
            ),
            Section(
                "Routing",
                ROUTING,
                (
                    Entry("seed_names.workflow_router.WorkflowRouter"),
                    Entry("seed_names.workflow_router.ReducerInstance"),
                    Entry("seed_names.workflow_router.get_metrics_collector"),
                    Entry("seed_names.workflow_router.get_circuit_breaker"),
                    Entry("seed_names.workflow_router.RoutingMetrics", constructed=False),
                    Entry("engine.circuit_breaker.CircuitBreaker", constructed=False),
                ),
            ),
            Section(
                "Isolation",
                ISOLATION,
                (
                    Entry("seed_names.instance_isolation.InstanceIsolationManager"),
                    Entry("seed_names.instance_isolation.IsolationContext", constructed=False),
                    Entry("seed_names.instance_isolation.ResourceUse", constructed=False),
                ),
            ),
            Section(
                "State over time",
                STORES,
                (
                    Entry("seed_names.workflow_state_manager.WorkflowStateManager"),
                    Entry("wiring.store_upkeep.StoreUpkeep"),
                ),
            ),
            Section("Delegation", REDUCER, (Entry("seed_names.subreducer_framework.SubreducerFramework"),)),
        ),
    ),
    ApiPage(
        "ports.md",
        "Ports",
        "What the engine asks of the world, as protocols that an adapter implements, and the records that cross them.",
        (
            Section(
                "Protocols",
                STORES,
                tuple(
                    Entry(f"ports.{name}")
                    for name in (
                        "Store", "Reader", "Sender", "Projections", "Retention", "Executor", "Result", "Blobs", "Clock", "Ids",
                        "Telemetry",
                    )
                ),
            ),
            Section(
                "What is read",
                STORES,
                tuple(
                    Entry(f"ports.{name}")
                    for name in (
                        "Position", "Pointer", "Stored", "LogEntry", "OutboxRow", "EnumOutboxState", "SnapshotRow",
                        "RejectionRow", "InboxRow", "Counts", "InFlight", "EnumInFlight", "Code", "Env",
                    )
                ),
            ),
            Section(
                "What is committed",
                STORES,
                tuple(
                    Entry(f"ports.{name}")
                    for name in (
                        "Commit", "KeyChange", "LogRow", "NewIntent", "NewBlob", "Note", "Rejection", "InboxAnswer", "Applied",
                        "Conflict",
                    )
                ),
            ),
            Section("Rows of projections", PROJECTIONS, (Entry("ports.ProjectionRow"),)),
            Section(
                "Adapters",
                STORES,
                (
                    Entry("adapters.sqlite.store.SqliteStore", ("open",), constructed=False),
                    Entry("adapters.memory.store.MemoryStore", ALONE),
                    Entry("adapters.memory.bus.MemoryBus", ALONE),
                    Entry("adapters.memory.bus.MemoryBroker", ALONE),
                    Entry("adapters.clock.SystemClock", ALONE),
                    Entry("adapters.clock.UuidV7", ALONE),
                    Entry("adapters.structlog_telemetry.StructlogTelemetry", ALONE),
                ),
            ),
        ),
    ),
)  # fmt: skip
