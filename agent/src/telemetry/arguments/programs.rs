//! Programs that take secrets where no name says so.

mod places_table;
mod table;

use std::sync::LazyLock;

use crate::hash::HashMap;
use places_table::PLACES;
use table::PROGRAMS;

/// What a flag or an argument of a program holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// A secret.
    Secret,
    /// A secret, unless it has a name: `name=value`
    Unnamed,
    /// `user:password`
    AfterColon,
    /// `user%password`
    AfterPercent,
    /// `user,password`
    AfterComma,
    /// `user/password@database`
    AfterSlash,
    /// `name=value`, whatever the name
    AfterEquals,
    /// `user:password@host:port`, without a scheme
    BeforeAt,
    /// `name=value; …`, or the name of a file
    Cookies,
    /// `pass:phrase`, or where the phrase is
    PassPhrase,
    /// What only looks like the name of a secret's flag.
    Nothing,
}

/// Where a flag's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// In the same argument: `-pSECRET`. Alone it means something else.
    Here,
    /// In the next argument.
    Next,
    /// In either.
    Either,
}

#[derive(Debug)]
pub(super) struct Flag {
    /// With its dashes. One dash and one letter may stand behind other such in one argument.
    pub(super) name: &'static str,
    pub(super) takes: Takes,
    pub(super) holds: Holds,
    /// Only after this word: `docker login -p`.
    pub(super) after: &'static str,
}

#[derive(Debug)]
pub(super) struct Program {
    /// With blanks between them.
    pub(super) names: &'static str,
    /// Letters of short flags that take no value.
    pub(super) switches: &'static str,
    pub(super) flags: &'static [Flag],
}

/// An argument that is a secret by where it stands.
#[derive(Debug)]
pub(super) struct Place {
    /// With blanks between them.
    pub(super) programs: &'static str,
    /// The words before it; `""` is the program itself.
    pub(super) after: &'static [&'static str],
    /// How many arguments after that are something else.
    pub(super) skip: usize,
    /// How many are secret.
    pub(super) count: usize,
    pub(super) holds: Holds,
}

/// What a program does with its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    Plain,
    /// It runs the program that its arguments name.
    Wraps,
    /// So does it, and what has white space in it is a command line.
    Runs,
    /// It is `env`, whose `-S` takes a command line.
    Splits,
    /// Its `-c` takes a command line.
    Shell,
    /// It writes its arguments to its output.
    Echoes,
}

impl Program {
    pub(super) fn is_called(&self, name: &str) -> bool {
        is_among(name, self.names)
    }
}

impl Place {
    /// `htpasswd` takes a password only with `-b`, and no file with `-n`.
    pub(super) fn takes_it_by_b(&self) -> bool {
        is_among("htpasswd", self.programs)
    }
}

fn is_among(name: &str, names: &str) -> bool {
    names.split_ascii_whitespace().any(|other| other == name)
}

/// What the tables have of one name.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) program: Option<&'static Program>,
    pub(super) nature: Nature,
    /// Where its secrets stand without a flag.
    pub(super) places: Vec<&'static Place>,
}

impl Known {
    /// In no table but that of natures.
    const fn only(nature: Nature) -> Self {
        Self {
            program: None,
            nature,
            places: Vec::new(),
        }
    }

    /// What is known of a program.
    pub(super) fn of(name: &str) -> &'static Self {
        static BY_NAME: LazyLock<HashMap<&'static str, Known>> = LazyLock::new(by_name);
        static OTHER: Known = Known::only(Nature::Plain);
        static WRAPPER: Known = Known::only(Nature::Wraps);
        match BY_NAME.get(name) {
            Some(known) => known,
            None if looks_like_wrapper(name) => &WRAPPER,
            None => &OTHER,
        }
    }
}

/// The tables, each program by each of its names; what comes first holds.
fn by_name() -> HashMap<&'static str, Known> {
    let mut all: HashMap<&str, Known> = HashMap::default();
    let mut each = |names: &'static str, learn: &dyn Fn(&mut Known)| {
        for name in names.split_ascii_whitespace() {
            let nature = if looks_like_wrapper(name) {
                Nature::Wraps
            } else {
                Nature::Plain
            };
            learn(all.entry(name).or_insert(Known::only(nature)));
        }
    };
    for program in PROGRAMS {
        each(program.names, &|known| {
            known.program = known.program.or(Some(program));
        });
    }
    for place in PLACES {
        each(place.programs, &|known| known.places.push(place));
    }
    for (nature, names) in NATURES {
        each(names, &|known| known.nature = *nature);
    }
    all
}

/// The name of a program, as it is called in the tables: without directories, and without what a wrapper calls it by.
pub(super) fn base_name(word: &str) -> &str {
    let word = word.trim_start_matches(['-', '$', '{', '!', '@', '(', '`']);
    let name = word.rsplit('/').next().unwrap_or(word);
    name.strip_suffix(".exe").unwrap_or(name)
}

/// What programs do with their arguments, but for those that do nothing particular.
const NATURES: &[(Nature, &str)] = &[
    (
        Nature::Shell,
        "sh bash dash zsh ksh mksh ash fish rbash su runuser script flock busybox toybox",
    ),
    (
        Nature::Runs,
        "ssh autossh watch eval xargs parallel tmux screen trap hyperfine pssh parallel-ssh \
        vagrant entr",
    ),
    (Nature::Echoes, "echo printf"),
    (Nature::Splits, "env"),
    (
        Nature::Wraps,
        "sudo doas nohup nice ionice chrt taskset time timeout gtimeout stdbuf setsid exec \
        command builtin strace ltrace perf gdb valgrind unshare nsenter chroot setpriv capsh \
        gosu su-exec tini dumb-init catatonit s6-setuidgid chpst unbuffer proxychains \
        proxychains4 faketime find docker podman nerdctl crictl ctr kubectl oc lxc \
        docker-compose python python3 perl ruby node npx systemd-run sshpass aws-vault envconsul \
        do then else if while until wsl microk8s k3s flatpak bwrap firejail prlimit numactl \
        cgexec start-stop-daemon daemonize crun runc machinectl heroku winpty torsocks catchsegv \
        setarch linux64 linux32",
    ),
];

/// Whether a name that no table has is that of something that runs others: a script, or an interpreter of some version.
fn looks_like_wrapper(name: &str) -> bool {
    has_ending(name, "sh") || name.contains("entrypoint") || name.starts_with("python")
}

fn has_ending(name: &str, ending: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(_, last)| last == ending)
}
