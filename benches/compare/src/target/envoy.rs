//! Envoy, without the limits that would end a long stream or refuse many connections.

use std::process::Command;

use super::setup::plain_only;
use super::{Program, Stanza, on_path, version_of};

pub(super) const STANZA: Stanza = Stanza {
    name: "envoy",
    program: |_| Program::At(on_path("envoy")),
    version: |program| version_of(program, "--version"),
    cannot: plain_only,
    command: |place| {
        let config = format!(
            r#"static_resources:
  listeners:
    - address: {{socket_address: {{address: 127.0.0.1, port_value: {listen}}}}}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: clients
                stream_idle_timeout: 0s
                upgrade_configs: [{{upgrade_type: websocket}}]
                route_config:
                  virtual_hosts:
                    - name: all
                      domains: ["*"]
                      routes:
                        - match: {{prefix: "/"}}
                          route: {{cluster: model, timeout: 0s}}
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
    - name: model
      type: STATIC
      circuit_breakers:
        thresholds:
          - {{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000}}
      load_assignment:
        cluster_name: model
        endpoints:
          - lb_endpoints:
              - endpoint:
                  address: {{socket_address: {{address: 127.0.0.1, port_value: {upstream}}}}}
"#,
            listen = place.listen.port(),
            upstream = place.upstream.port(),
        );
        let mut command = Command::new(place.program);
        command
            .arg("--config-path")
            .arg(place.file("envoy.yaml", &config)?);
        command.args([
            "--concurrency",
            &place.setup.workers.to_string(),
            "--disable-hot-restart",
            "--log-level",
            "warn",
        ]);
        Ok(command)
    },
    ..Stanza::USUAL
};
