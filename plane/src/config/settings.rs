//! Settings as text with their origin, read from a TOML file and the environment, with one entry per key.
//!
//! Owns the reading of both sources, their precedence, and the places that errors name. It must not know which keys
//! exist or what they mean: see the parent module.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;

use toml::de::{DeTable, DeValue};

/// The prefix of environment variables that override settings.
pub(super) const PREFIX: &str = "SENTRAZONE_PLANE_";

/// An error in a setting, with its place: a line in the file or an environment variable.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {message}")]
pub struct SettingError {
    /// `FILE:LINE` or the variable's name.
    pub place: String,
    /// The error, and the correct form.
    pub message: String,
}

enum Value {
    Text(String),
    /// A TOML number or boolean, as written.
    Scalar(String),
    List(Vec<String>),
    /// An empty table. It is kept so that a mistyped name is reported.
    Empty,
}

struct Entry {
    value: Value,
    place: String,
}

/// The settings that have not been taken yet, by dotted path (`tls.mode`).
pub(super) struct Settings {
    entries: BTreeMap<String, Entry>,
    environment: BTreeMap<String, String>,
    file: PathBuf,
    /// The paths that have been requested.
    known: Vec<String>,
}

impl Settings {
    /// Parses the settings in `text` (the content of `file`). Variables in `environment` that begin with
    /// [`PREFIX`] override them.
    pub(super) fn parse(
        file: &Path,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingError> {
        let place = |span: Range<usize>| format!("{}:{}", file.display(), line(text, span.start));
        let table = DeTable::parse(text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            SettingError {
                message: not_toml(text, span.start, error.message()),
                place: place(span),
            }
        })?;
        let mut entries = BTreeMap::new();
        flatten("", table.get_ref(), &place, &mut entries)?;
        let environment = environment
            .into_iter()
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        Ok(Self {
            entries,
            environment,
            file: file.to_owned(),
            known: Vec::new(),
        })
    }

    fn entry(&mut self, path: &str) -> Option<Entry> {
        self.known.push(path.to_owned());
        let from_file = self.entries.remove(path);
        let name = variable(path);
        match self.environment.remove(&name) {
            Some(text) => Some(Entry {
                value: Value::Text(text),
                place: name,
            }),
            None => from_file,
        }
    }

    /// Declares a table of this name, which may then be empty. If a value has been written in its place, the error
    /// suggests the `content`.
    pub(super) fn know_table(&mut self, path: &str, content: &str) -> Result<(), SettingError> {
        let Some(Entry { value, place }) = self.entries.remove(path) else {
            return Ok(());
        };
        match value {
            Value::Empty => Ok(()),
            Value::Text(_) | Value::Scalar(_) | Value::List(_) => Err(SettingError {
                place,
                message: format!(
                    "{path}: a table belongs here, not a value: write [{path}] on a line of its own, and below it \
                     {content}"
                ),
            }),
        }
    }

