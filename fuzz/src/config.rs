//! Configuration files: every text is either accepted and can be printed, or rejected with a
//! message.

use weir::config::{self, Overrides};

/// Checks any text.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let overrides = Overrides::default();
    match config::load(Some(("fuzz.yaml", text)), &overrides) {
        Ok(config) => drop(config::effective(&config).to_string()),
        Err(problems) => assert!(!problems.to_string().is_empty()),
    }
}
