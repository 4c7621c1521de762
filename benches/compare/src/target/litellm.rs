//! LiteLLM, a gateway in Python. It asks the model by a path of its own, so what is asked of the model is in the body.

use std::process::Command;

use super::setup::plain_only;
use super::{Program, Stanza, root, version_of};

pub(super) const STANZA: Stanza = Stanza {
    name: "litellm",
    program: |_| {
        let program = root().join(".cache/litellm/bin/litellm");
        if program.is_file() {
            Program::At(program)
        } else {
            Program::Unasked
        }
    },
    version: |program| version_of(program, "--version"),
    cannot: plain_only,
    // It parses and writes every event anew, and falls behind where no pace holds the model back.
    workloads: Some(&["paced", "start"]),
    in_body: true,
    command: |place| {
        let config = format!(
            "model_list:
  - model_name: mock7
    litellm_params:
      model: openai/mock7
      api_base: http://{}/v1
      api_key: none
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
            .args([
                "--num_workers",
                &place.setup.workers.to_string(),
                "--config",
            ])
            .arg(place.file("litellm.yaml", &config)?);
        // Prices that come with it: it would otherwise ask for them at each start.
        command.env("LITELLM_LOCAL_MODEL_COST_MAP", "True");
        command.env("HOME", place.directory);
        Ok(command)
    },
    ..Stanza::USUAL
};
