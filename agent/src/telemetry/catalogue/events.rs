//! The events and spans of this version, and every attribute they may carry.

/// Something that happens and is told, as an event or a span.
#[derive(Clone, Copy, Debug)]
pub struct Telling {
    /// Its name; of a span whose name varies, what it is called after.
    pub name: &'static str,
    /// When there is one.
    pub meaning: &'static str,
    /// `SeverityText` of an event's log record, and when. Spans have none.
    pub severity: &'static str,
    /// Attributes it always has.
    pub always: &'static [&'static str],
    /// Attributes it has where they are known, or where they apply.
    pub sometimes: &'static [&'static str],
}

/// An attribute of events and spans.
#[derive(Clone, Copy, Debug)]
pub struct EventAttribute {
    /// Its key.
    pub key: &'static str,
    /// Its type, as the semantic conventions name types.
    pub kind: &'static str,
    /// What it says.
    pub meaning: &'static str,
}

/// Attributes of both ends, which every event and span of a connection has, and others.
macro_rules! ends_and {
    ($($other:literal),*) => {
        &[
            "network.transport",
            "network.local.address",
            "network.local.port",
            "network.peer.address",
            "network.peer.port",
            $($other),*
        ]
    };
}

/// Every event.
pub const EVENTS: &[Telling] = &[
    Telling {
        name: "wellhead.process.exec",
        meaning: "A process executes a program.",
        severity: "INFO",
        always: &[
            "process.pid",
            "process.parent_pid",
            "process.user.id",
            "process.real_user.id",
            "wellhead.process.group.id",
            "process.executable.name",
            "process.executable.path",
        ],
        sometimes: &[
            "process.vpid",
            "process.working_directory",
            "wellhead.process.script",
            "process.command_args",
            "wellhead.process.command_args.truncated",
            "wellhead.process.command_args.unreadable",
            "wellhead.process.command_args.withheld",
            "wellhead.process.executable.deleted",
            "wellhead.process.executable.memfd",
            "wellhead.process.user_namespace",
            "wellhead.process.capabilities.gained",
            "wellhead.process.ancestors",
        ],
    },
    Telling {
        name: "wellhead.process.fork",
        meaning: "A process was made. Threads are not told of.",
        severity: "INFO",
        always: &["process.pid", "process.parent_pid"],
        sometimes: &[],
    },
    Telling {
        name: "wellhead.process.exit",
        meaning: "A process ended: its last thread exited. Told when its parent has asked for it, at most a second or two later: only then is known what it used in all.",
        severity: "INFO; WARN if its code is not 0 or a signal ended it",
        always: &[
            "process.pid",
            "process.parent_pid",
            "process.user.id",
            "process.executable.name",
            "wellhead.duration",
            "wellhead.process.cpu.user",
            "wellhead.process.cpu.system",
            "wellhead.process.memory.peak",
            "wellhead.process.faults.minor",
            "wellhead.process.faults.major",
            "wellhead.process.switches.voluntary",
            "wellhead.process.switches.forced",
            "wellhead.process.disk.read",
            "wellhead.process.disk.written",
            "wellhead.process.network.sent",
            "wellhead.process.network.received",
        ],
        sometimes: &[
            "process.executable.path",
            "process.exit.code",
            "wellhead.process.signal",
            "wellhead.process.core_dumped",
            "wellhead.process.oom_killed",
            "wellhead.process.signal.sender.pid",
            "wellhead.process.signal.sender.name",
            "wellhead.process.signal.sender.user.id",
            "wellhead.process.asked.signal",
            "wellhead.process.asked.sender.pid",
            "wellhead.process.asked.sender.name",
            "wellhead.process.asked.ago",
        ],
    },
    Telling {
        name: "wellhead.process.oom_kill",
        meaning: "The kernel chose a process to kill for lack of memory. Its exit follows.",
        severity: "ERROR",
        always: &["process.pid", "process.executable.name"],
        sometimes: &[
            "process.executable.path",
            "wellhead.process.memory.anonymous",
            "wellhead.process.memory.file",
            "wellhead.process.memory.shared",
            "wellhead.oom.scope",
            "wellhead.oom.limit",
            "wellhead.oom.usage",
        ],
    },
    Telling {
        name: "wellhead.container.start",
        meaning: "A container started: its main process executes its program. Of containers that were made while the agent \
                  watched.",
        severity: "INFO",
        always: &[
            "process.pid",
            "process.executable.name",
            "wellhead.duration",
        ],
        sometimes: &[
            "k8s.container.restart_count",
            "wellhead.container.previous.exit.code",
            "wellhead.container.previous.signal",
            "wellhead.container.downtime",
        ],
    },
    Telling {
        name: "wellhead.container.exit",
        meaning: "A container ended: its main process did. Where that was not seen, its cgroup was removed; then there are no \
                  code, signal and duration.",
        severity: "INFO; WARN if its code is not 0 or a signal ended it; ERROR if the kernel killed a process in it for lack of \
                   memory",
        always: &[],
        sometimes: &[
            "process.pid",
            "process.executable.name",
            "process.exit.code",
            "wellhead.process.signal",
            "wellhead.duration",
            "wellhead.container.oom_killed",
            "wellhead.container.oom_kills",
        ],
    },
    Telling {
        name: "wellhead.container.crash_loop",
        meaning: "A container ends over and over: badly (code, signal or out of memory) three times within ten minutes as seen \
                  here, or its pod's status says `CrashLoopBackOff`. Told once; again only after it ran for ten minutes, or nothing \
                  told of a loop for as long. Code, signal, out of memory and duration are those of its last run.",
        severity: "ERROR",
        always: &[
            "wellhead.container.crash_loop.source",
            "wellhead.container.crash_loop.bad_ends",
        ],
        sometimes: &[
            "k8s.container.restart_count",
            "process.exit.code",
            "wellhead.process.signal",
            "wellhead.container.oom_killed",
            "wellhead.duration",
        ],
    },
    Telling {
        name: "wellhead.tcp.connect",
        meaning: "A connection that was opened from here reached ESTABLISHED.",
        severity: "INFO",
        always: ends_and![],
        sometimes: &[
            "process.pid",
            "process.executable.name",
            "wellhead.duration",
        ],
    },
    Telling {
        name: "wellhead.tcp.accept",
        meaning: "A connection that was opened to here reached ESTABLISHED.",
        severity: "INFO",
        always: ends_and![],
        sometimes: &["process.pid", "process.executable.name"],
    },
    Telling {
        name: "wellhead.tcp.close",
        meaning: "A connection ended.",
        severity: "INFO",
        always: ends_and![
            "wellhead.tcp.bytes_sent",
            "wellhead.tcp.bytes_received",
            "wellhead.tcp.retransmits"
        ],
        sometimes: &[
            "process.pid",
            "process.executable.name",
            "wellhead.tcp.rtt",
            "wellhead.tcp.rtt.min",
            "wellhead.tcp.verdict",
            "wellhead.duration",
            "error.type",
        ],
    },
    Telling {
        name: "wellhead.tcp.connect_failed",
        meaning: "An attempt to open a connection ended before ESTABLISHED.",
        severity: "INFO",
        always: ends_and!["error.type", "wellhead.tcp.retransmits"],
        sometimes: &[
            "wellhead.drop.reason",
            "wellhead.tcp.verdict",
            "process.pid",
            "process.executable.name",
            "wellhead.duration",
        ],
    },
    Telling {
        name: "wellhead.dns.lookup",
        meaning: "A name was looked up, and answered, or not within five seconds. Told by whoever asked, once for each query.",
        severity: "INFO",
        always: &[
            "dns.question.name",
            "wellhead.dns.question.type",
            "network.transport",
            "network.peer.address",
            "network.peer.port",
        ],
        sometimes: &[
            "wellhead.duration",
            "error.type",
            "dns.answers",
            "wellhead.dns.retries",
            "wellhead.dns.truncated",
            "wellhead.dns.after_truncation",
            "wellhead.dns.search",
        ],
    },
];

