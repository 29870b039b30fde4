//! The kernel structure fields the programs read, declared once for both sides.
//!
//! [`kernel_fields!`](crate::kernel_fields) hands the whole table to a macro of the caller: the programs turn each row
//! into a `.rodata` global, the daemon into a row to look up in the running kernel's BTF. A row is
//!
//! ```text
//! NAME: width in bytes, "structure", ["path", "path on another kernel version", …];
//! ```
//!
//! The first path that exists wins. Of a bit field, which must begin with a byte's lowest bit and not go beyond it, the byte is
//! told: whoever loads it masks it. A width of 0 stands for any: an array's length differs between kernels. A field found nowhere has the offset [`ABSENT`].
//!
//! A socket's cgroup has two rows because the two are read in different ways: a pointer, or before 5.15 (and in early
//! releases of 5.10) a number that is a pointer unless its lowest bits say otherwise. Every kernel lacks one of them.

/// Offset of a field the running kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// Calls `$callback!` with every field.
#[macro_export]
macro_rules! kernel_fields {
    ($callback:ident) => {
        $callback! {
            TASK_PID: 4, "task_struct", ["pid"];
            TASK_TGID: 4, "task_struct", ["tgid"];
            TASK_FLAGS: 4, "task_struct", ["flags"];
            TASK_EXIT_CODE: 4, "task_struct", ["exit_code"];
            TASK_START: 8, "task_struct", ["start_boottime", "real_start_time"];
            TASK_COMM: 16, "task_struct", ["comm"];
            TASK_REAL_PARENT: 8, "task_struct", ["real_parent"];
            TASK_GROUP_LEADER: 8, "task_struct", ["group_leader"];
            TASK_SIGNAL: 8, "task_struct", ["signal"];
            TASK_MM: 8, "task_struct", ["mm"];
            TASK_CRED: 8, "task_struct", ["cred"];
            TASK_CGROUPS: 8, "task_struct", ["cgroups"];
            TASK_THREAD_PID: 8, "task_struct", ["thread_pid"];
            TASK_FS: 8, "task_struct", ["fs"];
            TASK_USER_TIME: 8, "task_struct", ["utime"];
            TASK_SYSTEM_TIME: 8, "task_struct", ["stime"];
            TASK_RUNTIME: 8, "task_struct", ["se.sum_exec_runtime"];
            TASK_VOLUNTARY: 8, "task_struct", ["nvcsw"];
            TASK_FORCED: 8, "task_struct", ["nivcsw"];
            TASK_MINOR_FAULTS: 8, "task_struct", ["min_flt"];
            TASK_MAJOR_FAULTS: 8, "task_struct", ["maj_flt"];
            TASK_READ_BYTES: 8, "task_struct", ["ioac.read_bytes"];
            TASK_WRITE_BYTES: 8, "task_struct", ["ioac.write_bytes"];
            SIGNAL_USER_TIME: 8, "signal_struct", ["utime"];
            SIGNAL_SYSTEM_TIME: 8, "signal_struct", ["stime"];
            SIGNAL_RUNTIME: 8, "signal_struct", ["sum_sched_runtime"];
            SIGNAL_VOLUNTARY: 8, "signal_struct", ["nvcsw"];
            SIGNAL_FORCED: 8, "signal_struct", ["nivcsw"];
            SIGNAL_MINOR_FAULTS: 8, "signal_struct", ["min_flt"];
            SIGNAL_MAJOR_FAULTS: 8, "signal_struct", ["maj_flt"];
            SIGNAL_READ_BYTES: 8, "signal_struct", ["ioac.read_bytes"];
            SIGNAL_WRITE_BYTES: 8, "signal_struct", ["ioac.write_bytes"];
            SIGNAL_PEAK: 8, "signal_struct", ["maxrss"];
            SIGNAL_LIVE: 4, "signal_struct", ["live.counter"];
            SIGNAL_FLAGS: 4, "signal_struct", ["flags"];
            SIGNAL_THREADS: 4, "signal_struct", ["nr_threads"];
            SIGNAL_EXIT_CODE: 4, "signal_struct", ["group_exit_code"];
            MM_ARG_START: 8, "mm_struct", ["arg_start"];
            MM_ARG_END: 8, "mm_struct", ["arg_end"];
            MM_EXE_FILE: 8, "mm_struct", ["exe_file"];
            MM_PAGES: 32, "mm_struct", ["rss_stat.count"];
            MM_PAGES_PER_CPU: 160, "mm_struct", ["rss_stat"];
            PER_CPU_COUNT: 8, "percpu_counter", ["count"];
            BINPRM_FILE_NAME: 8, "linux_binprm", ["filename"];
            BINPRM_INTERPRETER: 8, "linux_binprm", ["interp"];
            PID_LEVEL: 4, "pid", ["level"];
            PID_NUMBERS: 0, "pid", ["numbers"];
            FILE_DENTRY: 8, "file", ["f_path.dentry"];
            FILE_MOUNT: 8, "file", ["f_path.mnt"];
            FILE_INODE: 8, "file", ["f_inode"];
            INODE_LINKS: 4, "inode", ["i_nlink"];
            FS_DIRECTORY_DENTRY: 8, "fs_struct", ["pwd.dentry"];
            FS_DIRECTORY_MOUNT: 8, "fs_struct", ["pwd.mnt"];
            FS_ROOT_DENTRY: 8, "fs_struct", ["root.dentry"];
            FS_ROOT_MOUNT: 8, "fs_struct", ["root.mnt"];
            DENTRY_PARENT: 8, "dentry", ["d_parent"];
            DENTRY_NAME: 8, "dentry", ["d_name.name"];
            MOUNT_ROOT: 8, "mount", ["mnt.mnt_root"];
            MOUNT_PARENT: 8, "mount", ["mnt_parent"];
            MOUNT_POINT: 8, "mount", ["mnt_mountpoint"];
            SIGINFO_CODE: 4, "kernel_siginfo", ["si_code"];
            CSS_SET_SUBSYSTEMS: 0, "css_set", ["subsys"];
            MEMCG_CHARGED: 8, "mem_cgroup", ["memory.usage.counter"];
            COUNTER_CHARGED: 8, "page_counter", ["usage.counter"];
            COUNTER_LIMIT: 8, "page_counter", ["max"];
            COUNTER_PARENT: 8, "page_counter", ["parent"];
            CSS_SET_CGROUP: 8, "css_set", ["dfl_cgrp"];
            CGROUP_KN: 8, "cgroup", ["kn"];
            CGROUP_ROOT: 8, "cgroup", ["root"];
            KERNFS_NODE_ID: 8, "kernfs_node", ["id"];
            CGROUP_ROOT_HIERARCHY: 4, "cgroup_root", ["hierarchy_id"];
            CRED_UID: 4, "cred", ["uid.val"];
            CRED_EFFECTIVE_UID: 4, "cred", ["euid.val"];
            CRED_EFFECTIVE_GID: 4, "cred", ["egid.val"];
            CRED_PERMITTED: 8, "cred", ["cap_permitted"];
            CRED_USER_NAMESPACE: 8, "cred", ["user_ns"];
            USER_NAMESPACE_LEVEL: 4, "user_namespace", ["level"];
            SOCKET_SK: 8, "socket", ["sk"];
            SOCK_STATE: 1, "sock", ["__sk_common.skc_state"];
            SOCK_FAMILY: 2, "sock", ["__sk_common.skc_family"];
            SOCK_FLAGS: 8, "sock", ["__sk_common.skc_flags", "sk_flags"];
            SOCK_COOKIE: 8, "sock", ["__sk_common.skc_cookie.counter"];
            SOCK_PROTOCOL: 2, "sock", ["sk_protocol"];
            SOCK_TYPE: 2, "sock", ["sk_type"];
            SOCK_SHUTDOWN: 1, "sock", ["sk_shutdown"];
            SOCK_ERROR: 4, "sock", ["sk_err"];
            SOCK_ERRORS: 4, "sock", ["sk_error_queue.qlen"];
            SOCK_LAST_ERROR: 8, "sock", ["sk_error_queue.prev"];
            SOCK_NUM: 2, "sock", ["__sk_common.skc_num"];
            SOCK_DPORT: 2, "sock", ["__sk_common.skc_dport"];
            SOCK_DADDR: 4, "sock", ["__sk_common.skc_daddr"];
            SOCK_RCV_SADDR: 4, "sock", ["__sk_common.skc_rcv_saddr"];
            SOCK_V6_DADDR: 16, "sock", ["__sk_common.skc_v6_daddr"];
            SOCK_V6_RCV_SADDR: 16, "sock", ["__sk_common.skc_v6_rcv_saddr"];
            SOCK_NET: 8, "sock", ["__sk_common.skc_net.net"];
            SOCK_CGROUP: 8, "sock", ["sk_cgrp_data.cgroup"];
            SOCK_CGROUP_TAGGED: 8, "sock", ["sk_cgrp_data.val"];
            SOCK_ACK_BACKLOG: 4, "sock", ["sk_ack_backlog"];
            SOCK_MAX_ACK_BACKLOG: 4, "sock", ["sk_max_ack_backlog"];
            SOCK_DROPS: 4, "sock", ["sk_drops.counter"];
            NET_INUM: 4, "net", ["ns.inum"];
            TCP_SPORT: 2, "tcp_sock", ["inet_conn.icsk_inet.inet_sport"];
            TCP_BYTES_SENT: 8, "tcp_sock", ["bytes_sent"];
            TCP_BYTES_RETRANS: 8, "tcp_sock", ["bytes_retrans"];
            TCP_BYTES_RECEIVED: 8, "tcp_sock", ["bytes_received"];
            TCP_SEGS_OUT: 4, "tcp_sock", ["segs_out"];
            TCP_SEGS_IN: 4, "tcp_sock", ["segs_in"];
            TCP_TOTAL_RETRANS: 4, "tcp_sock", ["total_retrans"];
            TCP_SND_UNA: 4, "tcp_sock", ["snd_una"];
            TCP_SRTT: 4, "tcp_sock", ["srtt_us"];
            TCP_RTT_MIN: 24, "tcp_sock", ["rtt_min.s"];
            TCP_OUT_OF_ORDER: 4, "tcp_sock", ["rcv_ooopack"];
            TCP_CHRONO_STAT: 12, "tcp_sock", ["chrono_stat"];
            TCP_CHRONO_START: 4, "tcp_sock", ["chrono_start"];
            TCP_CHRONO_TYPE: 1, "tcp_sock", ["chrono_type"];
            TCP_CA_STATE: 1, "tcp_sock", ["inet_conn.icsk_ca_state"];
            TCP_PENDING: 1, "tcp_sock", ["inet_conn.icsk_pending"];
            SKB_PROTOCOL: 2, "sk_buff", ["protocol"];
            SKB_SK: 8, "sk_buff", ["sk"];
            SKB_DEV: 8, "sk_buff", ["dev"];
            SKB_TYPE: 1, "sk_buff", ["pkt_type"];
            SKB_HEAD: 8, "sk_buff", ["head"];
            SKB_NETWORK_HEADER: 2, "sk_buff", ["network_header"];
            DEVICE_NET: 8, "net_device", ["nd_net.net"];
            SKB_CB: 48, "sk_buff", ["cb"];
            ERROR_CB_ERRNO: 4, "sock_exterr_skb", ["ee.ee_errno"];
            TCP_CB_SEGMENTS: 2, "tcp_skb_cb", ["tcp_gso_segs"];
        }
    };
}
