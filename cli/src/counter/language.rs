//! The language in which the operator is asked.

use std::env;

use clap::ValueEnum;

/// English or Italian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// English.
    En,
    /// Italian.
    It,
}

impl Language {
    /// The language of the terminal, as the environment tells it (POSIX: the first of these that is set).
    pub(crate) fn of_terminal() -> Self {
        let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        Self::of_locale(set("LC_ALL").or_else(|| set("LC_MESSAGES")).or_else(|| set("LANG")).as_deref())
    }

    fn of_locale(locale: Option<&str>) -> Self {
        if locale.is_some_and(|locale| locale.starts_with("it")) { Self::It } else { Self::En }
    }

    /// The text in this language.
    pub(crate) fn of<'t>(self, english: &'t str, italian: &'t str) -> &'t str {
        match self {
            Self::En => english,
            Self::It => italian,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locales() {
        assert_eq!(Language::of_locale(Some("it_IT.UTF-8")), Language::It);
        for other in [None, Some("C.UTF-8"), Some("en_GB.UTF-8")] {
            assert_eq!(Language::of_locale(other), Language::En);
        }
    }
}
