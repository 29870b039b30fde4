//! What was told of processes, put together again from nothing but the events, in one line a shape.
//!
//! Processes are called `R` (which made the shape), `A`, `B` … in the order they were forked; `~` is anybody else. Of each:
//! who forked it; each program that it executed, as `NAME@PATH[ARGUMENTS]` (`true` and `me` for the paths of those) with what is
//! out of the ordinary about it; how it ended: `=CODE` or `!SIGNAL`, by whom, who asked it to before, and whose child it was
//! by then if no longer its first parent's; `gone` if its end was not told. `$D` is the directory of the shape.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// A process.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) pid: u64,
    /// Who forked it: an index.
    pub(super) parent: Option<usize>,
    /// Who is above it as events should tell it: nearest first, each as `NAME[PID]`.
    pub(super) line: Vec<String>,
    pub(super) execs: Vec<Exec>,
    pub(super) exit: Option<Value>,
    /// Which of all events its fork and its exit were.
    pub(super) forked_at: usize,
    /// When it was forked, nanoseconds since the Unix epoch.
    pub(super) forked_ns: u64,
    pub(super) exited_at: usize,
    /// How long after its end that was told.
    pub(super) late: Duration,
    /// Name and path of the program that it runs.
    pub(super) program: Option<(String, String)>,
}

/// A program that it executed.
#[derive(Debug)]
pub(super) struct Exec {
    pub(super) attributes: Value,
    /// Who is above it, as it should be told.
    pub(super) line: Vec<String>,
}

/// All processes, in the order they came to be.
#[derive(Debug, Default)]
pub(super) struct Forest {
    pub(super) all: Vec<Told>,
    newest: HashMap<u64, usize>,
}

/// Ancestors that are told at most.
const MOST_ANCESTORS: usize = 16;

impl Forest {
    /// Puts together what lines of events tell.
    pub(super) fn of(lines: &[(SystemTime, String)]) -> Result<Self> {
        let mut forest = Self::default();
        for (at, (arrived, line)) in lines.iter().enumerate() {
            let mut event: Value = serde_json::from_str(line)?;
            let name = event["name"].as_str().context("a name")?.to_owned();
            let time = event["time_unix_nano"].as_u64().context("a time")?;
            let late = arrived.duration_since(UNIX_EPOCH)?;
            let late = late.saturating_sub(Duration::from_nanos(time));
            let attributes = event["attributes"].take();
            let pid = attributes["process.pid"].as_u64().context("a pid")?;
            match &*name {
                "wellhead.process.fork" => forest.forked((at, time), pid, &attributes),
                "wellhead.process.exec" => forest.executed(pid, attributes),
                "wellhead.process.exit" => forest.exited((at, time, late), pid, attributes)?,
                other => anyhow::bail!("what is {other}?"),
            }
        }
        Ok(forest)
    }

    fn forked(&mut self, (at, time): (usize, u64), pid: u64, attributes: &Value) {
        let parent = attributes["process.parent_pid"].as_u64();
        let parent = parent.and_then(|parent| self.newest.get(&parent)).copied();
        let above = parent.and_then(|parent| self.all.get(parent));
        let line = above.map(Told::line_below).unwrap_or_default();
        let program = above.and_then(|above| above.program.clone());
        self.newest.insert(pid, self.all.len());
        self.all.push(Told {
            pid,
            parent,
            line,
            forked_at: at,
            forked_ns: time,
            program,
            ..Told::default()
        });
    }

    fn executed(&mut self, pid: u64, attributes: Value) {
        let next = self.all.len();
        let index = *self.newest.entry(pid).or_insert(next);
        if index == next {
            self.all.push(Told {
                pid,
                ..Told::default()
            });
        }
        let told = &mut self.all[index];
        let text = |key: &str| attributes[key].as_str().unwrap_or("?").to_owned();
        told.program = Some((
            text("process.executable.name"),
            text("process.executable.path"),
        ));
        let line = told.line.clone();
        told.execs.push(Exec { attributes, line });
    }

    /// What is told late is of whoever had the process id then.
    fn exited(
        &mut self,
        (at, time, late): (usize, u64, Duration),
        pid: u64,
        attributes: Value,
    ) -> Result<()> {
        let mut having = self.all.iter_mut().rev();
        let told = having.find(|told| told.pid == pid && told.forked_ns <= time);
        let told = told.filter(|told| told.exit.is_none());
        let told = told.with_context(|| format!("an end too many: {attributes}"))?;
        told.exit = Some(attributes);
        told.exited_at = at;
        told.late = late;
        Ok(())
    }

