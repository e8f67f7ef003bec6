//! Names of fields as the TypeScript version of the course spells them, or the Python version.

use clap::ValueEnum;
use serde_json::{Map, Value as Json};

/// How the fields of answers to clients are spelt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Spelling {
    /// `achievedQuorum`
    #[default]
    Camel,
    /// `achieved_quorum`
    Snake,
}

impl Spelling {
    /// `name`, given in camelCase.
    fn of(self, name: &str) -> String {
        if self == Spelling::Camel {
            return name.to_owned();
        }
        let mut snake = String::with_capacity(name.len() + 4);
        for letter in name.chars() {
            if letter.is_ascii_uppercase() {
                snake.push('_');
            }
            snake.push(letter.to_ascii_lowercase());
        }
        snake
    }

    /// An object of these fields, in this order.
    pub fn object<const N: usize>(self, fields: [(&str, Json); N]) -> Map<String, Json> {
        fields.into_iter().map(|(name, value)| (self.of(name), value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings() {
        let names = ["nodeId", "readYourWrites", "success"];
        assert_eq!(names.map(|name| Spelling::Camel.of(name)), names);
        assert_eq!(names.map(|name| Spelling::Snake.of(name)), ["node_id", "read_your_writes", "success"]);
    }
}
