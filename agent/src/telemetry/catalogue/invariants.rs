//! What the agent checks itself by.

macro_rules! invariants {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal),+ $(,)?) => {
        /// Something that has to be 0.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Invariant { $($(#[doc = $doc])+ $variant),+ }

        impl Invariant {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The value of `wellhead.invariant`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// What it compares, for the reference.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+)),+ }
            }
        }
    };
}

invariants! {
    /// Connections counted as opened, less those counted as closed, less those the agent has in its table. What
    /// it does not follow, and what was open before it, is set off. Never anything but 0.
    TcpBalance = "tcp_balance",
    /// What all series of `wellhead.tcp.connections.active` stand at together, less the connections in the table.
    /// Never anything but 0.
    TcpActiveSeries = "tcp_active_series",
    /// Connections in the table, less those the kernel counts itself (`sock_diag`), over all network namespaces
    /// that can be entered: each as it was after the last snapshot during which no connection came or went there. Absent until
    /// that is known. Below 0, connections are not counted as active: see [limits](limits.md#the-check-of-active-connections).
    TcpActiveKernel = "tcp_active_kernel",
}
