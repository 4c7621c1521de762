//! What this binary is: its version, and the optional features that are built in.

/// The version. Release builds set `WEIR_LONG_VERSION`, for example to `0.1.0 (commit 1a2b3c4, rustc 1.95.0)`.
pub const VERSION: &str = match option_env!("WEIR_LONG_VERSION") {
    Some(text) => text,
    None => env!("CARGO_PKG_VERSION"),
};

/// The optional features that users notice, and whether each is built in.
const FEATURES: [(&str, bool); 3] = [
    ("otel", cfg!(feature = "otel")),
    ("redis", cfg!(feature = "redis")),
    ("top", cfg!(feature = "top")),
];

/// Returns the names of the optional features that are built in, in alphabetical order.
pub fn features() -> Vec<&'static str> {
    let built = FEATURES.into_iter().filter(|(_, is_built)| *is_built);
    built.map(|(name, _)| name).collect()
}
