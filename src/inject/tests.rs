//! Tests with whole manifests.

use super::*;

fn problem(text: &str, options: &Options) -> String {
    inject(text, options).unwrap_err().to_string()
}

/// A pod with these containers, in flow style.
fn pod(containers: &str) -> String {
    format!("kind: Pod\nmetadata: {{name: p}}\nspec: {{containers: {containers}}}\n")
}

const AGENT: &str = r#"# The team's agent.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: agent   # keep
spec:
  template:
    metadata:
      labels: { app: agent }
    spec:
      # Not the first container.
      containers:
      - name: cache
        image: cache:1
      - name: agent
        image: agent:1
        x-unknown: [1, 0440, yes]
        ports:
        - { name: http, containerPort: 8000 }
        # The end of the agent.
      volumes: []
---
apiVersion: v1
kind: Service
metadata: { name: agent }
spec:
  selector: { app: agent }
  ports:
  - port: 80
    targetPort: http # the agent's
  - port: 9000
    targetPort: 9000
"#;

#[test]
fn everything_else_stays_as_it_is_written() {
    let done = inject(AGENT, &Options::without_flags()).unwrap();
    let lines: Vec<&str> = done.text.lines().collect();
    let mut rest = lines.iter();
    for line in AGENT
        .lines()
        .map(|line| line.replace("targetPort: http ", "targetPort: 8080 "))
    {
        assert!(rest.any(|made| *made == line), "{line}\n{}", done.text);
    }
    assert_eq!(
        done.notes,
        [
            "Deployment/agent: Weir is added in front of port 8000",
            "Service/agent: leads to Weir, port 8080"
        ]
    );
    let [deployment, _] = &*documents(&done.text).unwrap() else {
        panic!("{}", done.text)
    };
    let root = deployment.root.as_ref().unwrap();
    let spec = root.find(&["spec", "template", "spec"]).unwrap();
    let weir = &spec.get("initContainers").unwrap().items()[0];
    assert_eq!(
        weir.get("restartPolicy").and_then(Node::text),
        Some("Always")
    );
    let args = weir.get("args").unwrap().items();
    assert_eq!(
        args.last().and_then(Node::text),
        Some("http://127.0.0.1:8000")
    );
    let containers = spec.get("containers").unwrap().items();
    assert_eq!(containers.len(), 2);
    assert!(containers[0].get("lifecycle").is_none());
    assert!(
        containers[1]
            .find(&["lifecycle", "preStop", "httpGet"])
            .is_some()
    );
    assert_eq!(
        spec.get("terminationGracePeriodSeconds")
            .and_then(Node::number),
        Some(40)
    );
}

#[test]
fn injecting_twice_changes_nothing() {
    let once = inject(AGENT, &Options::without_flags()).unwrap().text;
    let twice = inject(&once, &Options::without_flags()).unwrap();
    assert_eq!(twice.text, once);
    assert_eq!(
        twice.notes,
        ["Deployment/agent: has Weir already, no change"]
    );
}

#[test]
fn json_stays_json() {
    let text = r#"{"kind": "List", "items": [{"kind": "Pod", "metadata": {"name": "p"}, "spec": {
        "containers": [{"name": "a", "image": "b", "ports": [{"containerPort": 8000}]}]}}]}"#;
    for kind in [Kind::Native, Kind::Ordinary] {
        let done = inject(
            text,
            &Options {
                kind,
                ..Options::without_flags()
            },
        )
        .unwrap();
        let value: serde_json::Value = serde_json::from_str(&done.text).unwrap();
        let spec = &value["items"][0]["spec"];
        let weir = match kind {
            Kind::Native => &spec["initContainers"][0],
            Kind::Ordinary => &spec["containers"][1],
        };
        assert_eq!(weir["name"], "weir");
        assert_eq!(weir["ports"][0]["containerPort"], 8080);
        assert_eq!(spec["terminationGracePeriodSeconds"], 40);
    }
}

#[test]
fn the_port_is_the_only_one_or_the_one_that_is_said() {
    let two = "[{name: a, ports: [{name: http, containerPort: 80}, {name: m, containerPort: 90}, {containerPort: 53, protocol: UDP}]}]";
    let port = |port: &str, container: Option<&str>| Options {
        port: Some(port.to_owned()),
        container: container.map(str::to_owned),
        ..Options::without_flags()
    };
    assert_eq!(
        problem(&pod(two), &Options::without_flags()),
        "document 1, line 1: Pod/p: several container ports: http (80, of `a`), m (90, of `a`); say with --port which one is the agent's"
    );
    for wanted in ["m", "90"] {
        let done = inject(&pod(two), &port(wanted, None)).unwrap();
        assert!(done.text.contains("http://127.0.0.1:90\""), "{}", done.text);
    }
    assert_eq!(
        problem(&pod(two), &port("web", None)),
        "document 1, line 1: Pod/p: no container port is called `web`: there are http (80, of `a`), m (90, of `a`)"
    );
    let none = "[{name: a}, {name: b}]";
    assert!(problem(&pod(none), &Options::without_flags()).contains("say with --port NUMBER"));
    assert!(problem(&pod(none), &port("8000", None)).contains("say with --container"));
    assert!(problem(&pod(none), &port("8000", Some("c"))).contains("there are a, b"));
    let done = inject(&pod(none), &port("8000", Some("b"))).unwrap();
    assert!(
        done.text.contains("{name: b, \"lifecycle\""),
        "{}",
        done.text
    );
}

