//! Weir's container and the agent's hook, as the Helm chart writes them. `tests/deploy/test_inject.py` compares the
//! two.

use crate::inject::options::{Kind, Options};

/// The name of Weir's container. A pod that has one is left as it is.
pub(crate) const NAME: &str = "weir";

/// The names of its ports.
pub(crate) const PORTS: [&str; 2] = ["weir", "weir-admin"];

/// The volume with the configuration, of pods that take it from a ConfigMap.
pub(crate) const VOLUME: &str = "weir-config";

/// `drain.limit` of the configuration, in seconds. Hooks wait a little longer, and pods have 15 s more.
const DRAIN: u64 = 25;

/// The least `terminationGracePeriodSeconds` of the pod.
pub(crate) const GRACE: u64 = DRAIN + 15;

/// Weir's container, in front of port `agent` of the pod.
pub(crate) fn container(options: &Options, agent: u16) -> String {
    let Options { listen, admin, .. } = options;
    let native = match options.kind {
        Kind::Native => "restartPolicy: Always\n",
        Kind::Ordinary => "",
    };
    let image = serde_json::Value::from(&*options.image);
    let (file, mounts) = if options.config_map.is_some() {
        (
            "\"--config\", \"/etc/weir/weir.yaml\"",
            "volumeMounts:\n  - { name: weir-config, mountPath: /etc/weir, readOnly: true }\n",
        )
    } else {
        ("\"--workers\", \"2\"", "")
    };
    format!(
        r#"{native}name: {NAME}
image: {image}
imagePullPolicy: IfNotPresent
args: [{file}, "--listen", "0.0.0.0:{listen}", "--admin", "0.0.0.0:{admin}", "--upstream", "http://127.0.0.1:{agent}"]
ports:
  - {{ name: weir, containerPort: {listen} }}
  - {{ name: weir-admin, containerPort: {admin} }}
# No probe asks the agent: restarting Weir would not help an agent that fails.
startupProbe:
  httpGet: {{ path: /healthz, port: weir-admin }}
  periodSeconds: 1
  failureThreshold: 30
livenessProbe:
  httpGet: {{ path: /healthz, port: weir-admin }}
  periodSeconds: 10
  timeoutSeconds: 3
readinessProbe:
  httpGet: {{ path: /readyz, port: weir-admin }}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
lifecycle:
  preStop:
    # All hooks of a pod run at once, before any container gets SIGTERM. A sidecar gets it last.
{drain}resources:
  requests: {{ cpu: 100m, memory: 64Mi }}
  limits: {{ memory: 256Mi }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  seccompProfile: {{ type: RuntimeDefault }}
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {{ drop: [ALL] }}
{mounts}"#,
        drain = drain("    ", "weir-admin"),
    )
}

/// The agent's hook that asks Weir to drain, and waits for the end.
pub(crate) fn draining_hook(options: &Options) -> String {
    drain("", &options.admin.to_string())
}

/// The agent's hook that only waits.
pub(crate) fn sleeping_hook() -> String {
    format!("sleep: {{ seconds: {} }}\n", DRAIN + 3)
}

/// The drain request of the kubelet. The header shows that it does not come from a web page.
fn drain(indent: &str, port: &str) -> String {
    format!(
        "{indent}httpGet:\n{indent}  path: \"/drain?wait={}s\"\n{indent}  port: {port}\n{indent}  httpHeaders: [{{ name: Weir-Hook, value: \"1\" }}]\n",
        DRAIN + 2
    )
}

/// The volume of the pod with the configuration.
pub(crate) fn volume(config_map: &str) -> String {
    let name = serde_json::Value::from(config_map);
    format!("name: {VOLUME}\nconfigMap: {{ name: {name} }}\n")
}
