//! `wellhead run`.

use std::path::PathBuf;
use std::sync::Arc;

use super::exit::{Exit, Failure};
use super::{Options, Threads, block_on, logging};
use crate::config;
use crate::daemon::{self, ConfigFile, ConfigSource, DaemonError, Settings};
use crate::export::otlp::OwnTelemetry;
use crate::memory;

pub(super) fn execute(options: &Options) -> Result<Exit, Failure> {
    memory::keep_little();
    let source = source(options);
    let loaded = options.load_quietly()?;
    let settings = Settings::new(&loaded.config).map_err(DaemonError::from)?;
    let own = OwnTelemetry::new(settings.own.clone(), &settings.own_resource());
    Options::start_logging(&loaded, &own);
    block_on(&Threads::BESIDE_CAPTURE, async {
        Ok(daemon::run(&loaded.config, settings, source, own).await?)
    })?;
    Ok(Exit::Success)
}

/// The environment and the flags do not change while the agent runs; the file does.
fn source(options: &Options) -> ConfigSource {
    let named = || std::env::var_os("WELLHEAD_CONFIG").filter(|name| !name.is_empty());
    let file = options.config.clone();
    let file = file.or_else(|| named().map(PathBuf::from));
    let options = options.clone();
    ConfigSource {
        file: file.map(ConfigFile::before_it_is_read),
        load: Arc::new(move || {
            config::load(options.config.as_deref(), std::env::vars_os(), &options.set)
        }),
        log: Arc::new(logging::own_log()),
    }
}
