"""The files in `deploy/` are what they should be, as far as that can be told where neither Docker nor Kubernetes is.

Checked: the Compose file against the schema of the Compose specification, the manifests strictly against the schemas of
Kubernetes 1.34; every command, option and setting in them against onex itself; probes, times, users, names and selectors against
each other; the health check's command against a real server. **Not checked**: that the images exist and hold what they should, that
ours builds and runs, that Kustomize builds the base, that a cluster admits it, and what the other servers make of their settings.
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
import shlex
import sys
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import yaml

from onex.cli.health_server import HealthPage, HealthServer, parse_address
from onex.cli.shutdown import END_S, LEAVE_S
from onex.engine.bus.topics import BusTopics, EnumBusEvent
from onex.monitoring.engine_probes import LOOK_S
from onex.settings import read_settings
from tests.deploy.schemas import schema_faults
from tests.laws.test_docs import unknown
from tests.laws.tree import ROOT

DEPLOY = ROOT / "deploy"
BASE = DEPLOY / "kubernetes"
OF_POSTGRES = {"PGPASSWORD"}
OF_THE_EXAMPLE = {"ONEX_ORDERS_DIR"}
PROBED = {"/health", "/health/live", "/health/ready"}


def read(path: Path) -> dict[str, Any]:
    document = yaml.safe_load(path.read_text())
    assert isinstance(document, dict), path
    return document


def manifests() -> dict[str, dict[str, Any]]:
    found = {str(path.relative_to(BASE)): read(path) for path in sorted(BASE.rglob("*.yaml"))}
    return {name: one for name, one in found.items() if one["kind"] != "Kustomization"}


COMPOSE = read(DEPLOY / "compose.yaml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
WORKERS = {name: one for name, one in SERVICES.items() if name.startswith("worker")}
MANIFESTS = manifests()
POD = MANIFESTS["deployment.yaml"]["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
SETTINGS: dict[str, str] = MANIFESTS["configmap.yaml"]["data"]


def instructions() -> list[tuple[str, str]]:
    """``(FROM, rest)`` of each instruction of the Containerfile."""
    text = re.sub(r"\\\n\s*", " ", (DEPLOY / "Containerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def of_last_stage(word: str) -> list[str]:
    found = instructions()
    last = max(at for at, (name, _) in enumerate(found) if name == "FROM")
    return [rest for name, rest in found[last:] if name == word]


# --- schemas --------------------------------------------------------------------------------------------------------------


def test_the_compose_file_and_the_manifests_fit_their_schemas() -> None:
    faults = schema_faults([COMPOSE, *MANIFESTS.values()])
    assert {name: its for name, its in zip(["compose.yaml", *MANIFESTS], faults, strict=True) if its} == {}


def test_the_schemas_find_what_is_misspelt() -> None:
    compose, deployment = copy.deepcopy(COMPOSE), copy.deepcopy(MANIFESTS["deployment.yaml"])
    compose["services"]["postgres"]["helthcheck"] = {}
    deployment["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    typed = copy.deepcopy(MANIFESTS["configmap.yaml"])
    typed["data"]["ONEX_CACHE_MIB"] = 64
    assert [bool(faults) for faults in schema_faults([compose, deployment, typed])] == [True, True, True]


# --- what the files say of onex -------------------------------------------------------------------------------------------


class Asked(Mapping[str, str]):
    """An environment that remembers which variables were asked for."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        raise KeyError(name)

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0


def worker_environment(name: str) -> dict[str, str]:
    environment: dict[str, str] = WORKERS[name]["environment"]
    return environment


@pytest.mark.parametrize("settings", [SETTINGS, *map(worker_environment, WORKERS)], ids=["kubernetes", *WORKERS])
def test_each_setting_is_one_of_onex_with_a_valid_value(settings: dict[str, str]) -> None:
    asked = Asked()
    read_settings(asked)
    assert set(settings) - asked.names - OF_POSTGRES - OF_THE_EXAMPLE == set()
    assert read_settings(settings).store_url == settings["ONEX_STORE"]


def test_the_settings_of_the_example_are_read_by_the_example() -> None:
    effects = (ROOT / "examples" / "orders" / "effects.py").read_text()
    assert [name for name in OF_THE_EXAMPLE if f'"{name}"' not in effects] == []


def test_compose_and_kubernetes_set_the_same() -> None:
    mine = {name: value for name, value in SETTINGS.items() if name != "ONEX_STORE"}
    for name in WORKERS:
        its = worker_environment(name)
        assert {key: its[key] for key in mine if key in its} == {key: mine[key] for key in mine if key in its}


def commands() -> dict[str, list[str]]:
    found = {
        name: one["spec"]["template"]["spec"]["containers"][0]["args"]
        for name, one in MANIFESTS.items()
        if one["kind"] in ("Deployment", "Job")
    }
    return {**found, "Containerfile": json.loads(of_last_stage("CMD")[0])}


