//! The start of a container, as a trace of its own: from its cgroup to whatever was the last that happened on the way to
//! being ready.

use std::collections::VecDeque;
use std::sync::Arc;

use super::SpanBuilder;
use super::process::error;
use crate::aged_map::AgedMap;
use crate::events::{ExitStatus, ProcessId};
use crate::identity::{OwnerId, Value};
use crate::telemetry::live::nanoseconds;
use crate::telemetry::span::{Span, SpanEvents, SpanKind, SpanLinks};

/// How long a container may take until nobody waits for it any more.
const PATIENCE_NS: u64 = 300 * 1_000_000_000;

/// Times in the status of a pod are whole seconds.
const SECOND_NS: u64 = 1_000_000_000;

/// Containers that may be starting at once: more pods than a node has.
const MOST: usize = 1_024;

/// What a container goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It executes its first program.
    Exec,
    /// It begins to listen.
    Listen,
    /// The first connection to it is opened.
    Accept,
}

impl Step {
    const ALL: [Self; 3] = [Self::Exec, Self::Listen, Self::Accept];

    const fn name(self) -> &'static str {
        match self {
            Self::Exec => "first exec",
            Self::Listen => "first listen",
            Self::Accept => "first accept",
        }
    }

    const fn attribute(self) -> &'static str {
        match self {
            Self::Exec => "wellhead.startup.first_exec",
            Self::Listen => "wellhead.startup.first_listen",
            Self::Accept => "wellhead.startup.first_accept",
        }
    }
}

/// Containers that start. Of too many, the oldest is told as far as it has come.
#[derive(Debug)]
pub struct Startups {
    containers: AgedMap<OwnerId, Startup>,
    /// Those of pods that are ready, and when to tell of them: what happened before may be told after.
    ready: VecDeque<(u64, OwnerId)>,
}

/// A container that starts.
#[derive(Clone, Debug)]
pub struct Startup {
    cgroup: u64,
    pod_uid: Option<Arc<str>>,
    made_ns: u64,
    /// When it came to each step, on the boot clock.
    steps: [Option<u64>; 3],
    /// The process that executed its first program.
    main: Option<ProcessId>,
    /// When its pod became ready.
    ready_ns: Option<u64>,
}

/// Why a start is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The pod was ready at this time.
    Ready(u64),
    /// The container ended at this time; in what way, if that was a failure.
    Ended(u64, Option<Arc<str>>),
    /// Nobody waits any longer.
    Unready,
}

/// A start that is over.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Whose.
    pub owner: OwnerId,
    startup: Startup,
    outcome: Outcome,
}

impl Default for Startups {
    fn default() -> Self {
        Self {
            containers: AgedMap::new(MOST),
            ready: VecDeque::new(),
        }
    }
}

impl Startups {
    /// A container got its cgroup, the first of them counts; returns who has to go for it.
    pub fn made(
        &mut self,
        owner: OwnerId,
        cgroup: u64,
        pod_uid: Option<Arc<str>>,
        boot_ns: u64,
    ) -> Option<Ended> {
        if self.containers.get(&owner).is_some() {
            return None;
        }
        let startup = Startup {
            cgroup,
            pod_uid,
            made_ns: boot_ns,
            steps: [None; 3],
            main: None,
            ready_ns: None,
        };
        let evicted = self.containers.insert(owner, startup);
        evicted.map(|(owner, startup)| startup.ended(owner, Outcome::Unready))
    }

    /// A container came to a step; a program is executed by this process.
    pub fn stepped(&mut self, owner: OwnerId, step: Step, process: Option<ProcessId>, at: u64) {
        let Some(startup) = self.containers.get_mut(&owner) else {
            return;
        };
        if step == Step::Exec && startup.main.is_none() {
            startup.main = process;
        }
        startup.steps[step as usize].get_or_insert(at);
    }

    /// A process of a container ended. If it is the container's first, so did the container.
    pub fn exited(
        &mut self,
        owner: OwnerId,
        process: ProcessId,
        status: ExitStatus,
        at: u64,
    ) -> Option<Ended> {
        let startup = self.containers.get(&owner)?;
        (startup.main == Some(process)).then_some(())?;
        self.end(owner, Outcome::Ended(at, error(status)))
    }

