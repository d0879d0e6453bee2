//! Reads the sources, one above the other, and remembers where each setting came from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use config::{Config as Layers, ConfigError, File, FileFormat, Source, Value, ValueKind};

use super::error::Error;
use super::keys::{KEYS, Key, nearest};
use super::origin::Origin;
use super::raw::Raw;
use super::settings::Config;
use crate::disk::Disk;

/// Largest configuration file that is read.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Where settings may stand.
#[derive(Debug, Default)]
pub struct Sources {
    /// A TOML file, which must exist if it is named.
    pub file: Option<PathBuf>,
    /// The environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags: the flag, its key, its value.
    pub flags: Vec<(String, String, String)>,
}

/// One setting as it is in force.
#[derive(Clone, Debug)]
pub struct Setting {
    /// What it is.
    pub key: &'static Key,
    /// Its value; secrets are not shown.
    pub value: String,
    /// Where it stood.
    pub origin: Origin,
}

/// A configuration and where it came from.
#[derive(Debug)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// Every setting, in the order of [`KEYS`].
    pub settings: Vec<Setting>,
}

impl Loaded {
    /// The keys whose values differ in another configuration.
    pub fn differences(&self, other: &Loaded) -> Vec<&'static str> {
        let pairs = self.settings.iter().zip(&other.settings);
        pairs.filter(|(one, other)| one.value != other.value).map(|(one, _)| one.key.name).collect()
    }
}

/// A setting that stood somewhere.
type Found = (String, Value, Origin);

/// Puts the sources together and checks the result.
pub fn load(sources: &Sources, disk: &dyn Disk) -> Result<Loaded, Error> {
    let mut found = Vec::new();
    if let Some(path) = &sources.file {
        found.extend(from_file(path, disk)?);
    }
    found.extend(from_environment(&sources.environment)?);
    found.extend(
        sources
            .flags
            .iter()
            .map(|(flag, key, value)| (key.clone(), Value::from(value.as_str()), Origin::Flag(flag.clone()))),
    );
    let mut in_force: BTreeMap<&'static str, (Value, Origin)> =
        KEYS.iter().map(|key| (key.name, (Value::from(key.default), Origin::Default))).collect();
    for (name, value, origin) in found {
        match KEYS.iter().find(|key| key.name == name) {
            Some(key) => in_force.insert(key.name, (value, origin)),
            None => return Err(Error::UnknownKey { nearest: nearest(&name), key: name, origin }),
        };
    }
    let config = parse(&in_force)?;
    let setting = |key: &'static Key| {
        let (value, origin) = &in_force[key.name];
        let value = if key.secret { "(secret)".to_owned() } else { value.to_string() };
        Setting { key, value, origin: origin.clone() }
    };
    Ok(Loaded { config, settings: KEYS.iter().map(setting).collect() })
}

fn parse(in_force: &BTreeMap<&'static str, (Value, Origin)>) -> Result<Config, Error> {
    let mut layers = Layers::builder();
    for (name, (value, _)) in in_force {
        layers =
            layers.set_override(*name, value.clone()).map_err(|error| Error::Invalid(error.to_string()))?;
    }
    let raw = layers
        .build()
        .and_then(Layers::try_deserialize::<Raw>)
        .map_err(|error| bad_value(&error, in_force))?;
    Config::from_raw(raw).map_err(|invalid| match invalid.key {
        Some(key) => {
            let origin = in_force.get(key).map_or(Origin::Default, |(_, origin)| origin.clone());
            Error::BadValue { key: key.to_owned(), origin, reason: invalid.reason }
        }
        None => Error::Invalid(invalid.reason),
    })
}

/// What the config crate says of a value, with the key and where it stood.
fn bad_value(error: &ConfigError, in_force: &BTreeMap<&'static str, (Value, Origin)>) -> Error {
    let (key, reason) = match error {
        ConfigError::Type { unexpected, expected, key, .. } => {
            (key, format!("{unexpected} is not {expected}"))
        }
        ConfigError::At { error, key, .. } => (key, error.to_string()),
        other => (&None, other.to_string()),
    };
    match key.as_deref().and_then(|key| in_force.get_key_value(key)) {
        Some((key, (_, origin))) => {
            Error::BadValue { key: (*key).to_owned(), origin: origin.clone(), reason }
        }
        None => Error::Invalid(reason),
    }
}

fn from_file(path: &Path, disk: &dyn Disk) -> Result<Vec<Found>, Error> {
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
    let bytes = disk.read_to_end(path, MAX_FILE_BYTES).map_err(unreadable)?;
    let malformed = |reason: String| Error::Malformed { path: path.to_owned(), reason };
    let text = String::from_utf8(bytes).map_err(|_| malformed("not UTF-8".to_owned()))?;
    let table = File::from_str(&text, FileFormat::Toml).collect().map_err(|error| match error {
        ConfigError::FileParse { cause, .. } => malformed(cause.to_string()),
        other => malformed(other.to_string()),
    })?;
    let mut found = Vec::new();
    for (section, value) in table {
        match value.kind {
            ValueKind::Table(keys) => found.extend(
                keys.into_iter()
                    .map(|(key, value)| (format!("{section}.{key}"), value, Origin::File(path.to_owned()))),
            ),
            _ => found.push((section, value, Origin::File(path.to_owned()))),
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// The variables of the form `KVORUM_<SECTION>__<KEY>`; others are not settings, and neither are empty ones, but for keys that
/// [take](Key::takes_empty) them.
fn from_environment(variables: &[(OsString, OsString)]) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    for (variable, value) in variables {
        let Some((section, key)) = variable.to_str().and_then(setting_of) else { continue };
        let name = format!("{section}.{key}").to_lowercase().replace("__", ".");
        let origin = Origin::Environment(variable.to_string_lossy().into_owned());
        let Some(value) = value.to_str() else {
            return Err(Error::BadValue { key: name, origin, reason: "not UTF-8".to_owned() });
        };
        if value.is_empty() && KEYS.iter().any(|key| key.name == name && !key.takes_empty) {
            continue;
        }
        found.push((name, Value::from(value), origin));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

fn setting_of(variable: &str) -> Option<(&str, &str)> {
    let (section, key) = variable.strip_prefix("KVORUM_")?.split_once("__")?;
    if section.is_empty() || key.is_empty() { None } else { Some((section, key)) }
}