    /// Takes a boolean: `true` or `false`.
    pub(super) fn take_bool(&mut self, path: &str, default: bool) -> Result<bool, SettingError> {
        self.take_with(path, default, |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(format!(
                "{other:?} is neither true nor false: write one of these, without quotes"
            )),
        })
    }

    /// Takes the path of a file or directory.
    pub(super) fn take_path(&mut self, path: &str, default: PathBuf) -> Result<PathBuf, SettingError> {
        self.take_with(path, default, |text| Ok(PathBuf::from(text)))
    }

    /// Takes one value: quoted text, or an unquoted number or boolean. In the environment, all values are unquoted.
    /// `parse` converts the text, or returns the reason why it is invalid.
    pub(super) fn take_with<T>(
        &mut self,
        path: &str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, SettingError> {
        let Some(Entry { value, place }) = self.entry(path) else {
            return Ok(default);
        };
        let result = match value {
            Value::Text(text) | Value::Scalar(text) => parse(&text),
            Value::List(_) => Err("one value belongs here, not a list: write one value, without brackets".to_owned()),
            Value::Empty => Err("a value belongs here, not a table: write it after an equals sign".to_owned()),
        };
        result.map_err(|message| SettingError {
            place,
            message: format!("{path}: {message}"),
        })
    }

    /// Takes a list of values, or a single text in which the values are separated by commas, which is the form
    /// used in the environment. `parse` converts each value.
    pub(super) fn take_list<T>(
        &mut self,
        path: &str,
        default: Vec<T>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, SettingError> {
        let Some(Entry { value, place }) = self.entry(path) else {
            return Ok(default);
        };
        let texts = match value {
            Value::List(texts) => texts,
            Value::Text(text) | Value::Scalar(text) => text.split(',').map(|part| part.trim().to_owned()).collect(),
            Value::Empty => Vec::new(),
        };
        texts
            .iter()
            .filter(|text| !text.is_empty())
            .map(|text| {
                parse(text).map_err(|error| SettingError {
                    place: place.clone(),
                    message: format!("{path}: {error}"),
                })
            })
            .collect()
    }

    /// Returns the place of `path`, for errors that appear only when several settings are compared.
    pub(super) fn place_of(&self, path: &str) -> String {
        let name = variable(path);
        if self.environment.contains_key(&name) {
            return name;
        }
        self.entries
            .get(path)
            .map_or_else(|| self.file.display().to_string(), |entry| entry.place.clone())
    }

    /// Refuses any setting that has not been taken: a mistyped key must not be silently ignored.
    pub(super) fn finish(self) -> Result<(), SettingError> {
        if let Some((path, entry)) = self.entries.into_iter().next() {
            let near = nearest(&path, &self.known).map(|known| format!("; did you mean {known}?"));
            return Err(SettingError {
                place: entry.place,
                message: format!("{path}: there is no such setting{}", near.unwrap_or_default()),
            });
        }
        match self.environment.into_keys().next() {
            Some(name) => {
                let bare = |variable: &str| variable.strip_prefix(PREFIX).unwrap_or_default().to_owned();
                let known: Vec<String> = self.known.iter().map(|path| bare(&variable(path))).collect();
                let near = nearest(&bare(&name), &known).map(|known| format!("; did you mean {PREFIX}{known}?"));
                Err(SettingError {
                    place: name,
                    message: format!(
                        "there is no setting of this name to override{}",
                        near.unwrap_or_default()
                    ),
                })
            }
            None => Ok(()),
        }
    }
}

/// Returns the setting that was probably meant: its name differs by at most two letters, or is the same in
/// another table.
fn nearest<'a>(wrong: &str, known: &'a [String]) -> Option<&'a String> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let away = |path: &String| {
        let whole = strsim::osa_distance(wrong, path);
        // Among equally close names, the one whose whole path is closest is preferred.
        (whole.min(strsim::osa_distance(&last(wrong), &last(path))), whole)
    };
    let near = known.iter().map(|path| (away(path), path));
    let near = near.filter(|((name, _), _)| *name <= 2 && 2 * *name < last(wrong).len());
    near.min_by_key(|(away, _)| *away).map(|(_, path)| path)
}

/// Returns the error for a file that is not UTF-8.
pub(super) fn not_utf8(file: &Path, error: &FromUtf8Error) -> SettingError {
    let valid = error.as_bytes().get(..error.utf8_error().valid_up_to());
    let line = valid.unwrap_or_default().split(|byte| *byte == b'\n').count();
    SettingError {
        place: format!("{}:{line}", file.display()),
        message: "this line is not UTF-8 text: save the file in the encoding UTF-8".to_owned(),
    }
}

/// Returns the message for a file that is not TOML: the key on the line at `offset`, the parser's message, and the
/// correct form.
fn not_toml(text: &str, offset: usize, finding: &str) -> String {
    let line = text
        .lines()
        .nth(line(text, offset).saturating_sub(1))
        .unwrap_or_default();
    let key = line.split_once('=').map(|(key, _)| key.trim());
    let key = key.filter(|key| !key.is_empty()).map(|key| format!("{key}: "));
    format!(
        "{}this line is not valid TOML ({finding}): write each setting once, as key = value, \
         with text in double quotes",
        key.unwrap_or_default()
    )
}

fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "_").to_uppercase())
}

fn line(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

fn flatten(
    above: &str,
    table: &DeTable<'_>,
    place: &impl Fn(Range<usize>) -> String,
    entries: &mut BTreeMap<String, Entry>,
) -> Result<(), SettingError> {
    for (key, value) in table {
        let path = if above.is_empty() {
            key.get_ref().to_string()
        } else {
            format!("{above}.{}", key.get_ref())
        };
        let at = place(key.span());
        let value = match value.get_ref() {
            DeValue::Table(inner) if !inner.is_empty() => {
                flatten(&path, inner, place, entries)?;
                continue;
            }
            DeValue::Table(_) => Value::Empty,
            DeValue::Array(items) => Value::List(items.iter().map(|item| scalar(item.get_ref()).0).collect()),
            single => match scalar(single) {
                (text, true) => Value::Text(text),
                (text, false) => Value::Scalar(text),
            },
        };
        entries.insert(path, Entry { value, place: at });
    }
    Ok(())
}

/// Returns a value's text, and true if it was quoted.
fn scalar(value: &DeValue<'_>) -> (String, bool) {
    match value {
        DeValue::String(text) => (text.to_string(), true),
        DeValue::Integer(number) => (number.as_str().to_owned(), false),
        DeValue::Float(number) => (number.as_str().to_owned(), false),
        DeValue::Boolean(flag) => (flag.to_string(), false),
        other => (format!("({})", other.type_str()), false),
    }
}
