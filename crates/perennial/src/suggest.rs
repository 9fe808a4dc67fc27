//! Errors that suggest.

/// Adds "did you mean" to a message of the form ``unknown field `x`, expected one of `y`, `z` `` (or variant).
pub(crate) fn explain(message: &str) -> String {
    let Some(at) = message.find("unknown field `").or_else(|| message.find("unknown variant `")) else {
        return message.trim_end().to_owned();
    };
    let mut quoted = message[at..].split('`').skip(1).step_by(2);
    let Some(unknown) = quoted.next() else { return message.to_owned() };
    match nearest(unknown, quoted) {
        Some(near) => format!("{}\ndid you mean \"{near}\"?", message.trim_end()),
        None => message.trim_end().to_owned(),
    }
}

/// The text of a mistake in a file for `command`, and which command the file is rather for, if it looks like that.
pub(crate) fn explain_file(message: &str, text: &str, command: &str) -> String {
    let keys: toml::Table = toml::from_str(text).unwrap_or_default();
    let has = |key| keys.contains_key(key);
    let likely = match () {
        _ if has("space") && has("base") => "tune",
        _ if has("train") && has("valid") => "train",
        _ if has("log") => "run",
        _ => command,
    };
    match likely == command {
        true => explain(message),
        false => format!("this looks like a file for `perennial {likely}`: {}", explain(message)),
    }
}

/// The candidate most like `word`, if any is like it at all.
pub(crate) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = candidates.map(|candidate| (strsim::jaro_winkler(word, candidate), candidate));
    let (score, best) = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (score > 0.7).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_suggested() {
        let message = "unknown field `batchsize`, expected one of `epochs`, `batch_size`";
        assert!(explain(message).ends_with("did you mean \"batch_size\"?"));
        assert_eq!(explain("unknown field `zzz`, expected `epochs`"), "unknown field `zzz`, expected `epochs`");
        assert_eq!(explain("something else"), "something else");
    }

    #[test]
    fn a_file_for_another_command_is_known_by_its_keys() {
        let split = "name = \"x\"\n[train]\n[valid]\n[test]\n";
        assert!(explain_file("bad", split, "run").contains("for `perennial train`"));
        assert!(explain_file("bad", "log = \"x\"", "train").contains("for `perennial run`"));
        assert!(explain_file("bad", "base = \"x\"\n[space]\n", "run").contains("for `perennial tune`"));
        for (text, command) in [(split, "train"), ("log = 1", "run"), ("", "tune"), ("no toml", "run")] {
            assert_eq!(explain_file("bad", text, command), "bad");
        }
    }
}
