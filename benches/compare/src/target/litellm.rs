//! LiteLLM, a gateway in Python. It asks the model by a path of its own, so what is asked of the model is in the body.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use super::setup::plain_only;
use super::{Program, Stanza, root};

/// How its server logs: that a worker has started, and no requests.
const LOG: &str = r#"{
  "version": 1,
  "disable_existing_loggers": false,
  "handlers": {"log": {"class": "logging.StreamHandler"}},
  "loggers": {
    "uvicorn": {"handlers": ["log"], "level": "INFO", "propagate": false},
    "uvicorn.access": {"handlers": ["log"], "level": "ERROR", "propagate": false}
  }
}
"#;

pub(super) const STANZA: Stanza = Stanza {
    name: "litellm",
    program: |_| Program::At(root().join(".cache/litellm/bin/litellm")),
    version,
    cannot: plain_only,
    // It parses and writes every event anew, and falls behind where there are more of them.
    workloads: Some(&["gateway", "start"]),
    is_optional: true,
    in_body: true,
    // Each worker loads the whole program for itself.
    ready: Some("Application startup complete."),
    command: |place| {
        // `user` has what is asked of the model. It would be left out for a model that is not one of OpenAI's.
        let config = format!(
            "model_list:
  - model_name: mock7
    litellm_params:
      model: openai/mock7
      api_base: http://{}/v1
      api_key: none
      allowed_openai_params: [user]
litellm_settings:
  telemetry: false
  request_timeout: 3600
",
            place.upstream
        );
        let mut command = Command::new(place.program);
        command
            .args([
                "--host",
                "127.0.0.1",
                "--port",
                &place.listen.port().to_string(),
            ])
            .args(["--num_workers", &place.setup.workers.to_string()])
            // A worker that has said nothing for 5 s would be replaced, and loading the program can take longer.
            .args(["--timeout_worker_healthcheck", "60"])
            .arg("--log_config")
            .arg(place.file("log.json", LOG)?)
            .arg("--config")
            .arg(place.file("litellm.yaml", &config)?)
            .env("LITELLM_LOG", "ERROR")
            // Prices that come with it: it would otherwise ask for them at each start.
            .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
            // The others ask nobody for a key, either.
            .env(
                "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY",
                "true",
            )
            .env("HOME", place.directory);
        Ok(command)
    },
    ..Stanza::USUAL
};

/// Asks Python: the program itself would load all of its parts, and ask for prices.
fn version(program: &Path) -> Result<String> {
    let output = Command::new(program.with_file_name("python"))
        .args([
            "-c",
            "from importlib.metadata import version; print(version('litellm'))",
        ])
        .output()?;
    ensure!(
        output.status.success(),
        "LiteLLM is not installed completely: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
