//! What records that found their ring full would have told, added up by the kernel programs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use wellhead_common::{
    Sixteen,
    maps::{SPILL_SHUT_DOWN, SpillKey, SpillValue},
    record::{Kind, role},
};

use super::{
    Because, Connection, ConnectionEnd, ExitStatus, Limited, Role, Totals, model::canonical,
};

/// Events of one kind about the same whose details are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spilled {
    /// cgroup v2 id of whom they concern; 0 where that is lost too.
    pub cgroup_id: u64,
    /// How many.
    pub events: u64,
    /// What they were.
    pub what: SpilledWhat,
}

/// What the events were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpilledWhat {
    /// Processes were made.
    Forks,
    /// Processes of this `comm` (NUL-padded; empty where unknown) executed a program.
    Execs([u8; 16]),
    /// Processes of this `comm` ended in this way (`None` where unknown).
    Exits([u8; 16], Option<ExitStatus>),
    /// Victims of this `comm` were chosen.
    OomKills([u8; 16]),
    /// Connections ended.
    Closes {
        /// One that stands for them all (`None` where the peer is unknown): what decides under which names they are
        /// counted is right, everything else is made up.
        like: Option<Connection>,
        /// Those of them of which not even the opening was told.
        opens: u64,
        /// Socket error they ended with, 0 for none.
        errno: i32,
        /// What they carried together and no snapshot told.
        totals: Totals,
    },
    /// Attempts to connect failed.
    Failures {
        /// One that stands for them all, as above.
        like: Option<ConnectionEnd>,
        /// What they carried together: segments.
        totals: Totals,
    },
}

impl Spilled {
    /// Reads an entry of the spill map; `None` if it is of a kind that is not spilled.
    pub fn new(key: &SpillKey, value: &SpillValue) -> Option<Self> {
        let name = key.subject.bytes();
        let known = name != [0; 16];
        let what = match Kind::from_number(key.kind)? {
            Kind::Fork => SpilledWhat::Forks,
            Kind::Exec => SpilledWhat::Execs(name),
            Kind::Exit => {
                let status = known.then(|| ExitStatus::from_wait_status(key.status));
                SpilledWhat::Exits(name, status)
            }
            Kind::OomKill => SpilledWhat::OomKills(name),
            Kind::TcpClose => SpilledWhat::Closes {
                like: connection(key),
                opens: value.opens,
                errno: i32::try_from(key.status).unwrap_or_default(),
                totals: totals(value),
            },
            Kind::TcpConnectFailed => SpilledWhat::Failures {
                like: connection(key).and_then(|connection| failure(key, connection)),
                totals: totals(value),
            },
            Kind::CgroupMkdir
            | Kind::CgroupRmdir
            | Kind::CgroupAttach
            | Kind::TcpOpen
            | Kind::TcpSnapshot
            | Kind::Task
            | Kind::Freed
            | Kind::TcpReset
            | Kind::TcpListener
            | Kind::TcpListen
            | Kind::Dns => return None,
        };
        Some(Self {
            cgroup_id: key.cgroup_id,
            events: value.records,
            what,
        })
    }
}

fn totals(value: &SpillValue) -> Totals {
    Totals {
        bytes_sent: value.bytes_sent,
        bytes_received: value.bytes_received,
        segments_sent: value.segments_sent,
        segments_received: value.segments_received,
        retransmits: value.retransmits,
        because: {
            let [handshake, timeout, probe, fast] = value.because;
            Because {
                handshake,
                timeout,
                probe,
                fast,
            }
        },
        out_of_order: value.out_of_order,
        limited: {
            let [busy, receive_window, send_buffer] = value.limited;
            Limited {
                busy,
                receive_window,
                send_buffer,
            }
        },
        srtt_us: None,
        min_rtt_us: None,
    }
}

/// One connection as those the key stands for.
fn connection(key: &SpillKey) -> Option<Connection> {
    if key.subject == Sixteen::default() {
        return None;
    }
    let mut connection = Connection::like(canonical(key.subject.bytes()), key.role, key.port);
    connection.shut_down = key.status & SPILL_SHUT_DOWN != 0;
    Some(connection)
}

