"""Checks that the chart renders what it documents for every value, and rejects values that make no sense."""

import json
import shutil
import tarfile

import pytest
import yaml

from conftest import CHART, DEPLOY, WEIR, fails, helm_template, kinds, objects, only, run, tool, valid

AGENT = {"upstreams": {"agent": {"endpoints": ["http://agent:8000"]}}}
FLEET = {"config": AGENT}
SIDECAR = {"mode": "sidecar", "agent": {"container": {"name": "agent", "image": "example/agent:1"}}}
EVERYTHING = {
    "autoscaling": {"enabled": True},
    "networkPolicy": {"enabled": True, "monitoring": [{"namespaceSelector": {"matchLabels": {"team": "watch"}}}]},
    "podMonitor": {"enabled": True, "labels": {"release": "stack"}},
    "serviceMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "dashboard": {"enabled": True},
    "tls": {"secretName": "weir-tls", "clientCertificates": True},
    "upstreamTls": {"secretName": "agent-tls"},
    "commonLabels": {"team": "agents"},
    "podAnnotations": {"note": "1"},
    "image": {"repository": "weir", "pullSecrets": [{"name": "pull"}], "digest": f"sha256:{'0' * 64}"},
    "serviceAccount": {"annotations": {"role": "none"}},
    "env": [{"name": "AGENT_KEY", "valueFrom": {"secretKeyRef": {"name": "agent", "key": "key"}}}],
    "envFrom": [{"configMapRef": {"name": "more"}}],
    "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "agents", "operator": "Exists"}],
    "priorityClassName": "high",
    "topologySpreadConstraints": [],
    "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
}
MODES = {"fleet": FLEET, "sidecar": SIDECAR}


def pod(found):
    return only(found, "Deployment")["spec"]["template"]["spec"]


def config_of(found):
    [text] = [one["data"]["weir.yaml"] for one in found if "weir.yaml" in one.get("data", {})]
    return text


def weir(found):
    spec = pod(found)
    [one] = [one for one in [*spec.get("initContainers", []), *spec["containers"]] if one["name"] == "weir"]
    return one


