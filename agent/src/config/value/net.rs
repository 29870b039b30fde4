//! Network addresses: blocks of peers and the address to listen on.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
};

use super::{InvalidValue, text_value};

/// A block of IP addresses in CIDR notation (RFC 4632, RFC 4291 section 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Its lowest address.
    pub const fn network(self) -> IpAddr {
        self.network
    }

    /// How many leading bits all its addresses share.
    pub const fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether `address` lies in the block. A block of one family holds no address of the other;
    /// IPv4-mapped IPv6 addresses are IPv4 addresses.
    pub fn contains(self, address: IpAddr) -> bool {
        masked(address.to_canonical(), self.prefix) == Some(self.network)
            && address.to_canonical().is_ipv4() == self.network.is_ipv4()
    }
}

/// `address` with all but its first `prefix` bits cleared; nothing if it has fewer bits.
fn masked(address: IpAddr, prefix: u8) -> Option<IpAddr> {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(v4) => {
            let host = 32_u32.checked_sub(prefix)?;
            let mask = u32::MAX.checked_shl(host).unwrap_or(0);
            Some(IpAddr::V4((v4.to_bits() & mask).into()))
        }
        IpAddr::V6(v6) => {
            let host = 128_u32.checked_sub(prefix)?;
            let mask = u128::MAX.checked_shl(host).unwrap_or(0);
            Some(IpAddr::V6((v6.to_bits() & mask).into()))
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let refuse = || {
            InvalidValue::new(format!(
                "`{text}` is no CIDR block; write an address and a prefix length such as `10.0.0.0/8` or `2001:db8::/32`"
            ))
        };
        let (address, prefix) = text.split_once('/').ok_or_else(refuse)?;
        let address: IpAddr = address.parse().ok().ok_or_else(refuse)?;
        let digits = prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix: u8 = prefix.parse().ok().filter(|_| digits).ok_or_else(refuse)?;
        let network = masked(address, prefix).ok_or_else(refuse)?;
        if network != address {
            return Err(InvalidValue::new(format!(
                "`{text}` has bits set beyond its prefix; write `{network}/{prefix}`"
            )));
        }
        Ok(Self { network, prefix })
    }
}

text_value!(Cidr, "a CIDR block such as `10.0.0.0/8`", { "type": "string", "format": "wellhead-cidr" });

/// Where to listen: an IP address and a port. `localhost` stands for `127.0.0.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenAddress(SocketAddr);

impl ListenAddress {
    pub(in crate::config) const fn loopback(port: u16) -> Self {
        Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    }

    /// All of this machine's IPv4 addresses.
    pub(in crate::config) const fn everywhere(port: u16) -> Self {
        Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port))
    }

    /// The address and port to bind.
    pub const fn get(self) -> SocketAddr {
        self.0
    }

    /// Whether only this machine can connect to it.
    pub fn is_loopback(self) -> bool {
        self.0.ip().to_canonical().is_loopback()
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ListenAddress {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let address = match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}").parse(),
            None => text.parse(),
        };
        address.ok().map(Self).ok_or_else(|| {
            InvalidValue::new(format!(
                "`{text}` is no address to listen on; write an IP address and a port such as `127.0.0.1:9464` or `[::]:9464`"
            ))
        })
    }
}

text_value!(ListenAddress, "an IP address and a port such as `127.0.0.1:9464`", {
    "type": "string",
    "format": "wellhead-listen-address"
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn blocks_hold_their_addresses() {
        let check = |cidr: &str, address: &str, expected: bool| {
            let block: Cidr = cidr.parse().unwrap();
            assert_eq!(
                block.contains(address.parse().unwrap()),
                expected,
                "{cidr} {address}"
            );
        };
        check("10.0.0.0/8", "10.255.0.1", true);
        check("10.0.0.0/8", "11.0.0.1", false);
        check("10.0.0.0/8", "::ffff:10.0.0.1", true);
        check("0.0.0.0/0", "203.0.113.9", true);
        check("0.0.0.0/0", "::1", false);
        check("::/0", "0.0.0.0", false);
        check("192.0.2.7/32", "192.0.2.7", true);
        check("192.0.2.7/32", "192.0.2.6", false);
        check("2001:db8::/32", "2001:db8:1::1", true);
        check("2001:db8::/32", "2001:db9::1", false);
    }

    #[test]
    fn other_texts_are_no_blocks() {
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "host/8",
            "10.0.0/8",
        ] {
            let error = text.parse::<Cidr>().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("`{text}` is no CIDR block")),
                "{error}"
            );
        }
        assert_eq!(
            "10.1.0.0/8".parse::<Cidr>().unwrap_err().to_string(),
            "`10.1.0.0/8` has bits set beyond its prefix; write `10.0.0.0/8`"
        );
    }

    #[test]
    fn listening_needs_an_address_and_a_port() {
        let check = |text: &str, expected: Option<&str>| {
            let shown = text
                .parse::<ListenAddress>()
                .ok()
                .map(|address| address.to_string());
            assert_eq!(shown.as_deref(), expected, "{text}");
        };
        check("127.0.0.1:9464", Some("127.0.0.1:9464"));
        check("localhost:80", Some("127.0.0.1:80"));
        check("[::]:9464", Some("[::]:9464"));
        check(":9464", None);
        check("9464", None);
        check("example.com:80", None);
        check("127.0.0.1:65536", None);
    }

    proptest! {
        #[test]
        fn what_is_shown_parses_back(bits: u128, low: u32, v4: bool, prefix in 0_u8..=128) {
            let address = if v4 { IpAddr::V4(low.into()) } else { IpAddr::V6(bits.into()) };
            let prefix = if v4 { prefix / 4 } else { prefix };
            let block = Cidr { network: masked(address, prefix).unwrap(), prefix };
            prop_assert_eq!(block.to_string().parse::<Cidr>(), Ok(block));
            let listen = ListenAddress(SocketAddr::new(address, u16::from(prefix)));
            prop_assert_eq!(listen.to_string().parse::<ListenAddress>(), Ok(listen));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "[0-9a-f:.]{0,12}/[0-9]{0,4}|\\PC*") {
            if let Ok(block) = text.parse::<Cidr>() {
                prop_assert_eq!(block.to_string().parse::<Cidr>(), Ok(block));
            }
            if let Ok(listen) = text.parse::<ListenAddress>() {
                prop_assert_eq!(listen.to_string().parse::<ListenAddress>(), Ok(listen));
            }
        }
    }
}