#[test]
fn the_hook_depends_on_the_probes_of_the_agent() {
    let made = |container: &str, hook| {
        let text = pod(&format!(
            "[{{name: a, ports: [{{containerPort: 80}}]{container}}}]"
        ));
        inject(
            &text,
            &Options {
                hook,
                ..Options::without_flags()
            },
        )
    };
    let probed = ", livenessProbe: {httpGet: {port: 80}}";
    assert!(made("", Hook::Auto).unwrap().text.contains("\"port\":9464"));
    let sleeps = made(probed, Hook::Auto).unwrap();
    assert!(sleeps.text.contains(r#""sleep":{"seconds":28}"#));
    assert!(
        sleeps
            .notes
            .iter()
            .any(|note| note.contains("Kubernetes 1.30"))
    );
    assert!(made(probed, Hook::Drain).is_err());
    assert!(!made(probed, Hook::Off).unwrap().text.contains("\"sleep\""));
    let own = made(", lifecycle: {preStop: {exec: {command: [x]}}}", Hook::Auto).unwrap();
    assert!(
        own.notes
            .iter()
            .any(|note| note.contains("keeps its own preStop hook"))
    );
    let started = made(
        ", lifecycle: {postStart: {exec: {command: [x]}}}",
        Hook::Auto,
    )
    .unwrap();
    assert!(
        started.text.contains("[x]}}, \"preStop\": {"),
        "{}",
        started.text
    );
}

#[test]
fn ambiguous_or_conflicting_input_is_an_error() {
    let one = pod("[{name: a, ports: [{containerPort: 8080}]}]");
    assert!(problem(&one, &Options::without_flags()).contains("--listen"));
    assert!(
        inject(
            &one,
            &Options {
                listen: 8081,
                ..Options::without_flags()
            }
        )
        .is_ok()
    );
    let mesh = "kind: Pod\nmetadata: {name: p}\nspec: {initContainers: [{name: mesh, restartPolicy: Always, ports: [{containerPort: 9464}]}], containers: [{name: a, ports: [{containerPort: 80}]}]}\n";
    assert!(problem(mesh, &Options::without_flags()).contains("port 9464 belongs to `mesh`"));
    assert!(inject(&mesh.replace("Always", "Never"), &Options::without_flags()).is_ok());
    assert!(problem("kind: ConfigMap\n", &Options::without_flags()).contains("no workload"));
    let two = format!("{one}---\n{}", one.replace("name: p", "name: q"));
    assert!(
        problem(&two, &Options::without_flags())
            .contains("several workloads in the input: Pod/p, Pod/q")
    );
    let named = |name: &str| Options {
        workloads: vec![name.to_owned()],
        listen: 8081,
        ..Options::without_flags()
    };
    assert!(inject(&two, &named("Pod/q")).is_ok());
    assert!(problem(&two, &named("r")).contains("--workload r"));
    assert_eq!(
        problem("a: 1\n---\n# c\nb: [\n---\n", &Options::without_flags())
            .split(": ")
            .next(),
        Some("document 2, line 4")
    );
    let anchored = "kind: Pod\nmetadata: {name: p}\nspec: &s\n  containers: [{name: a, ports: [{containerPort: 1}]}]\ncopy: *s\n";
    assert!(problem(anchored, &Options::without_flags()).contains("anchors"));
    let job = "kind: Job\nspec: {template: {spec: {containers: [{name: a, ports: [{containerPort: 1}]}]}}}\n";
    let plain = Options {
        kind: Kind::Ordinary,
        ..Options::without_flags()
    };
    assert!(problem(job, &plain).contains("--plain"));
}

#[test]
fn documents_begin_at_dashes() {
    let one = pod("[{name: a, ports: [{containerPort: 80}]}]");
    let starts = |text: &str| {
        let found = documents(text).unwrap();
        found.iter().map(|one| one.start).collect::<Vec<_>>()
    };
    assert_eq!(
        starts("# c\n\n%YAML 1.2\n---\na: 1\n--- # d\nb: |\n  ---\n---\n"),
        [0, 24, 43]
    );
    assert_eq!(starts("---\na: 1\r\n---\r\nb: ---\n----: 1\n"), [0, 10]);
    let text = format!("# c\n%YAML 1.2\n---\n{one}");
    let done = inject(&text, &Options::without_flags()).unwrap();
    assert!(done.text.starts_with("# c\n%YAML 1.2\n---\nkind: Pod\n"));
}

#[test]
fn a_config_map_is_mounted() {
    let with = Options {
        config_map: Some("mine".to_owned()),
        ..Options::without_flags()
    };
    let done = inject(AGENT, &with).unwrap();
    assert!(
        done.text
            .contains("volumes: [{\"configMap\":{\"name\":\"mine\"},\"name\":\"weir-config\"}]")
    );
    assert!(
        done.text
            .contains("args: [\"--config\", \"/etc/weir/weir.yaml\", \"--listen\"")
    );
}

#[test]
fn a_service_leads_to_weir_only_if_it_led_to_the_agent() {
    let text = |service: &str| {
        format!(
            "{}---\nkind: Service\nmetadata: {{name: s}}\nspec: {service}\n",
            "kind: Pod\nmetadata: {name: p, labels: {app: a, v: '1'}}\nspec: {containers: [{name: a, ports: [{name: http, containerPort: 80}]}]}\n"
        )
    };
    let made = |service: &str| inject(&text(service), &Options::without_flags()).unwrap();
    let leads = made("{selector: {app: a}, ports: [{port: 80}]}");
    assert!(
        leads
            .text
            .ends_with("ports: [{port: 80, \"targetPort\": 8080}]}\n"),
        "{}",
        leads.text
    );
    for service in [
        "{selector: {app: b}, ports: [{port: 80}]}",
        "{selector: {app: a}, ports: [{port: 80, targetPort: 81}]}",
        "{ports: [{port: 80}]}",
    ] {
        let other = made(service);
        assert!(
            other.text.ends_with(&format!("spec: {service}\n")),
            "{}",
            other.text
        );
        assert!(
            other.notes[1].contains("no Service in the input"),
            "{:?}",
            other.notes
        );
    }
}

#[test]
fn lists_and_hooks_that_are_empty_are_filled() {
    let text = "kind: Pod
metadata: {name: p}
spec:
  initContainers:   # none yet
  containers:
  - name: a
    lifecycle:
    ports: [{containerPort: 80}]
  - name: b
    lifecycle: {preStop: null}
  volumes: null
";
    let with_file = Options {
        config_map: Some("c".to_owned()),
        ..Options::without_flags()
    };
    let done = inject(text, &with_file).unwrap().text;
    for line in [
        "    lifecycle: {\"preStop\":{\"httpGet\":",
        "  volumes: [{\"configMap\":{\"name\":\"c\"},\"name\":\"weir-config\"}]\n",
        "  initContainers: [{\"args\":",
        "   # none yet\n",
    ] {
        assert!(done.contains(line), "{line}\n{done}");
    }
    let other = Options {
        container: Some("b".to_owned()),
        port: Some("81".to_owned()),
        ..Options::without_flags()
    };
    let done = inject(text, &other).unwrap().text;
    let hook = "    lifecycle: {preStop: {\"httpGet\":";
    assert!(done.contains(hook), "{done}");
}

#[test]
fn names_that_weir_needs_are_not_given_twice() {
    let named = pod("[{name: a, ports: [{name: weir-admin, containerPort: 80}]}]");
    let said = problem(&named, &Options::without_flags());
    assert!(
        said.contains("a port of `a` is called `weir-admin`"),
        "{said}"
    );
    let volume = format!(
        "{}  volumes: [{{name: weir-config, emptyDir: {{}}}}]\n",
        "kind: Pod\nmetadata: {name: p}\nspec:\n  containers: [{name: a, ports: [{containerPort: 80}]}]\n"
    );
    assert!(inject(&volume, &Options::without_flags()).is_ok());
    let with_file = Options {
        config_map: Some("c".to_owned()),
        ..Options::without_flags()
    };
    let said = problem(&volume, &with_file);
    assert!(said.contains("a volume is called `weir-config`"), "{said}");
}

/// Whatever is cut off, the rest is edited as a whole or not at all.
#[test]
fn a_cut_manifest_is_an_error_or_the_same_manifest_with_weir() {
    for end in 0..AGENT.len() {
        let text = &AGENT[..end];
        let Ok(done) = inject(text, &Options::without_flags()) else {
            continue;
        };
        let mut rest = done.text.lines();
        for line in text
            .lines()
            .filter(|line| !line.contains("targetPort: http"))
        {
            assert!(rest.any(|made| made == line), "{line}\n{}", done.text);
        }
    }
}
