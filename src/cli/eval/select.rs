//! Which cases are to be judged.

use std::str::FromStr;

use crate::dataset::case::Case;

/// Values of some keys; of each key that is named, one value must fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(Vec<(Key, String)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Probe,
    Difficulty,
    Expected,
    Kind,
}

const KEYS: [(&str, Key); 4] = [
    ("probe", Key::Probe),
    ("difficulty", Key::Difficulty),
    ("expected", Key::Expected),
    ("kind", Key::Kind),
];

impl Filter {
    pub fn lets_through(&self, case: &Case) -> bool {
        KEYS.into_iter().all(|(_, key)| {
            let mut wanted = self.0.iter().filter(|(named, _)| *named == key).peekable();
            wanted.peek().is_none() || wanted.any(|(_, value)| key.has(case, value))
        })
    }
}

impl Key {
    fn has(self, case: &Case, value: &str) -> bool {
        let own = match self {
            Key::Probe => case.probe.as_deref(),
            Key::Difficulty => case.difficulty.as_deref(),
            Key::Expected => Some(case.expected.as_str()),
            Key::Kind if case.is_violation() => Some("violation"),
            Key::Kind => Some("clean"),
        };
        own.is_some_and(|own| own.eq_ignore_ascii_case(value))
    }
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let pairs = text.split(',').map(|pair| {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| format!("`{pair}` is not KEY=VALUE"))?;
            let known = KEYS.into_iter().find(|(key, _)| *key == name.trim());
            let (_, key) = known.ok_or_else(|| {
                format!("unknown key `{name}`: there are probe, difficulty, expected and kind")
            })?;
            Ok((key, value.trim().to_owned()))
        });
        Ok(Self(pairs.collect::<Result<_, String>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Label;

    fn case(probe: &str, difficulty: &str, expected: Label) -> Case {
        Case {
            id: "c".to_owned(),
            probe: Some(probe.to_owned()),
            difficulty: Some(difficulty.to_owned()),
            context_json: "{}".to_owned(),
            draft: "Hi".to_owned(),
            channel: None,
            expected,
            exact: true,
        }
    }

    #[test]
    fn one_value_of_each_named_key_must_fit() {
        let filter: Filter = "probe=E02,probe=a07,difficulty=hard".parse().unwrap();
        assert!(filter.lets_through(&case("A07", "hard", Label::Suppress)));
        assert!(filter.lets_through(&case("E02", "hard", Label::Pass)));
        assert!(!filter.lets_through(&case("E02", "easy", Label::Pass)));
        assert!(!filter.lets_through(&case("E01", "hard", Label::Pass)));
        let clean: Filter = "kind=clean".parse().unwrap();
        assert!(clean.lets_through(&case("E01", "hard", Label::Pass)));
        assert!(!clean.lets_through(&case("E01", "hard", Label::Block)));
    }

    #[test]
    fn an_unknown_key_is_named_with_those_that_there_are() {
        let error = "size=4".parse::<Filter>().unwrap_err();
        assert!(
            error.contains("`size`") && error.contains("difficulty"),
            "{error}"
        );
        assert!("probe".parse::<Filter>().is_err());
    }
}
