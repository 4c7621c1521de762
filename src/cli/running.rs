//! The arguments of commands that talk to a running Weir.

use clap::{Args, ValueHint};

#[cfg(feature = "top")]
const TOP_EXAMPLES: &str = "\
Keys: q quit, / filter, e live or ended streams, s stop the selected stream, 1-6 sort, r reverse,
arrows or j and k select. In scripts, ask for http://ADMIN/streams instead.";

/// `weir drain`
#[derive(Clone, Debug, Args)]
pub struct Drain {
    /// Address of the admin listener [default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDRESS", env = "WEIR_ADMIN", value_hint = ValueHint::Hostname)]
    pub admin: Option<String>,
    /// How long to wait for the end; keep it a little above `drain.limit`
    #[arg(long, value_name = "DURATION", default_value = "27s")]
    pub wait: String,
    /// Where the token of `admin.token` is read from: env:NAME or file:PATH
    #[arg(long, value_name = "SOURCE")]
    pub token: Option<String>,
}

/// `weir healthcheck`
#[derive(Clone, Debug, Args)]
pub struct Healthcheck {
    /// URL to check: http://HOST:PORT/PATH or unix:/PATH; `/readyz` fails while draining
    /// [default: `/healthz` of the admin listener]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub url: Option<String>,
    /// Address of the admin listener [default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDRESS", env = "WEIR_ADMIN", value_hint = ValueHint::Hostname)]
    pub admin: Option<String>,
}

/// `weir top`
#[cfg(feature = "top")]
#[derive(Clone, Debug, Args)]
#[command(after_help = TOP_EXAMPLES)]
pub struct Top {
    /// Address of the admin listener: HOST:PORT or unix:/PATH [default: 127.0.0.1:9464]
    #[arg(value_name = "ADMIN", env = "WEIR_ADMIN", value_hint = ValueHint::Hostname)]
    pub admin: Option<String>,
    /// Where the token of `admin.token` is read from, which stopping a stream may need: env:NAME or file:PATH
    #[arg(long, value_name = "SOURCE")]
    pub token: Option<String>,
}
