"""One Python file is an app: what is derived from it, what is wrong with it, and that importing it runs no handler."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import onex
from onex.app import load_app, load_compute
from onex.kernel.errors import ContractError, GuardFailed
from onex.kernel.finding import Finding
from onex.testing.harness import given
from tests.authoring.declared import EFFECT, HANDLERS, HEAD, WHOLE, app, line_of


def refused(path: Path) -> list[Finding]:
    with pytest.raises(ContractError) as caught:
        load_app(path)
    return [one for one in caught.value.findings if isinstance(one, Finding)]


def found(folder: Path, text: str) -> list[tuple[int, str]]:
    """``(line, code)`` of each finding; all are in app.py."""
    findings = refused(app(folder, text))
    assert {Path(one.path).name for one in findings} == {"app.py"}
    assert all(one.message and one.fix for one in findings)
    return [(one.line, one.code) for one in findings]


# --- what is derived --------------------------------------------------------------------------------------------------


def test_a_folder_with_app_py_is_an_app_and_so_is_the_file(tmp_path: Path) -> None:
    folder = app(tmp_path / "jobs")
    by_folder, by_file = load_app(folder), load_app(folder / "app.py")
    assert by_folder.findings == by_file.findings == ()
    assert by_folder.digest == by_file.digest
    assert by_folder.workflows["jobs"].code == by_file.workflows["jobs"].code
    assert (by_folder.root, by_file.root) == (folder, folder / "app.py")


def test_a_file_may_have_any_name(tmp_path: Path) -> None:
    app(tmp_path)
    (tmp_path / "app.py").rename(tmp_path / "billing.py")
    assert list(load_app(tmp_path / "billing.py").workflows) == ["jobs"]
    with pytest.raises(ContractError, match=r"holds no contract\.yaml"):
        load_app(tmp_path)


def test_a_contract_wins_over_an_app_py_beside_it(tmp_path: Path) -> None:
    """An app.py beside a contract was there before this form was: it is a program of the user's."""
    from tests.app.apps import job

    folder = job(tmp_path / "job")
    (folder / "app.py").write_text("raise SystemExit('not to be imported')")
    assert list(load_app(folder).workflows) == ["job"]


def test_statuses_come_from_the_type_and_final_ones_from_the_edges(tmp_path: Path) -> None:
    machine = load_app(app(tmp_path)).workflows["jobs"].reducer.machine
    assert machine.statuses == ("new", "busy", "done", "lost")
    assert (machine.initial, machine.terminal) == ("new", frozenset({"done", "lost"}))


def test_payloads_come_from_annotations(tmp_path: Path) -> None:
    contract = load_app(app(tmp_path)).workflows["jobs"].contract
    assert contract.payloads == {"begin": "Begin", "made": "Made", "failed": "Failure"}


def test_an_intent_that_no_handler_answers_has_no_outcomes(tmp_path: Path) -> None:
    text = (
        HEAD
        + EFFECT.replace('succeeded="made", failed="failed", unknown="failed"', "")
        + """

@jobs.on("new -> done")
def begin(job: Job, action: Action[Begin]) -> Step[Job]:
    return Step(job, Make(what="x"))


jobs.move("lose", "new -> lost")
jobs.move("start", "new -> busy")
jobs.move("end", "busy -> done")
"""
    )
    (intent,) = load_app(app(tmp_path, text)).workflows["jobs"].contract.intents
    assert (intent.name, intent.target, intent.type, intent.outcomes) == ("make", "make", "api_call", None)


@pytest.mark.parametrize("option", ["retry=8", "retry=onex.RetryPolicy(max_attempts=8)", "retry=onex.RetryPolicy(8)"])
def test_a_number_of_tries_and_a_policy_of_that_many_wait_alike(tmp_path: Path, option: str) -> None:
    text = WHOLE.replace("@jobs.effect(", f"@jobs.effect({option}, ").replace("from onex", "import onex\nfrom onex", 1)
    retry = load_app(app(tmp_path, text)).workflows["jobs"].reducer.intents.by_name["make"].retry
    assert (retry.max_attempts, retry.initial_s, retry.max_s) == (8, 0.5, 30.0)
    assert retry == onex.RetryPolicy(max_attempts=8)


