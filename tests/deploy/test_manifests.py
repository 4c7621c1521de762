"""Checks that the manifests match the chart, that each is valid, and that every way to deploy a sidecar gives the same
sidecar."""

import json
import re
import shutil

import pytest
import yaml

from conftest import DEPLOY, KUSTOMIZE, ROOT, objects, only, run, tool, valid

MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
SIDECARS = ("sidecar", "sidecar-container")
# Findings of the scanner that are accepted, and why. Any other finding is an error, and so is one that disappears.
KNOWN = {
    "CKV_K8S_11": "no CPU limit: being throttled is seen as tokens that come in jerks",
    "CKV_K8S_15": "no image is published twice under one tag",
    "CKV_K8S_21": "the namespace is the user's choice",
    "CKV_K8S_43": "digests are for those who publish the image",
}
# How the component gets the agent's port.
UPSTREAM = [
    {"name": "WEIR_AGENT_PORT", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['weir/agent-port']"}}},
    {"name": "WEIR_UPSTREAM", "value": "http://127.0.0.1:$(WEIR_AGENT_PORT)"},
]
OF_THE_AGENT = {"CKV_K8S_8": "asked through Weir, it would be restarted for what is none of its doing"}


@pytest.fixture(scope="module")
def kustomized(tmp_path_factory):
    """`kustomized(component)` returns the example with this component."""

    def build(component):
        copy = tmp_path_factory.mktemp("kustomize") / "kustomize"
        shutil.copytree(DEPLOY / "kustomize", copy)
        file = copy / "example/kustomization.yaml"
        file.write_text(file.read_text().replace("components: [../sidecar]\n", f"components: [../{component}]\n"))
        return objects(run(KUSTOMIZE, "build", copy / "example"))

    return build


def test_the_manifests_are_what_the_chart_makes(tmp_path):
    run(DEPLOY / "kubernetes/render", tmp_path, env={"HELM": tool("helm"), "PATH": "/usr/bin:/bin"})
    for file in MANIFESTS:
        assert file.read_text() == (tmp_path / file.name).read_text(), f"{file} is edited by hand: deploy/kubernetes/render"
    assert {file.name for file in MANIFESTS} == {file.name for file in tmp_path.iterdir()}


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.stem)
def test_a_manifest_is_valid(file, checked):
    found = objects(file.read_text())
    valid(found)
    for one in found:
        if config := one.get("data", {}).get("weir.yaml"):
            checked(config)


@pytest.mark.parametrize("component", SIDECARS)
def test_a_component_makes_an_agent_that_is_valid(kustomized, checked, component):
    found = kustomized(component)
    # Older versions do not know init containers that keep running.
    valid(found)
    deployment = only(found, "Deployment")
    config = only(found, "ConfigMap")
    mounted = {one["name"]: one["configMap"]["name"] for one in deployment["spec"]["template"]["spec"]["volumes"]}
    assert mounted == {"weir-config": config["metadata"]["name"]}
    assert only(found, "Service")["spec"]["ports"][0]["targetPort"] == 8080
    checked(config["data"]["weir.yaml"])
    assert deployment["spec"]["template"]["metadata"]["annotations"] == {"weir/agent-port": "8000"}
    assert "Pod" not in [one["kind"] for one in found], "the hook is not an object of its own"


def test_monitoring_is_asked_for(tmp_path):
    copy = tmp_path / "kustomize"
    shutil.copytree(DEPLOY / "kustomize", copy)
    file = copy / "example/kustomization.yaml"
    assert "PodMonitor" not in run(KUSTOMIZE, "build", copy / "example")
    file.write_text(file.read_text().replace("components: [../sidecar]\n", "components: [../sidecar, ../monitoring]\n"))
    found = objects(run(KUSTOMIZE, "build", copy / "example"))
    valid(found)
    wanted = only(found, "PodMonitor")["spec"]["selector"]["matchLabels"].items()
    assert wanted <= only(found, "Deployment")["spec"]["template"]["metadata"]["labels"].items()


def test_a_component_takes_jobs_and_another_configuration(tmp_path):
    copy = tmp_path / "kustomize"
    shutil.copytree(DEPLOY / "kustomize", copy)
    (copy / "example/agent.yaml").write_text("""
apiVersion: batch/v1
kind: Job
metadata: { name: agent, labels: { weir: sidecar } }
spec:
  template:
    metadata: { annotations: { weir/agent-port: "9000" } }
    spec:
      restartPolicy: Never
      containers: [{ name: first, image: "example/agent:1" }, { name: agent, image: "example/agent:1" }]
---
apiVersion: batch/v1
kind: Job
metadata: { name: other }
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{ name: other, image: "example/agent:1" }]
---
apiVersion: v1
kind: Service
metadata: { name: agent, labels: { weir: sidecar } }
spec: { selector: { app: agent }, ports: [{ port: 80 }] }
""")
    with (copy / "example/kustomization.yaml").open("a") as file:
        file.write("""
patches:
  - patch: |-
      apiVersion: v1
      kind: ConfigMap
      metadata: { name: weir }
      data: { weir.yaml: "mine: true" }
""")
    found = objects(run(KUSTOMIZE, "build", copy / "example"))
    valid(found)
    spec = only(found, "Job", "agent")["spec"]["template"]["spec"]
    assert [one["name"] for one in spec["initContainers"]] == ["weir"]
    # Wherever the agent is among the containers.
    assert [one["lifecycle"]["preStop"]["httpGet"]["port"] for one in spec["containers"]] == [9464, 9464]
    other = only(found, "Job", "other")["spec"]["template"]["spec"]
    assert "initContainers" not in other and "lifecycle" not in other["containers"][0]
    assert only(found, "Service")["spec"]["ports"] == [{"port": 80, "targetPort": 8080}]
    assert only(found, "ConfigMap")["data"]["weir.yaml"] == "mine: true"


