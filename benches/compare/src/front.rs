//! How clients speak with a target: its address, and what they send and read there.

use std::net::SocketAddr;

/// What a client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Client {
    #[default]
    Http1,
    /// HTTP/1.1 over TLS.
    Tls,
    /// HTTP/2 in plain text, by prior knowledge.
    H2,
    /// HTTP/2 over TLS, agreed by ALPN.
    H2Tls,
}

impl Client {
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::H2Tls)
    }

    pub const fn is_h2(self) -> bool {
        matches!(self, Self::H2 | Self::H2Tls)
    }
}

/// Where clients connect, and how they ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Front {
    pub address: SocketAddr,
    pub client: Client,
    /// Whether what is asked of the model is repeated in the body, for targets that write their own path.
    pub in_body: bool,
}

impl Front {
    /// A server of plain HTTP/1.1.
    pub const fn plain(address: SocketAddr) -> Self {
        Self {
            address,
            client: Client::Http1,
            in_body: false,
        }
    }
}