def test_a_timeout_is_the_timer_of_a_status(tmp_path: Path) -> None:
    text = WHOLE + '\n\njobs.move("give_up", "busy -> lost", timeout=timedelta(minutes=5))\n'
    states = {
        one.name: one for one in load_app(app(tmp_path, text)).workflows["jobs"].contract.state_machine.states or ()
    }
    assert (states["busy"].timeout_ms, states["busy"].on_timeout) == (300_000, "give_up")
    assert states["new"].timeout_ms is None


def test_a_timer_is_named_by_its_handler(tmp_path: Path) -> None:
    text = WHOLE.replace(", Make(what=action", ", hurry.at(action.issued_at), Make(what=action")
    text += """

@jobs.timer("busy -> busy")
def hurry(job: Job, action: Action[Nothing]) -> Step[Job]:
    return Step(job.evolve(what="hurried"))
"""
    loaded = load_app(app(tmp_path, text)).workflows["jobs"]
    begin = loaded.reducer.payloads["begin"]
    test = given(loaded.reducer).when("begin", begin(what="a"))
    assert [one.name for one in test.emitted] == ["hurry", "make"]
    test.when("hurry").then(status="busy", what="hurried")


def test_one_trigger_may_have_a_handler_for_each_status(tmp_path: Path) -> None:
    text = (
        WHOLE
        + """

@jobs.on("made", "new -> lost")
def too_soon(job: Job, action: Action[Made]) -> Step[Job]:
    return Step(job.evolve(what="too soon"))
"""
    )
    reducer = load_app(app(tmp_path, text)).workflows["jobs"].reducer
    made = reducer.payloads["made"]
    given(reducer).when("made", made(where="x")).then(status="lost", what="too soon")
    begin = reducer.payloads["begin"]
    given(reducer).when("begin", begin(what="a")).when("made", made(where="x")).then(status="done", what="a")


def test_conditions_are_those_of_a_contract(tmp_path: Path) -> None:
    text = WHOLE.replace('@jobs.on("new -> busy")', '@jobs.on("new -> busy", when="payload.what.size() > 0")')
    reducer = load_app(app(tmp_path, text)).workflows["jobs"].reducer
    given(reducer).when("begin", reducer.payloads["begin"](what="")).then_refused(GuardFailed)


def test_two_workflows_of_a_file_send_to_each_other(tmp_path: Path) -> None:
    loaded = load_app(Path(__file__).parent / "apps" / "family.py")
    parent, child = loaded.workflows["parent"], loaded.workflows["child"]
    test = given(parent.reducer).when("begin")
    (sent,) = test.emitted
    assert (sent.name, sent.spec.target, sent.spec.trigger, sent.to) == ("start", "child", "start", "c1")
    assert sent.payload is not None
    given(child.reducer).when("start", sent.payload).then(status="working")


def test_an_effect_and_a_message_may_outlive_their_instance(tmp_path: Path) -> None:
    text = (Path(__file__).parent / "apps" / "family.py").read_text()
    text = text.replace('child.send(parent, "ended")', 'child.send(parent, "ended", detached=True)')
    sent = load_app(app(tmp_path, text)).workflows["child"].reducer.intents.by_name["ended"]
    served = WHOLE.replace('@jobs.effect(succeeded="made"', '@jobs.effect(detached=True, succeeded="made"')
    done = load_app(app(tmp_path, served)).workflows["jobs"].reducer.intents.by_name["make"]
    plain = load_app(app(tmp_path, WHOLE)).workflows["jobs"].reducer.intents.by_name["make"]
    assert (sent.detached, done.detached, plain.detached) == (True, True, False)


