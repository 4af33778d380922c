//! Ranges of addresses, as `hosts` of a `[[user]]` has them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// All addresses with a prefix: `10.0.0.0/8`, `2001:db8::/32`, or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    /// The prefix in the first bits; the others are not compared.
    address: IpAddr,
    /// The number of bits.
    prefix: u32,
}

impl AddressRange {
    /// Whether the address is in the range. An IPv4 address in IPv6 form is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let shift = |bits: u32| bits.saturating_sub(self.prefix);
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(range), IpAddr::V4(address)) => {
                let differing = u32::from(range) ^ u32::from(address);
                differing.checked_shr(shift(32)).unwrap_or(0) == 0
            }
            (IpAddr::V6(range), IpAddr::V6(address)) => {
                let differing = u128::from(range) ^ u128::from(address);
                differing.checked_shr(shift(128)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// As in the configuration.
impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = if self.address.is_ipv4() { 32 } else { 128 };
        match self.prefix == bits {
            true => self.address.fmt(f),
            false => write!(f, "{}/{}", self.address, self.prefix),
        }
    }
}

/// A text that is not a range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotARange;

impl FromStr for AddressRange {
    type Err = NotARange;

    fn from_str(text: &str) -> Result<AddressRange, NotARange> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NotARange)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(prefix) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
                prefix.parse().map_err(|_| NotARange)?
            }
            Some(_) => return Err(NotARange),
        };
        match prefix <= bits {
            true => Ok(AddressRange { address, prefix }),
            false => Err(NotARange),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_in(address: &str, range: &str) -> bool {
        let range: AddressRange = range.parse().unwrap();
        range.contains(address.parse().unwrap())
    }

    #[test]
    fn addresses_are_compared_by_their_first_bits() {
        assert!(is_in("10.255.0.1", "10.0.0.0/8"));
        assert!(!is_in("11.0.0.1", "10.0.0.0/8"));
        assert!(is_in("192.168.1.129", "192.168.1.128/25"));
        assert!(!is_in("192.168.1.127", "192.168.1.128/25"));
        assert!(is_in("10.1.2.3", "10.1.2.3") && !is_in("10.1.2.4", "10.1.2.3"));
        assert!(is_in("1.2.3.4", "0.0.0.0/0") && !is_in("::1", "0.0.0.0/0"));
        assert!(is_in("::ffff:10.1.2.3", "10.0.0.0/8"));
        assert!(is_in("2001:db8::7", "2001:db8::/32") && !is_in("2001:db9::7", "2001:db8::/32"));
        assert!(is_in("::1", "::/0") && !is_in("127.0.0.1", "::/0"));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.%",
            "db1",
            "10.0/8",
        ] {
            assert_eq!(text.parse::<AddressRange>(), Err(NotARange), "{text}");
        }
    }
}