/// Every span.
pub const SPANS: &[Telling] = &[
    Telling {
        name: "process.executable.name",
        meaning: "With `traces.process`: a process, from its first exec to its exit. INTERNAL. Its parent is the nearest \
                  ancestor in the same container or slice that executed a program. An exit code other than 0 or a \
                  signal makes it an error.",
        severity: "–",
        always: &[
            "process.pid",
            "process.parent_pid",
            "process.user.id",
            "process.executable.name",
            "wellhead.duration",
            "wellhead.process.cpu.user",
            "wellhead.process.cpu.system",
            "wellhead.process.memory.peak",
            "wellhead.process.faults.minor",
            "wellhead.process.faults.major",
            "wellhead.process.switches.voluntary",
            "wellhead.process.switches.forced",
            "wellhead.process.disk.read",
            "wellhead.process.disk.written",
            "wellhead.process.network.sent",
            "wellhead.process.network.received",
        ],
        sometimes: &[
            "process.executable.path",
            "process.exit.code",
            "wellhead.process.signal",
            "wellhead.process.core_dumped",
            "wellhead.process.oom_killed",
            "wellhead.process.signal.sender.pid",
            "wellhead.process.signal.sender.name",
            "wellhead.process.signal.sender.user.id",
            "wellhead.process.asked.signal",
            "wellhead.process.asked.sender.pid",
            "wellhead.process.asked.sender.name",
            "wellhead.process.asked.ago",
            "wellhead.session.kind",
            "error.type",
        ],
    },
    Telling {
        name: "tcp connect",
        meaning: "With `traces.tcp`: a connection opened from here that was slow to open (`traces.slow_connection`), \
                  failed, or ended with an error. CLIENT, from `connect(2)` to the end. Its parent is the process \
                  that opened it.",
        severity: "–",
        always: ends_and![],
        sometimes: &[
            "process.pid",
            "process.executable.name",
            "wellhead.duration",
            "wellhead.drop.reason",
            "wellhead.tcp.verdict",
            "error.type",
        ],
    },
    Telling {
        name: "tcp accept",
        meaning: "With `traces.tcp`: a connection opened to here that ended with an error. SERVER, from ESTABLISHED to \
                  the end. Its parent is the process that listened.",
        severity: "–",
        always: ends_and!["error.type"],
        sometimes: &[
            "process.pid",
            "process.executable.name",
            "wellhead.tcp.verdict",
        ],
    },
    Telling {
        name: "container start-up",
        meaning: "With `traces.process`: the start of a container, a trace of its own. INTERNAL, from the making of its \
                  cgroup until its pod is ready; or until the container ended, which is an error if its first process \
                  failed; or, if neither has happened within five minutes, until the last that it came to.",
        severity: "–",
        always: &["wellhead.startup.outcome"],
        sometimes: &[
            "wellhead.startup.first_exec",
            "wellhead.startup.first_listen",
            "wellhead.startup.first_accept",
            "wellhead.startup.ready",
            "error.type",
        ],
    },
    Telling {
        name: "cgroup to first exec",
        meaning: "A phase of that start, and its child: from one thing it came to until the next, as in `first exec to \
                  first listen`, `first listen to first accept` and `first accept to ready`. INTERNAL. The first is \
                  what the container runtime needs to set the container up.",
        severity: "–",
        always: &[],
        sometimes: &[],
    },
];

