//! Each workload once, however many objects it names.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::sync::Arc;

use crate::identity::workload::Workload;

/// Workloads to begin with before looking for those nobody refers to any more.
const FEW: usize = 1_024;

/// The workloads objects were named after.
#[derive(Debug)]
pub(super) struct Workloads {
    all: HashSet<Arc<Workload>>,
    look_at: usize,
}

impl Default for Workloads {
    fn default() -> Self {
        Self {
            all: HashSet::new(),
            look_at: FEW,
        }
    }
}

impl Workloads {
    /// The one that is equal to `workload`.
    pub(super) fn intern(
        &mut self,
        workload: impl Borrow<Workload> + Into<Arc<Workload>>,
    ) -> Arc<Workload> {
        if let Some(known) = self.all.get(workload.borrow()) {
            return Arc::clone(known);
        }
        if self.all.len() >= self.look_at {
            self.forget_unused();
            self.look_at = FEW.max(2 * self.all.len());
        }
        let workload = workload.into();
        self.all.insert(Arc::clone(&workload));
        workload
    }

    /// Forgets those nobody refers to any more.
    pub(super) fn forget_unused(&mut self) {
        self.all.retain(|workload| Arc::strong_count(workload) > 1);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(number: usize) -> Workload {
        Workload {
            namespace: "ns".into(),
            name: number.to_string().into(),
            kind: "Deployment".into(),
        }
    }

    #[test]
    fn equal_ones_are_one_and_unused_ones_go() {
        let mut workloads = Workloads::default();
        let first = workloads.intern(workload(0));
        assert!(Arc::ptr_eq(&first, &workloads.intern(workload(0))));
        for number in 1..5 * FEW {
            drop(workloads.intern(workload(number)));
        }
        assert!(workloads.all.len() <= FEW, "{}", workloads.all.len());
        assert!(Arc::ptr_eq(&first, &workloads.intern(workload(0))));
    }
}
