"""A failure kept as a test: a file that plays exactly the script that broke, and passes when it no longer does."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from .app_under_test import load_app_under_test
from .observer import Violation
from .run import AppRun, StoryLine, run_app
from .runner import workspace
from .schedule import Act, Hit, Script

_TEMPLATE = '''"""Plays what `onex simulate` found under seed {seed}: it fails until that is fixed.

{story}
"""

from __future__ import annotations

from pathlib import Path

from onex.simulation.app_sim import Act, Hit, Script, play

APP = Path(__file__).resolve().parent / {app!r}
SCRIPT = Script(
    seed={seed},
    store={store!r},
    acts=(
{acts}    ),
    hits=(
{hits}    ),
    peace_us={peace_us},
    plain={plain},
)


def test_{name}_under_seed_{seed}() -> None:
    play(APP, SCRIPT)
'''


class Broken(AssertionError):
    """Something that must hold did not. The message is the violation and the story of the run."""


def play(app: Path | str, script: Script) -> AppRun:
    """Runs an app by a script. Raises Broken, ContractError."""
    under_test = load_app_under_test(app)
    with workspace() as where:
        result = run_app(under_test, script, where, drawn=False, keep_story=True)
    if result.violations:
        story = "\n".join(story_lines(result.story))
        raise Broken(f"{result.violations[0]}\n{story}")
    return result


def story_lines(story: Iterable[StoryLine]) -> list[str]:
    """``   0.300 s  engine    crashes``: seconds of the app's time, who, what."""
    lines = list(story)
    width = max((len(line.who) for line in lines), default=0)
    return [f"{line.at_s:12,.3f} s  {line.who:{width}}  {line.what}".rstrip() for line in lines]


def test_text(script: Script, violation: Violation, story: Iterable[StoryLine], app: Path, file: Path) -> str:
    """The file's content. ``app`` is named relative to ``file``, so both may be moved together."""
    text = "\n".join(line.strip() for line in story_lines(story))
    return _TEMPLATE.format(
        seed=script.seed,
        story=text.replace("\\", "\\\\").replace('"""', "'''"),
        app=os.path.relpath(app.resolve(), file.resolve().parent),
        store=script.store,
        acts="".join(f"        {_shown(act)},\n" for act in script.acts),
        hits="".join(f"        {_shown(hit)},\n" for hit in script.hits),
        peace_us=script.peace_us,
        plain=script.plain,
        name=re.sub(r"\W+", "_", violation.rule).strip("_").lower()[:60] or "it_holds",
    )


def _shown(one: Act | Hit) -> str:
    """As Python source, without the fields that have their default."""
    plain = Act(0, 0, 0, "", "") if isinstance(one, Act) else Hit("", 0)
    names = one.__dataclass_fields__
    given = [name for name in names if getattr(one, name) != getattr(plain, name) or name in ("client", "n", "at_us")]
    return f"{type(one).__name__}({', '.join(f'{name}={getattr(one, name)!r}' for name in given)})"
