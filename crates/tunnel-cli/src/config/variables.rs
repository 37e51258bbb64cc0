//! Variables of the environment in a file's values: `${NAME}`; `$$` is a dollar sign.

use crate::env::Environment;

/// Puts the variables' values in.
///
/// # Errors
/// Which variable isn't set, or isn't closed, in words.
pub(super) fn expand(text: &str, environment: Environment<'_>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        rest = if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            after
        } else if let Some(after) = after.strip_prefix('{') {
            let Some((name, after)) = after.split_once('}') else {
                return Err("`${` without its `}`; write `$$` for a dollar sign".into());
            };
            expanded.push_str(&value(name, environment)?);
            after
        } else {
            expanded.push('$');
            after
        };
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn value(name: &str, environment: Environment<'_>) -> Result<String, String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(format!("`${{{name}}}` names no variable; write `$$` for a dollar sign"));
    }
    // As for flags, one that is set but empty counts as not set.
    match environment(name).filter(|value| !value.is_empty()) {
        Some(value) => value.into_string().map_err(|_| format!("the variable {name} isn't UTF-8")),
        None => Err(format!("the variable {name} is not set; set it, or write `$$` for a dollar sign")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_and_dollars_stay() {
        let environment = |name: &str| match name {
            "A" => Some("one".into()),
            "B_2" => Some("${A}".into()),
            "EMPTY" => Some("".into()),
            _ => None,
        };
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("${A}", "one"),
            ("ann:${A}!${A}", "ann:one!one"),
            ("${B_2}", "${A}"),
            ("$${A}", "${A}"),
            ("pa$word $", "pa$word $"),
            ("$$$$", "$$"),
        ] {
            assert_eq!(expand(text, &environment).as_deref(), Ok(expected), "{text}");
        }
        for (text, words) in [
            ("${C}", "C is not set"),
            ("${EMPTY}", "EMPTY is not set"),
            ("${A", "without its `}`"),
            ("${}", "names no variable"),
            ("${A B}", "names no variable"),
        ] {
            let error = expand(text, &environment).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
