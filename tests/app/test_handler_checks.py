"""Names in handlers that cannot be right are found by reading; what may be right is left alone."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

import pytest

from onex.app import load_app
from onex.app.folder import AppFolder
from onex.app.handler_checks import handler_findings
from onex.doctor.inspection import inspect
from onex.kernel.errors import ContractError
from tests.app.apps import REDUCER, job
from tests.authoring.declared import WHOLE, app
from tests.laws.tree import ROOT

HEAD = REDUCER.replace("import Begin, Job, Made, Make", "import Begin, Job, Made, Make\nfrom .other import Wide")
OTHER = """\
from typing import ClassVar
from pydantic import Field, model_validator
from onex import Payload, State


class Wide(Payload):
    model_config = {"extra": "allow"}


class Named(Payload):
    short: str = Field("", alias="long")


class Lenient(Payload):
    a: str = ""

    @model_validator(mode="before")
    @classmethod
    def old(cls, values):
        values.pop("b", None)
        return values


class Base(State):
    a: str = ""


class Derived(Base):
    b: str = ""
"""


def written(
    folder: Path, body: str, signature: str = "def failed(job: Job, action: Action[Failure]) -> Step[Job]"
) -> Path:
    """The job, with a handler of ``failed`` that has this body."""
    lines = indent(dedent(body).strip("\n"), "    ")
    text = f'{HEAD}\n\n@jobs.on("failed")\n{signature}:\n{lines}\n'
    return job(
        folder / "job", reducer=text.replace("import Action, Step", "import Action, Failure, Step, intent"), other=OTHER
    )


def found(folder: Path) -> list[tuple[str, str, str]]:
    return [(one.code, one.message, one.fix) for one in handler_findings(AppFolder(folder))]


FIELD = "unknown_field"
STATUS = "unknown_status"


@pytest.mark.parametrize(
    ("body", "code", "message", "fix"),
    [
        ("return Step(job.evolve(whre='x'))", FIELD, "the state Job has no field 'whre'", "did you mean 'where'?"),
        ("return Step(job.evolve(zzz='x'))", FIELD, "the state Job has no field 'zzz'", "it has status, what, where"),
        ("job = job.evolve(what='x')\nreturn Step(job.evolve(whta='x'))", FIELD, "the state Job has no field 'whta'",
         "did you mean 'what'?"),
        ("new = job.evolve(what='x') if job.what else job\nreturn Step(new.evolve(what='y').evolve(whta='x'))", FIELD,
         "the state Job has no field 'whta'", "did you mean 'what'?"),
        ("return Step(job.evolve(**{}, whta='x'))", FIELD, "the state Job has no field 'whta'", "did you mean 'what'?"),
        ("return Step(job, Make(waht='x'))", FIELD, "the payload Make has no field 'waht'", "did you mean 'what'?"),
        ("return Step(job if job.status == 'bussy' else job)", STATUS,
         "Job is never in the status 'bussy'", "did you mean 'busy'?"),
        ("return Step(job if 'bussy' != job.status else job)", STATUS,
         "Job is never in the status 'bussy'", "did you mean 'busy'?"),
        ("if job.status not in ('busy', 'dune'):\n    pass\nreturn Step(job)", STATUS, "Job is never in the status 'dune'",
         "did you mean 'done'?"),
        ("match job.status:\n    case 'busy' | 'gone':\n        pass\nreturn Step(job)", STATUS,
         "Job is never in the status 'gone'", "did you mean 'done'?"),
        ("status = job.status\nreturn Step(job.evolve(what={'bsy': 'x'}[status]))", STATUS,
         "Job is never in the status 'bsy'", "did you mean 'busy'?"),
        ("return Step(job.evolve(what={'bsy': 'x'}.get(job.status, '')))", STATUS, "Job is never in the status 'bsy'",
         "did you mean 'busy'?"),
    ],
)  # fmt: skip
def test_a_name_that_cannot_be_right_is_found(tmp_path: Path, body: str, code: str, message: str, fix: str) -> None:
    assert found(written(tmp_path, body)) == [(code, message, fix)]


@pytest.mark.parametrize(
    "body",
    [
        "return Step(job.evolve(what='x', where='y'))",
        "changes = {'zzz': 1}\nreturn Step(job.evolve(**changes))",
        "job = action.payload\nreturn Step(job.evolve(zzz='x'))",
        "for job in (job, action.payload):\n    job.evolve(zzz='x')\nreturn Step(job)",
        "with open('x') as job:\n    job.evolve(zzz='x')\nreturn Step(job)",
        "def inner(job):\n    return job.evolve(zzz='x')\nreturn Step(inner(job))",
        "return Step((lambda job: job.evolve(zzz='x'))(job))",
        "[job.evolve(zzz='x') for job in ()]\nreturn Step(job)",
        "if isinstance(job, tuple):\n    job.evolve(zzz='x')\nreturn Step(job)",
        "Make = dict\nreturn Step(job, Make(zzz='x'))",
        "return Step(job, Wide(zzz='x'))",
        "from .other import Named\nreturn Step(job, Named(long='x'))",
        "if job.status in 'busy and more' or 'us' in job.status or job.status > 'a':\n    pass\nreturn Step(job)",
        "status = action.payload.code\nif status == 'bussy':\n    pass\nreturn Step(job)",
        "status = job.status\nstatus = action.payload.code\nif status == 'bussy':\n    pass\nreturn Step(job)",
        "try:\n    pass\nexcept ValueError as job:\n    job.evolve(zzz='x')\nreturn Step(job)",
        "global job\njob.evolve(zzz='x')",
    ],
)
def test_what_may_be_right_is_left_alone(tmp_path: Path, body: str) -> None:
    assert found(written(tmp_path, body)) == []


@pytest.mark.parametrize(
    ("signature", "reported"),
    [
        ("def failed(job, action)", True),
        ("def failed(job: 'Job', action)", True),
        ("def failed(job: Job | None, action)", False),
        ("def failed(job: 'Job | None', action)", False),
        ("def failed(action, job)", False),
    ],
)
def test_the_state_is_the_first_argument_of_a_handler_or_one_that_says_so(
    tmp_path: Path, signature: str, reported: bool
) -> None:
    codes = [code for code, _, _ in found(written(tmp_path, "return Step(job.evolve(zzz='x'))", signature))]
    assert codes == (["unknown_field"] if reported else [])


def test_a_class_that_another_derives_from_may_hold_more(tmp_path: Path) -> None:
    folder = written(tmp_path, "return Step(job)")
    for kind, codes in (("Base", []), ("Derived", ["unknown_field"])):
        helper = f"\n\ndef touched(it: {kind}) -> object:\n    return it.evolve(zzz=1)\n"
        (folder / "other.py").write_text(OTHER + helper)
        assert [code for code, _, _ in found(folder)] == codes


@pytest.mark.parametrize("depth", [50, 450, 5000])
def test_an_expression_that_nests_too_deep_ends_nothing(tmp_path: Path, depth: int) -> None:
    folder = written(tmp_path, f"return Step(job{'.evolve()' * depth}.evolve(zzz=1))")
    assert [code for code, _, _ in found(folder)] in ([], ["unknown_field"])


def test_a_file_that_does_not_parse_is_reported_by_the_one_who_loads_it(tmp_path: Path) -> None:
    folder = written(tmp_path, "return Step(job.evolve(whre='x')")
    assert found(folder) == []
    assert [one.code for one in inspect([folder]).findings if one.severity == "error"] == ["python_syntax"]


def test_one_file_says_its_statuses_at_the_class(tmp_path: Path) -> None:
    right = "    return Step(job)\n"
    assert WHOLE.count(right) == 1
    folder = app(
        tmp_path / "app",
        WHOLE.replace(right, "    if job.status == 'bussy':\n        pass\n    return Step(job.evolve(whta=1))\n"),
    )
    assert sorted(code for code, _, _ in found(folder)) == ["unknown_field", "unknown_status"]
    assert {one.code for one in inspect([folder]).findings if one.severity == "error"} == {
        "unknown_field",
        "unknown_status",
    }


def test_check_reports_it_with_and_without_the_code_and_an_engine_loads_the_app(tmp_path: Path) -> None:
    folder = written(tmp_path, "return Step(job.evolve(whre='x'))")
    for code in (True, False):
        (finding,) = (one for one in inspect([folder], code=code).findings if one.severity == "error")
        line = (folder / "reducer.py").read_text().splitlines()[finding.line - 1]
        assert (finding.code, line[finding.column - 1 :][:4]) == ("unknown_field", "whre")
    load_app(folder)  # a rare branch may hold it, and what ran under this code must stay readable


@pytest.mark.parametrize("folder", ["examples/orders", "src/onex/workflows/code_analysis", "tests/chaos/app"])
def test_nothing_is_reported_of_apps_that_run(folder: str) -> None:
    assert handler_findings(AppFolder(ROOT / folder)) == ()


# --- intents ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        "return Step(job, *[Make(what='x') for _ in range(65)])",
        "return Step(job, *(Make(what='x') for a in range(13) for b in range(0, 10, 2)))",
        f"return Step(job, {'Make(), ' * 65})",
        f"return Step(job, *[{'Make(), ' * 65}])",
        "return Step(job, *[Make()] * 64, Make())",
        "many = []\nfor n in range(65):\n    many.append(Make(what=str(n)))\nreturn Step(job, *many)",
    ],
)
def test_more_intents_than_a_step_may_have_are_refused_when_the_app_is_loaded(tmp_path: Path, body: str) -> None:
    with pytest.raises(ContractError, match="failed emits 65 intents in one step; the limit is 64"):
        load_app(written(tmp_path, body))


@pytest.mark.parametrize(
    "body",
    [
        "return Step(job, *[Make(what='x') for _ in range(64)])",
        "return Step(job, *[Make(what='x') for n in range(100) if n % 2])",
        "return Step(job, *[Make(what='x') for _ in range(len(job.what))])",
        "return Step(job, *[Make()] * 63, Make())",
        "many = []\nfor n in range(65):\n    if n % 2:\n        many.append(Make(what=str(n)))\nreturn Step(job, *many)",
        "many = []\nfor n in range(65):\n    many.append(Make(what=str(n)))\ndel many[9:]\nreturn Step(job, *many)",
        "many = []\nfor n in range(65):\n    many.append(Make(what=str(n)))\nmany = many[:9]\nreturn Step(job, *many)",
        "many = []\nfor n in range(65):\n    many.append(Make(what=str(n)))\nmany.pop()\nreturn Step(job, *many)",
        "many = []\nfor n in range(65):\n    many.append(Make(what=str(n)))\nprint(many)\nreturn Step(job, *many[:64])",
    ],
)
def test_as_many_as_a_step_may_have_and_what_cannot_be_counted_are_loaded(tmp_path: Path, body: str) -> None:
    assert load_app(written(tmp_path, body)).findings == ()