    /// The process that had this process id last.
    pub(super) fn by_pid(&self, pid: u64) -> Option<usize> {
        self.newest.get(&pid).copied()
    }

    /// All that descend from a process, in the order they were forked.
    pub(super) fn below(&self, root: usize) -> Vec<usize> {
        let mut found = vec![root];
        for (index, told) in self.all.iter().enumerate() {
            if told.parent.is_some_and(|parent| found.contains(&parent)) {
                found.push(index);
            }
        }
        found.remove(0);
        found
    }
}

impl Told {
    /// Who is above its children.
    fn line_below(&self) -> Vec<String> {
        let Some((name, _)) = self.program.as_ref().filter(|_| !self.execs.is_empty()) else {
            return self.line.clone();
        };
        let own = format!("{name}[{}]", self.pid);
        let all = std::iter::once(own).chain(self.line.iter().cloned());
        all.take(MOST_ANCESTORS).collect()
    }
}

/// How a shape is written down.
pub(super) struct Writer<'a> {
    pub(super) forest: &'a Forest,
    pub(super) runner: usize,
    pub(super) directory: &'a str,
    /// Paths of this program and of the one that does nothing.
    pub(super) own: &'a str,
    pub(super) nothing: &'a str,
    members: Vec<usize>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        (forest, runner): (&'a Forest, usize),
        directory: &'a str,
        (own, nothing): (&'a str, &'a str),
    ) -> Self {
        Self {
            forest,
            runner,
            directory,
            own,
            nothing,
            members: forest.below(runner),
        }
    }

    /// The whole shape.
    pub(super) fn write(&self) -> String {
        let each = self.members.iter().enumerate();
        let texts: Vec<(String, String)> = each
            .map(|(order, index)| (role(order), self.process(*index)))
            .collect();
        let groups = texts.chunk_by(|(_, one), (_, other)| one == other);
        let lines = groups.flat_map(|group| match group {
            [(_, text), _, _, _, _, ..] => vec![format!("{}×{text}", group.len())],
            few => few
                .iter()
                .map(|(role, text)| format!("{role}{text}"))
                .collect(),
        });
        lines.collect::<Vec<String>>().join("; ")
    }

    fn process(&self, index: usize) -> String {
        let told = &self.forest.all[index];
        let parent = told
            .parent
            .map_or_else(|| "~".to_owned(), |parent| self.role_of(parent));
        let mut text = format!("({parent})");
        for exec in &told.execs {
            text += &self.exec(told, &parent, &exec.attributes);
        }
        text += &match &told.exit {
            None => " gone".to_owned(),
            Some(exit) => self.exit(&parent, exit),
        };
        text
    }

    fn role_of(&self, index: usize) -> String {
        if index == self.runner {
            return "R".to_owned();
        }
        let order = self.members.iter().position(|member| *member == index);
        order.map_or_else(|| "~".to_owned(), role)
    }

    /// Whoever had this process id when this shape was made.
    fn role_of_pid(&self, pid: &Value) -> String {
        let Some(pid) = pid.as_u64() else {
            return "nobody".to_owned();
        };
        let members = self.members.iter().chain([&self.runner]);
        let found = members
            .rev()
            .find(|index| self.forest.all[**index].pid == pid);
        found.map_or_else(|| "~".to_owned(), |index| self.role_of(*index))
    }

    fn exec(&self, told: &Told, parent: &str, attributes: &Value) -> String {
        let text = |key: &str| attributes[key].as_str().unwrap_or("?");
        let (name, path) = (
            text("process.executable.name"),
            text("process.executable.path"),
        );
        let (place, usual) = if path == self.own {
            (
                "me".to_owned(),
                self.own.rsplit('/').next().unwrap_or_default(),
            )
        } else if path == self.nothing {
            ("true".to_owned(), "true")
        } else {
            (self.plain(path), "\0")
        };
        let mut line = if name == usual {
            format!(" {place}")
        } else {
            format!(" {}@{place}", self.plain(name))
        };
        if let Some(arguments) = attributes["process.command_args"].as_array() {
            let texts: Vec<&str> = arguments.iter().filter_map(Value::as_str).collect();
            let own: &[&str] = &["zoo", "--workload", "act"];
            let texts = texts.strip_prefix(own).unwrap_or(&texts);
            let texts: Vec<String> = texts.iter().map(|text| self.plain(text)).collect();
            line = format!("{line}[{}]", texts.join("|"));
        }
        let directory = text("process.working_directory");
        if directory != self.directory {
            line = format!("{line} in {}", self.plain(directory));
        }
        if let Some(script) = attributes["wellhead.process.script"].as_str() {
            line = format!("{line} script={}", self.plain(script));
        }
        let flags = [
            ("wellhead.process.command_args.truncated", "cut"),
            ("wellhead.process.command_args.unreadable", "unreadable"),
            ("wellhead.process.executable.deleted", "deleted"),
            ("wellhead.process.executable.memfd", "memfd"),
            ("wellhead.process.user_namespace", "userns"),
        ];
        for (_, word) in flags.iter().filter(|(key, _)| attributes[*key] == true) {
            line = format!("{line} {word}");
        }
        let own_pid = &attributes["process.vpid"];
        if own_pid.as_u64() != Some(told.pid) {
            line = format!("{line} vpid={own_pid}");
        }
        let users = (
            &attributes["process.user.id"],
            &attributes["process.real_user.id"],
        );
        if *users.0 != 0 || *users.1 != 0 {
            line = format!("{line} uid={}/{}", users.0, users.1);
        }
        if let Some(gained) = attributes["wellhead.process.capabilities.gained"].as_array() {
            let names: Vec<&str> = gained.iter().filter_map(Value::as_str).collect();
            let names = names.join(",");
            let few = gained.len() < 10;
            line = format!("{line} gains {}", if few { &*names } else { "all" });
        }
        let now = self.role_of_pid(&attributes["process.parent_pid"]);
        if now != parent {
            line = format!("{line} of {now}");
        }
        line
    }

    fn exit(&self, parent: &str, attributes: &Value) -> String {
        let key = |key: &str| &attributes[key];
        let mut line = match key("wellhead.process.signal").as_str() {
            Some(signal) => format!(" !{signal}"),
            None => format!(" ={}", key("process.exit.code")),
        };
        let sender = key("wellhead.process.signal.sender.pid");
        if !sender.is_null() {
            line = format!("{line} by {}", self.role_of_pid(sender));
            let name = key("wellhead.process.signal.sender.name")
                .as_str()
                .unwrap_or("?");
            let usual = self.own.rsplit('/').next().unwrap_or_default();
            // `comm` has room for 15 bytes.
            if !usual.starts_with(name) {
                line = format!("{line} called {name:?}");
            }
            let user = key("wellhead.process.signal.sender.user.id");
            if *user != 0 {
                line = format!("{line} as {user}");
            }
        }
        if let Some(signal) = key("wellhead.process.asked.signal").as_str() {
            let by = self.role_of_pid(key("wellhead.process.asked.sender.pid"));
            line = format!("{line} asked {signal} by {by}");
        }
        let user = key("process.user.id");
        if *user != 0 {
            line = format!("{line} as {user}");
        }
        let now = self.role_of_pid(key("process.parent_pid"));
        if now != parent {
            line = format!("{line} under {now}");
        }
        line
    }

    /// Text as it is written down: what is long and dull is shortened.
    fn plain(&self, text: &str) -> String {
        let text = text.replace(self.directory, "$D");
        let characters: Vec<char> = text.chars().collect();
        let mut plain = String::new();
        for run in characters.chunk_by(|one, other| one == other) {
            let escaped = match run[0] {
                control if control.is_control() => control.escape_default().to_string(),
                other => other.to_string(),
            };
            if run.len() > 12 {
                plain = format!("{plain}{escaped}*{}", run.len());
            } else {
                plain += &escaped.repeat(run.len());
            }
        }
        plain
    }
}

/// The names of processes in their order; the runner has `R`.
fn role(order: usize) -> String {
    let mut letters = ('A'..='Z').filter(|letter| *letter != 'R');
    letters
        .nth(order)
        .map_or_else(|| format!("P{order}"), String::from)
}

/// Puts what is known only when a shape is made into what must be told.
pub(super) fn expected(shape: &str, notes: &Value) -> Result<String> {
    let mut text = shape.to_owned();
    for (name, value) in notes.as_object().context("notes")? {
        let Some(value) = value.as_str() else {
            continue;
        };
        text = text.replace(&format!("${name}"), value);
    }
    let rest = text.replace("$D/", "").replace("$D ", "");
    ensure!(!rest.contains('$'), "not all is known: {text}");
    Ok(text)
}
