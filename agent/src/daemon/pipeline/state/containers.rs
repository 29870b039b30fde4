//! The lives of containers: followed as they go, told once it is known which containers they are.

use std::collections::HashSet;
use std::sync::Arc;

use super::super::source::Source;
use super::{Item, State};
use crate::events::{Body, Event, Exec, ExitStatus, ProcessId, executable_name};
use crate::identity::containers::{CrashLoop, End, Ended, News, Parent, Started};
use crate::identity::scan::Scanned;
use crate::identity::{
    ContainerInfo, ContainerStatus, OwnerId, PodUpdate, ProcessTable, Terminated, Which,
};
use crate::telemetry::aggregate::Aggregator;
use crate::telemetry::container_events::{CRASH_LOOP, EXIT, START};
use crate::telemetry::live::LiveEvent;

/// What a pod's status says of one of its containers.
pub(super) struct Said {
    pod_uid: Arc<str>,
    name: Arc<str>,
    /// The id of its present run, or of its last.
    id: Arc<str>,
    status: ContainerStatus,
}

impl<S: Source> State<S> {
    /// A cgroup was made.
    pub(super) fn cgroup_made(&mut self, id: u64, path: Option<&str>, at: u64) {
        self.cgroup_seen(id, path, at);
        if let Some(owner) = self.identity.container_of_cgroup(id) {
            self.lives.containers.made(owner, id, at);
        }
        self.trace_cgroup(id, at);
    }

    /// A process entered a cgroup that is not known.
    pub(super) fn cgroup_entered(&mut self, id: u64, path: Option<&str>, at: u64) {
        self.cgroup_seen(id, path, at);
        if let Some(owner) = self.identity.container_of_cgroup(id) {
            self.lives.containers.found(owner, id, at);
        }
    }

    /// A cgroup was removed.
    pub(super) fn cgroup_removed(&mut self, id: u64, at: u64) {
        let container = self.identity.container_of_cgroup(id);
        self.identity.cgroup_removed(id, at);
        if let Some(owner) = container {
            let ends = self.lives.containers.removed(owner, id, at);
            self.containers_ended(ends);
        }
    }

    /// A scan of the cgroup tree is done, and taken in.
    pub(super) fn containers_scanned(&mut self, scanned: &Scanned, started: u64) {
        let now = self.clock.now();
        for (id, _) in &scanned.cgroups {
            if let Some(owner) = self.identity.container_of_cgroup(*id) {
                self.lives.containers.found(owner, *id, now);
            }
        }
        if scanned.complete {
            let found: HashSet<u64> = scanned.cgroups.iter().map(|(id, _)| *id).collect();
            let ends = self.lives.containers.retain_scanned(&found, started, now);
            self.containers_ended(ends);
        }
    }

    /// Follows what happens in containers. Comes before the process table is told of it.
    pub(super) fn follow_container(&mut self, event: &Event<'_>, owner: OwnerId) {
        let at = event.boot_ns;
        let containers = &mut self.lives.containers;
        let news = match &event.body {
            Body::Exec(exec) => self.follow_main(exec, owner, at).map(News::Started),
            Body::Exit(exit) => containers
                .exited((owner, at), exit.process, exit.status)
                .map(News::Ended),
            Body::OomKill(_) => {
                containers.oom_killed(owner, at);
                None
            }
            Body::Found(found) => {
                let parent = parent_of(&self.processes, found.process, found.parent.pid, owner);
                let name = || executable_name(&[], false, &found.comm).into();
                containers.process_found(owner, found.process, parent, name);
                None
            }
            _ => None,
        };
        if let Some(news) = news {
            self.lives.push(owner, news);
            self.tell_containers();
        }
    }