    /// A container's cgroup was removed.
    pub fn removed(&mut self, cgroup: u64, at: u64) -> Option<Ended> {
        let found = self
            .containers
            .iter()
            .find(|(_, startup)| startup.cgroup == cgroup);
        let owner = found.map(|(owner, _)| *owner)?;
        self.end(owner, Outcome::Ended(at, None))
    }

    /// It is told now that a pod became ready at some time on the boot clock, and so have its containers that were made before.
    pub fn pod_became_ready(&mut self, pod_uid: &str, ready_ns: u64, now_ns: u64) {
        let is_of_pod = |startup: &Startup| {
            startup.pod_uid.as_deref() == Some(pod_uid)
                && startup.ready_ns.is_none()
                && startup.made_ns < ready_ns.saturating_add(SECOND_NS)
        };
        let containers = self.containers.iter();
        let of_pod = containers.filter(|(_, startup)| is_of_pod(startup));
        let owners: Vec<OwnerId> = of_pod.map(|(owner, _)| *owner).collect();
        for owner in owners {
            if let Some(startup) = self.containers.get_mut(&owner) {
                startup.ready_ns = Some(ready_ns);
                let due_ns = now_ns.saturating_add(SECOND_NS);
                self.ready.push_back((due_ns, owner));
            }
        }
    }

    /// One whose pod has been ready for long enough that all before that is told.
    pub fn next_ready(&mut self, now_ns: u64) -> Option<Ended> {
        while let Some((_, owner)) = self.ready.pop_front_if(|(due_ns, _)| *due_ns <= now_ns) {
            let is_ready = |startup: &Startup| startup.ready_ns.is_some();
            if self.containers.get(&owner).is_some_and(is_ready) {
                return self.end(owner, Outcome::Unready);
            }
        }
        None
    }

    /// One that was waited for long enough.
    pub fn next_due(&mut self, now_ns: u64) -> Option<Ended> {
        let is_due = |startup: &Startup| startup.made_ns.saturating_add(PATIENCE_NS) <= now_ns;
        let (owner, startup) = self.containers.pop_oldest_if(is_due)?;
        Some(startup.ended(owner, Outcome::Unready))
    }

    /// Whose containers start.
    pub fn owners(&self) -> impl Iterator<Item = OwnerId> {
        self.containers.iter().map(|(owner, _)| *owner)
    }

    fn end(&mut self, owner: OwnerId, outcome: Outcome) -> Option<Ended> {
        let startup = self.containers.remove(&owner)?;
        Some(startup.ended(owner, outcome))
    }
}

impl Startup {
    /// Its start is over for this reason, or was before, if it was ready.
    fn ended(self, owner: OwnerId, outcome: Outcome) -> Ended {
        let outcome = self.ready_ns.map_or(outcome, Outcome::Ready);
        Ended {
            owner,
            startup: self,
            outcome,
        }
    }

    /// The steps it came to until then, in order of time.
    fn steps_until(&self, until: u64) -> Vec<(Step, u64)> {
        let at = |step: Step| Some((step, self.steps[step as usize].filter(|at| *at <= until)?));
        let mut steps: Vec<_> = Step::ALL.into_iter().filter_map(at).collect();
        steps.sort_by_key(|(_, at)| *at);
        steps
    }
}

