//! Words that shells offer for a value.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Command, Error};

/// Takes any text, and offers these words in completions. The configuration decoder says which texts are valid.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShellHints(pub(super) &'static [&'static str]);

impl TypedValueParser for ShellHints {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let words: &'static [&'static str] = self.0;
        Some(Box::new(words.iter().map(|word| PossibleValue::new(*word))))
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::Command;
    use crate::cli::tests::command;

    #[test]
    fn other_words_are_taken_as_well() {
        for level in ["warn", "info,weir::access=warn", "nonsense"] {
            let Command::Serve(serve) = command(&format!("weir --log-level {level}")) else {
                panic!("{level}")
            };
            assert_eq!(serve.settings.log_level.as_deref(), Some(level));
        }
    }
}