    fn follow_main(&mut self, exec: &Exec<'_>, owner: OwnerId, at: u64) -> Option<Started> {
        let (processes, programs) = (&self.processes, &mut self.programs);
        let parent = || parent_of(processes, exec.process, exec.parent.pid, owner);
        let name = || programs.of(exec).name;
        let containers = &mut self.lives.containers;
        containers.executed((owner, at), exec, parent, name)
    }

    /// Once a second, and whenever somebody may have got a name, after the records that waited for that: tells what did, and of
    /// whom nothing more can come.
    pub(super) fn close_containers(&mut self) {
        let (now, settled) = (self.clock.now(), self.settled);
        let waiting = &self.waiting;
        let containers = &mut self.lives.containers;
        let overdue = containers.take_overdue((now, settled), |owner| waiting.awaits_pod(owner));
        self.containers_ended(overdue);
        self.tell_containers();
    }

    fn tell_containers(&mut self) {
        if self.lives.is_quiet() {
            return;
        }
        let (now, settled, patience) = (self.clock.now(), self.settled, self.patience());
        let identity = &mut self.identity;
        let is_named = |owner| identity.is_named(owner, patience);
        let ready = self.lives.take_ready((now, settled), is_named);
        for (owner, news) in ready {
            self.tell_container(owner, news);
        }
    }

    /// Whom a pod's status speaks of that may be in a loop, or was.
    pub(super) fn said_of_containers(update: &PodUpdate) -> (Vec<Said>, Option<Arc<str>>) {
        let gone = match update {
            PodUpdate::Deleted { uid } => Some(Arc::clone(uid)),
            PodUpdate::Applied(_) | PodUpdate::Restarted(_) => None,
        };
        let said = update.pods().iter().flat_map(|pod| {
            let said = |container: &ContainerInfo| {
                Some(Said {
                    pod_uid: Arc::clone(&pod.uid),
                    name: Arc::clone(&container.name),
                    id: Arc::clone(container.ids.last()?),
                    status: container.status.clone(),
                })
            };
            pod.containers.iter().filter_map(said)
        });
        (said.collect(), gone)
    }

    /// Takes in what statuses say, after everything that could be told by then.
    pub(super) fn take_in_said(&mut self, (said, gone): (Vec<Said>, Option<Arc<str>>)) {
        for said in said {
            self.take_in_status(&said);
        }
        if let Some(uid) = gone {
            self.lives.histories.pod_gone(&uid);
        }
    }

    /// Lets time pass.
    pub(super) fn expire_containers(&mut self) -> impl Iterator<Item = OwnerId> {
        self.lives.histories.expire(self.clock.now());
        self.lives.owners()
    }

    fn containers_ended(&mut self, ends: Vec<(OwnerId, Ended)>) {
        for (owner, ended) in ends {
            self.lives.push(owner, News::Ended(ended));
        }
    }

    fn tell_container(&mut self, owner: OwnerId, news: News) {
        let Some(container) = self.identity.container(owner) else {
            return;
        };
        if container.is_sandbox(news.executable()) {
            return;
        }
        let (which, restarts) = (container.which(), container.restarts());
        if self.is_left_out(owner) {
            return;
        }
        match news {
            News::Started(started) => {
                let before = self.lives.histories.started(&which, started.at);
                let seen = (before.restarts > 0).then_some(before.restarts);
                let time = self.clock.unix_nano(started.at);
                self.tell(START, owner, || {
                    LiveEvent::of_container_start(&started, &before, restarts.or(seen), time)
                });
            }
            News::Ended(ended) => self.tell_container_end(owner, &which, restarts, ended),
        }
    }

