//! Which addresses the host itself has: those of its interfaces, and of bridges that its containers know it by.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Process 1 is in the host's network namespace, unless the agent has a PID namespace of its own: then it is the agent's
/// container, and what is read are its addresses. No capability is needed for this directory.
const HOST: &str = "/proc/1/net";

/// All addresses of the host but loopback and link-local ones, as they are now.
///
/// # Errors
/// `/proc` does not show the host's network. Without IPv6 there is no file for it, which is no error.
pub fn host_addresses() -> io::Result<BTreeSet<IpAddr>> {
    let routes = fs::read_to_string(format!("{HOST}/fib_trie"))?;
    let v6 = fs::read_to_string(format!("{HOST}/if_inet6")).unwrap_or_default();
    let v4 = local_routes(&routes).map(IpAddr::V4);
    let v6 = interfaces(&v6).map(IpAddr::V6);
    Ok(v4.chain(v6).filter(is_of_the_host_alone).collect())
}

/// Destinations of routes to the host itself, in the text of `fib_trie_seq_show` (`net/ipv4/fib_trie.c`): a leaf's address, and
/// below it the scope and type of each of its routes.
fn local_routes(text: &str) -> impl Iterator<Item = Ipv4Addr> {
    let mut leaf = None;
    text.lines().filter_map(move |line| {
        let line = line.trim_start();
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.trim_end().parse().ok();
        }
        let is_local = line.starts_with("/32 ") && line.ends_with(" LOCAL");
        leaf.filter(|_| is_local)
    })
}

/// First words of the lines that `if6_seq_show` (`net/ipv6/addrconf.c`) writes.
fn interfaces(text: &str) -> impl Iterator<Item = Ipv6Addr> {
    let first = |line: &str| {
        let digits = line.split_whitespace().next()?;
        let whole = digits.len() == 32 && !digits.starts_with('+');
        let bits = u128::from_str_radix(digits, 16).ok()?;
        whole.then(|| Ipv6Addr::from_bits(bits))
    };
    text.lines().filter_map(first)
}

fn is_of_the_host_alone(address: &IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(is_link_local || address.is_loopback() || address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROUTES: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 4
     |-- 0.0.0.0
        /0 universe UNICAST
     |-- 10.244.0.0
        /24 link UNICAST
Local:
  +-- 0.0.0.0/0 3 0 5
     +-- 10.244.0.0/24 2 0 2
        |-- 10.244.0.1
           /32 host LOCAL
        |-- 10.244.0.255
           /32 link BROADCAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.0
           /8 host LOCAL
        |-- 127.0.0.1
           /32 host LOCAL
";

    #[test]
    fn addresses_are_those_of_routes_to_the_host_itself() {
        let found: Vec<_> = local_routes(ROUTES).collect();
        assert_eq!(found, [[10, 244, 0, 1].into(), Ipv4Addr::LOCALHOST]);
        let text = "00000000000000000000000000000001 01 80 10 80       lo\n\
            fd000000000000000000000000000007 02 40 00 80     eth0\nfd00\n+0000000000000000000000000000007 02\n";
        let found: Vec<String> = interfaces(text)
            .map(|address| address.to_string())
            .collect();
        assert_eq!(found, ["::1", "fd00::7"]);
    }

    #[test]
    fn what_everybody_has_is_nobodys() {
        let check = |text: &str, expected| {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(is_of_the_host_alone(&address), expected, "{text}");
        };
        check("10.0.0.1", true);
        check("fd00::1", true);
        check("169.254.1.1", false);
        check("fe80::1", false);
        check("127.0.0.53", false);
        check("::1", false);
        check("0.0.0.0", false);
    }

    #[test]
    fn this_machine_is_read() {
        assert!(host_addresses().is_ok_and(|found| found.iter().all(is_of_the_host_alone)));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(?s).{0,400}", at in 0..ROUTES.len(), with in "[ -~\\n]{0,9}") {
            let _any = (local_routes(&text).count(), interfaces(&text).count());
            let mut routes = ROUTES.to_owned();
            routes.insert_str(at, &with);
            prop_assert!(local_routes(&routes).count() <= 3);
        }
    }
}
