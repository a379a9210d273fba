//! How much of the internet is let in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// As many IPv4 addresses as a /7 has are a large part of the internet, in one range or in several.
const MANY_V4: u64 = 1 << 25;
/// The same for IPv6, in networks of /48: a /15.
const MANY_V6: u64 = 1 << 33;

/// Networks that are nobody's on the internet.
const PRIVATE_V4: [(Ipv4Addr, u8); 6] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
];

/// Ranges that one row of the table has seen.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ranges {
    v4: u64,
    v6: u64,
    unread: bool,
}

impl Ranges {
    /// Adds a range. One that can't be read may be any, and counts as all.
    pub(super) fn add(&mut self, text: &str) {
        match size(text.trim()) {
            Some(Size::V4(n)) => self.v4 = self.v4.saturating_add(n),
            Some(Size::V6(n)) => self.v6 = self.v6.saturating_add(n),
            None => self.unread = true,
        }
    }

    /// What is wrong with what was added so far.
    pub(super) fn verdict(self) -> Option<&'static str> {
        if self.v4 >= MANY_V4 || self.v6 >= MANY_V6 {
            Some("any address")
        } else if self.unread {
            Some("a range that cannot be read")
        } else {
            None
        }
    }
}

enum Size {
    /// In addresses.
    V4(u64),
    /// In networks of /48, rounded down.
    V6(u64),
}

fn size(text: &str) -> Option<Size> {
    if text == "*" {
        return Some(Size::V4(MANY_V4));
    }
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix.parse::<u8>().ok()?)),
        None => (text, None),
    };
    match address.parse::<IpAddr>().ok()? {
        IpAddr::V4(address) => size_v4(address, prefix.unwrap_or(32)),
        IpAddr::V6(address) => {
            let prefix = prefix.unwrap_or(128);
            if let (Some(mapped), Some(inner)) = (address.to_ipv4_mapped(), prefix.checked_sub(96)) {
                return size_v4(mapped, inner);
            }
            size_v6(address, prefix)
        }
    }
}

fn size_v4(address: Ipv4Addr, prefix: u8) -> Option<Size> {
    let host_bits = 32_u8.checked_sub(prefix)?;
    let inside = |(network, length): &(Ipv4Addr, u8)| {
        prefix >= *length && (address.to_bits() ^ network.to_bits()) >> (32 - u32::from(*length)) == 0
    };
    Some(Size::V4(if PRIVATE_V4.iter().any(inside) {
        0
    } else {
        1 << host_bits
    }))
}

fn size_v6(address: Ipv6Addr, prefix: u8) -> Option<Size> {
    if prefix > 128 {
        return None;
    }
    // fc00::/7 is private, fe80::/10 of one link.
    let first = address.segments()[0];
    let private = (prefix >= 7 && first & 0xfe00 == 0xfc00) || (prefix >= 10 && first & 0xffc0 == 0xfe80);
    Some(Size::V6(match 48_u8.checked_sub(prefix) {
        Some(bits) if !private => 1 << bits,
        _ => 0,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(ranges: &str) -> Option<&'static str> {
        let mut all = Ranges::default();
        for range in ranges.split_whitespace() {
            all.add(range);
        }
        all.verdict()
    }

    #[test]
    fn a_large_part_of_the_internet_is_any_address_in_whatever_pieces() {
        for any in [
            "0.0.0.0/0",
            "*",
            "::/0",
            "0.0.0.0/1 128.0.0.0/1",
            "0.0.0.0/1",
            "64.0.0.0/7",
            "3.0.0.0/8 4.0.0.0/8",
            "::ffff:0.0.0.0/96",
            "2000::/3",
            "8.0.0.0/7",
            "10.0.0.0/7",
            "10.1.2.3/0",
        ] {
            assert_eq!(verdict(any), Some("any address"), "{any}");
        }
    }

    #[test]
    fn what_is_private_or_small_is_none() {
        for some in [
            "",
            "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10",
            "35.191.0.0/16 130.211.0.0/22",
            "203.0.113.7",
            "203.0.113.7/32",
            "2001:db8::/32",
            "2001:db8::1",
            "fd00::/8",
            "fc00::/7",
            "::ffff:10.0.0.0/104",
        ] {
            assert_eq!(verdict(some), None, "{some}");
        }
    }

    #[test]
    fn what_cannot_be_read_counts() {
        for other in [
            "0/0",
            "000.0.0.0/0",
            "0.0.0.0/33",
            "::/129",
            "0.0.0.0/0.0.0.0",
            "all",
        ] {
            assert_eq!(verdict(other), Some("a range that cannot be read"), "{other}");
        }
    }
}
