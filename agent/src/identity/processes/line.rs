//! Lines of descent.

use std::sync::Arc;

use crate::events::ProcessId;

/// Ancestors of a process that are remembered.
const MOST: usize = 16;

/// An ancestor, as it was when it forked the next of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ancestor {
    /// The process.
    pub process: ProcessId,
    /// The name its program was called by, where known.
    pub executable: Option<Arc<str>>,
}

/// Who a process descends from. Children share what they have in common; it outlives who is named in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    /// The nearest first; `None` for nobody.
    above: Option<Arc<[Ancestor]>>,
    /// What children have above them: made for the first.
    below: Option<Arc<[Ancestor]>>,
}

impl Line {
    pub(super) fn above(&self) -> &[Ancestor] {
        self.above.as_deref().unwrap_or_default()
    }

    pub(super) fn share_above(&self) -> Option<Arc<[Ancestor]>> {
        self.above.clone()
    }

    /// The process is called something else from now on.
    pub(super) fn forget_own(&mut self) {
        self.below = None;
    }

    /// The line of a child. `own` is the name of this process's program; one that only forked is not in its children's line.
    pub(super) fn of_child(&mut self, process: ProcessId, own: Option<&Arc<str>>) -> Self {
        let Some(executable) = own else {
            return Self {
                above: self.above.clone(),
                below: None,
            };
        };
        let above = &self.above;
        let below = self.below.get_or_insert_with(|| {
            let own = Ancestor {
                process,
                executable: Some(Arc::clone(executable)),
            };
            let others = above.iter().flat_map(|above| above.iter().cloned());
            std::iter::once(own).chain(others).take(MOST).collect()
        });
        Self {
            above: Some(Arc::clone(below)),
            below: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(pid: u32) -> ProcessId {
        ProcessId { pid, start_ns: 1 }
    }

    fn pids(line: &Line) -> Vec<u32> {
        line.above().iter().map(|one| one.process.pid).collect()
    }

    #[test]
    fn children_have_one_line_in_common() {
        let mut first = Line::default();
        let mut a = first.of_child(id(1), Some(&"sh".into()));
        let b = first.of_child(id(1), Some(&"sh".into()));
        assert!(Arc::ptr_eq(
            a.above.as_ref().expect("a line"),
            b.above.as_ref().expect("a line")
        ));
        assert_eq!(pids(&a.of_child(id(2), Some(&"env".into()))), [2, 1]);
        assert_eq!(pids(&a.of_child(id(2), None)), [1]);
    }

    #[test]
    fn a_chain_without_end_is_not_remembered_whole() {
        let mut line = Line::default();
        for pid in 1..1_000 {
            line = line.of_child(id(pid), Some(&"fork".into()));
        }
        assert_eq!(pids(&line).len(), MOST);
        assert_eq!(pids(&line)[0], 999);
    }

    #[test]
    fn it_has_the_name_of_the_time() {
        let mut line = Line::default();
        line.of_child(id(1), Some(&"sh".into()));
        line.forget_own();
        let child = line.of_child(id(1), Some(&"app".into()));
        assert_eq!(child.above()[0].executable.as_deref(), Some("app"));
    }
}