@pytest.mark.parametrize(("where", "words"), commands().items())
def test_each_command_and_option_exists(where: str, words: list[str]) -> None:
    assert json.loads(of_last_stage("ENTRYPOINT")[0]) == ["onex"]
    assert unknown(words) is None


def test_the_image_and_the_pod_start_the_same_command() -> None:
    assert CONTAINER["args"] == commands()["Containerfile"]
    assert [name for name, one in WORKERS.items() if "command" in one] == []


# --- health and times -----------------------------------------------------------------------------------------------------


def health_port() -> int:
    words = CONTAINER["args"]
    return parse_address(words[words.index("--listen") + 1])[1]


def test_probes_ask_where_the_worker_listens_and_wait_long_enough() -> None:
    (port,) = CONTAINER["ports"]
    assert port["containerPort"] == health_port()
    live, ready = CONTAINER["livenessProbe"], CONTAINER["readinessProbe"]
    assert (live["httpGet"]["path"], ready["httpGet"]["path"]) == ("/health/live", "/health/ready")
    assert {live["httpGet"]["port"], ready["httpGet"]["port"]} == {port["name"]}
    assert ready["timeoutSeconds"] > LOOK_S
    (service,) = MANIFESTS["service.yaml"]["spec"]["ports"]
    assert (service["port"], service["targetPort"]) == (health_port(), port["name"])
    assert of_last_stage("EXPOSE") == [str(health_port())]
    for one in WORKERS.values():
        assert all(published.endswith(f":{health_port()}") for published in one["ports"])


def test_a_worker_that_is_told_to_end_has_the_time_it_takes() -> None:
    assert POD["spec"]["terminationGracePeriodSeconds"] > END_S + LEAVE_S
    for one in WORKERS.values():
        assert int(one["stop_grace_period"].removesuffix("s")) > END_S + LEAVE_S


@pytest.mark.parametrize(("status", "code"), [(HTTPStatus.OK, 0), (HTTPStatus.SERVICE_UNAVAILABLE, 1)])
def test_the_health_check_of_the_image_tells_ready_from_not(status: HTTPStatus, code: int) -> None:
    options, _, words = of_last_stage("HEALTHCHECK")[0].partition(" CMD ")
    program, *rest = json.loads(words)
    assert program == "python"
    assert float(re.findall(r"--timeout=(\d+)s", options)[0]) > LOOK_S

    async def answer() -> HealthPage:
        return HealthPage(status, {})

    async def go() -> int | None:
        server = HealthServer(dict.fromkeys(PROBED, answer))
        where = await server.start("127.0.0.1", 0)
        asked = [word.replace(f"127.0.0.1:{health_port()}", where) for word in rest]
        assert asked != rest
        process = await asyncio.create_subprocess_exec(sys.executable, *asked, stderr=asyncio.subprocess.DEVNULL)
        ended = await process.wait()
        await server.close()
        return ended

    assert asyncio.run(go()) == code


# --- the image ------------------------------------------------------------------------------------------------------------


def test_the_image_has_two_stages_and_no_compiler() -> None:
    stages = [rest for word, rest in instructions() if word == "FROM"]
    assert [re.sub(r"^.*/(python):3\.\d+-(slim)( AS build)?$", r"\1-\2", stage) for stage in stages] == [
        "python-slim"
    ] * 2
    text = "\n".join(rest for _, rest in instructions())
    assert re.findall(r"\b(?:apt-get|apt|gcc|g\+\+|clang|build-essential|make)\b", text) == []
    installs = [rest for word, rest in instructions() if word == "RUN" and "pip install" in rest]
    assert "--require-hashes" in installs[0]
    assert "--only-binary :all:" in installs[0]


def test_what_the_image_copies_is_there() -> None:
    ignored = (DEPLOY / "Containerfile.dockerignore").read_text().splitlines()
    for word, rest in instructions():
        sources = shlex.split(rest)[:-1]
        if word != "COPY" or sources[0].startswith("--from"):
            continue
        for source in (one.replace("${APP}", "examples/orders") for one in sources):
            assert (ROOT / source).exists(), source
            assert source.split("/")[0] not in ignored, source


def test_nobody_is_root_and_nothing_is_written_but_tmp() -> None:
    (user,) = of_last_stage("USER")
    uid, gid = map(int, user.split(":"))
    assert uid > 0
    assert of_last_stage("ENTRYPOINT")
    pods = [one["spec"]["template"]["spec"] for one in MANIFESTS.values() if one["kind"] in ("Deployment", "Job")]
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]) == (uid, gid)
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
            }  # fmt: skip
            assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]
    for one in WORKERS.values():
        assert (one["user"], one["read_only"], one["tmpfs"], one["cap_drop"]) == (user, True, ["/tmp"], ["ALL"])


# --- names that belong together -------------------------------------------------------------------------------------------


