//! The effective configuration, for `wellhead config print`.

use serde::ser::Error as _;
use serde_json::Value;

use super::keys::Config;

impl Config {
    /// The configuration in effect as YAML, with the sizes that follow from the memory budget filled in.
    /// Values of headers read `<redacted>`; keys without a value are left out.
    ///
    /// # Errors
    /// A path that is not UTF-8 cannot be written.
    pub fn to_yaml(&self) -> Result<String, serde_saphyr::SerializeError> {
        let sizes = self.sizes();
        let mut effective = self.clone();
        effective.series_limit = Some(sizes.series);
        effective.series_limit_per_metric = Some(sizes.series_per_metric);
        effective.rings.identity_size = Some(sizes.identity_ring);
        effective.rings.process_size = Some(sizes.process_ring);
        effective.rings.network_size = Some(sizes.network_ring);
        effective.rings.payload_size = Some(sizes.payload_ring);
        effective.otlp.queue_size = Some(self.otlp.queue_size.unwrap_or(sizes.span_queue));
        let mut value =
            serde_json::to_value(&effective).map_err(serde_saphyr::SerializeError::custom)?;
        prune(&mut value);
        yaml(&value)
    }
}

/// Takes out nulls and what holds nothing else.
fn prune(value: &mut Value) {
    if let Value::Object(entries) = value {
        entries.values_mut().for_each(prune);
        entries.retain(|_, value| {
            !value.is_null() && !value.as_object().is_some_and(serde_json::Map::is_empty)
        });
    }
}

/// A value as YAML 1.2, where `on` and `off` need no quotes.
pub(super) fn yaml(value: &Value) -> Result<String, serde_saphyr::SerializeError> {
    let options = serde_saphyr::ser_options! { yaml_12: true, no_lang_directive: true };
    serde_saphyr::to_string_with_options(value, options)
}