def test_a_compute_function_is_found_by_a_worker(tmp_path: Path) -> None:
    text = (
        HEAD
        + """

@jobs.compute(succeeded="made", failed="failed", unknown="failed")
def make(task: Make) -> Made:
    return Made(where=task.what.upper())
"""
        + HANDLERS
    )
    folder = app(tmp_path, text)
    function = load_compute(folder, load_app(folder).digest, "jobs", "make")
    made = function(type("Task", (), {"what": "x"})())
    assert getattr(made, "where") == "X"  # noqa: B009  # the function's result is an object to its caller


# --- what is wrong ----------------------------------------------------------------------------------------------------


def test_everything_wrong_is_reported_at_once_at_its_line(tmp_path: Path) -> None:
    text = WHOLE.replace('"busy -> done"', '"busi -> done"')
    text = text.replace("def begin(job: Job, action: Action[Begin])", "def begin(job, action)")
    text += """

@jobs.on("made", "busi -> lost")
def other(job: Job, action: Action[Made]) -> Step[Job]:
    return Step(job)


@jobs.effect()
def bare(intent) -> None:
    pass
"""
    lines = dict(found(tmp_path, text))
    assert lines[line_of(text, '"busi -> done"')] == "unknown_state"
    assert lines[line_of(text, '"new -> busy"')] == "handler"
    assert lines[line_of(text, '"busi -> lost"')] == "two_handlers"
    assert lines[line_of(text, "@jobs.effect()")] == "function_shape"