def test_selectors_select_the_pods_of_the_workers() -> None:
    labels = POD["metadata"]["labels"]
    spec = MANIFESTS["deployment.yaml"]["spec"]
    (spread,) = POD["spec"]["topologySpreadConstraints"]
    selectors = [
        spec["selector"]["matchLabels"],
        MANIFESTS["service.yaml"]["spec"]["selector"],
        MANIFESTS["poddisruptionbudget.yaml"]["spec"]["selector"]["matchLabels"],
        MANIFESTS["networkpolicy.yaml"]["spec"]["podSelector"]["matchLabels"],
        spread["labelSelector"]["matchLabels"],
    ]
    assert selectors == [labels] * len(selectors)
    assert spec["replicas"] > MANIFESTS["poddisruptionbudget.yaml"]["spec"]["maxUnavailable"]


@pytest.mark.parametrize("folder", [BASE, BASE / "upgrade"], ids=["base", "upgrade"])
def test_a_kustomization_names_each_file_beside_it_and_the_image_in_them(folder: Path) -> None:
    wanted = read(folder / "kustomization.yaml")
    assert set(wanted) == {"apiVersion", "kind", "resources", "images"}
    assert sorted(wanted["resources"]) == sorted(
        path.name for path in folder.glob("*.yaml") if path.name != "kustomization.yaml"
    )
    text = "".join((folder / name).read_text() for name in wanted["resources"])
    assert {image["name"] for image in wanted["images"]} == set(re.findall(r"image: (\S+)", text))


def test_the_config_map_that_pods_ask_for_is_there_and_secrets_are_not() -> None:
    for name, one in MANIFESTS.items():
        for asked in re.findall(r"'configMapRef': {'name': '([^']+)'}", str(one)):
            assert asked == MANIFESTS["configmap.yaml"]["metadata"]["name"], name
    assert [name for name, one in MANIFESTS.items() if one["kind"] == "Secret"] == []
    guide = (ROOT / "docs" / "guides" / "production.md").read_text()
    for secret in re.findall(r"secretKeyRef: {name: ([\w-]+)", "".join(p.read_text() for p in BASE.rglob("*.yaml"))):
        assert f"secret generic {secret} " in guide


# --- the order of the start -----------------------------------------------------------------------------------------------


def test_servers_are_up_before_those_who_need_them() -> None:
    order: list[str] = []

    def visit(name: str, behind: tuple[str, ...] = ()) -> None:
        assert name not in behind, f"{name} waits for itself"
        for needed, wait in SERVICES[name].get("depends_on", {}).items():
            visit(needed, (*behind, name))
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[needed] or needed in WORKERS, (
                    f"nothing tells whether {needed} is healthy"
                )
        if name not in order:
            order.append(name)

    for name in SERVICES:
        visit(name)
    for worker in WORKERS:
        assert order.index("postgres") < order.index(worker)
        assert order.index("kafka") < order.index("topics") < order.index(worker)


def test_nothing_is_published_beyond_this_machine_and_no_secret_is_in_the_file() -> None:
    for name, one in SERVICES.items():
        assert all(port.startswith("127.0.0.1:") for port in one.get("ports", ())), name
        for key, value in one.get("environment", {}).items():
            assert "PASSWORD" not in key or value.startswith("${ONEX_POSTGRES_PASSWORD:?"), f"{name}: {key}"


def test_each_image_of_others_has_a_version() -> None:
    tags = {one["image"].rpartition(":")[2] for name, one in SERVICES.items() if name not in WORKERS}
    assert [tag for tag in tags if not re.search(r"\d", tag)] == []


def test_the_topics_are_those_that_the_engine_uses() -> None:
    used = {BusTopics().commands} | {
        BusTopics().event(event)
        for event in EnumBusEvent
        if event.value.startswith("workflow_") or event is EnumBusEvent.STATE_COMMITTED
    }
    kinds = SERVICES["topics"]["environment"]["TOPICS"].split()
    assert {f"dev.omninode_bridge.onex.{kind}.v1" for kind in kinds} == used
    script = SERVICES["topics"]["command"][-1]
    assert '"dev.omninode_bridge.onex.$$topic.v1" "dev.omninode_bridge.onex.$$topic.v1.dlq"' in script


# --- monitoring -----------------------------------------------------------------------------------------------------------


def test_prometheus_scrapes_each_worker_of_compose_where_it_listens() -> None:
    scraped = read(DEPLOY / "prometheus" / "prometheus.yml")
    (targets,) = [job["static_configs"][0]["targets"] for job in scraped["scrape_configs"] if job["job_name"] == "onex"]
    assert targets == [f"{name}:{health_port()}" for name in WORKERS]
    (alertmanager,) = scraped["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert SERVICES[alertmanager.partition(":")[0]]["profiles"] == SERVICES["prometheus"]["profiles"]


def test_a_pod_says_where_it_is_scraped() -> None:
    said = {name.partition("/")[2]: text for name, text in POD["metadata"]["annotations"].items()}
    assert said == {"scrape": "true", "path": "/metrics", "port": str(health_port())}


def test_what_compose_mounts_is_there() -> None:
    mounts = [one for service in SERVICES.values() for one in service.get("volumes", []) if one.startswith("./")]
    assert mounts
    assert [one for one in mounts if not (DEPLOY / one.partition(":")[0]).exists()] == []