def test_helm_finds_nothing_to_complain_about():
    said = run(tool("helm"), "lint", "--strict", CHART, "--set-json", f"config={json.dumps(AGENT)}")
    assert "0 chart(s) failed" in said and "WARNING" not in said


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("more", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_what_it_makes_is_valid(template, checked, mode, more):
    found = template(MODES[mode] | more)
    valid(found)
    if not more:
        # Without the certificate files, `weir check` would fail.
        checked(config_of(found))
    expected = {"ConfigMap", "Deployment", "PodDisruptionBudget", "Service", "ServiceAccount"}
    if more:
        expected |= {"HorizontalPodAutoscaler", "NetworkPolicy", "PodMonitor", "ServiceMonitor", "PrometheusRule"}
    assert set(kinds(found)) == expected
    for one in found:
        assert one["metadata"]["labels"]["app.kubernetes.io/name"] == "weir"
        assert ("team" in one["metadata"]["labels"]) == bool(more)


def test_selectors_find_the_pods_and_nothing_else(template):
    found = template(FLEET | EVERYTHING)
    labels = only(found, "Deployment")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        only(found, "Deployment")["spec"]["selector"]["matchLabels"],
        only(found, "Service", "weir")["spec"]["selector"],
        only(found, "Service", "weir-metrics")["spec"]["selector"],
        only(found, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        only(found, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        only(found, "PodMonitor")["spec"]["selector"]["matchLabels"],
    ]
    assert all(one == {"app.kubernetes.io/name": "weir", "app.kubernetes.io/instance": "weir"} for one in selectors)
    assert selectors[0].items() <= labels.items()
    # The service monitor must select only the metrics service.
    wanted = only(found, "ServiceMonitor")["spec"]["selector"]["matchLabels"].items()
    services = {one["metadata"]["name"]: one["metadata"]["labels"] for one in found if one["kind"] == "Service"}
    assert [name for name, given in services.items() if wanted <= given.items()] == ["weir-metrics"]


def test_ports_agree_everywhere(template):
    found = template(FLEET | EVERYTHING | {"ports": {"http": 8443, "admin": 9000}})
    container = weir(found)
    assert {one["name"]: one["containerPort"] for one in container["ports"]} == {"weir": 8443, "weir-admin": 9000}
    hooks = [container[probe]["httpGet"]["port"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert {*hooks, container["lifecycle"]["preStop"]["httpGet"]["port"]} == {"weir-admin"}
    assert only(found, "Service", "weir")["spec"]["ports"][0]["targetPort"] == 8443
    assert only(found, "Service", "weir-metrics")["spec"]["ports"][0]["targetPort"] == 9000
    assert only(found, "PodMonitor")["spec"]["podMetricsEndpoints"][0]["port"] == "weir-admin"
    config = yaml.safe_load(config_of(found))
    assert config["listen"][0]["address"] == "0.0.0.0:8443" and config["admin"]["listen"] == "0.0.0.0:9000"


def test_tls_is_mounted_where_the_configuration_looks_for_it(template):
    found = template(FLEET | {"tls": {"secretName": "ours", "clientCertificates": True}, "upstreamTls": {"secretName": "theirs"}})
    tls = yaml.safe_load(config_of(found))["listen"][0]["tls"]
    mounts = {one["name"]: one["mountPath"] for one in weir(found)["volumeMounts"]}
    secrets = {one["name"]: one["secret"]["secretName"] for one in pod(found)["volumes"] if "secret" in one}
    assert secrets == {"weir-tls": "ours", "weir-upstream-tls": "theirs"}
    files = {"cert": "tls.crt", "key": "tls.key", "client_ca": "ca.crt"}
    assert tls == {key: f"{mounts['weir-tls']}/{file}" for key, file in files.items()}
    service = only(found, "Service")["spec"]["ports"][0]
    assert (service["name"], service["appProtocol"]) == ("https", "https")


def test_a_pod_has_time_for_its_drain(template):
    for limit in (0, 25, 300):
        found = template(SIDECAR | {"drain": {"delay": 0, "limit": limit}})
        config = yaml.safe_load(config_of(found))
        assert config["drain"]["limit"] == f"{limit}s"
        [agent] = pod(found)["containers"]
        for container, port in ((weir(found), "weir-admin"), (agent, 9464)):
            hook = container["lifecycle"]["preStop"]["httpGet"]
            header = {"name": "Weir-Hook", "value": "1"}
            assert hook == {"path": f"/drain?wait={limit + 2}s", "port": port, "httpHeaders": [header]}
        assert pod(found)["terminationGracePeriodSeconds"] >= limit + 10


def test_the_agent_can_sleep_instead_or_have_its_own_hook(template):
    def hook(**agent):
        return pod(template(SIDECAR | {"agent": {**SIDECAR["agent"], **agent}}))["containers"][0].get("lifecycle")

    assert hook(preStop="sleep") == {"preStop": {"sleep": {"seconds": 28}}}
    assert hook(preStop="none") is None
    own = {"preStop": {"exec": {"command": ["/stop"]}}}
    container = SIDECAR["agent"]["container"]
    assert hook(container={**container, "lifecycle": own}, preStop="none") == own
    both = hook(container={**container, "lifecycle": {"postStart": {"exec": {"command": ["/warm"]}}}})
    assert set(both) == {"preStop", "postStart"}


def test_a_sidecar_is_native_or_a_container_like_any_other(template):
    native = pod(template(SIDECAR))
    assert [one["name"] for one in native["containers"]] == ["agent"]
    assert [one["restartPolicy"] for one in native["initContainers"]] == ["Always"]
    plain = pod(template(SIDECAR | {"sidecar": {"native": False}}))
    assert [one["name"] for one in plain["containers"]] == ["agent", "weir"] and "initContainers" not in plain


def test_no_pod_has_more_rights_than_it_needs(template):
    for values in MODES.values():
        found = template(values)
        container, spec = weir(found), pod(found)
        security = container["securityContext"]
        assert security["runAsNonRoot"] and security["readOnlyRootFilesystem"] and security["runAsUser"] == 65532
        assert not security["allowPrivilegeEscalation"] and security["capabilities"] == {"drop": ["ALL"]}
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert "cpu" not in container["resources"]["limits"] and "memory" in container["resources"]["limits"]


def test_the_admin_port_is_asked_by_the_names_of_the_services(template):
    found = template(FLEET | EVERYTHING | {"admin": {"hosts": ["weir.example"]}})
    hosts = yaml.safe_load(config_of(found))["admin"]["hosts"]
    for service in [one["metadata"]["name"] for one in found if one["kind"] == "Service"]:
        names = {f"{service}{rest}" for rest in ("", ".default", ".default.svc", ".default.svc.cluster.local")}
        assert names <= set(hosts)
    assert "weir.example" in hosts and len(hosts) == len(set(hosts)) == 9


def test_a_token_is_asked_for_and_shown_by_the_hook(template):
    token = {"admin": {"token": "env:DRAIN_TOKEN"}, "drain": {"limit": 60}}
    found = template(SIDECAR | token | {"agent": {**SIDECAR["agent"], "preStop": "sleep"}})
    valid(found)
    assert yaml.safe_load(config_of(found))["admin"]["token"] == "env:DRAIN_TOKEN"
    hook = weir(found)["lifecycle"]["preStop"]
    words = ["/usr/bin/weir", "drain", "--admin", ":9464", "--wait", "62s", "--token", "env:DRAIN_TOKEN"]
    assert hook == {"exec": {"command": words}}
    help_text = run(WEIR, "drain", "--help")
    assert all(word in help_text for word in words if word.startswith("--"))


def test_admin_is_reached_by_whom_the_policy_names(template):
    ports = lambda found: [
        (rule["ports"][0]["port"], rule.get("from")) for rule in only(found, "NetworkPolicy")["spec"]["ingress"]
    ]
    assert ports(template(FLEET | {"networkPolicy": {"enabled": True}})) == [(8080, None)]
    watch, clients = [{"podSelector": {}}], [{"namespaceSelector": {}}]
    policy = {"enabled": True, "monitoring": watch, "clients": clients}
    assert ports(template(FLEET | {"networkPolicy": policy})) == [(8080, clients), (9464, watch)]


def test_another_configuration_replaces_the_pods(template):
    def checksum(**values):
        annotations = only(template(FLEET | values), "Deployment")["spec"]["template"]["metadata"]["annotations"]
        return annotations.get("checksum/config")

    assert checksum() == checksum(replicas=5) != checksum(drain={"delay": 1, "limit": 2})
    assert checksum(restartOnChange=False) is None


def test_it_scales_by_open_streams(template):
    found = template(FLEET | {"autoscaling": {"enabled": True, "streams": 40}})
    [metric] = only(found, "HorizontalPodAutoscaler")["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == "weir_streams_active" and metric["pods"]["target"]["averageValue"] == "40"
    assert "replicas" not in only(found, "Deployment")["spec"], "two would write it"


def test_rules_and_dashboard_are_those_of_the_project(template):
    found = template(FLEET | EVERYTHING)
    assert only(found, "PrometheusRule")["spec"] == yaml.safe_load((DEPLOY / "prometheus/rules.yaml").read_text())
    dashboard = only(found, "ConfigMap", "weir-dashboard")
    assert json.loads(dashboard["data"]["weir.json"]) == json.loads((DEPLOY / "grafana/weir.json").read_text())
    # `kubectl apply` stores the object in an annotation of limited size.
    assert len(json.dumps(dashboard)) < 250_000


def test_what_was_given_goes_before_what_the_chart_knows(template):
    config = {"upstreams": {"agent": {"pool_idle": "1s"}}, "defaults": {"heartbeat": "5s"}}
    made = yaml.safe_load(config_of(template(SIDECAR | {"config": config})))
    agent = made["upstreams"]["agent"]
    assert agent == {"endpoints": ["http://127.0.0.1:8000"], "connect_budget": "30s", "pool_idle": "1s"}
    assert made["defaults"] == {"heartbeat": "5s"}


def test_the_agents_port_is_a_number_or_a_name(template):
    ports = [{"name": "metrics", "containerPort": 9100}, {"name": "http", "containerPort": 9000}]
    for port in (9000, "http"):
        values = {"mode": "sidecar", "agent": {"port": port, "container": {**SIDECAR["agent"]["container"], "ports": ports}}}
        config = yaml.safe_load(config_of(template(values)))
        assert config["upstreams"]["agent"]["endpoints"] == ["http://127.0.0.1:9000"]


def test_monitors_and_rules_are_off_unless_asked_for(template):
    operators = {"PodMonitor", "ServiceMonitor", "PrometheusRule"}
    for mode in MODES:
        file = DEPLOY / f"helm/values/{mode}.yaml"
        command = [tool("helm"), "template", "weir", CHART, "--values", file]
        found = objects(run(*command))
        assert not operators & set(kinds(found)) and "weir-dashboard" not in [one["metadata"]["name"] for one in found]
        asked = objects(run(*command, "--values", DEPLOY / "helm/values/monitoring.yaml"))
        assert {"PodMonitor", "PrometheusRule"} <= set(kinds(asked))
        valid(asked)


def agent(**more):
    return {"mode": "sidecar", "agent": {"container": {**SIDECAR["agent"]["container"], **more}}}


WRONG = {
    "no agent": ({}, "config.upstreams: expected where the agents are"),
    "two agents": ({"config": {"upstreams": {"a": {}, "b": {}}}}, "config.routes: expected which of the upstreams"),
    "no image": ({"mode": "sidecar"}, "agent.container: expected name and image"),
    "a mode": ({"mode": "daemon"}, "mode must be one of"),
    "a misspelt value": ({"replica": 1}, "Additional property replica"),
    "a misspelt key of the configuration": ({"config": {**AGENT, "dfaults": {}}}, "Additional property dfaults"),
    "one below": ({"config": {"upstreams": {"a": {"endpoint": "http://a"}}}}, "Additional property endpoint "),
    "a port": ({"ports": {"http": 0}}, "ports.http"),
    "what has a value of its own": ({"config": {**AGENT, "drain": {"limit": "1h"}}}, "Additional property drain"),
    "TLS of clients alone": ({**FLEET, "tls": {"clientCertificates": True}}, "tls.clientCertificates: expected tls.secretName"),
    "a limit below the delay": ({**FLEET, "drain": {"limit": 3}}, "drain.limit: expected at least drain.delay"),
    "one port for two": ({**FLEET, "ports": {"http": 9464}}, "ports.admin: expected another port"),
    "more at least than at most": ({**FLEET, "autoscaling": {"enabled": True, "minReplicas": 20}}, "autoscaling.minReplicas"),
    "an address of its own": ({"config": {**AGENT, "listen": ":9000"}}, "Additional property listen"),
    "an agent of that name": ({"mode": "sidecar", "agent": {"container": {"name": "weir", "image": "i"}}}, "expected another name"),
    "two hooks": (agent(lifecycle={"preStop": {"exec": {"command": ["/stop"]}}}), "agent.preStop: expected none"),
    "a probe that would drain": (agent(livenessProbe={"exec": {"command": ["/ok"]}}), "agent.preStop: expected sleep or none"),
    "a token in the values": ({**FLEET, "admin": {"token": "s3cret"}}, "admin.token"),
    "a hook without the token": ({**SIDECAR, "admin": {"token": "env:A"}}, "agent.preStop: expected sleep or none beside admin.token"),
    "a port that has no name": ({**SIDECAR, "agent": {**SIDECAR["agent"], "port": "http"}}, "agent.port: expected a number, or the name"),
    "the port of Weir": ({**SIDECAR, "agent": {**SIDECAR["agent"], "port": 8080}}, "agent.port: expected another port"),
    "a digest": ({"image": {"digest": "abc"}}, "image.digest"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_makes_no_sense_is_refused_in_words(wrong):
    values, words = WRONG[wrong]
    said = fails(*helm_template(values))
    assert words in said, said


def test_what_a_cluster_is_too_old_for_is_refused():
    old = ["--kube-version", "1.28.9"]
    assert "sidecar.native: expected false on Kubernetes v1.28.9" in fails(*helm_template(SIDECAR), *old)
    plain = SIDECAR | {"sidecar": {"native": False}}
    run(*helm_template(plain), *old)
    sleeps = plain | {"agent": {**SIDECAR["agent"], "preStop": "sleep"}}
    assert "agent.preStop: expected drain or none" in fails(*helm_template(sleeps), *old)


def test_names_are_short_enough_and_texts_stay_texts(template):
    command = helm_template(FLEET | {"serviceMonitor": {"enabled": True}}, release="r" * 51)
    assert all(len(one["metadata"]["name"]) < 64 for one in objects(run(*command)))
    for release in ("123", "on", "null"):
        valid(objects(run(*helm_template(FLEET, release=release))))


def test_pods_that_stay_a_while_keep_the_configuration_they_began_with(template):
    def names(**values):
        found = template(FLEET | values)
        [volume] = pod(found)["volumes"]
        assert volume["configMap"]["name"] == only(found, "ConfigMap")["metadata"]["name"]
        return volume["configMap"]["name"]

    assert names() == names(replicas=7) != names(drain={"delay": 5, "limit": 300})
    assert names(restartOnChange=False) == names(restartOnChange=False, workers=4) == "weir"


def test_the_schema_of_the_values_is_up_to_date():
    run("python3", DEPLOY / "helm/schema.py", "--check")


def test_what_is_packed_is_whole(tmp_path):
    run(tool("helm"), "package", CHART, "--destination", tmp_path)
    [archive] = tmp_path.glob("*.tgz")
    with tarfile.open(archive) as packed:
        names = set(packed.getnames())
        assert packed.extractfile("weir/files/rules.yaml").read() == (DEPLOY / "prometheus/rules.yaml").read_bytes()
    assert {"weir/files/dashboard.json", "weir/values.schema.json", "weir/templates/NOTES.txt"} <= names
    assert "PrometheusRule" in run(*[*helm_template(FLEET | EVERYTHING)[:3], archive, *helm_template(FLEET | EVERYTHING)[4:]])


def test_the_chart_has_the_version_of_the_program():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    cargo = (DEPLOY.parent / "Cargo.toml").read_text()
    assert f'\nversion = "{chart["appVersion"]}"\n' in cargo and chart["version"] == chart["appVersion"]


NOTES = """apiVersion: v1
kind: ConfigMap
metadata: { name: notes }
data: { notes: {{ tpl (.Files.Get "files/NOTES.txt") . | quote }} }
"""


def test_the_notes_say_what_is_left_to_do(tmp_path, template):
    """Notes are shown only on an installation, which needs a cluster. So a copy of the chart renders them as a file."""
    copy = tmp_path / "weir"
    shutil.copytree(CHART, copy)
    (copy / "templates/NOTES.txt").rename(copy / "files/NOTES.txt")
    (copy / "templates/notes.yaml").write_text(NOTES)

    def notes(values):
        command = [copy if part == CHART else part for part in helm_template(values)]
        return only(objects(run(*command)), "ConfigMap", "notes")["data"]["notes"]

    fleet = notes(FLEET)
    assert "http://weir.default.svc:80" in fleet and "podMonitor.enabled" in fleet
    assert "networkPolicy.enabled" in fleet and "127.0.0.1:8000" not in fleet
    every = notes(SIDECAR | EVERYTHING)
    assert "https://weir" in every and "127.0.0.1:8000" in every and "podMonitor" not in every
