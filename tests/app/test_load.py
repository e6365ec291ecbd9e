"""A folder becomes an app: everything wrong is reported at once and at its line, and nothing wrong is executed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest

from onex.app import load_app
from onex.kernel.action import Action, WorkflowKey
from onex.kernel.errors import ContractError
from onex.kernel.finding import EnumSeverity, Finding
from onex.testing.harness import given
from tests.app.apps import PAYLOADS, edit, job, write


def refused(path: Path) -> list[Finding]:
    with pytest.raises(ContractError) as caught:
        load_app(path)
    found = [one for one in caught.value.findings if isinstance(one, Finding)]
    assert all(str(one) in str(caught.value) for one in found[:10] if one.severity is EnumSeverity.ERROR)
    return found


def reported(path: Path, root: Path) -> list[tuple[str, int, str]]:
    return [(str(Path(one.path).relative_to(root)), one.line, one.code) for one in refused(path)]


def test_a_folder_with_a_contract_is_an_app_of_one_workflow(tmp_path: Path) -> None:
    app = load_app(job(tmp_path / "job"))
    assert (app.name, list(app.workflows), app.findings) == ("job", ["job"], ())
    workflow = app.workflows["job"]
    assert workflow.name == workflow.reducer.workflow_type == workflow.code.workflow_type == "job"
    assert (workflow.code.contract_version, workflow.code.state_schema, len(workflow.code.digest)) == ("1.0.0", 1, 32)
    assert list(workflow.effects) == ["workshop"]
    assert dict(workflow.computes) == {}
    assert workflow.unleased == frozenset()
    classes = vars(sys.modules[workflow.reducer.state_type.__module__])
    begin = classes["Begin"](what="a")
    assert type(begin) is workflow.reducer.payloads["begin"]
    key, ident = WorkflowKey("job", "1"), UUID(int=1).bytes
    done = workflow.reducer.delta(workflow.reducer.initial(), Action(key, "begin", begin, ident, 0, ident))
    assert (done.state.status, [one.name for one in done.intents]) == ("busy", ["make"])


def test_a_folder_of_folders_is_an_app_of_their_workflows(tmp_path: Path) -> None:
    job(tmp_path / "shop" / "one", "one")
    job(tmp_path / "shop" / "two", "two")
    write(tmp_path / "shop", notes__readme=" ")
    assert list(load_app(tmp_path / "shop").workflows) == ["one", "two"]


def test_workflows_of_one_app_share_modules_and_root_effects(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    write(shop, effects="from .one.effects import make as make")
    job(shop / "one", "one")
    job(shop / "two", "two", effects="", payloads="from ..one.payloads import Begin, Job, Made, Make")
    app = load_app(shop)
    assert app.workflows["two"].effects["workshop"] is app.workflows["one"].effects["workshop"]
    assert app.workflows["two"].reducer.state_type is app.workflows["one"].reducer.state_type


def test_a_workflow_without_reducer_file_moves_statuses_only(tmp_path: Path) -> None:
    app = load_app(job(tmp_path / "job", reducer=""))
    assert app.workflows["job"].reducer.initial().status == "new"


# --- what is no app ---------------------------------------------------------------------------------------------------


def test_what_is_no_app_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    write(tmp_path / "yml")
    (tmp_path / "yml").mkdir(exist_ok=True)
    (tmp_path / "yml" / "contract.yml").write_text("")
    for name, said in [
        ("nowhere", "is no folder"),
        ("file", "name the folder that holds it"),
        ("empty", "holds no contract.yaml"),
        ("yml", "rename contract.yml to contract.yaml"),
    ]:
        with pytest.raises(ContractError, match=said):
            load_app(tmp_path / name)


def test_an_app_is_one_workflow_or_a_folder_of_them_not_both(tmp_path: Path) -> None:
    job(tmp_path / "job")
    job(tmp_path / "job" / "sub", "sub")
    with pytest.raises(ContractError, match=r"of its own and in sub"):
        load_app(tmp_path / "job")


def test_a_folder_bears_its_workflow_s_name(tmp_path: Path) -> None:
    job(tmp_path / "shop" / "one", "two")
    assert reported(tmp_path / "shop", tmp_path) == [("shop/one/contract.yaml", 1, "folder_name")]


def test_payloads_are_needed(tmp_path: Path) -> None:
    assert reported(job(tmp_path / "job", payloads=""), tmp_path) == [("job/payloads.py", 0, "missing_file")]


def test_a_contract_is_utf_8(tmp_path: Path) -> None:
    job(tmp_path / "job")
    path = tmp_path / "job" / "contract.yaml"
    path.write_bytes(path.read_bytes() + b"# \xff")
    assert reported(tmp_path / "job", tmp_path) == [("job/contract.yaml", 15, "not_utf8")]


# --- before any import ------------------------------------------------------------------------------------------------

WATCHER = """
import json, sys
from pathlib import Path
import cel
from onex.app import load_app
from onex.kernel.errors import ContractError