macro_rules! attributes {
    ($($key:literal, $kind:literal, $meaning:literal;)+) => {
        /// Every attribute of events and spans, in key order.
        pub const EVENT_ATTRIBUTES: &[EventAttribute] = &[
            $(EventAttribute { key: $key, kind: $kind, meaning: $meaning }),+
        ];
    };
}

attributes! {
    "dns.answers", "string[]", "Addresses in the answer, as far as it was captured (its first 512 bytes).";
    "dns.question.name", "string", "The name that was asked for, in lower case and without the dot at its end; what is not printable as `\\DDD`.";
    "error.type", "string", "Of a look-up: `nxdomain`, `servfail`, `refused`, `formerr`, `notimp`, `timeout` or `_OTHER`. Otherwise the class of the failure: `connection_refused`, `timed_out`, `connection_reset`, `host_unreachable`, `network_unreachable`, `address_not_available`, `aborted` or `_OTHER`. Of processes (spans only): the exit code or the signal.";
    "k8s.container.restart_count", "int", "Runs of the container before this one: as the pod's status has it, or as far as they were seen.";
    "network.local.address", "string", "IP address of this end, as the socket has it.";
    "network.local.port", "int", "Port of this end.";
    "network.peer.address", "string", "IP address of the other end, as the socket has it. What address translation makes of it on the way does not show.";
    "network.peer.port", "int", "Port of the other end.";
    "network.transport", "string", "`tcp`; of a look-up also `udp`.";
    "process.command_args", "string[]", "Arguments of the process, the first 4096 bytes of them, shown as `process.args` says.";
    "process.executable.name", "string", "Name the program was called by: the base name of the executed path; where that was a descriptor or `/proc/self/exe`, of the file. Of a process older than the agent, and of a connection: the kernel's name of the task (`comm`, at most 15 bytes).";
    "process.executable.path", "string", "Path of the file that is executed, as the process sees it: of a script its interpreter's, of a link what it leads to. The last 256 bytes at least; what is missing before them is `…`. Where the kernel has no BTF, the path given to `execve(2)`.";
    "process.exit.code", "int", "Exit status of a process that exited by itself. Of a crash loop that was not seen here, what the pod's status says: often 128 and the number of a signal.";
    "process.parent_pid", "int", "Process id of its parent, in the initial PID namespace.";
    "process.pid", "int", "Process id in the initial PID namespace. Of a connection: the process that called `connect(2)`, or the last that called `listen(2)` on the port.";
    "process.real_user.id", "int", "Real user id.";
    "process.user.id", "int", "Effective user id.";
    "process.vpid", "int", "Process id in the innermost PID namespace.";
    "process.working_directory", "string", "Working directory when it executed the program.";
    "wellhead.container.crash_loop.bad_ends", "int", "Bad ends of the container that were seen here within ten minutes.";
    "wellhead.container.crash_loop.source", "string", "What tells of it: `observed` (its ends, as seen here) or `status` (its pod's).";
    "wellhead.container.downtime", "int", "Nanoseconds since the run before ended.";
    "wellhead.container.oom_killed", "boolean", "`true` where the kernel killed a process in the container for lack of memory. Of a crash loop: in its last run.";
    "wellhead.container.oom_kills", "int", "Processes in the container that were killed so.";
    "wellhead.container.previous.exit.code", "int", "Exit status of the main process of the run before, where its end was seen.";
    "wellhead.container.previous.signal", "string", "Signal that ended it.";
    "wellhead.dns.after_truncation", "boolean", "`true` where it was asked over TCP because an answer over UDP was truncated.";
    "wellhead.dns.question.type", "string", "Type of the records that were asked for, such as `AAAA`.";
    "wellhead.dns.retries", "int", "How many times the same was asked before in vain, within ten seconds.";
    "wellhead.dns.search", "boolean", "`true` where it follows the answer that another name does not exist, as going through a search list does (`ndots`, resolv.conf(5)).";
    "wellhead.dns.truncated", "boolean", "`true` where the answer had no room for all there was.";
    "wellhead.drop.reason", "string", "Why this node dropped a SYN or SYN-ACK of the attempt, in whichever network namespace, where it did: as in the metric's attribute.";
    "wellhead.duration", "int", "Nanoseconds. Of a look-up: from the query to its answer. Of a process's exit, and of its span: since it started. Of a container's start: since its cgroup was made. Of its exit: how long it ran. Of a connect, and of the span of a connection: from `connect(2)` to ESTABLISHED. Of a close: since ESTABLISHED. Of a failed connect: since `connect(2)`.";
    "wellhead.oom.limit", "int", "Memory limit of the cgroup that was hit, bytes.";
    "wellhead.oom.scope", "string", "Whose limit was hit: `cgroup` (the victim's own), `parent` (one above it, such as the pod's) or `node` (none: the machine had no memory left). A limit counts as hit when less than 1 % or 256 KiB of it were left.";
    "wellhead.oom.usage", "int", "Bytes charged to that cgroup then.";
    "wellhead.process.ancestors", "string[]", "Programs it descends from in the same container or slice, the nearest first, as `NAME[PID]`; 16 at most. Processes that only forked stand for whom they were forked from.";
    "wellhead.process.asked.ago", "int", "Nanoseconds from that signal to the end.";
    "wellhead.process.asked.sender.name", "string", "Name of who sent it.";
    "wellhead.process.asked.sender.pid", "int", "Who sent it.";
    "wellhead.process.asked.signal", "string", "The last signal that asked it to end (`SIGTERM`, `SIGINT`, `SIGHUP`, `SIGQUIT`) before it ended in another way: because it answered it, or did not.";
    "wellhead.process.capabilities.gained", "string[]", "Capabilities it has got with the program (`CapPrm` of proc_pid_status(5)), compared with what it had when it executed the one before or was forked. In a user namespace they hold in there.";
    "wellhead.process.command_args.truncated", "boolean", "`true` where there were more arguments than were kept.";
    "wellhead.process.command_args.unreadable", "boolean", "`true` where the arguments could not be read.";
    "wellhead.process.command_args.withheld", "boolean", "`true` where there were arguments, and more than there was time to look for secrets in.";
    "wellhead.process.core_dumped", "boolean", "`true` where its memory was written to a core file.";
    "wellhead.process.cpu.system", "int", "Nanoseconds on a processor in the kernel, all threads together. The sum of both is the scheduler's; it is split as the timer's ticks tell, as wait4(2) does.";
    "wellhead.process.cpu.user", "int", "Nanoseconds on a processor in user mode, until the kernel let go of the process: of a short one it may be more than `wellhead.duration`, and the scheduler guesses which part was in user mode.";
    "wellhead.process.disk.read", "int", "Bytes it had read from storage.";
    "wellhead.process.disk.written", "int", "Bytes that it caused to be written to storage.";
    "wellhead.process.executable.deleted", "boolean", "`true` where the file has been deleted.";
    "wellhead.process.executable.memfd", "boolean", "`true` where the file was made by memfd_create(2).";
    "wellhead.process.faults.major", "int", "Page faults for which storage was read.";
    "wellhead.process.faults.minor", "int", "Other page faults.";
    "wellhead.process.group.id", "int", "Effective group id.";
    "wellhead.process.memory.anonymous", "int", "Bytes of memory of its own (`anon-rss` in the kernel's log).";
    "wellhead.process.memory.file", "int", "Bytes of files it had in memory (`file-rss`).";
    "wellhead.process.memory.peak", "int", "The most memory it had in RAM at once, bytes. As wait4(2) tells it: before it executed the program it had what it was forked with.";
    "wellhead.process.memory.shared", "int", "Bytes of shared memory (`shmem-rss`).";
    "wellhead.process.network.received", "int", "Bytes that its TCP connections received, as far as their ends or a snapshot told until then.";
    "wellhead.process.network.sent", "int", "Likewise sent.";
    "wellhead.process.oom_killed", "boolean", "`true` where the kernel killed it for lack of memory: `wellhead.process.oom_kill` says more.";
    "wellhead.process.script", "string", "Path given to `execve(2)` where that is a script.";
    "wellhead.process.signal", "string", "Signal that ended the process, such as `SIGKILL`; of real-time signals the number.";
    "wellhead.process.signal.sender.name", "string", "Name of the process that sent the signal. Absent where the kernel sent it: for a fault, a timer, what was typed at the terminal or its end, writing where nobody reads, a resource limit, or lack of memory.";
    "wellhead.process.signal.sender.pid", "int", "Its process id in the initial PID namespace; its own where it sent the signal itself.";
    "wellhead.process.signal.sender.user.id", "int", "Its real user id.";
    "wellhead.process.switches.forced", "int", "Times it was taken from the processor.";
    "wellhead.process.switches.voluntary", "int", "Times it gave it up.";
    "wellhead.process.user_namespace", "boolean", "`true` where it is in a user namespace other than the node's.";
    "wellhead.session.kind", "string", "What kind of process tree it is the root of: `container` (the first of a container), `exec` (started in a container later, as by `kubectl exec` or a probe), `cronjob` (the first of a container of a CronJob) or `host`.";
    "wellhead.startup.first_accept", "int", "Likewise until the first connection was opened to it.";
    "wellhead.startup.first_exec", "int", "Nanoseconds from the making of its cgroup until it executed its first program.";
    "wellhead.startup.first_listen", "int", "Likewise until it began to listen on a port of TCP.";
    "wellhead.startup.outcome", "string", "How the start ended: `ready`, `ended` (the container did) or `unready` (after five minutes).";
    "wellhead.startup.ready", "int", "Nanoseconds from the making of its cgroup until its pod was ready.";
    "wellhead.tcp.bytes_received", "int", "Bytes the application could read, over the whole life of the connection.";
    "wellhead.tcp.bytes_sent", "int", "Bytes the application wrote and the kernel sent, each once, over the whole life of the connection.";
    "wellhead.tcp.retransmits", "int", "Segments sent again.";
    "wellhead.tcp.rtt", "int", "Smoothed round-trip time in nanoseconds, where the kernel measured one.";
    "wellhead.tcp.rtt.min", "int", "Least round-trip time of late in nanoseconds (`net.ipv4.tcp_min_rtt_wlen`), where the kernel measured one.";
    "wellhead.tcp.verdict", "string", "Where to look. `network`: nobody answered, also where the program gave up after the SYN was sent again, nothing leads there, or more than one in twenty segments had to be sent again. `peer`: it refused, reset, did not answer though it is this node itself, or had no room for more for most of the time. `local`: it never left here, was dropped on this node, was given up here before the SYN was sent again, or waited for the own send buffer for most of the time. Absent where nothing was wrong, or that is not known.";
}