impl Ended {
    /// The spans of it: the whole, and one for each phase. `to_unix_nano` is the clock as it goes now.
    pub fn spans(&self, builder: &SpanBuilder, to_unix_nano: impl Fn(u64) -> u64) -> Vec<Span> {
        let made = self.startup.made_ns;
        let steps = self.startup.steps_until(match self.outcome {
            Outcome::Ready(at) => at.saturating_add(SECOND_NS),
            Outcome::Ended(..) | Outcome::Unready => u64::MAX,
        });
        let last = steps.last().map_or(made, |(_, at)| *at);
        let (end, outcome) = match self.outcome {
            Outcome::Ready(at) => (at.max(last), "ready"),
            Outcome::Ended(at, _) => (at.max(last), "ended"),
            Outcome::Unready => (last, "unready"),
        };
        let marks = steps.iter().map(|(step, at)| (step.name(), *at));
        let ready = matches!(self.outcome, Outcome::Ready(_)).then_some(("ready", end));
        let marks: Vec<_> = std::iter::once(("cgroup", made))
            .chain(marks)
            .chain(ready)
            .collect();
        let took = |at: u64| nanoseconds(at.saturating_sub(made));
        let mut attributes = vec![("wellhead.startup.outcome", Value::Static(outcome))];
        attributes.extend(steps.iter().map(|(step, at)| (step.attribute(), took(*at))));
        attributes.extend(ready.map(|(_, at)| ("wellhead.startup.ready", took(at))));
        let error = match &self.outcome {
            Outcome::Ended(_, error) => error.clone(),
            Outcome::Ready(_) | Outcome::Unready => None,
        };
        let whole = Span {
            attributes,
            error,
            ..self.span(
                builder,
                (0, "container start-up".into()),
                (made, end),
                &to_unix_nano,
            )
        };
        let phases = marks.windows(2).zip(1..).map(|(marks, number)| {
            let [(from, began), (to, at)] = [marks[0], marks[1]];
            let name = format!("{from} to {to}").into();
            self.span(builder, (number, name), (began, at), &to_unix_nano)
        });
        std::iter::once(whole).chain(phases).collect()
    }

