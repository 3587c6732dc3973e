//! The version in plugin.yaml.

/// The version in the plugin.yaml beside Cargo.toml, read when the plugin is built. With it a plugin states its version
/// once:
///
/// ```ignore
/// Plugin::builder("word-count", reed_plugin::manifest_version!())
/// ```
#[macro_export]
macro_rules! manifest_version {
    () => {
        $crate::version_in(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/plugin.yaml")))
    };
}

/// Returns the value of `version` in the text of a plugin.yaml, or an empty string if there is none. Used by
/// [`manifest_version!`](crate::manifest_version).
///
/// ```
/// assert_eq!(reed_plugin::version_in("name: word-count\nversion: 1.2.0 # stable\n"), "1.2.0");
/// ```
pub fn version_in(manifest: &str) -> &str {
    let line = manifest.lines().find_map(|line| line.strip_prefix("version:")).unwrap_or_default();
    let value = line.split_once(" #").map_or(line, |(value, _comment)| value).trim();
    value.trim_matches(|sign| sign == '"' || sign == '\'')
}
