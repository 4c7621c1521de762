//! `weir schema`: the JSON Schema of the configuration file.

use crate::command::Output;
use crate::config;

/// Returns the schema, ready to be saved as `weir.schema.json`.
pub fn schema() -> Output {
    Output {
        stdout: format!("{:#}\n", config::schema()),
        ..Output::default()
    }
}
