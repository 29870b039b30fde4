//! Where to: readings and spans leave the agent here.

pub mod otlp;