    fn tell_container_end(
        &mut self,
        owner: OwnerId,
        which: &Which,
        restarts: Option<u32>,
        ended: Ended,
    ) {
        let containers = &mut self.lives.containers;
        let kills = containers.oom_kills(owner, ended.at).max(ended.oom_kills);
        let ended = Ended {
            oom_kills: kills,
            ..ended
        };
        let time = self.clock.unix_nano(ended.at);
        let counted_for = self.identity.beyond_its_life(owner, self.clock.now());
        let name = match which {
            Which::OfPod { name, .. } if counted_for != owner => Some(name),
            Which::OfPod { .. } | Which::Alone(_) => None,
        };
        Aggregator::count_container(&mut self.store, counted_for, name, (&ended, time));
        self.tell(EXIT, owner, || LiveEvent::of_container_exit(&ended, time));
        let end = End {
            at: ended.at,
            status: ended.status,
            oom_killed: ended.oom_kills > 0,
            ran_ns: ended.ran_ns,
        };
        if let Some(found) = self.lives.histories.ended(which, end) {
            self.tell_crash_loop(owner, &found, found.last.as_ref(), restarts, ended.at);
        }
    }

    fn take_in_status(&mut self, said: &Said) {
        let now = self.moment();
        let which = Which::OfPod {
            uid: Arc::clone(&said.pod_uid),
            name: Arc::clone(&said.name),
        };
        let boot = |time| now.boot_at(time);
        let status = &said.status;
        let says = (status.is_crash_loop(), status.running_since.map(boot));
        let Some(found) = self.lives.histories.status(&which, says, now.boot) else {
            return;
        };
        let Some(owner) = self.owner_of_said(said, now.boot) else {
            return;
        };
        if self.is_left_out(owner) {
            return;
        }
        let told = status.last_end.as_ref().map(|end| end_of(end, boot));
        let last = found.last.or(told);
        self.tell_crash_loop(owner, &found, last.as_ref(), status.restart_count, now.boot);
    }

    fn owner_of_said(&mut self, said: &Said, now: u64) -> Option<OwnerId> {
        let identity = &self.identity;
        let is_it = |owner: &OwnerId| {
            let container = identity.container(*owner);
            container.is_some_and(|container| *container.id == said.id)
        };
        let known = self.lives.owners().find(is_it);
        known.or_else(|| self.identity.owner_of_listed(&said.id, &said.pod_uid, now))
    }

    fn tell_crash_loop(
        &mut self,
        owner: OwnerId,
        found: &CrashLoop,
        last: Option<&End>,
        restarts: Option<u32>,
        at: u64,
    ) {
        let time = self.clock.unix_nano(at);
        self.tell(CRASH_LOOP, owner, || {
            LiveEvent::of_crash_loop(found, last, restarts, time)
        });
    }

    /// Makes an event of a container and sends it on, if anybody wants it.
    fn tell(&mut self, name: &'static str, owner: OwnerId, event: impl FnOnce() -> LiveEvent) {
        let is_wanted = !self.subscribers.is_empty() || self.exports(name);
        if is_wanted && !self.gives_up_details(1) {
            self.deliver(owner, Item::Event(event()));
        }
    }
}

/// Where the parent of a process of this owner is.
fn parent_of(
    processes: &ProcessTable,
    process: ProcessId,
    parent_pid: u32,
    owner: OwnerId,
) -> Parent {
    match processes.by_pid(parent_pid) {
        Some((id, parent)) if parent.owner == owner && id != process => {
            if parent.executed_ns.is_some() {
                Parent::Executed
            } else {
                Parent::Forked
            }
        }
        _ => Parent::Elsewhere,
    }
}

/// A run's end as the pod's status has it.
fn end_of(end: &Terminated, boot: impl Fn(jiff::Timestamp) -> u64) -> End {
    let number = |number: i32| u8::try_from(number).ok();
    let signal = end.signal.and_then(number).map(ExitStatus::Signal);
    let finished = end.finished_at.map(&boot);
    let ran = finished.zip(end.started_at.map(&boot));
    End {
        at: finished.unwrap_or_default(),
        status: signal.or_else(|| number(end.exit_code).map(ExitStatus::Code)),
        oom_killed: end.was_killed_for_memory(),
        ran_ns: ran.map(|(finished, started)| finished.saturating_sub(started)),
    }
}
