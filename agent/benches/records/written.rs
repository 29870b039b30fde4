//! Records as the kernel programs write them (`wellhead_common::record`), one after another.

use wellhead_common::record::Kind;

/// Records.
#[derive(Debug, Default)]
pub(crate) struct Records {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

/// A connection as one of its ends has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Socket {
    pub(crate) id: u64,
    pub(crate) local: ([u8; 4], u16),
    pub(crate) remote: ([u8; 4], u16),
    pub(crate) role: u16,
    pub(crate) pid: u32,
}

/// Who does something, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct By {
    pub(crate) boot_ns: u64,
    pub(crate) cgroup: u64,
}

const COMM: [u8; 16] = *b"server\0\0\0\0\0\0\0\0\0\0";

macro_rules! append {
    ($bytes:expr, $($value:expr),+ $(,)?) => { $($bytes.extend_from_slice(&$value.to_ne_bytes());)+ };
}

impl Records {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts
            .zip(&self.ends)
            .map(|(start, end)| &self.bytes[*start..*end])
    }

    /// These, taking turns with others.
    pub(crate) fn among(self, others: &Self) -> Self {
        let mut both = Self::default();
        let (mut own, mut theirs) = (self.iter(), others.iter());
        loop {
            let next = [own.next(), theirs.next()];
            if next == [None; 2] {
                break;
            }
            for record in next.into_iter().flatten() {
                both.bytes.extend_from_slice(record);
                both.ends.push(both.bytes.len());
            }
        }
        both
    }

    pub(crate) fn fork(&mut self, by: By, pid: u32, parent: u32) {
        self.begin(Kind::Fork, by);
        append!(self.bytes, pid, parent, by.boot_ns, by.boot_ns - 1);
        self.end();
    }

    pub(crate) fn exec(&mut self, by: By, pid: u32, file_name: &str, arguments: &str) {
        self.begin(Kind::Exec, by);
        append!(self.bytes, pid, 1_u32, 1000_u32, 1000_u32, 1000_u32, pid);
        append!(self.bytes, by.boot_ns, by.boot_ns - 1, 0_u64);
        self.bytes.extend_from_slice(&COMM);
        append!(self.bytes, 0_u32);
        // No interpreter; the file and the directory it was started in, from the last name to the first.
        let names: Vec<_> = file_name
            .rsplit('/')
            .filter(|name| !name.is_empty())
            .collect();
        let path = names.join("\0") + "\0";
        let texts = [file_name, "", &path, "srv\0", arguments];
        for text in texts {
            append!(self.bytes, u32::try_from(text.len()).expect("short"));
        }
        for text in texts {
            self.bytes.extend_from_slice(text.as_bytes());
        }
        self.end();
    }

    pub(crate) fn exit(&mut self, by: By, pid: u32, started_ns: u64) {
        self.begin(Kind::Exit, by);
        append!(self.bytes, pid, 1_u32, 0_u32, 1000_u32, started_ns);
        self.bytes.extend_from_slice(&COMM);
        self.usage();
        // Nobody told it to end.
        self.bytes.extend_from_slice(&[0; 96]);
        self.end();
    }

    pub(crate) fn freed(&mut self, by: By, pid: u32, started_ns: u64) {
        self.begin(Kind::Freed, by);
        append!(self.bytes, pid, 0_u32, started_ns);
        self.usage();
        self.end();
    }

    /// Time, by the scheduler and by ticks, storage, faults, switches, memory.
    fn usage(&mut self) {
        append!(self.bytes, 5_000_000_u64, 4_000_000_u64, 4_000_000_u64);
        append!(self.bytes, 8_192_u64, 4_096_u64, 300_u64, 2_u64, 12_u64);
        append!(self.bytes, 3_u64, 900_u64);
    }

    pub(crate) fn open(&mut self, by: By, socket: Socket) {
        self.begin(Kind::TcpOpen, by);
        self.socket(by, socket);
        self.end();
    }

    pub(crate) fn close(&mut self, by: By, socket: Socket) {
        self.connection_end(Kind::TcpClose, by, socket);
    }

    pub(crate) fn snapshot(&mut self, by: By, socket: Socket) {
        self.connection_end(Kind::TcpSnapshot, by, socket);
    }

    fn connection_end(&mut self, kind: Kind, by: By, socket: Socket) {
        self.begin(kind, by);
        self.socket(by, socket);
        // What it carried, and what of it was told: bytes, segments, why some were sent again, how many came out of order, for
        // how long it was held up by what, and by which snapshot.
        append!(self.bytes, 900_u64, 20_000_u64, 20_u32, 22_u32, 1_u32);
        append!(self.bytes, 0_u32, 1_u32, 0_u32, 0_u32, 0_u32);
        append!(self.bytes, 12_u32, 0_u32, 0_u32, 0_u32);
        append!(self.bytes, 100_u64, 1_000_u64, 2_u32, 2_u32, 0_u32);
        append!(self.bytes, 0_u32, 0_u32, 0_u32, 0_u32, 0_u32);
        append!(self.bytes, 0_u32, 0_u32, 0_u32, 1_u32);
        let established = 1_u32;
        append!(self.bytes, 250_u32, 0_u32, established, 200_u32);
        // Of attempts that failed, and nothing.
        append!(self.bytes, 0_u32, 0_u32);
        self.end();
    }

    fn socket(&mut self, by: By, socket: Socket) {
        const NETNS: u32 = 4_026_531_840;
        const AF_INET: u16 = 2;
        append!(self.bytes, socket.id, NETNS, AF_INET, socket.local.1);
        for ip in [socket.local.0, socket.remote.0] {
            self.bytes.extend_from_slice(&[0; 10]);
            self.bytes.extend_from_slice(&[0xff; 2]);
            self.bytes.extend_from_slice(&ip);
        }
        append!(
            self.bytes,
            socket.remote.1,
            socket.role,
            0_u32,
            socket.pid,
            1000_u32
        );
        self.bytes.extend_from_slice(&COMM);
        append!(self.bytes, by.boot_ns - 3_000_000, by.boot_ns - 2_000_000);
    }

    fn begin(&mut self, kind: Kind, by: By) {
        append!(self.bytes, kind as u32, 0_u32, by.boot_ns, by.cgroup);
    }

    fn end(&mut self) {
        self.ends.push(self.bytes.len());
    }
}
