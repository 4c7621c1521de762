//! The address of a client, as log lines and `X-Forwarded-For` show it.

use std::fmt;
use std::net::IpAddr;

/// Displays an address as [`IpAddr`] does. Each request shows it twice, and the standard library formats each number by
/// itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address(pub(crate) IpAddr);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let IpAddr::V4(address) = self.0 else {
            return fmt::Display::fmt(&self.0, f);
        };
        let mut text = String::with_capacity("255.255.255.255".len());
        for octet in address.octets() {
            if !text.is_empty() {
                text.push('.');
            }
            for place in [100, 10, 1] {
                if octet >= place || place == 1 {
                    text.push(char::from(b'0' + octet / place % 10));
                }
            }
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_as_ever() {
        for text in [
            "0.0.0.0",
            "10.20.100.101",
            "255.9.99.200",
            "::1",
            "2001:db8::8:800:200c:417a",
        ] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(Address(address).to_string(), text);
        }
    }
}