@pytest.mark.parametrize(
    ("old", "new", "part", "code"),
    [
        ('"new -> busy"', '"new - busy"', '"new - busy"', "not_an_edge"),
        ('"new -> busy"', '"new -> "', '"new -> "', "not_an_edge"),
        ('"new -> busy"', '"new | -> busy"', '"new | -> busy"', "not_an_edge"),
        ('status: Literal["new", "busy", "done", "lost"] = "new"', 'other: str = ""', 'workflow("jobs"', "no_statuses"),
        ('jobs.move(make.failed, "busy -> lost")', 'jobs.move("busy -> lost")', 'jobs.move("busy', "no_trigger"),
        ('jobs.move(make.failed, "busy -> lost")', 'jobs.move("failed", "* -> lost")', '"* -> lost"', "no_terminal"),
        ('= "new"', '= "old"', 'workflow("jobs"', "unknown_state"),
        ('workflow("jobs", Job)', 'workflow("jobs", Begin)', 'workflow("jobs"', "not_a_state"),
        ('workflow("jobs", Job)', 'workflow("my jobs", Job)', 'workflow("my jobs"', "bad_name"),
        ('"busy -> lost")', '"busy -> lost", timeout=5)', "timeout=5", "state_timeout"),
        ('"busy -> lost")', '"busy -> lost", timeout=timedelta(-1))', "timeout=", "out_of_range"),
        ("def begin(", "class begin:\n    pass\n\n\ndef _(", '"new -> busy"', "not_a_function"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_declaration_has_a_name_and_a_line(
    tmp_path: Path, old: str, new: str, part: str, code: str
) -> None:
    text = WHOLE.replace(old, new)
    assert (line_of(text, part), code) in found(tmp_path, text)


def test_an_effect_without_brackets_is_not_forgotten(tmp_path: Path) -> None:
    text = WHOLE + "\n\n@jobs.effect\ndef other(intent: ModelIntent[Make]) -> None:\n    pass\n"
    assert found(tmp_path, text) == [(line_of(text, "@jobs.effect\n".strip(), 2), "not_called")]


def test_a_file_without_a_workflow_says_what_to_write(tmp_path: Path) -> None:
    (one,) = refused(app(tmp_path, "x = 1\n"))
    assert (one.code, one.line) == ("no_workflow", 1)
    assert "workflow(" in one.fix


def test_a_syntax_error_runs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    text = f"open({str(marker)!r}, 'w')\ndef broken(:\n"
    assert [one.code for one in refused(app(tmp_path / "a", text))] == ["python_syntax"]
    assert not marker.exists()


def test_loading_calls_no_handler_and_no_effect(tmp_path: Path) -> None:
    text = WHOLE.replace("    return Step(job", "    raise SystemExit('a handler ran')\n    return Step(job")
    text = text.replace('    return Made(where="here")', "    raise SystemExit('an effect ran')")
    assert load_app(app(tmp_path, text)).findings == ()


# --- code and lock ----------------------------------------------------------------------------------------------------


def test_a_change_of_an_effect_is_no_change_of_what_decides(tmp_path: Path) -> None:
    before = load_app(app(tmp_path / "a")).workflows["jobs"].code
    after = load_app(app(tmp_path / "b", WHOLE.replace('where="here"', 'where="there"'))).workflows["jobs"].code
    other = load_app(app(tmp_path / "c", WHOLE.replace("evolve(what=action.payload.what)", "evolve(what='x')")))
    assert before == after
    assert other.workflows["jobs"].code != before


def test_an_effect_that_a_handler_calls_decides(tmp_path: Path) -> None:
    text = WHOLE.replace("    return Step(job)\n", "    make(None)  # type: ignore[arg-type]\n    return Step(job)\n")
    first = load_app(app(tmp_path / "a", text)).workflows["jobs"].code
    second = load_app(app(tmp_path / "b", text.replace('where="here"', 'where="there"'))).workflows["jobs"].code
    assert first != second


def test_it_runs_and_replays_like_any_app(tmp_path: Path) -> None:
    folder = app(tmp_path / "jobs")

    async def go() -> tuple[str, str]:
        async with await onex.open(f"sqlite:///{tmp_path}/store.db", folder) as engine:
            first = await engine.submit("jobs:1", "begin", {"what": "a"})
            last = await engine.wait("jobs:1", until="done", timeout_s=20)
            return first.status, last.status

    assert asyncio.run(go()) == ("busy", "done")


def test_the_name_of_the_file_does_not_count(tmp_path: Path) -> None:
    """A copy of the code as it was, under another name, is the same code to a replay."""
    folder = app(tmp_path)
    (folder / "before.py").write_text(WHOLE, encoding="utf-8")
    assert load_app(folder / "before.py").workflows["jobs"].code == load_app(folder).workflows["jobs"].code


def test_a_name_without_its_suffix_is_understood(tmp_path: Path) -> None:
    app(tmp_path)
    with pytest.raises(ContractError, match=r"did you mean .*/app\.py\?"):
        load_app(tmp_path / "app")


def test_an_option_of_a_wrong_type_is_reported_with_the_rest(tmp_path: Path) -> None:
    """A number is no span of time: nobody can tell seconds from milliseconds."""
    text = WHOLE.replace('@jobs.effect(succeeded="made"', '@jobs.effect(timeout=5, retry="x", succeeded="made"')
    text = text.replace('"busy -> done")', '"busy -> done", when=len)')
    at = line_of(text, "@jobs.effect")
    assert found(tmp_path, text)[:2] == [(at, "not_a_span"), (line_of(text, "when=len"), "not_a_condition")]


@pytest.mark.parametrize(
    ("old", "new", "fix"),
    [
        ('@jobs.effect(succeeded="made"', '@jobs.effect(retries=3, succeeded="made"', "did you mean 'retry'?"),
        ("make.failed", "make.faild", "did you mean 'failed'?"),
        (
            'workflow("jobs", Job)',
            'workflow("jobs", Job, contract_version="2")',
            "did you mean 'version'?",
        ),
        ("action: Action[Begin]", "action: Begin", "annotate it Action[Begin]"),
        ("action: Action[Begin]", "action: Action", "Action[Nothing] where there is none"),
        ('"new -> busy"', '"new => busy"', 'write an edge with an arrow: "basket -> paid"'),
        ('"new -> busy"', '"neu -> busy"', "did you mean 'new'?"),
    ],
)
def test_a_near_mistake_says_what_was_meant(tmp_path: Path, old: str, new: str, fix: str) -> None:
    first, *_ = [one for one in refused(app(tmp_path, WHOLE.replace(old, new))) if one.severity == "error"]
    assert fix in first.fix
