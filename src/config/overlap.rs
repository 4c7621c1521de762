//! Tells whether two addresses can be listened on at the same time. If they cannot, Weir does not start.

use std::fs;
use std::net::{IpAddr, SocketAddr};

use crate::config::Address;

/// Where Linux says that `[::]` takes no connections of IPv4.
const ONLY_IPV6: &str = "/proc/sys/net/ipv6/bindv6only";

/// Reports whether two different addresses include the same address and port. Port 0 is another port each time.
pub(crate) fn overlap(one: &Address, other: &Address) -> bool {
    let (Address::Tcp(one), Address::Tcp(other)) = (one, other) else {
        return false;
    };
    let is_same_port = one.port() == other.port() && one.port() != 0;
    is_same_port && (includes(*one, *other) || includes(*other, *one))
}

fn includes(all: SocketAddr, one: SocketAddr) -> bool {
    let (all, one) = (all.ip(), one.ip());
    match (all.to_canonical(), one.to_canonical()) {
        (IpAddr::V4(all), IpAddr::V4(_)) if all.is_unspecified() => true,
        (IpAddr::V6(all), IpAddr::V6(_)) if all.is_unspecified() => true,
        (IpAddr::V6(all), IpAddr::V4(_)) if all.is_unspecified() => !only_ipv6(),
        (all, one) => all == one,
    }
}

fn only_ipv6() -> bool {
    fs::read_to_string(ONLY_IPV6).is_ok_and(|set| set.trim() == "1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::address::listen;

    #[test]
    fn all_addresses_include_each_of_them() {
        for (one, other, want) in [
            (":8080", "127.0.0.1:8080", true),
            (":8080", "localhost:8080", true),
            ("[::]:8080", "[::1]:8080", true),
            ("127.0.0.1:8080", "[::ffff:127.0.0.1]:8080", true),
            (":8080", "[::1]:8080", false),
            (":8080", "127.0.0.1:8081", false),
            (":0", "127.0.0.1:0", false),
            ("127.0.0.1:8080", "127.0.0.2:8080", false),
            (":8080", "unix:/run/w", false),
            ("unix:/run/w", "unix:/run/w", false),
        ] {
            let [left, right] = [one, other].map(|text| listen(text).unwrap());
            assert_eq!(overlap(&left, &right), want, "{one} {other}");
            assert_eq!(overlap(&right, &left), want, "{other} {one}");
        }
        let [left, right] = ["[::]:8080", ":8080"].map(|text| listen(text).unwrap());
        assert_eq!(overlap(&left, &right), !only_ipv6());
    }
}