impl Connection {
    /// One that stands for all to this peer, of which the socket is this end ([`role`]) and the other end was asked for this port.
    /// What decides under which names they are counted is right, everything else is made up.
    pub fn like(remote: IpAddr, role: u16, port: u16) -> Self {
        // Only whether it is loopback matters of it, and only loopback talks to loopback.
        let local = if remote.is_loopback() {
            remote
        } else {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        };
        let role = match role {
            role::SOURCE => Some(Role::Source),
            role::DESTINATION => Some(Role::Destination),
            _ => None,
        };
        // A port that was not looked for: 0 would stand for one that could not be had.
        let any = 1;
        let (local_port, remote_port) = match role {
            Some(Role::Destination) => (port, any),
            Some(Role::Source) | None => (any, port),
        };
        Self {
            socket_id: 0,
            netns: 0,
            local: SocketAddr::new(local, local_port),
            remote: SocketAddr::new(remote, remote_port),
            role,
            owner: None,
            started_ns: None,
            established_ns: None,
            older_than_agent: false,
            unmet: false,
            open_lost: false,
            shut_down: false,
        }
    }
}

fn failure(key: &SpillKey, connection: Connection) -> Option<ConnectionEnd> {
    Some(ConnectionEnd {
        connection,
        totals: Totals::default(),
        reported: wellhead_common::maps::Traffic::default(),
        state: None,
        lifecycle_only: false,
        initial_sequence: None,
        errno: i32::try_from(key.status & !SPILL_SHUT_DOWN).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: Kind) -> SpillKey {
        SpillKey {
            cgroup_id: 7,
            subject: Sixteen::new(*b"\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\x01"),
            kind: kind as u32,
            port: 80,
            role: role::DESTINATION,
            ..SpillKey::default()
        }
    }

    const TWO: SpillValue = SpillValue {
        records: 2,
        opens: 1,
        bytes_sent: 3,
        bytes_received: 4,
        segments_sent: 5,
        segments_received: 6,
        retransmits: 10,
        because: [1, 2, 3, 4],
        out_of_order: 11,
        limited: [12, 13, 14],
    };

    #[test]
    fn closes_keep_what_names_their_flow() {
        let spilled = Spilled::new(&key(Kind::TcpClose), &TWO).expect("spilled");
        assert_eq!((spilled.cgroup_id, spilled.events), (7, 2));
        let SpilledWhat::Closes {
            like,
            opens,
            errno: 0,
            totals,
        } = spilled.what
        else {
            panic!("{spilled:?}");
        };
        let like = like.expect("known");
        assert_eq!(like.destination_port(), 80);
        assert_eq!(like.role, Some(Role::Destination));
        assert!(like.local.ip().is_loopback() && like.remote.ip().is_loopback());
        assert_eq!((opens, totals.bytes_sent, totals.retransmits), (1, 3, 10));
        assert_eq!((totals.because.fast, totals.limited.send_buffer), (4, 14));
    }

    #[test]
    fn failures_keep_their_error() {
        let mut failed = key(Kind::TcpConnectFailed);
        failed.status = libc::ECONNREFUSED.cast_unsigned() | SPILL_SHUT_DOWN;
        let spilled = Spilled::new(&failed, &TWO).expect("spilled");
        let SpilledWhat::Failures {
            like: Some(like), ..
        } = spilled.what
        else {
            panic!("{spilled:?}");
        };
        assert_eq!(
            (like.errno, like.connection.shut_down),
            (libc::ECONNREFUSED, true)
        );
    }

    #[test]
    fn without_room_for_details_only_the_kind_is_known() {
        let check = |kind, expected| {
            let coarse = SpillKey {
                cgroup_id: 7,
                kind: kind as u32,
                ..SpillKey::default()
            };
            let what = Spilled::new(&coarse, &TWO).map(|spilled| spilled.what);
            assert_eq!(what, expected, "{kind:?}");
        };
        let totals = totals(&TWO);
        check(Kind::Fork, Some(SpilledWhat::Forks));
        check(Kind::Exec, Some(SpilledWhat::Execs([0; 16])));
        check(Kind::Exit, Some(SpilledWhat::Exits([0; 16], None)));
        check(
            Kind::TcpClose,
            Some(SpilledWhat::Closes {
                like: None,
                opens: 1,
                errno: 0,
                totals,
            }),
        );
        let like = None;
        check(
            Kind::TcpConnectFailed,
            Some(SpilledWhat::Failures { like, totals }),
        );
        check(Kind::TcpOpen, None);
    }
}