def containers(found):
    spec = only(found, "Deployment")["spec"]["template"]["spec"]
    every = {one["name"]: one for one in [*spec.get("initContainers", []), *spec["containers"]]}
    return every["weir"], every["agent"], spec


def test_chart_and_components_make_the_same_sidecar(kustomized):
    weir, agent, spec = containers(objects((DEPLOY / "kubernetes/sidecar.yaml").read_text()))
    native, beside, native_spec = containers(kustomized("sidecar"))
    # The chart writes the agent's port into the configuration.
    assert native.pop("env") == UPSTREAM
    assert native == weir and beside["lifecycle"] == agent["lifecycle"]
    assert native_spec["terminationGracePeriodSeconds"] == spec["terminationGracePeriodSeconds"]
    plain, beside, plain_spec = containers(kustomized("sidecar-container"))
    assert plain.pop("env") == UPSTREAM
    assert plain == {key: value for key, value in weir.items() if key != "restartPolicy"}
    assert beside["lifecycle"] == agent["lifecycle"] and [one["name"] for one in plain_spec["containers"]] == ["agent", "weir"]


def test_chart_and_components_make_the_same_configuration(kustomized):
    def config(found):
        return yaml.safe_load(only(found, "ConfigMap")["data"]["weir.yaml"])

    chart = config(objects((DEPLOY / "kubernetes/sidecar.yaml").read_text()))
    component = config(kustomized("sidecar"))
    assert chart.pop("listen") == [{"address": component.pop("listen")}]
    # The component has no Services of its own.
    assert chart["admin"].pop("hosts")
    assert chart == component


def test_the_memory_of_a_sidecar_is_enough_for_what_it_may_hold(checked):
    """Every stream has an ordinary queue. Beyond that, Weir itself refuses streams."""
    found = objects((DEPLOY / "kubernetes/sidecar.yaml").read_text())
    weir, _, _ = containers(found)
    assert weir["resources"]["limits"]["memory"] == "128Mi"
    said = checked(only(found, "ConfigMap")["data"]["weir.yaml"])
    assert re.search(r"worst.case", said, re.I), said


YAML = [
    path
    for folder in ("deploy", "tests/deploy", ".github")
    for path in sorted((ROOT / folder).rglob("*.y*ml"))
    # Without the templates of the chart, and without files that others wrote.
    if not {"templates", "node_modules"} & {*path.parts} and not path.is_symlink()
]


def test_every_file_is_tidy():
    rules = {"extends": "relaxed", "rules": {"line-length": {"max": 160}, "comments-indentation": "disable"}}
    generated = [path for path in YAML if path in MANIFESTS]
    run(tool("yamllint"), "--strict", "-d", json.dumps(rules), *(path for path in YAML if path not in generated))
    # Helm does not indent lists but does indent empty lines, and rules contain long texts.
    left_out = dict.fromkeys(("indentation", "line-length", "trailing-spaces"), "disable")
    loose = {**rules, "rules": {**rules["rules"], **left_out}}
    run(tool("yamllint"), "--strict", "-d", json.dumps(loose), *generated)


def findings(framework, file, folder):
    """Returns findings by check name. The scanner looks for its configuration in the folder where it runs."""
    command = [tool("checkov"), "--compact", "--skip-download", "--soft-fail", "--framework", framework, "--output", "json"]
    said = json.loads(run(*command, "--file", file, cwd=folder))
    assert said["summary"]["passed"] > 20 and said["summary"]["parsing_errors"] == 0
    return {one["check_id"] for one in said["results"]["failed_checks"]}


@pytest.mark.parametrize("name, known", [("fleet", KNOWN), ("sidecar", KNOWN | OF_THE_AGENT)])
def test_a_scanner_finds_no_insecure_setting(tmp_path, name, known):
    assert findings("kubernetes", DEPLOY / f"kubernetes/{name}.yaml", tmp_path) == set(known)


def test_nor_any_in_the_image(tmp_path):
    # The tag of the base image is no version, only the kind of its user.
    assert findings("dockerfile", DEPLOY / "docker/Dockerfile", tmp_path) <= {"CKV_DOCKER_7"}
