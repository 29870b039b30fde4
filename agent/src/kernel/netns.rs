//! The network namespaces that processes are in, and doing something inside one.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    panic,
    path::PathBuf,
    thread,
};

use rustix::{
    io::Errno,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use thiserror::Error;

/// Why a network namespace could not be found or entered.
#[derive(Debug, Error)]
pub enum NamespaceError {
    /// `/proc` cannot be listed.
    #[error("list the processes in /proc: {0}")]
    List(#[source] io::Error),
    /// The caller's own namespace is not known, as where `/proc` is not mounted.
    #[error("read the own network namespace: {0}")]
    Own(#[source] io::Error),
    /// The host's namespace is not known: no process that is in it for certain lets itself be looked at.
    #[error(
        "find the host's network namespace, which takes CAP_SYS_PTRACE and its processes (/proc/1/ns/net): {0}"
    )]
    Host(#[source] io::Error),
    /// There can be no thread to enter a namespace with.
    #[error("start a thread: {0}")]
    Thread(#[source] io::Error),
    /// `CAP_SYS_ADMIN` is missing, here or in the user namespace that owns the network namespace.
    #[error("enter network namespace {inode}: not permitted, needs CAP_SYS_ADMIN")]
    NotPermitted {
        /// Which one.
        inode: u64,
    },
    /// A namespace cannot be entered for another reason.
    #[error("enter network namespace {inode}: {source}")]
    Enter {
        /// Which one.
        inode: u64,
        /// What `setns(2)` said.
        source: io::Error,
    },
}

/// A network namespace, kept alive as long as this value.
#[derive(Debug)]
pub struct NetworkNamespace {
    inode: u64,
    /// The device number of the file system namespaces are files of.
    filesystem: u64,
    file: File,
}

/// What came of work inside a network namespace, by its inode number.
pub type Inside<T> = (u64, Result<T, NamespaceError>);

/// The network namespaces found in `/proc`.
#[derive(Debug)]
pub struct NetworkNamespaces {
    /// Each once; the caller's own is the first.
    pub found: Vec<NetworkNamespace>,
    /// How many more there were than the limit allows.
    pub beyond_limit: usize,
    /// Processes whose namespace could not be read. Those of other users, or with more capabilities, take
    /// `CAP_SYS_PTRACE`.
    pub hidden_processes: usize,
}

impl NetworkNamespaces {
    /// Finds every network namespace that a process seen in `/proc` is in: all of the machine's only in the host's PID
    /// namespace. One that lives by a mount or a descriptor alone, or is the namespace of a thread other than its
    /// process's first, is not found.
    ///
    /// Takes one descriptor for each of the at most `limit` namespaces (the own one is always among them).
    ///
    /// # Errors
    /// `/proc` cannot be read at all.
    pub fn discover(limit: usize) -> Result<Self, NamespaceError> {
        let own = NetworkNamespace::own().map_err(NamespaceError::Own)?;
        let filesystem = own.filesystem;
        let mut seen = HashSet::from([own.inode]);
        let mut namespaces = Self {
            found: vec![own],
            beyond_limit: 0,
            hidden_processes: 0,
        };
        for entry in fs::read_dir("/proc").map_err(NamespaceError::List)? {
            let entry = entry.map_err(NamespaceError::List)?;
            let name = entry.file_name();
            if name
                .to_str()
                .is_some_and(|name| name.parse::<u32>().is_ok())
            {
                let link = entry.path().join("ns/net");
                namespaces.look_at(link, filesystem, limit, &mut seen);
            }
        }
        Ok(namespaces)
    }

    fn look_at(&mut self, link: PathBuf, filesystem: u64, limit: usize, seen: &mut HashSet<u64>) {
        match fs::metadata(&link) {
            // 5.10 shows the link itself to whoever may not follow it.
            Ok(link) if link.dev() != filesystem => {
                self.hidden_processes += 1;
                return;
            }
            Ok(namespace) if seen.contains(&namespace.ino()) => return,
            Ok(namespace) if self.found.len() >= limit => {
                self.beyond_limit += 1;
                seen.insert(namespace.ino());
                return;
            }
            Ok(_) => {}
            Err(error) => return self.count_hidden(&error),
        }
        match NetworkNamespace::open(link) {
            // The process may have moved since, or another may have its number.
            Ok(namespace) if !seen.insert(namespace.inode) => {}
            Ok(namespace) => self.found.push(namespace),
            Err(error) => self.count_hidden(&error),
        }
    }

    /// A process that ended meanwhile hides nothing.
    fn count_hidden(&mut self, error: &io::Error) {
        let gone = [Errno::NOENT, Errno::SRCH].map(|errno| Some(errno.raw_os_error()));
        if !gone.contains(&error.raw_os_error()) {
            self.hidden_processes += 1;
        }
    }

    /// Runs `work` in each namespace, one after another, on one thread of its own that ends with this call. Blocks.
    ///
    /// # Errors
    /// There can be no thread; that one namespace cannot be entered is its own result.
    pub fn run_inside_each<T: Send>(
        &self,
        work: impl Fn() -> T + Sync,
    ) -> Result<Vec<Inside<T>>, NamespaceError> {
        on_own_thread(|| {
            let mut current = own_inode();
            let each = self.found.iter().map(|namespace| {
                let inode = namespace.inode;
                if current.as_ref().is_ok_and(|current| *current == inode) {
                    return (inode, Ok(work()));
                }
                let entered = namespace.enter();
                if entered.is_ok() {
                    current = Ok(inode);
                }
                (inode, entered.map(|()| work()))
            });
            each.collect()
        })
    }
}

impl NetworkNamespace {
    /// The one the calling thread is in.
    pub(super) fn own() -> io::Result<Self> {
        Self::open(PathBuf::from(OWN))
    }

    pub(super) fn open(link: PathBuf) -> io::Result<Self> {
        let file = File::open(link)?;
        let metadata = file.metadata()?;
        Ok(Self {
            inode: metadata.ino(),
            filesystem: metadata.dev(),
            file,
        })
    }

    /// Its number, as `/proc/PID/ns/net` and the kernel programs show it.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Runs `work` inside, on a thread of its own that ends with this call. Where the caller is there already, it runs
    /// right here, and takes no capability. Blocks.
    ///
    /// # Errors
    /// The namespace cannot be entered.
    pub fn run_inside<T: Send>(
        &self,
        work: impl FnOnce() -> T + Send,
    ) -> Result<T, NamespaceError> {
        if own_inode().is_ok_and(|own| own == self.inode) {
            return Ok(work());
        }
        on_own_thread(|| self.enter().map(|()| work()))?
    }

    /// Moves the calling thread. There is no way back without the capability, so it must be one that ends.
    fn enter(&self) -> Result<(), NamespaceError> {
        let inode = self.inode;
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(self.file.as_fd(), kind).map_err(|error| match error {
            Errno::PERM => NamespaceError::NotPermitted { inode },
            error => NamespaceError::Enter {
                inode,
                source: error.into(),
            },
        })
    }
}

const OWN: &str = "/proc/thread-self/ns/net";

fn own_inode() -> io::Result<u64> {
    Ok(fs::metadata(OWN)?.ino())
}

fn on_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("netns".to_owned());
        let thread = builder
            .spawn_scoped(scope, work)
            .map_err(NamespaceError::Thread)?;
        thread.join().or_else(|reason| panic::resume_unwind(reason))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_namespace_is_found_first_and_needs_no_entering() {
        let namespaces = NetworkNamespaces::discover(1).expect("/proc is there");
        let own = &namespaces.found[0];
        assert_eq!(namespaces.found.len(), 1);
        assert_eq!(own.inode(), own_inode().expect("own"));
        let here = thread::current().id();
        let ran_on = own.run_inside(|| thread::current().id()).expect("own");
        assert_eq!(ran_on, here);
        let each = namespaces.run_inside_each(own_inode).expect("a thread");
        let [(inode, Ok(Ok(inside)))] = &each[..] else {
            panic!("{each:?}");
        };
        assert_eq!((*inode, *inside), (own.inode(), own.inode()));
    }

    #[test]
    fn what_is_no_namespace_is_an_error() {
        let namespace = NetworkNamespace {
            filesystem: 0,
            inode: 1,
            file: File::open("/dev/null").expect("it is everywhere"),
        };
        let error = namespace.run_inside(|| ()).expect_err("no namespace");
        assert!(matches!(error, NamespaceError::Enter { inode: 1, .. }));
        let each = NetworkNamespaces {
            found: vec![namespace],
            beyond_limit: 0,
            hidden_processes: 0,
        };
        let each = each.run_inside_each(|| ()).expect("a thread");
        assert!(matches!(
            each[..],
            [(1, Err(NamespaceError::Enter { inode: 1, .. }))]
        ));
    }

    #[test]
    fn a_vanished_process_hides_nothing() {
        let mut namespaces = NetworkNamespaces::discover(1).expect("/proc is there");
        let before = namespaces.hidden_processes;
        let mut seen = HashSet::new();
        namespaces.look_at(PathBuf::from("/proc/4294967295/ns/net"), 0, 9, &mut seen);
        assert_eq!(namespaces.hidden_processes, before);
        namespaces.count_hidden(&Errno::ACCESS.into());
        assert_eq!(namespaces.hidden_processes, before + 1);
    }

    #[test]
    #[should_panic(expected = "from inside")]
    fn a_panic_inside_reaches_the_caller() {
        let namespaces = NetworkNamespaces::discover(1).expect("/proc is there");
        drop(namespaces.run_inside_each(|| panic!("from inside")));
    }
}
