//! What the core tells a native plugin when it starts it: environment variables.

use std::env;
use std::path::PathBuf;

use serde_json::Value;

use crate::error::Error;
use crate::strict_json;

/// Where a plugin runs.
#[derive(Clone, Debug)]
pub struct Environment {
    /// `REED_PLUGIN_NAME`: the name in its row.
    pub name: String,
    /// `REED_SOCKET`: where the core listens for this plugin.
    pub socket: PathBuf,
    /// `REED_RUNTIME_DIR`: sockets and FIFOs.
    pub runtime_dir: PathBuf,
    /// `REED_PLUGIN_DIR`: the plugin's own folder, to read.
    pub plugin_dir: PathBuf,
    /// `REED_DATA_DIR`: a folder to write in; only with the permission file_write.
    pub data_dir: Option<PathBuf>,
    /// `REED_SETTINGS`: JSON; those that the core gives when the plugin registers take their place.
    pub settings: Value,
}

impl Environment {
    /// Reads the variables.
    pub fn from_env() -> Result<Environment, Error> {
        let settings = match env::var("REED_SETTINGS") {
            Ok(text) if !text.is_empty() => strict_json::parse(text.as_bytes())
                .map_err(|error| Error::Environment { variable: "REED_SETTINGS", why: error.to_string() })?,
            _ => Value::Object(serde_json::Map::new()),
        };
        Ok(Environment {
            name: text("REED_PLUGIN_NAME")?,
            socket: text("REED_SOCKET")?.into(),
            runtime_dir: text("REED_RUNTIME_DIR")?.into(),
            plugin_dir: env::var_os("REED_PLUGIN_DIR").map(PathBuf::from).unwrap_or_default(),
            data_dir: env::var_os("REED_DATA_DIR").filter(|path| !path.is_empty()).map(PathBuf::from),
            settings,
        })
    }
}

fn text(variable: &'static str) -> Result<String, Error> {
    match env::var(variable) {
        Ok(text) if !text.is_empty() => Ok(text),
        Ok(_) => Err(Error::Environment { variable, why: "is empty".to_owned() }),
        Err(error) => Err(Error::Environment { variable, why: error.to_string() }),
    }
}
