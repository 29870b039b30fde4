//! A page of the endpoint, written piece by piece as its reader takes it, so that a slow reader holds a reading of the
//! store and no text.

use std::fmt;
use std::mem::take;
use std::sync::Arc;

use super::labels::Labels;
use super::lines::{self, FamilyLines};
use super::names::FamilyName;
use super::negotiation::Exposition;
use super::samples::Samples;
use super::standard::StandardFamily;
use super::target;
use crate::telemetry::snapshot::Snapshot;

/// A page under way.
#[derive(Debug)]
pub struct Page {
    exposition: Exposition,
    snapshot: Arc<Snapshot>,
    labels: Labels,
    /// Written with the first piece.
    standard: Vec<StandardFamily>,
    next: Next,
}

/// What comes next.
#[derive(Debug)]
enum Next {
    /// What is not of the snapshot.
    Head,
    /// A family that has not begun, by its index.
    Family(usize),
    /// Samples of a family that has.
    Samples(Box<OpenFamily>),
    Nothing,
}

#[derive(Debug)]
struct OpenFamily {
    index: usize,
    lines: FamilyLines,
    samples: Samples,
}

impl Page {
    /// A page of a snapshot together with the families only Prometheus knows.
    pub fn new(
        exposition: impl Into<Exposition>,
        scope: Scope,
        snapshot: Arc<Snapshot>,
        standard: Vec<StandardFamily>,
    ) -> Self {
        let exposition = exposition.into();
        Self {
            exposition,
            labels: Labels::new(&snapshot, scope, exposition.names),
            snapshot,
            standard,
            next: Next::Head,
        }
    }

    /// Appends to `text` until it has at least `bytes`, or the page is whole. Returns whether there is more.
    ///
    /// # Errors
    /// None: writing into memory does not fail.
    pub fn write(&mut self, text: &mut String, bytes: usize) -> Result<bool, fmt::Error> {
        while text.len() < bytes {
            self.next = match std::mem::replace(&mut self.next, Next::Nothing) {
                Next::Head => {
                    self.write_head(text)?;
                    Next::Family(0)
                }
                Next::Family(index) => self.begin_family(text, index)?,
                Next::Samples(family) => self.write_samples(text, bytes, family)?,
                Next::Nothing => return Ok(false),
            };
        }
        Ok(!matches!(self.next, Next::Nothing))
    }

    fn write_head(&mut self, text: &mut String) -> fmt::Result {
        if let Some(node) = self.snapshot.resources.first() {
            target::write(text, self.exposition, node)?;
        }
        take(&mut self.standard)
            .iter()
            .try_for_each(|family| family.write(text, self.exposition))
    }

    fn begin_family(&self, text: &mut String, index: usize) -> Result<Next, fmt::Error> {
        let Some(family) = self.snapshot.families.get(index) else {
            lines::end(text, self.exposition.format);
            return Ok(Next::Nothing);
        };
        if family.points.is_empty() {
            return Ok(Next::Family(index + 1));
        }
        let name = FamilyName::of(family.metric);
        let lines = FamilyLines::begin(text, self.exposition, &name, family.metric.description())?;
        Ok(Next::Samples(Box::new(OpenFamily {
            index,
            lines,
            samples: Samples::of(family, &self.labels),
        })))
    }

    fn write_samples(
        &self,
        text: &mut String,
        bytes: usize,
        mut open: Box<OpenFamily>,
    ) -> Result<Next, fmt::Error> {
        let Some(family) = self.snapshot.families.get(open.index) else {
            return Ok(Next::Nothing);
        };
        let mut labels = String::new();
        while text.len() < bytes {
            let Some((point, value)) = open.samples.next(family) else {
                return Ok(Next::Family(open.index + 1));
            };
            labels.clear();
            self.labels.push(&mut labels, point);
            open.lines.sample(text, &labels, value)?;
        }
        Ok(Next::Samples(open))
    }
}

/// Whether samples say which instrumentation scope they are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `otel_scope_name`, `otel_scope_version` and `otel_scope_schema_url` on every sample of the catalogue.
    Shown,
    /// None of them: they are the same everywhere.
    Left,
}
