//! The Prometheus endpoint's two formats, OpenMetrics 1.0 and text 0.0.4, over one snapshot.
//!
//! Samples carry the workload's labels; everything about the agent itself is in one `target_info`.

pub mod names;
pub mod negotiation;
pub mod openmetrics;
pub mod reference;
pub mod samples;
pub mod standard;
pub mod text;

#[cfg(test)]
mod tests;

use std::fmt;

use self::negotiation::Format;
use self::samples::Exposition;

/// Writes everything in one format.
pub fn encode(format: Format, exposition: Exposition) -> Result<String, fmt::Error> {
    let mut page = String::new();
    match format {
        Format::OpenMetrics => openmetrics::encode(&mut page, exposition)?,
        Format::Text => text::encode(&mut page, &exposition)?,
    }
    Ok(page)
}