events = []
def hook(name, arguments):
    if name == "import":
        events.append(arguments[0])
    elif name == "exec" and "/apps/" in str(getattr(arguments[0], "co_filename", "")):
        events.append(arguments[0].co_filename)
sys.addaudithook(hook)

seen = []
for app in sys.argv[1:]:
    events.clear()
    try:
        load_app(Path(app))
        seen.append(["loaded", *events])
    except ContractError as error:
        seen.append(list(events))
print(json.dumps(seen))
"""
HOSTILE = [
    ("state_model: Job", "state_model: os:system"),
    ("state_model: Job", "state_model: ../../evil"),
    ("payload: Begin", "payload: builtins.eval"),
    ("payload: Make", "payload: \"__import__('os')\""),
    ("target: workshop", "target: workshop, module: os"),
    ("name: job", "name: ../job"),
    ("trigger: begin", "trigger: begin, conditions: [{expression: __import__('os').system('x')}]"),
    ("node_type: REDUCER_GENERIC", "node_type: !!python/object/apply:os.system [x]"),
    ("terminal_states: [done, lost]", "terminal_states: [done, lsot]"),
]


def watched(*apps: Path) -> list[list[str]]:
    """What another Python imported, and which files of the apps it executed, while it loaded each."""
    run = subprocess.run([sys.executable, "-c", WATCHER, *map(str, apps)], capture_output=True, text=True, check=True)
    seen: list[list[str]] = json.loads(run.stdout)
    return seen


def test_a_contract_with_an_error_imports_nothing(tmp_path: Path) -> None:
    apps = []
    for n, (old, new) in enumerate(HOSTILE):
        apps.append(job(tmp_path / "apps" / f"job{n}"))
        edit(apps[-1] / "contract.yaml", old, new)
    broken = job(tmp_path / "apps" / "broken", reducer="def (:")
    sound = job(tmp_path / "apps" / "sound")
    *refused, loaded = watched(*apps, broken, sound)
    assert refused == [[] for _ in range(len(HOSTILE) + 1)]
    assert loaded[0] == "loaded"
    assert str(sound / "reducer.py") in loaded


def test_python_that_does_not_parse_is_reported_for_all_files(tmp_path: Path) -> None:
    app = job(tmp_path / "job", reducer="def (:", effects="x = = 1")
    assert reported(app, tmp_path) == [("job/effects.py", 1, "python_syntax"), ("job/reducer.py", 1, "python_syntax")]


# --- at import --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "line", "said"),
    [
        ("x = 1\nraise RuntimeError('no')", 2, "RuntimeError: no"),
        ("import sys\n\nsys.exit(3)", 3, "SystemExit: 3"),
        ("import nowhere_at_all", 1, "No module named 'nowhere_at_all'"),
        ("from job.payloads import Job", 1, "No module named 'job'"),
        ("from .payloads import Jbo", 1, "cannot import name 'Jbo'"),
        ("from ...far import x", 1, "attempted relative import|No module named"),
        ("def f():\n    return 1 / 0\n\nf()", 2, "ZeroDivisionError"),
    ],
)
def test_a_module_that_raises_is_reported_at_the_line_it_raised_on(
    tmp_path: Path, code: str, line: int, said: str
) -> None:
    findings = refused(job(tmp_path / "job", reducer=code))
    assert [(one.path, one.line, one.code) for one in findings] == [
        (str(tmp_path / "job" / "reducer.py"), line, "import_failed")
    ]
    assert any(part in findings[0].message for part in said.split("|"))


def test_an_app_that_failed_loads_once_it_is_fixed(tmp_path: Path) -> None:
    app = job(tmp_path / "job", effects="raise RuntimeError('first')")
    refused(app)
    job(app)
    assert list(load_app(app).workflows) == ["job"]


def test_two_handlers_for_one_trigger_are_reported_where_the_second_stands(tmp_path: Path) -> None:
    app = job(tmp_path / "job")
    edit(app / "reducer.py", '@jobs.on("made")', '@jobs.on("begin")')
    assert reported(app, tmp_path) == [("job/reducer.py", 15, "import_failed")]


def test_a_reducer_file_has_exactly_one_table(tmp_path: Path) -> None:
    assert reported(job(tmp_path / "a", reducer="x = 1"), tmp_path) == [("a/reducer.py", 1, "handlers")]
    two = job(tmp_path / "b")
    edit(two / "reducer.py", "jobs = reducer(Job)", "jobs = reducer(Job)\nmore = reducer(Job)")
    assert reported(two, tmp_path) == [("b/reducer.py", 1, "handlers")]


# --- classes, handlers and functions at their lines -------------------------------------------------------------------


def test_a_field_is_reported_at_its_line_in_the_file_that_has_it(tmp_path: Path) -> None:
    app = job(tmp_path / "job")
    edit(app / "payloads.py", "    where: str\n", "    where: str\n    tags: set[str]\n")
    write(app, inner="from onex import Payload\n\n\nclass Inner(Payload):\n    raw: bytes\n")
    edit(app / "payloads.py", "class Begin(Payload):\n", "class Begin(Payload):\n    inner: Inner\n")
    edit(app / "payloads.py", "from onex import", "from .inner import Inner\nfrom onex import")
    assert reported(app, tmp_path) == [("job/inner.py", 5, "field_type"), ("job/payloads.py", 23, "field_type")]


def test_a_handler_is_reported_at_its_line(tmp_path: Path) -> None:
    app = job(tmp_path / "job")
    edit(app / "reducer.py", "action: Action[Begin]", "action: Action[Made]")
    assert reported(app, tmp_path) == [("job/reducer.py", 11, "handler")]


def test_an_intent_without_a_function(tmp_path: Path) -> None:
    app = job(tmp_path / "job")
    edit(app / "contract.yaml", "target: workshop", "target: wrokshop")
    found = refused(app)
    assert [(one.code, one.line, one.fix) for one in found] == [
        ("no_executor", 13, "did you mean 'workshop'?"),
        ("unused_function", 9, "did you mean 'wrokshop'?"),
    ]
    assert list(load_app(app, known_targets={"wrokshop"}).workflows) == ["job"]


def test_a_public_trigger_that_clients_may_send_anyway_is_a_warning(tmp_path: Path) -> None:
    app = job(tmp_path / "job")
    edit(app / "contract.yaml", "state_model: Job", "state_model: Job\npublic: [made, begin]")
    loaded = load_app(app)
    assert [(one.code, one.severity, one.line, one.column) for one in loaded.findings] == [
        ("public_already", "warning", 5, 16)
    ]
    assert loaded.workflows["job"].public == {"made", "begin"}


def test_what_another_workflow_sends_is_opened_by_the_contract_of_the_receiver(tmp_path: Path) -> None:
    theirs = PAYLOADS.replace(
        "class Begin(Payload):\n    what: str\n", "from ..receiver.payloads import Begin  # noqa\n"
    )
    job(tmp_path / "app" / "receiver", "receiver")
    job(tmp_path / "app" / "sender", "sender", payloads=theirs)
    sends = "  - {name: tell, type: action_send, target: receiver, trigger: begin, payload: Begin}\n"
    sender, receiver = (tmp_path / "app" / name / "contract.yaml" for name in ("sender", "receiver"))
    sender.write_text(sender.read_text() + sends)
    edit(receiver, "state_model: Job", "state_model: Job\npublic: [begin]")
    assert load_app(tmp_path / "app").findings == ()


def test_a_function_that_no_intent_needs_is_a_warning(tmp_path: Path) -> None:
    app = job(tmp_path / "job")
    extra = '\n\n@effect("garden")\ndef dig(intent: ModelIntent[Make]) -> None: ...\n'
    (app / "effects.py").write_text((app / "effects.py").read_text() + extra)
    assert [(one.code, one.severity, one.line) for one in load_app(app).findings] == [
        ("unused_function", "warning", 14)
    ]


@pytest.mark.parametrize(
    ("old", "new", "code", "line"),
    [
        ("-> Made:", "-> Make:", "function_result", 9),
        ("-> Made:", "-> None:", "function_result", 9),
        ("ModelIntent[Make])", "ModelIntent[Made])", "function_payload", 9),
        ("(intent: ModelIntent[Make])", "(intent)", "function_shape", 8),
        ("(intent: ModelIntent[Make])", "(intent: ModelIntent[Make], io: int)", "function_shape", 8),
        ("-> Made:", "-> Made | None:", "function_shape", 8),
    ],
)
def test_an_effect_must_fit_its_intent_and_its_outcome(
    tmp_path: Path, old: str, new: str, code: str, line: int
) -> None:
    app = job(tmp_path / "job")
    edit(app / "effects.py", old, new)
    assert reported(app, tmp_path) == [("job/effects.py", line, code)]


def test_two_functions_for_one_target(tmp_path: Path) -> None:
    app = job(tmp_path / "job")
    twice = '\n\n@effect("workshop")\ndef again(intent: ModelIntent[Make]) -> Made: ...\n'
    (app / "effects.py").write_text((app / "effects.py").read_text() + twice)
    found = refused(app)
    assert [(one.code, one.line) for one in found] == [("duplicate", 14)]
    assert "effects.py:9" in found[0].message


def test_a_compute_task_needs_its_function(tmp_path: Path) -> None:
    app = job(tmp_path / "job", effects="")
    edit(app / "contract.yaml", "type: file_operation", "type: compute_task")
    assert reported(app, tmp_path) == [("job/contract.yaml", 13, "no_executor")]
    write(app, compute=(
        "from onex import compute\nfrom .payloads import Made, Make\n\n"
        "@compute('workshop')\ndef think(task: Make) -> Made:\n    return Made(where=task.what)\n"
    ))  # fmt: skip
    assert list(load_app(app).workflows["job"].computes) == ["workshop"]


# --- between workflows ------------------------------------------------------------------------------------------------


def sender(shop: Path, intent: str) -> Path:
    job(shop / "one", "one")
    job(
        shop / "two",
        "two",
        payloads=(shop / "one" / "payloads.py").read_text() + "\n\nfrom ..one.payloads import Begin\n",
    )
    path = shop / "two" / "contract.yaml"
    path.write_text(path.read_text() + f"  - {intent}\n")
    return shop


def test_an_action_is_sent_to_a_workflow_and_trigger_of_the_app_with_its_payload(tmp_path: Path) -> None:
    app = load_app(
        sender(tmp_path / "shop", "{name: tell, type: action_send, target: one, trigger: begin, payload: Begin}")
    )
    assert app.workflows["two"].reducer.intents.by_name["tell"].trigger == "begin"


@pytest.mark.parametrize(
    ("intent", "code", "fix"),
    [
        (
            "{name: t, type: action_send, target: oen, trigger: begin, payload: Begin}",
            "unknown_workflow",
            "did you mean 'one'?",
        ),
        (
            "{name: t, type: action_send, target: one, trigger: begn, payload: Begin}",
            "unknown_trigger",
            "did you mean 'begin'?",
        ),
        (
            "{name: t, type: action_send, target: one, trigger: begin, payload: Make}",
            "send_payload",
            "from ..one.payloads import Begin, and name it here",
        ),
    ],
)
def test_a_send_that_no_workflow_can_receive(tmp_path: Path, intent: str, code: str, fix: str) -> None:
    found = refused(sender(tmp_path / "shop", intent))
    assert [(one.code, one.line, one.fix) for one in found] == [(code, 15, fix)]


def test_problems_of_all_workflows_are_reported_at_once(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    for name in ("one", "two"):
        job(shop / name, name)
        edit(shop / name / "contract.yaml", "to_state: busy", "to_stat: busy")
    assert {one.path.split("/")[-2] for one in refused(shop)} == {"one", "two"}
    with pytest.raises(ContractError, match="shop cannot be loaded: 4 problems"):
        load_app(shop)


def test_a_send_that_was_applied_brings_nothing_back(tmp_path: Path) -> None:
    told_of = "outcomes: {succeeded: made, failed: failed, unknown: failed}"
    send = f"{{name: t, type: action_send, target: one, trigger: begin, payload: Begin, {told_of}}}"
    found = refused(sender(tmp_path / "shop", send))
    assert [(one.code, one.line, one.fix) for one in found] == [
        ("outcome_payload", 15, "name a trigger without payload")
    ]


def test_what_is_cancelled_on_exit_is_cancelled_by_the_machine_when_the_status_is_left(tmp_path: Path) -> None:
    app = job(tmp_path / "job")
    edit(app / "contract.yaml", "unknown: failed}}", "unknown: failed}, on_exit: cancel}")
    reducer = load_app(app).workflows["job"].reducer
    left = given(reducer).when("begin", reducer.payloads["begin"](what="a"))
    assert [(one.name, one.to) for one in left.emitted] == [("@cancel", "make"), ("make", "")]
