//! The `wellhead` binary as users meet it: its command line, its endpoints, what it sends, and how it ends.
//!
//! Every test runs agents of its own, with their own runtime directory and port, and counts by names and ports that
//! nothing else uses: the machine may be busy with other things meanwhile.

#[cfg(test)]
mod access;
#[cfg(test)]
mod agreement;
#[cfg(test)]
mod budget;
#[cfg(test)]
mod configuration;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod endpoints;
#[cfg(test)]
mod escaping;
#[cfg(test)]
mod events;
#[cfg(test)]
mod exit_codes;
#[cfg(test)]
mod heartbeat;
#[cfg(test)]
mod hostile;
mod isolation;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod otlp;
#[cfg(test)]
mod own;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod pins;
#[cfg(test)]
mod receivers;
#[cfg(test)]
mod recording;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod resolver;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod soak;
#[cfg(test)]
mod spill;
#[cfg(test)]
mod stop;
#[cfg(test)]
mod support;
mod temporality;
#[cfg(test)]
mod traces;
#[cfg(test)]
mod trees;
