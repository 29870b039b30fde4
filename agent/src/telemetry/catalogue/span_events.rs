//! The events that spans of processes may have.

use super::Telling;

/// Every event of a span. At most 32 are kept.
pub const SPAN_EVENTS: &[Telling] = &[
    Telling {
        name: "tcp.listen",
        meaning: "It began to listen for the first time.",
        severity: "–",
        always: &[
            "network.transport",
            "network.local.address",
            "network.local.port",
        ],
        sometimes: &[],
    },
    Telling {
        name: "tcp.accept",
        meaning: "The first connection that was opened to it reached ESTABLISHED.",
        severity: "–",
        always: &[
            "network.transport",
            "network.local.address",
            "network.local.port",
            "network.peer.address",
            "network.peer.port",
        ],
        sometimes: &[],
    },
    Telling {
        name: "tcp.connect",
        meaning: "The first connection that it opened reached ESTABLISHED.",
        severity: "–",
        always: &[
            "network.transport",
            "network.local.address",
            "network.local.port",
            "network.peer.address",
            "network.peer.port",
        ],
        sometimes: &[],
    },
    Telling {
        name: "tcp.connect_failed",
        meaning: "An attempt to open a connection failed. The first 24 are told, the others counted as dropped.",
        severity: "–",
        always: &[
            "network.transport",
            "network.local.address",
            "network.local.port",
            "network.peer.address",
            "network.peer.port",
            "error.type",
        ],
        sometimes: &[],
    },
    Telling {
        name: "signal",
        meaning: "Another process, or itself, sent it a signal: the last that asked it to end (`SIGTERM`, `SIGINT`, `SIGHUP`, `SIGQUIT`), and the last of \
                  those others that end whoever does not answer them.",
        severity: "–",
        always: &[
            "wellhead.process.signal",
            "wellhead.process.signal.sender.pid",
            "wellhead.process.signal.sender.name",
            "wellhead.process.signal.sender.user.id",
        ],
        sometimes: &[],
    },
    Telling {
        name: "oom_kill",
        meaning: "The kernel chose it to be killed for lack of memory.",
        severity: "–",
        always: &[],
        sometimes: &[
            "wellhead.process.memory.anonymous",
            "wellhead.process.memory.file",
            "wellhead.process.memory.shared",
            "wellhead.oom.scope",
            "wellhead.oom.limit",
            "wellhead.oom.usage",
        ],
    },
];
