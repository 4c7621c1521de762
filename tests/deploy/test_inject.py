"""Checks that `weir inject` makes manifests that are valid, with the sidecar of the chart, and changes nothing else."""

import difflib
import json
import subprocess

import pytest
import yaml

from conftest import CHART, DEPLOY, KUSTOMIZE, WEIR, objects, only, run, tool, valid

EXAMPLE = (DEPLOY / "kustomize/example/agent.yaml").read_text()
IMAGE = ("--image", "registry.example/weir:2")


def inject(text, *flags):
    """Returns what `weir inject` prints and what it says."""
    done = subprocess.run([WEIR, "inject", *flags], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def refused(text, *flags):
    done = subprocess.run([WEIR, "inject", *flags], input=text, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == "", done.stdout
    return done.stderr


def pod_of(one):
    spec = one["spec"]
    if one["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    return spec if one["kind"] == "Pod" else spec["template"]["spec"]


def weir_of(one):
    spec = pod_of(one)
    [weir] = [each for each in [*spec.get("initContainers", []), *spec["containers"]] if each["name"] == "weir"]
    return weir


def workload(kind, **pod):
    """A minimal workload that is valid."""
    spec = {"containers": [{"name": "cache", "image": "c:1"}, {"name": "agent", "image": "a:1", "ports": [{"name": "http", "containerPort": 8000}]}]}
    spec |= pod
    meta = {"name": "agent"}
    template = {"metadata": {"labels": {"app": "agent"}}, "spec": spec}
    selector = {"matchLabels": {"app": "agent"}}
    if kind == "Pod":
        return {"apiVersion": "v1", "kind": kind, "metadata": {**meta, "labels": {"app": "agent"}}, "spec": spec}
    if kind in ("Job", "CronJob"):
        spec["restartPolicy"] = "Never"
        job = {"template": template}
        body = job if kind == "Job" else {"schedule": "@daily", "jobTemplate": {"spec": job}}
        return {"apiVersion": "batch/v1", "kind": kind, "metadata": meta, "spec": body}
    body = {"selector": selector, "template": template}
    if kind == "StatefulSet":
        body["serviceName"] = "agent"
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": meta, "spec": body}


KINDS = ("CronJob", "DaemonSet", "Deployment", "Job", "Pod", "ReplicaSet", "StatefulSet")
# The same manifest as people write it.
STYLES = {
    "yaml": lambda one: yaml.safe_dump(one, sort_keys=False),
    "flow": lambda one: yaml.safe_dump(one, default_flow_style=True),
    "json": lambda one: json.dumps(one, indent=2),
    "list": lambda one: yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [one]}),
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_it_makes_is_valid(kind, style):
    one = workload(kind)
    made, said = inject(STYLES[style](one), *IMAGE)
    assert f"{kind}/agent: Weir is added in front of port 8000" in said
    [found] = objects(made)
    if style == "json":
        assert json.loads(made) == found
    if style == "list":
        [found] = found["items"]
    valid([found])
    weir, spec = weir_of(found), pod_of(found)
    assert weir["image"] == IMAGE[1] and weir["args"][-2:] == ["--upstream", "http://127.0.0.1:8000"]
    assert spec["terminationGracePeriodSeconds"] == 40
    assert ["lifecycle" in each for each in spec["containers"]] == [False, True]
    # Everything else is as it was.
    del spec["initContainers"], spec["terminationGracePeriodSeconds"], spec["containers"][1]["lifecycle"]
    assert found == one


@pytest.mark.parametrize("native", [True, False], ids=["native", "plain"])
def test_the_sidecar_is_that_of_the_chart(native):
    """`args` carry the settings that the chart puts into a ConfigMap, which is mounted there."""
    container = {"name": "agent", "image": "example/agent:1", "ports": [{"name": "http", "containerPort": 8000}]}
    values = {"mode": "sidecar", "agent": {"port": "http", "container": container}, "sidecar": {"native": native}}
    sets = [part for key, value in values.items() for part in ("--set-json", f"{key}={json.dumps(value)}")]
    chart = only(objects(run(tool("helm"), "template", "weir", CHART, *sets)), "Deployment")
    plain = () if native else ("--plain",)
    [made] = objects(inject(json.dumps(workload("Deployment")), *plain)[0])
    ours, theirs = weir_of(made), weir_of(chart)
    mounts = theirs.pop("volumeMounts")
    assert ours.pop("args") and theirs.pop("args")
    assert ours == theirs
    assert pod_of(made)["containers"][1]["lifecycle"] == pod_of(chart)["containers"][0]["lifecycle"]
    assert pod_of(made)["terminationGracePeriodSeconds"] == pod_of(chart)["terminationGracePeriodSeconds"]
    # With a ConfigMap, the mount is the chart's, too.
    [made] = objects(inject(json.dumps(workload("Deployment")), *plain, "--config-map", "mine")[0])
    valid([made])
    assert weir_of(made)["volumeMounts"] == mounts
    assert pod_of(made)["volumes"] == [{"name": mounts[0]["name"], "configMap": {"name": "mine"}}]


@pytest.mark.parametrize("flags", [(), ("--config-map", "mine")], ids=["flags", "file"])
def test_weir_takes_the_arguments(flags, tmp_path):
    """`weir check` takes the flags of the container, which override those of the file."""
    made, _ = inject(EXAMPLE, *flags)
    args = weir_of(only(objects(made), "Deployment"))["args"]
    if flags:
        file = tmp_path / "weir.yaml"
        file.write_text((DEPLOY / "kustomize/common/weir.yaml").read_text())
        assert args[:2] == ["--config", "/etc/weir/weir.yaml"]
        args = [str(file), *args[2:]]
    said = run(WEIR, "check", *args)
    assert "0.0.0.0:8080" in said and "0.0.0.0:9464" in said and "http://127.0.0.1:8000" in said


def test_only_lines_are_added_and_the_service_is_pointed_at_weir():
    made, said = inject(EXAMPLE)
    valid(objects(made))
    gone = [line for line in difflib.ndiff(EXAMPLE.splitlines(), made.splitlines()) if line.startswith("- ")]
    assert gone == ["-   ports: [{ name: http, port: 80, targetPort: 8000 }]"]
    assert only(objects(made), "Service")["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": 8080}]
    assert "Service/agent: leads to Weir, port 8080" in said
    again, said = inject(made)
    assert again == made and "Deployment/agent: has Weir already, no change" in said


def test_it_stands_behind_kustomize_and_helm(tmp_path):
    built = run(KUSTOMIZE, "build", folder(tmp_path / "k"))
    made, _ = inject(built, "--port", "http")
    valid(objects(made))
    chart = tmp_path / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: agent\nversion: 0.1.0\n")
    (chart / "templates/agent.yaml").write_text(EXAMPLE)
    rendered = run(tool("helm"), "template", "agent", chart, "--post-renderer", WEIR, "--post-renderer-args", "inject")
    found = objects(rendered)
    valid(found)
    assert weir_of(only(found, "Deployment")) and only(found, "Service")["spec"]["ports"][0]["targetPort"] == 8080


def folder(path):
    path.mkdir()
    (path / "agent.yaml").write_text(EXAMPLE)
    (path / "kustomization.yaml").write_text("resources: [agent.yaml]\n")
    return path


def test_what_cannot_be_meant_is_refused_with_its_document():
    config = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: other }\n"
    ports = [{"name": "http", "containerPort": 8000}, {"name": "metrics", "containerPort": 9000}]
    several = workload("Deployment", containers=[{"name": "agent", "image": "a:1", "ports": ports}])
    text = f"{config}---\n{json.dumps(several)}\n"
    assert "document 2, line 5: Deployment/agent: several container ports: http (8000" in refused(text)
    [_, found] = objects(inject(text, "--port", "metrics")[0])
    assert weir_of(found)["args"][-1] == "http://127.0.0.1:9000"
    assert "document 2, line 5: not valid YAML" in refused(f"{config}---\na: [\n")
    assert "no workload in the input" in refused(config) and "no workload" in refused("")
    assert "--listen" in refused(EXAMPLE.replace("8000", "8080"))
    assert "not UTF-8" in subprocess.run([WEIR, "inject"], input=b"\xff", capture_output=True).stderr.decode()
    two = f"{EXAMPLE}---\n{json.dumps(workload('StatefulSet'))}\n"
    assert "several workloads in the input: Deployment/agent, StatefulSet/agent" in refused(two)
    made = objects(inject(two, "--workload", "StatefulSet/agent")[0])
    assert weir_of(only(made, "StatefulSet")) and "initContainers" not in pod_of(only(made, "Deployment"))
