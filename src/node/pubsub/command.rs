//! The lines clients send.

/// The longest topic or id, bytes.
const MAX_WORD: usize = 256;

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Whether anybody is there.
    Ping,
    /// Where the node stands.
    Status,
    /// An end of the connection.
    Quit,
    /// Publishes a message.
    Publish {
        /// The topic.
        topic: String,
        /// The producer's name for it.
        id: Option<String>,
        /// The message, to the end of the line.
        text: String,
    },
    /// From now on, every message of a topic.
    Subscribe {
        /// The topic.
        topic: String,
        /// From this offset on; none: from what the node has not applied yet.
        from: Option<u64>,
    },
    /// Some messages of a topic.
    History {
        /// The topic.
        topic: String,
        /// How many at most.
        count: usize,
        /// The first of them; none: the last ones.
        from: Option<u64>,
        /// All that was acknowledged before has to be there.
        strong: bool,
    },
}

/// What `line` asks for.
///
/// # Errors
/// What is wrong with it, and how it is right.
pub fn parse(line: &str) -> Result<Command, String> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let plain =
        |command| if rest.trim().is_empty() { Ok(command) } else { Err(format!("expected {word} alone")) };
    match word {
        "PING" => plain(Command::Ping),
        "STATUS" => plain(Command::Status),
        "QUIT" => plain(Command::Quit),
        "PUB" => publish(rest).ok_or("expected PUB topic [--id id] message".to_owned())?,
        "SUB" => {
            let usage = || "expected SUB topic [--from offset]".to_owned();
            let mut words = rest.split_whitespace();
            let topic = name("topic", words.next().ok_or_else(usage)?)?;
            let from = match (words.next(), words.next(), words.next()) {
                (None, ..) => None,
                (Some("--from"), Some(offset), None) => Some(offset.parse().map_err(|_| usage())?),
                _ => return Err(usage()),
            };
            Ok(Command::Subscribe { topic, from })
        }
        "HISTORY" => {
            let usage = || "expected HISTORY topic n [--from offset] [--strong]".to_owned();
            let mut words = rest.split_whitespace();
            let topic = name("topic", words.next().ok_or_else(usage)?)?;
            let count = words.next().and_then(|count| count.parse().ok()).ok_or_else(usage)?;
            let (mut from, mut strong) = (None, false);
            while let Some(word) = words.next() {
                match word {
                    "--from" => from = Some(words.next().and_then(|at| at.parse().ok()).ok_or_else(usage)?),
                    "--strong" => strong = true,
                    _ => return Err(usage()),
                }
            }
            Ok(Command::History { topic, count, from, strong })
        }
        _ => Err("expected PING, PUB, SUB, HISTORY, STATUS or QUIT".into()),
    }
}

fn publish(rest: &str) -> Option<Result<Command, String>> {
    let (topic, rest) = rest.split_once(' ')?;
    let (id, text) = match rest.strip_prefix("--id ") {
        Some(rest) => rest.split_once(' ').map(|(id, text)| (Some(id), text))?,
        None => (None, rest),
    };
    if topic.is_empty() || text.is_empty() {
        return None;
    }
    Some((|| {
        let id = id.map(|id| name("id", id)).transpose()?;
        Ok(Command::Publish { topic: name("topic", topic)?, id, text: text.to_owned() })
    })())
}

fn name(what: &str, word: &str) -> Result<String, String> {
    let good = !word.is_empty() && !word.chars().any(|letter| letter.is_whitespace() || letter.is_control());
    if good && word.len() <= MAX_WORD {
        return Ok(word.to_owned());
    }
    Err(format!("expected the {what} to be a word of at most {MAX_WORD} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_all_to_the_end_of_the_line() {
        let publish = |topic: &str, id: Option<&str>, text: &str| {
            Ok(Command::Publish { topic: topic.into(), id: id.map(str::to_owned), text: text.into() })
        };
        assert_eq!(parse("PUB t hello  big world "), publish("t", None, "hello  big world "));
        assert_eq!(parse("PUB t --id m-1 --id is a word"), publish("t", Some("m-1"), "--id is a word"));
        assert_eq!(parse("PUB t  two spaces"), publish("t", None, " two spaces"));
        assert_eq!(parse("PUB t ü\u{1}"), publish("t", None, "ü\u{1}"));
    }

    #[test]
    fn options_come_after_what_is_needed() {
        let subscribe = |from| Ok(Command::Subscribe { topic: "t".into(), from });
        assert_eq!(parse("SUB t"), subscribe(None));
        assert_eq!(parse("SUB t --from 17"), subscribe(Some(17)));
        let history = |count, from, strong| Ok(Command::History { topic: "t".into(), count, from, strong });
        assert_eq!(parse("HISTORY t 10"), history(10, None, false));
        assert_eq!(parse("HISTORY t 10 --strong --from 3"), history(10, Some(3), true));
        assert_eq!(
            [parse("PING"), parse("STATUS "), parse("QUIT")],
            [Ok(Command::Ping), Ok(Command::Status), Ok(Command::Quit)]
        );
    }

    #[test]
    fn what_is_not_understood_is_explained() {
        let long = format!("SUB {}", "x".repeat(257));
        for (line, expected) in [
            ("", "expected PING, PUB, SUB, HISTORY, STATUS or QUIT"),
            ("ping", "expected PING, PUB, SUB, HISTORY, STATUS or QUIT"),
            ("PING me", "expected PING alone"),
            ("PUB", "expected PUB topic [--id id] message"),
            ("PUB t", "expected PUB topic [--id id] message"),
            ("PUB t ", "expected PUB topic [--id id] message"),
            ("PUB t --id m", "expected PUB topic [--id id] message"),
            ("PUB t --id  m", "expected the id to be a word of at most 256 bytes"),
            ("SUB", "expected SUB topic [--from offset]"),
            ("SUB t from", "expected SUB topic [--from offset]"),
            ("SUB t --from -1", "expected SUB topic [--from offset]"),
            ("HISTORY t", "expected HISTORY topic n [--from offset] [--strong]"),
            ("HISTORY t x", "expected HISTORY topic n [--from offset] [--strong]"),
            ("HISTORY t 1 --weak", "expected HISTORY topic n [--from offset] [--strong]"),
            (&long, "expected the topic to be a word of at most 256 bytes"),
        ] {
            assert_eq!(parse(line), Err(expected.to_owned()), "{line:?}");
        }
    }
}