    fn span(
        &self,
        builder: &SpanBuilder,
        (number, name): (u64, Arc<str>),
        (began, ended): (u64, u64),
        to_unix_nano: impl Fn(u64) -> u64,
    ) -> Span {
        let (ids, cgroup) = (&builder.ids, self.startup.cgroup);
        let duration = ended.saturating_sub(began);
        let end_unix_nano = to_unix_nano(ended);
        Span {
            trace_id: ids.trace_of_start(cgroup),
            span_id: ids.start(cgroup, number),
            parent_span_id: (number != 0).then(|| ids.start(cgroup, 0)),
            trace_state: Some(builder.sampler.always()),
            name,
            kind: SpanKind::Internal,
            start_unix_nano: end_unix_nano.saturating_sub(duration),
            end_unix_nano,
            attributes: Vec::new(),
            error: None,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: OwnerId = OwnerId(3);
    const MAIN: ProcessId = ProcessId {
        pid: 7,
        start_ns: 11,
    };

    fn begun() -> Startups {
        let mut startups = Startups::default();
        assert!(startups.made(OWNER, 42, Some("uid".into()), 10).is_none());
        // A container may have cgroups below its own.
        assert!(startups.made(OWNER, 43, Some("uid".into()), 12).is_none());
        startups.stepped(OWNER, Step::Exec, Some(MAIN), 20);
        startups.stepped(OWNER, Step::Exec, None, 25);
        startups
    }

    fn told(ended: &Ended) -> Vec<(String, u64, u64)> {
        let builder = SpanBuilder::new("boot", true, None);
        let spans = ended.spans(&builder, |boot_ns| boot_ns + 1_000);
        let whole = &spans[0];
        assert_eq!(whole.parent_span_id, None);
        for phase in &spans[1..] {
            assert_eq!(phase.trace_id, whole.trace_id);
            assert_eq!(phase.parent_span_id, Some(whole.span_id));
        }
        let told = spans.iter().map(|span| {
            let times = (span.start_unix_nano - 1_000, span.end_unix_nano - 1_000);
            (span.name.to_string(), times.0, times.1)
        });
        told.collect()
    }

    fn error_of(ended: &Ended) -> Option<Arc<str>> {
        let builder = SpanBuilder::new("boot", true, None);
        ended.spans(&builder, |boot_ns| boot_ns)[0].error.clone()
    }

    #[test]
    fn a_pod_that_becomes_ready_ends_the_start_of_its_containers() {
        let mut startups = begun();
        startups.stepped(OWNER, Step::Listen, None, 30);
        startups.stepped(OWNER, Step::Accept, None, 40);
        startups.stepped(OWNER, Step::Accept, None, 45);
        startups.pod_became_ready("other", 50, 60);
        startups.pod_became_ready("uid", 50, 60);
        // Told again, and later.
        startups.pod_became_ready("uid", 50, 70);
        let due = 60 + SECOND_NS;
        assert!(startups.next_ready(due - 1).is_none());
        let ended = startups.next_ready(due).expect("due");
        assert!(startups.next_ready(u64::MAX).is_none());
        let expected = [
            ("container start-up", 10, 50),
            ("cgroup to first exec", 10, 20),
            ("first exec to first listen", 20, 30),
            ("first listen to first accept", 30, 40),
            ("first accept to ready", 40, 50),
        ];
        let expected = expected.map(|(name, from, to)| (name.to_owned(), from, to));
        assert_eq!(told(&ended), expected);
        assert_eq!(startups.owners().count(), 0);
    }

    #[test]
    fn ready_is_told_in_whole_seconds() {
        let mut startups = begun();
        startups.stepped(OWNER, Step::Listen, None, 30 + SECOND_NS / 2);
        startups.stepped(OWNER, Step::Accept, None, 30 + 2 * SECOND_NS);
        startups.pod_became_ready("uid", 25, 25);
        let ended = startups.next_ready(u64::MAX).expect("ready");
        let listened = 30 + SECOND_NS / 2;
        let spans = told(&ended);
        assert_eq!(spans[0].2, listened);
        assert_eq!(
            spans.last(),
            Some(&("first listen to ready".to_owned(), listened, listened))
        );
    }

    #[test]
    fn what_ends_when_it_was_ready_has_started() {
        let mut startups = begun();
        startups.pod_became_ready("uid", 25, 25);
        let ended = startups.exited(OWNER, MAIN, ExitStatus::Code(3), 30);
        assert_eq!(error_of(&ended.expect("over")), None);
        assert!(startups.next_ready(u64::MAX).is_none());
    }

    #[test]
    fn who_was_made_after_the_pod_was_ready_is_not() {
        let mut startups = Startups::default();
        let made = 10 + 2 * SECOND_NS;
        assert!(startups.made(OWNER, 42, Some("uid".into()), made).is_none());
        startups.pod_became_ready("uid", 10, made + 1);
        assert!(startups.next_ready(u64::MAX).is_none());
    }

    #[test]
    fn a_container_that_fails_before_it_is_ready_is_an_error() {
        let mut startups = begun();
        let other = ProcessId { pid: 8, ..MAIN };
        let failed = ExitStatus::Code(3);
        assert!(startups.exited(OWNER, other, failed, 30).is_none());
        let ended = startups.exited(OWNER, MAIN, failed, 30).expect("over");
        assert_eq!(error_of(&ended).as_deref(), Some("3"));
        assert_eq!(told(&ended)[0].2, 30);
        let well = begun().exited(OWNER, MAIN, ExitStatus::Code(0), 30);
        assert_eq!(error_of(&well.expect("over")), None);
    }

    #[test]
    fn nobody_waits_for_ever() {
        let mut startups = begun();
        assert!(startups.next_due(9 + PATIENCE_NS).is_none());
        let ended = startups.next_due(10 + PATIENCE_NS).expect("due");
        assert_eq!(
            told(&ended),
            [
                ("container start-up".to_owned(), 10, 20),
                ("cgroup to first exec".to_owned(), 10, 20)
            ]
        );
        let removed = begun().removed(42, 90).expect("over");
        assert_eq!(told(&removed)[0].2, 90);
        assert!(begun().removed(43, 90).is_none());
    }

    #[test]
    fn of_too_many_the_oldest_is_told() {
        let mut startups = Startups::default();
        let many = u32::try_from(MOST).expect("few");
        for number in 0..many {
            let made = startups.made(OwnerId(number), u64::from(number), None, 1);
            assert!(made.is_none());
        }
        let evicted = startups.made(OwnerId(many), 0, None, 2).expect("no room");
        assert_eq!(evicted.owner, OwnerId(0));
    }
}
