//! Attributes of the Resource that whoever makes a pod may set: by annotations and by its containers' environment.

/// Such attributes of one pod by its annotations, and of one container by its environment; further ones are left out.
pub(super) const MOST: usize = 32;

/// A longer key is left out, bytes.
pub(super) const LONGEST_KEY: usize = 256;

/// Such attributes of one pod by its annotations, and of one container by its environment, together: bytes of keys and values. The
/// memory budget counts on it.
pub(super) const ROOM: usize = 4 << 10;

/// Of a longer value the beginning is kept, bytes. Labels have at most 63; annotations may be as long as the object.
pub(super) const LONGEST_VALUE: usize = 1 << 10;

/// What the agent found out, or says of itself. Whoever may make a pod may write its annotations, and not what it is called.
const RESERVED: [&str; 6] = [
    "cloud.",
    "container.",
    "host.",
    "k8s.",
    "telemetry.",
    "wellhead.",
];

/// What is kept of the value of a label or annotation.
pub(super) fn beginning(value: &str) -> &str {
    &value[..value.floor_char_boundary(LONGEST_VALUE)]
}

/// Whether anybody may say what the key stands for.
pub(super) fn is_free(key: &str) -> bool {
    // Backends take other characters for dots.
    let alike: String = key
        .chars()
        .map(|character| {
            if character.is_ascii_alphanumeric() {
                character.to_ascii_lowercase()
            } else {
                '.'
            }
        })
        .collect();
    let is_reserved = RESERVED.iter().any(|prefix| alike.starts_with(prefix));
    !key.is_empty() && key.len() <= LONGEST_KEY && !is_reserved
}
