//! Names that become paths, checked once.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What may not be exceeded by the bytes of a whole name: object stores allow 1024 for a key, file systems 255 for a
/// segment.
const LONGEST: usize = 200;

/// Name of a version, chosen by its publisher: a path of segments, such as `incremental/0/0012`.
///
/// Segments hold ASCII letters, digits and `_ - . =`, begin with none of `- .` and do not end in `.manifest`. All
/// but the last name the version's *group*. Versions of a group are listed in order of their names: pad numbers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VersionId(String);

/// Name of a pointer to a version, such as `live`: one segment, by the rules of [`VersionId`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AliasName(String);

/// Name of an object within a version, such as `table/item/values/0003`, by the rules of [`VersionId`]. It is never
/// a path on disk, but those who unpack a bundle may use it as one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectName(String);

impl VersionId {
    /// All segments but the last; empty for a name of one segment.
    pub fn group(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(group, _)| group)
    }
}

/// Parsing, printing and conversion, the same for all three.
macro_rules! name {
    ($type:ident, $what:literal, $segments:expr) => {
        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                match problem(text, $segments) {
                    None => Ok($type(text.to_owned())),
                    Some(problem) => {
                        let got = text.chars().take(LONGEST).collect();
                        Err(Error::Name { what: $what, got, problem })
                    }
                }
            }
        }

        impl TryFrom<String> for $type {
            type Error = Error;

            fn try_from(text: String) -> Result<Self, Error> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}

name!(VersionId, "a version", usize::MAX);
name!(AliasName, "an alias", 1);
name!(ObjectName, "an object", usize::MAX);

/// Which rule `text` breaks, if any.
fn problem(text: &str, most_segments: usize) -> Option<&'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.=/".contains(&byte);
    if text.is_empty() {
        Some("it is empty")
    } else if text.len() > LONGEST {
        Some("it is longer than 200 bytes")
    } else if !text.bytes().all(allowed) {
        Some("only ASCII letters, digits and _ - . = / may occur")
    } else if text.split('/').count() > most_segments {
        Some("it has more than one segment")
    } else {
        text.split('/').find_map(segment_problem)
    }
}

fn segment_problem(segment: &str) -> Option<&'static str> {
    match segment.bytes().next() {
        None => Some("a segment is empty"),
        Some(b'.') => Some("a segment begins with a dot"),
        Some(b'-') => Some("a segment begins with a dash"),
        // The folder `a.manifest/` of a version `a.manifest/b` would be in the way of the manifest of `a`.
        Some(_) if segment.ends_with(".manifest") => Some("a segment ends in .manifest"),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["a", "incremental/0/0012", "lr=0.1/seed_3", "A-b.c"] {
            assert_eq!(good.parse::<VersionId>().unwrap().as_str(), good);
        }
        let long = "a".repeat(201);
        for bad in
            ["", "/a", "a/", "a//b", "..", "a/../b", ".a", "-a", "a b", "é", "a\\b", "a#1", "a.manifest/b", &long]
        {
            assert!(bad.parse::<VersionId>().is_err(), "{bad:?} was accepted");
            assert!(serde_json::from_value::<ObjectName>(bad.into()).is_err(), "{bad:?} was deserialised");
        }
        assert!("a/b".parse::<AliasName>().is_err());
    }

    #[test]
    fn group_is_all_but_the_last_segment() {
        assert_eq!("a/b/c".parse::<VersionId>().unwrap().group(), "a/b");
        assert_eq!("a".parse::<VersionId>().unwrap().group(), "");
    }
}
