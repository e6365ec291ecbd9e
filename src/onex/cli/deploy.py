"""``onex deploy``: a new version of an app goes live in steps, and goes back by itself when it is worse."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from ..contracts.canary_config import CanaryConfig, load_canary_config
from ..kernel.errors import ContractError
from ..processes.deployment import Deployment, DeploymentRefused, DeployStep
from ..repository.releases import Releases
from ..wiring import engine_runs
from ..wiring.client import connect
from ..workflows.canary.payloads import Canary
from .console import harmless, note, say, say_json, styled
from .exit_codes import FOUND, Misused
from .own_output import own_stdout
from .progress import ProgressBar
from .releases import ReleasesFolder, releases_of
from .store_options import Json, Store, url_of
from .user_name import user_name


def deploy(
    app: Annotated[
        Path | None, typer.Argument(metavar="APP", help="The new version: a file or folder.", show_default=False)
    ] = None,
    canary: Annotated[
        Path | None, typer.Option("--canary", metavar="FILE", help="Stages and criteria. [default: 5, 25, 50, 100 %]")
    ] = None,
    releases: ReleasesFolder = None,
    status: Annotated[bool, typer.Option("--status", help="Show how far the rollout is, and do nothing.")] = False,
    promote: Annotated[
        bool, typer.Option("--promote", help="Make the version that is rolled out live at once.")
    ] = False,
    roll_back: Annotated[bool, typer.Option("--roll-back", help="Take the version back.")] = False,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, with --promote or --roll-back.")] = "",
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Bring a new version of an app live in steps, and take it back when it is worse.

    The engine runs already, with --releases FOLDER. This command copies APP there, and then: folds recorded histories on it
    (onex whatif); continues what is in flight under both versions (onex forward); folds live actions on it beside the engine
    (onex shadow); and then a share of the instances that begin runs on it, stage by stage. In each stage its error rate, p99,
    growth of states and held instances are compared with the old version's. When one is worse than the file allows, no instance
    begins under it any more, and those that did go back to the old code where it reads their state.

    An instance keeps the version that it began under until the rollout is over. The rollout is itself an instance of a
    workflow, onex_canary:app: it goes on when this command or an engine is killed. Give the same command again to follow it.

    Exit code 0: live. 1: taken back, or something was found.

    \b
    Examples:
      onex run shop --releases releases
      onex deploy ../shop-2.0 --canary canary_deployment_config.yaml --releases releases
      onex deploy --status
      onex deploy --roll-back --reason "too many calls"
    """
    if promote and roll_back:
        raise Misused("--promote and --roll-back are opposites; give one")
    config = CanaryConfig() if canary is None else _config(canary)
    kept, url, code = releases_of(releases), url_of(store), 0
    looks = status or promote or roll_back
    if app is None and not looks:
        raise Misused("name the new version: onex deploy APP; or give --status, --promote or --roll-back")
    if kept is None and not looks:
        raise Misused(
            "name the folder in which engine and deploy keep versions: --releases FOLDER, or set ONEX_RELEASES"
        )
    with asyncio.Runner() as runner:
        client = runner.run(connect(url, create=False))
        try:
            with ProgressBar("checking", "actions", None, shown=not as_json, wait_s=1.0) as bar:
                deployment = Deployment(client, runner, user_name(), lambda what, by: bar.advance(by))
                if not status and not runner.run(engine_runs(url)):
                    raise DeploymentRefused(
                        "no engine runs on this store, so nobody would answer; start one: onex run APP --releases FOLDER"
                    )
                if app is None or kept is None or looks:
                    if not status:
                        deployment.order("promote" if promote else "roll_back", reason)
                    _show(deployment.canary(), as_json=as_json)
                    return
                for step in deployment.run(app, config, Releases(kept), url):
                    _tell(step, as_json=as_json)
                    code = FOUND if step.status == "rolled_back" else 0
        except KeyboardInterrupt:
            note("left as it stands; give the same command again to follow it, or --roll-back to take it back")
            code = 130
        finally:
            runner.run(client.close())
    if code:
        raise typer.Exit(code)


def _config(path: Path) -> CanaryConfig:
    """Raises Misused, ContractError with every finding."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misused(f"--canary {path}: it cannot be read: {error}") from error
    loaded = load_canary_config(text, str(path))
    if loaded.config is None:
        listed = "\n".join(map(str, loaded.findings))
        raise ContractError(f"{path} says what is not understood; nothing was changed\n{listed}", loaded.findings)
    return loaded.config


def _tell(step: DeployStep, *, as_json: bool) -> None:
    if as_json:
        say_json({"status": step.status, "text": step.text, **step.counts})
    else:
        colour = {"promoted": "green", "rolled_back": "red"}.get(step.status, "")
        padded = f"{step.status:<11}"
        say(f"{styled(padded, colour) if colour else padded}  {harmless(step.text)}")
    own_stdout().flush()


def _show(now: Canary, *, as_json: bool) -> None:
    if as_json:
        say_json(now.model_dump(mode="json"))
        return
    if now.status == "none":
        say("nothing was rolled out")
        return
    say(f"{now.status}{f', {now.share:g} %' if now.status == 'rolling' else ''}")
    if now.reason:
        say(f"  reason   {harmless(now.reason)}")
    say(f"  version  {now.new_app[:12]} over {now.base_app[:12] or 'none yet'}, by {harmless(now.by)}")
    stages = ", ".join(f"{one:g} %" for one in now.stages)
    say(f"  stages   {stages}; each at least {now.stage_s:g} s and {now.criteria.min_actions:,} actions")
    if now.status == "rolling":
        for called, of in (("old", now.old), ("new", now.new)):
            say(f"  {called:<7}  {of.actions:,} actions, {of.errors:,} errors, {of.slow:,} slow, {of.held:,} held")
    if now.found:
        say("  found    " + ", ".join(f"{key} {count:,}" for key, count in now.found.items()))
